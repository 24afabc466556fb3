#include "linear.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <new>

#include "dispatch.h"
#include "platform.h"
#include "pool.h"

namespace kurve {

namespace {

constexpr int64_t depth = 128;     // rows of J that are packed at a time
constexpr int64_t block = 64;      // rows of a factor that are computed at a time
constexpr int64_t task_side = 64;  // rows and columns of the product per task

// On busy cores, waiting for another thread costs milliseconds: with fewer than this
// many multiply-adds (half a millisecond), one thread does all the work.
constexpr int64_t parallel_threshold = 10'000'000;

template <class Body>
void parallel_if_large(int64_t tasks, int64_t work, Body&& body) {
  parallel(tasks, work < parallel_threshold ? 0 : work, body);
}

int64_t ceil_div(int64_t n, int64_t size) { return (n + size - 1) / size; }

using Buffer = std::unique_ptr<double[], Release>;

Buffer allocate(int64_t n) {
  auto bytes = size_t(ceil_div(std::max<int64_t>(n, 1), 8) * 64);
  Buffer memory(static_cast<double*>(allocate_aligned(64, bytes)));
  if (!memory) throw std::bad_alloc();
  return memory;
}

// The columns of a matrix of K rows, packed as panels of `strip` columns.
struct Panels {
  Panels(const Kernels& k, int64_t columns, int64_t K)
      : strip(k.lanes),
        columns(columns),
        count(ceil_div(columns, strip)),
        size(K * strip),
        memory(allocate(count * size)) {}
  double* at(int64_t p) const { return memory.get() + p * size; }
  int64_t width(int64_t p) const { return std::min(strip, columns - p * strip); }
  int64_t groups() const { return ceil_div(count, per_group()); }
  int64_t per_group() const { return task_side / strip; }

  int64_t strip, columns, count, size;
  Buffer memory;
};

using PanelProduct = decltype(Kernels::panel_add);

// C = C +- A^T B, panel by panel. With `upper`, A is B and only panels on and above the
// diagonal are computed.
void multiply(PanelProduct product, const Panels& a, int64_t a_count, const Panels& b,
              int64_t b_count, bool upper, double* c, int64_t c_row, int64_t K) {
  int64_t each = a.per_group();
  int64_t down = ceil_div(a_count, each), across = ceil_div(b_count, each);
  int64_t work = a_count * b_count * a.strip * a.strip * K / (upper ? 2 : 1);
  parallel_if_large(down * across, work, [&](int64_t task) {
    int64_t first = task / across * each, left = task % across * each;
    if (upper && left < first) return;
    int64_t last = std::min(first + each, a_count);
    for (int64_t q = left; q < std::min(left + each, b_count); q++)
      for (int64_t p = first; p < (upper ? std::min(last, q + 1) : last); p++)
        product(a.at(p), b.at(q), c + p * a.strip * c_row + q * b.strip, c_row,
                a.width(p), b.width(q), K);
  });
}

// Copies a block on the diagonal, its upper triangle, to rows of `block` numbers.
void copy_block(const double* from, int64_t from_row, int64_t n, double* to) {
  std::fill_n(to, block * block, 0.0);
  for (int64_t i = 0; i < n; i++)
    std::copy(from + i * from_row + i, from + i * from_row + n, to + i * block + i);
}

}  // namespace

void add_gram(const Jacobian& j, double* gram) {
  const Kernels& k = kernels();
  Panels panels(k, j.P, std::min(j.n, depth));
  for (int64_t first = 0; first < j.n; first += depth) {
    int64_t K = std::min(depth, j.n - first);
    parallel_if_large(panels.count, 4 * K * j.P, [&](int64_t p) {
      k.panel_gather(j.rows + first * j.row, j.row, j.columns + p * panels.strip,
                     panels.width(p), j.sqrt_weights + first, panels.at(p), K);
    });
    multiply(k.panel_add, panels, panels.count, panels, panels.count, true, gram, j.P,
             K);
  }
}

void vjp(const Jacobian& j, const double* r, double* out) {
  const Kernels& k = kernels();
  constexpr int64_t width = 256;
  Buffer all = allocate(j.row);
  std::fill_n(all.get(), j.row, 0.0);
  parallel_if_large(ceil_div(j.row, width), 4 * j.n * j.row, [&](int64_t task) {
    int64_t first = task * width, count = std::min(width, j.row - first);
    for (int64_t i = 0; i < j.n; i++)
      k.add_row(all.get() + first, j.sqrt_weights[i] * r[i], j.rows + i * j.row + first,
                count);
  });
  for (int64_t c = 0; c < j.P; c++) out[c] = all[size_t(j.columns[c])];
}

void jvp(const Jacobian& j, const double* d, double* out) {
  const Kernels& k = kernels();
  constexpr int64_t height = 64;
  Buffer all = allocate(j.row);
  std::fill_n(all.get(), j.row, 0.0);
  for (int64_t c = 0; c < j.P; c++) all[size_t(j.columns[c])] = d[c];
  parallel_if_large(ceil_div(j.n, height), 4 * j.n * j.row, [&](int64_t task) {
    for (int64_t i = task * height; i < std::min((task + 1) * height, j.n); i++)
      out[i] = j.sqrt_weights[i] * k.dot_row(j.rows + i * j.row, all.get(), j.row);
  });
}

double dot(const double* x, const double* y, int64_t n) {
  return kernels().dot64(x, y, n);
}

double quadratic_form(const double* a, const double* d, int64_t P) {
  const Kernels& k = kernels();
  double total = 0;
  for (int64_t i = 0; i < P; i++) {
    const double* row = a + i * P + i;
    total += d[i] * (row[0] * d[i] + 2 * k.dot64(row + 1, d + i + 1, P - i - 1));
  }
  return total;
}

int64_t cholesky(double* a, int64_t P) {
  const Kernels& k = kernels();
  Buffer corner = allocate(block * block);
  Panels panels(k, std::max<int64_t>(P - block, 0), block);
  for (int64_t first = 0; first < P; first += block) {
    int64_t K = std::min(block, P - first), next = first + K;
    double* here = a + first * P + first;
    copy_block(here, P, K, corner.get());
    int64_t done = k.cholesky(corner.get(), block, K);
    if (done < K) return first + done;
    for (int64_t i = 0; i < K; i++)
      std::copy_n(corner.get() + i * block + i, K - i, here + i * P + i);
    panels.columns = P - next;
    int64_t count = ceil_div(panels.columns, panels.strip);
    parallel_if_large(count, K * K * panels.columns, [&](int64_t p) {
      double *rows = here + K + p * panels.strip, *panel = panels.at(p);
      k.panel_copy(rows, P, panels.width(p), panel, K, false);
      k.panel_solve(corner.get(), block, panel, K);
      k.panel_copy(rows, P, panels.width(p), panel, K, true);
    });
    multiply(k.panel_subtract, panels, count, panels, count, true, a + next * P + next,
             P, K);
  }
  return P;
}

void cholesky_solve(const double* r, double* x, int64_t P) {
  const Kernels& k = kernels();
  for (int64_t i = 0; i < P; i++) {  // R^T y = x
    const double* row = r + i * P;
    x[i] /= row[i];
    k.add64(x + i + 1, -x[i], row + i + 1, P - i - 1);
  }
  for (int64_t i = P - 1; i >= 0; i--) {  // R x = y
    const double* row = r + i * P;
    x[i] = (x[i] - k.dot64(row + i + 1, x + i + 1, P - i - 1)) / row[i];
  }
}

// (R^T R)^-1 = V^T V with V = R^-T, so its diagonal holds the sums of squares of V's
// columns. V is computed by substitution, one block of rows at a time; no block is
// stored.
void inverse_diagonal(const double* r, double* diagonal, int64_t P) {
  const Kernels& k = kernels();
  Buffer corner = allocate(block * block), work = allocate(P * P);
  Panels left(k, P, block), right(k, P, block);
  int64_t strip = left.strip;
  std::fill_n(diagonal, P, 0.0);
  for (int64_t i = 0; i < P; i++) {
    // V's columns right of a block are zero in its rows.
    int64_t used = std::min((i / block + 1) * block, P);
    std::fill_n(work.get() + i * P, used, 0.0);
    work[size_t(i * P + i)] = 1.0;
  }
  for (int64_t first = 0; first < P; first += block) {
    int64_t K = std::min(block, P - first), next = first + K;
    copy_block(r + first * P + first, P, K, corner.get());
    left.columns = P - next, right.columns = next;
    int64_t below = ceil_div(left.columns, strip), solved = ceil_div(next, strip);
    parallel_if_large(solved, K * K * next, [&](int64_t p) {
      double* panel = right.at(p);
      k.panel_copy(work.get() + first * P + p * strip, P, right.width(p), panel, K,
                   false);
      k.panel_solve(corner.get(), block, panel, K);
      for (int64_t i = 0; i < K; i++)
        for (int64_t c = 0; c < right.width(p); c++) {
          double v = panel[i * strip + c];
          diagonal[p * strip + c] += v * v;
        }
    });
    parallel_if_large(below, 4 * K * left.columns, [&](int64_t p) {
      k.panel_copy(const_cast<double*>(r) + first * P + next + p * strip, P,
                   left.width(p), left.at(p), K, false);
    });
    multiply(k.panel_subtract, left, below, right, solved, false, work.get() + next * P,
             P, K);
  }
}

// QR by Householder reflections, one block of rows at a time: each reflection acts on a
// row of R and the block below it, so the data stays in the first-level cache and R
// stays triangular (Golub & Van Loan 2013, 5.2.2).
void qr(const double* columns, const double* multipliers, int64_t C, int64_t n,
        double* r, double* norms) {
  const Kernels& k = kernels();
  constexpr int64_t height = 256;
  Buffer block = allocate(C * height);
  std::fill_n(r, C * C, 0.0);
  for (int64_t first = 0; first < n; first += height) {
    int64_t K = std::min(height, n - first);
    for (int64_t j = 0; j < C; j++)
      std::copy_n(columns + j * n + first, K, block.get() + j * height);
    for (int64_t i = 0; i < C; i++) {
      double *x = block.get() + i * height, *row = r + i * C;
      double square = k.dot64(x, x, K);
      if (square == 0) continue;
      double norm = std::sqrt(row[i] * row[i] + square);
      double now = row[i] > 0 ? -norm : norm, v = row[i] - now;  // does not cancel
      row[i] = now;
      for (int64_t j = i + 1; j < C; j++) {
        double* y = block.get() + j * height;
        double change = (v * row[j] + k.dot64(x, y, K)) / now;
        row[j] += change;
        k.add64(y, change / v, x, K);
      }
    }
  }
  std::fill_n(norms, C, 0.0);
  for (int64_t i = 0; i < C; i++)
    for (int64_t j = i; j < C; j++) {
      double a = r[i * C + j] *= multipliers[j];
      norms[j] += a * a;
    }
  for (int64_t j = 0; j < C; j++) norms[j] = std::sqrt(norms[j]);
}

namespace {

// One-sided Jacobi: pairs of rows are rotated until all rows are orthogonal (Hestenes
// 1958); small singular values come out with as many digits as large ones. rows (P, P)
// of A become those of diag(s) V^T, and q (P,) becomes U^T q.
void jacobi_svd(double* rows, int64_t P, double* q) {
  constexpr int max_sweeps = 60;
  constexpr double orthogonal = 2e-15;
  bool rotated = true;
  for (int sweep = 0; rotated && sweep < max_sweeps; sweep++) {
    rotated = false;
    for (int64_t i = 0; i < P; i++)
      for (int64_t j = i + 1; j < P; j++) {
        double *x = rows + i * P, *y = rows + j * P, a = 0, b = 0, c = 0;
        for (int64_t k = 0; k < P; k++)
          a += x[k] * x[k], b += y[k] * y[k], c += x[k] * y[k];
        if (!(std::abs(c) > orthogonal * std::sqrt(a * b))) continue;
        rotated = true;
        double z = (b - a) / (2 * c);
        double t = (z < 0 ? -1 : 1) / (std::abs(z) + std::sqrt(1 + z * z));
        double cosine = 1 / std::sqrt(1 + t * t), sine = t * cosine, u = q[i];
        for (int64_t k = 0; k < P; k++) {
          double v = x[k];
          x[k] = cosine * v - sine * y[k], y[k] = sine * v + cosine * y[k];
        }
        q[i] = cosine * u - sine * q[j], q[j] = sine * u + cosine * q[j];
      }
  }
}

double largest(const double* s, int64_t P) {
  double most = 0;
  for (int64_t i = 0; i < P; i++) most = std::max(most, s[i]);
  return most;
}

}  // namespace

double scaled_svd(const double* r, double rank_tolerance, const ScaledSvd& svd) {
  int64_t P = svd.P, C = P + 1;
  for (int64_t i = 0; i < P; i++) {
    for (int64_t j = 0; j < P; j++)
      svd.vt[i * P + j] = r[i * C + j] / (svd.scale[j] > 0 ? svd.scale[j] : 1.0);
    svd.ur[i] = r[i * C + P];
  }
  jacobi_svd(svd.vt, P, svd.ur);
  for (int64_t i = 0; i < P; i++) {
    double* row = svd.vt + i * P;
    double square = 0;
    for (int64_t j = 0; j < P; j++) square += row[j] * row[j];
    svd.s[i] = std::sqrt(square);
    for (int64_t j = 0; j < P; j++) row[j] = svd.s[i] > 0 ? row[j] / svd.s[i] : 0.0;
  }
  double smallest = rank_tolerance * largest(svd.s, P), total = 0;
  for (int64_t i = 0; i < P; i++)
    if (svd.s[i] > smallest) total += svd.ur[i] * svd.ur[i];
  return std::sqrt(total);
}

TrustRegionStep trust_region_step(const ScaledSvd& svd, double rank_tolerance,
                                  double radius, double* step) {
  int64_t P = svd.P;
  double smallest = rank_tolerance * largest(svd.s, P);
  TrustRegionStep result{0, 0, 0};
  // Newton's iteration for 1 / |D d| = 1 / radius, which is nearly linear in the
  // damping; it converges monotonically from below (Hebden 1973, Moré 1978).
  for (int iteration = 0; iteration < 30; iteration++) {
    double square = 0, slope = 0;
    for (int64_t i = 0; i < P; i++) {
      if (!(svd.s[i] > smallest)) continue;
      double a = svd.s[i] * svd.s[i] + result.damping, b = svd.s[i] * svd.ur[i] / a;
      square += b * b, slope += b * b / a;
    }
    result.length = std::sqrt(square);
    if (!(result.length > 1.1 * radius) || !std::isfinite(result.length)) break;
    result.damping += (result.length - radius) / radius * square / slope;
  }
  std::fill_n(step, P, 0.0);
  for (int64_t i = 0; i < P; i++) {
    if (!(svd.s[i] > smallest)) continue;
    double a = svd.s[i] * svd.s[i], b = svd.s[i] * svd.ur[i],
           c = b / (a + result.damping);
    result.predicted_reduction += 0.5 * c * c * (a + 2 * result.damping);
    for (int64_t j = 0; j < P; j++) step[j] -= c * svd.vt[i * P + j];
  }
  for (int64_t j = 0; j < P; j++)
    if (svd.scale[j] > 0) step[j] /= svd.scale[j];
  return result;
}

}  // namespace kurve
