// Linear algebra in float64, by panels: K contiguous rows of `strip` numbers; missing
// columns are zero. Everything is built on one product, C += or -= A^T B of two panels:
// J^T J, and with it the Cholesky factorization A = R^T R, because rows of J and of R
// are contiguous.
#pragma once

constexpr int64_t strip = L;
constexpr int64_t tile_rows =
    D < 4 ? 4 : D;  // rows of C in registers, two vectors each

typedef float vh_memory __attribute__((vector_size(L * 2), aligned(4), may_alias));

INLINE vw load64(const double* p) { return load(p); }
INLINE vw load64(const float* p) {
  return __builtin_convertvector(*reinterpret_cast<const vh_memory*>(p), vw);
}

template <bool minus>
INLINE void panel_tile(const double* a, int64_t a_row, const double* b, double* c,
                       int64_t c_row, int64_t K) {
  vw acc[tile_rows][2];
#pragma GCC unroll 8
  for (int r = 0; r < tile_rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) acc[r][v] = load64(c + r * c_row + v * D);
  for (int64_t k = 0; k < K; k++) {
    vw b0 = load64(b), b1 = load64(b + D);
#pragma GCC unroll 8
    for (int r = 0; r < tile_rows; r++) {
      vw av = a[r] - vw{};
      if constexpr (minus) {
        acc[r][0] -= av * b0;
        acc[r][1] -= av * b1;
      } else {
        acc[r][0] += av * b0;
        acc[r][1] += av * b1;
      }
    }
    a += a_row;
    b += strip;
  }
#pragma GCC unroll 8
  for (int r = 0; r < tile_rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) store(c + r * c_row + v * D, acc[r][v]);
}

// C (rows, columns) += or -= A^T B, both up to `strip`; each element is one chain in
// the order of k.
template <bool minus>
static void panel_product(const double* a, const double* b, double* c, int64_t c_row,
                          int64_t rows, int64_t columns, int64_t K) {
  for (int64_t r = 0; r < rows; r += tile_rows) {
    double* to = c + r * c_row;
    int64_t count = min(tile_rows, rows - r);
    if (count == tile_rows && columns == strip) {
      panel_tile<minus>(a + r, strip, b, to, c_row, K);
      continue;
    }
    alignas(64) double edge[tile_rows * strip] = {};
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < columns; j++) edge[i * strip + j] = to[i * c_row + j];
    panel_tile<minus>(a + r, strip, b, edge, strip, K);
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < columns; j++) to[i * c_row + j] = edge[i * strip + j];
  }
}
static void panel_add(const double* a, const double* b, double* c, int64_t c_row,
                      int64_t rows, int64_t columns, int64_t K) {
  panel_product<false>(a, b, c, c_row, rows, columns, K);
}
static void panel_subtract(const double* a, const double* b, double* c, int64_t c_row,
                           int64_t rows, int64_t columns, int64_t K) {
  panel_product<true>(a, b, c, c_row, rows, columns, K);
}

// panel[k][j] = sqrt_weights[k] x[k][columns[j]], j < count.
static void panel_gather(const float* x, int64_t x_row, const int64_t* columns,
                         int64_t count, const double* sqrt_weights, double* panel,
                         int64_t K) {
  bool run = count == strip && columns[count - 1] - columns[0] == strip - 1;
  for (int64_t k = 0; k < K; k++, x += x_row, panel += strip) {
    if (run) {
      const float* from = x + columns[0];
      store(panel, load64(from) * sqrt_weights[k]);
      store(panel + D, load64(from + D) * sqrt_weights[k]);
      continue;
    }
    for (int64_t j = 0; j < count; j++)
      panel[j] = double(x[columns[j]]) * sqrt_weights[k];
    for (int64_t j = count; j < strip; j++) panel[j] = 0;
  }
}

// Copies columns of x to a panel, or back if `back`.
static void panel_copy(double* x, int64_t x_row, int64_t count, double* panel,
                       int64_t K, bool back) {
  for (int64_t k = 0; k < K; k++, x += x_row, panel += strip)
    if (back) {
      for (int64_t j = 0; j < count; j++) x[j] = panel[j];
    } else {
      for (int64_t j = 0; j < strip; j++) panel[j] = j < count ? x[j] : 0;
    }
}

// Solves R^T X = panel (K, strip) in place; R (K, K) is upper triangular.
static void panel_solve(const double* r, int64_t r_row, double* panel, int64_t K) {
  for (int64_t k = 0; k < K; k += tile_rows) {
    int64_t count = min(tile_rows, K - k), done = 0;
    double* x = panel + k * strip;
    if (count == tile_rows) {
      panel_tile<true>(r + k, r_row, panel, x, strip, k);
      done = k;
    }
    for (int64_t i = 0; i < count; i++, x += strip) {
      vw x0 = load64(x), x1 = load64(x + D);
      const double* column = r + k + i;
      for (int64_t l = done; l < k + i; l++) {
        x0 -= column[l * r_row] * load64(panel + l * strip);
        x1 -= column[l * r_row] * load64(panel + l * strip + D);
      }
      store(x, x0 / column[(k + i) * r_row]);
      store(x + D, x1 / column[(k + i) * r_row]);
    }
  }
}

// A = R^T R in place, upper triangle: n rows, a_row numbers apart; a_row is a multiple
// of D and at least n. Returns the first row whose pivot is not positive, or n.
static int64_t cholesky(double* a, int64_t a_row, int64_t n) {
  for (int64_t k = 0; k < n; k++) {
    double* row = a + k * a_row;
    double pivot = row[k];
    if (!(pivot > 0 && pivot <= __DBL_MAX__)) return k;
    double root = __builtin_sqrt(pivot);
    for (int64_t j = k / D * D; j < n; j += D) store(row + j, load64(row + j) / root);
    for (int64_t i = k + 1; i < n; i++) {
      double* other = a + i * a_row;
      for (int64_t j = i / D * D; j < n; j += D)
        store(other + j, load64(other + j) - row[i] * load64(row + j));
    }
  }
  return n;
}

// Four vectors of sums side by side: the order depends on n only.
template <class T>
INLINE double dot_any(const T* x, const double* y, int64_t n) {
  vw s[4] = {};
  int64_t i = 0;
  for (; i + 4 * D <= n; i += 4 * D)
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) s[v] += load64(x + i + v * D) * load64(y + i + v * D);
  for (; i + D <= n; i += D) s[0] += load64(x + i) * load64(y + i);
  vw all = (s[0] + s[1]) + (s[2] + s[3]);
  double total = 0;
  for (int l = 0; l < D; l++) total += all[l];
  for (; i < n; i++) total += double(x[i]) * y[i];
  return total;
}
static double dot64(const double* x, const double* y, int64_t n) {
  return dot_any(x, y, n);
}
static double dot_row(const float* x, const double* y, int64_t n) {
  return dot_any(x, y, n);
}

// y += factor x.
template <class T>
INLINE void add_any(double* y, double factor, const T* x, int64_t n) {
  int64_t i = 0;
  for (; i + D <= n; i += D) store(y + i, load64(y + i) + factor * load64(x + i));
  for (; i < n; i++) y[i] += factor * double(x[i]);
}
static void add64(double* y, double factor, const double* x, int64_t n) {
  add_any(y, factor, x, n);
}
static void add_row(double* y, double factor, const float* x, int64_t n) {
  add_any(y, factor, x, n);
}
