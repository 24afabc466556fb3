#include "linear.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>

#include "dispatch.h"
#include "pool.h"

namespace kurve {

namespace {

constexpr int64_t depth = 128;  // rows of J that are packed at a time
constexpr int64_t block = 64;   // rows of a factor that are made at a time
constexpr int64_t side = 64;    // columns of a task's piece of a product

// On busy cores, waiting for another thread costs milliseconds: less work than this
// many multiply-adds (half a millisecond) stays on one thread.
constexpr int64_t parallel_from_work = 10'000'000;

template <class Body>
void parallel_if_large(int64_t tasks, int64_t work, Body&& body) {
  parallel(tasks, work < parallel_from_work ? 0 : work, body);
}

int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

struct Free {
  void operator()(double* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<double[], Free>;

Buffer allocate(int64_t n) {
  auto bytes = size_t(pieces(std::max<int64_t>(n, 1), 8) * 64);
  Buffer memory(static_cast<double*>(std::aligned_alloc(64, bytes)));
  if (!memory) throw std::bad_alloc();
  return memory;
}

// Panels of a matrix, all of `depth` rows.
struct Panels {
  Panels(const Kernels& k, int64_t columns, int64_t K)
      : strip(k.lanes),
        columns(columns),
        count(pieces(columns, strip)),
        size(K * strip),
        memory(allocate(count * size)) {}
  double* at(int64_t p) const { return memory.get() + p * size; }
  int64_t width(int64_t p) const { return std::min(strip, columns - p * strip); }
  int64_t groups() const { return pieces(count, per_group()); }
  int64_t per_group() const { return side / strip; }

  int64_t strip, columns, count, size;
  Buffer memory;
};

using PanelProduct = decltype(Kernels::panel_add);

// C += or -= A^T B, panel by panel; where `upper`, A is B and only panels from the
// diagonal on are computed.
void multiply(PanelProduct product, const Panels& a, int64_t a_count, const Panels& b,
              int64_t b_count, bool upper, double* c, int64_t c_row, int64_t K) {
  int64_t each = a.per_group();
  int64_t down = pieces(a_count, each), across = pieces(b_count, each);
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

// Copies a block on the diagonal into rows of `block` numbers.
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
  parallel_if_large(pieces(j.row, width), 4 * j.n * j.row, [&](int64_t task) {
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
  parallel_if_large(pieces(j.n, height), 4 * j.n * j.row, [&](int64_t task) {
    for (int64_t i = task * height; i < std::min((task + 1) * height, j.n); i++)
      out[i] = j.sqrt_weights[i] * k.dot_row(j.rows + i * j.row, all.get(), j.row);
  });
}

double dot(const double* x, const double* y, int64_t n) {
  return kernels().dot64(x, y, n);
}

double quadratic(const double* a, const double* d, int64_t P) {
  const Kernels& k = kernels();
  double total = 0;
  for (int64_t i = 0; i < P; i++) {
    const double* row = a + i * P + i;
    total += d[i] * (row[0] * d[i] + 2 * k.dot64(row + 1, d + i + 1, P - i - 1));
  }
  return total;
}

int64_t factor(double* a, int64_t P) {
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
    int64_t count = pieces(panels.columns, panels.strip);
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

void solve(const double* r, double* x, int64_t P) {
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

// V = R^-T by substitution, block of rows by block. Since (R^T R)^-1 = V^T V, only the
// sums of squares of V's columns are needed, so V is not kept.
void inverse_diagonal(const double* r, double* diagonal, int64_t P) {
  const Kernels& k = kernels();
  Buffer corner = allocate(block * block), rest = allocate(P * P);
  Panels left(k, P, block), right(k, P, block);
  int64_t strip = left.strip;
  std::fill_n(diagonal, P, 0.0);
  for (int64_t i = 0; i < P; i++) {
    // V's columns right of a block are zero in its rows.
    int64_t used = std::min((i / block + 1) * block, P);
    std::fill_n(rest.get() + i * P, used, 0.0);
    rest[size_t(i * P + i)] = 1.0;
  }
  for (int64_t first = 0; first < P; first += block) {
    int64_t K = std::min(block, P - first), next = first + K;
    copy_block(r + first * P + first, P, K, corner.get());
    left.columns = P - next, right.columns = next;
    int64_t left_panels = pieces(left.columns, strip),
            right_panels = pieces(next, strip);
    parallel_if_large(right_panels, K * K * next, [&](int64_t p) {
      double* panel = right.at(p);
      k.panel_copy(rest.get() + first * P + p * strip, P, right.width(p), panel, K,
                   false);
      k.panel_solve(corner.get(), block, panel, K);
      for (int64_t i = 0; i < K; i++)
        for (int64_t c = 0; c < right.width(p); c++) {
          double v = panel[i * strip + c];
          diagonal[p * strip + c] += v * v;
        }
    });
    parallel_if_large(left_panels, 4 * K * left.columns, [&](int64_t p) {
      k.panel_copy(const_cast<double*>(r) + first * P + next + p * strip, P,
                   left.width(p), left.at(p), K, false);
    });
    multiply(k.panel_subtract, left, left_panels, right, right_panels, false,
             rest.get() + next * P, P, K);
  }
}

// Householder reflections of a block of rows against the triangle so far, block by
// block: the working set stays in the L1 cache, and the zeros of the triangle are used.
void triangle(const double* columns, const double* units, int64_t C, int64_t n,
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
      double now = row[i] > 0 ? -norm : norm, v = row[i] - now;  // without cancellation
      row[i] = now;
      for (int64_t j = i + 1; j < C; j++) {
        double* y = block.get() + j * height;
        double factor = (v * row[j] + k.dot64(x, y, K)) / now;
        row[j] += factor;
        k.add64(y, factor / v, x, K);
      }
    }
  }
  std::fill_n(norms, C, 0.0);
  for (int64_t i = 0; i < C; i++)
    for (int64_t j = i; j < C; j++) {
      double a = r[i * C + j] *= units[j];
      norms[j] += a * a;
    }
  for (int64_t j = 0; j < C; j++) norms[j] = std::sqrt(norms[j]);
}

namespace {

// One-sided Jacobi: pairs of rows are rotated until all are orthogonal (Hestenes 1958);
// small singular values are as accurate as large ones. rows (P, P) of A become those of
// diag(s) V^T, and q (P,) becomes U^T q.
void orthogonalize_rows(double* rows, int64_t P, double* q) {
  constexpr int sweeps = 60;
  constexpr double orthogonal = 2e-15;
  bool rotated = true;
  for (int sweep = 0; rotated && sweep < sweeps; sweep++) {
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
  double largest = 0;
  for (int64_t i = 0; i < P; i++) largest = std::max(largest, s[i]);
  return largest;
}

}  // namespace

double scaled_svd(const double* r, double tolerance, const ScaledSvd& t) {
  int64_t P = t.P, C = P + 1;
  for (int64_t i = 0; i < P; i++) {
    for (int64_t j = 0; j < P; j++)
      t.vt[i * P + j] = r[i * C + j] / (t.scale[j] > 0 ? t.scale[j] : 1.0);
    t.ur[i] = r[i * C + P];
  }
  orthogonalize_rows(t.vt, P, t.ur);
  for (int64_t i = 0; i < P; i++) {
    double* row = t.vt + i * P;
    double square = 0;
    for (int64_t j = 0; j < P; j++) square += row[j] * row[j];
    t.s[i] = std::sqrt(square);
    for (int64_t j = 0; j < P; j++) row[j] = t.s[i] > 0 ? row[j] / t.s[i] : 0.0;
  }
  double smallest = tolerance * largest(t.s, P), total = 0;
  for (int64_t i = 0; i < P; i++)
    if (t.s[i] > smallest) total += t.ur[i] * t.ur[i];
  return std::sqrt(total);
}

TrustStep step_within(const ScaledSvd& t, double tolerance, double radius,
                      double* step) {
  int64_t P = t.P;
  double smallest = tolerance * largest(t.s, P);
  TrustStep move{0, 0, 0};
  // Newton's iteration for 1 / |D d| = 1 / radius, convex in the damping (Hebden 1973,
  // Moré 1978), which it approaches from below.
  for (int iteration = 0; iteration < 30; iteration++) {
    double square = 0, slope = 0;
    for (int64_t i = 0; i < P; i++) {
      if (!(t.s[i] > smallest)) continue;
      double a = t.s[i] * t.s[i] + move.damping, b = t.s[i] * t.ur[i] / a;
      square += b * b, slope += b * b / a;
    }
    move.length = std::sqrt(square);
    if (!(move.length > 1.1 * radius) || !std::isfinite(move.length)) break;
    move.damping += (move.length - radius) / radius * square / slope;
  }
  std::fill_n(step, P, 0.0);
  for (int64_t i = 0; i < P; i++) {
    if (!(t.s[i] > smallest)) continue;
    double a = t.s[i] * t.s[i], b = t.s[i] * t.ur[i], c = b / (a + move.damping);
    move.predicted += 0.5 * c * c * (a + 2 * move.damping);
    for (int64_t j = 0; j < P; j++) step[j] -= c * t.vt[i * P + j];
  }
  for (int64_t j = 0; j < P; j++)
    if (t.scale[j] > 0) step[j] /= t.scale[j];
  return move;
}

}  // namespace kurve
