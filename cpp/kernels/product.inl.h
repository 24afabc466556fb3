// C (M, N) = A (M, K) B (K, N), the one product behind forward (X W), backward (dZ W^T)
// and weight gradients (X^T dZ).
//
// A task is a block of rows times a panel of 2 L columns. Within it, K is cut so that
// the panel's piece of B stays in the first cache; C is loaded and stored between the
// pieces, which leaves every element one chain in the order of k. Micro-kernels hold
// `tile` rows x 2 vectors of C in registers (Goto & van de Geijn 2008).
#pragma once

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int tile = 10;
#elif defined(__AVX2__)
constexpr int tile = 6;
#else
constexpr int tile = 4;
#endif
constexpr int64_t panel = 2 * L, k_block = 256, row_block = 12 * tile;
constexpr int64_t pack_from_rows = 4 * tile;  // fewer rows do not repay the copy of B

static int64_t pieces(int64_t n, int64_t most) { return (n + most - 1) / most; }

template <int rows, int vectors>
INLINE void micro(const float* a, int64_t a_row, int64_t a_step, const float* b,
                  int64_t b_row, float* c, int64_t c_row, int64_t K, bool first) {
  vf acc[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++)
      acc[r][v] = first ? vf{} : load(c + r * c_row + v * L);
  for (int64_t k = 0; k < K; k++) {
    vf bv[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) bv[v] = load(b + v * L);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
      vf av = splat(a[r * a_row]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) acc[r][v] += av * bv[v];
    }
    a += a_step;
    b += b_row;
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) store(c + r * c_row + v * L, acc[r][v]);
}

template <int vectors>
static void micro_rows(int rows, const float* a, int64_t a_row, int64_t a_step,
                       const float* b, int64_t b_row, float* c, int64_t c_row,
                       int64_t K, bool first) {
  switch (rows) {
#define CASE(n)                                                               \
  case n:                                                                     \
    if constexpr (n <= tile) {                                                \
      if (a_row == 1)                                                         \
        return micro<n, vectors>(a, 1, a_step, b, b_row, c, c_row, K, first); \
      return micro<n, vectors>(a, a_row, 1, b, b_row, c, c_row, K, first);    \
    }                                                                         \
    break;
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10)
#undef CASE
  }
}

// L x L floats transposed in registers by log2 L rounds of interleaving.
INLINE void transpose_square(const float* from, int64_t from_row, float* to,
                             int64_t to_row) {
  vf r[L];
#pragma GCC unroll 16
  for (int i = 0; i < L; i++) r[i] = load(from + i * from_row);
#if defined(__AVX512F__)
#define LOW(a, b) \
  __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(a, b)                                                                    \
  __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, \
                          15, 31)
#elif defined(__AVX2__)
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif
#pragma GCC unroll 4
  for (int round = 1; round < L; round *= 2) {
    vf s[L];
#pragma GCC unroll 8
    for (int i = 0; i < L / 2; i++) {
      s[2 * i] = LOW(r[i], r[i + L / 2]);
      s[2 * i + 1] = HIGH(r[i], r[i + L / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < L; i++) r[i] = s[i];
  }
#undef LOW
#undef HIGH
#pragma GCC unroll 16
  for (int i = 0; i < L; i++) store(to + i * to_row, r[i]);
}

// to (depth, panel) = columns n..n+width-1 of B, rows k..k+depth-1, zeros beyond width.
static void pack(const Product& p, int64_t k, int64_t depth, int64_t n, int64_t width,
                 float* to) {
  if (!p.b_transposed) {
    const float* b = p.b + k * p.b_row + n;
    for (int64_t i = 0; i < depth; i++, b += p.b_row, to += panel) {
      store(to, load(b, width));
      store(to + L, width > L ? load(b + L, width - L) : vf{});
    }
    return;
  }
  const float* b = p.b + n * p.b_row + k;
  int64_t whole_width = width - width % L, whole_depth = depth - depth % L;
  if (width < panel)
    for (int64_t i = 0; i < depth * panel; i += L) store(to + i, vf{});
  for (int64_t j = 0; j < whole_width; j += L)
    for (int64_t i = 0; i < whole_depth; i += L)
      transpose_square(b + j * p.b_row + i, p.b_row, to + i * panel + j, panel);
  for (int64_t j = 0; j < width; j++)
    for (int64_t i = j < whole_width ? whole_depth : 0; i < depth; i++)
      to[i * panel + j] = b[j * p.b_row + i];
}

static void sum_columns(const float* b, int64_t b_row, int64_t depth, int64_t width,
                        float* sums, bool first) {
  for (int64_t j = 0; j < width; j += L) {
    vf s = first ? vf{} : load(sums + j, width - j);
    for (int64_t i = 0; i < depth; i++) s += load(b + i * b_row + j);
    store(sums + j, s, width - j);
  }
}

// What comes after the product, on rows m..m+rows-1 of a panel while they are in the
// first cache. Returns whether they are finite where that was asked.
static bool finish(const Product& p, float* c, int64_t c_row, int64_t m, int64_t rows,
                   int64_t n, int64_t width) {
  float* out = p.c + m * p.N + n;
  Block t{c, c_row, out, p.N, rows, width};
  switch (p.after) {
    case Product::activate:
      activate_block(t, p.activation, p.alpha, p.bias ? p.bias + n : nullptr,
                     p.kept ? p.kept + m * p.N + n : nullptr);
      return true;
    case Product::differentiate:
      differentiate_block(
          t, p.derivative,
          p.derivative.values ? p.derivative.values + m * p.N + n : nullptr);
      return true;
    case Product::check: {
      vf bad{};
      for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < width; j += L) {
          vf x = load(c + i * c_row + j, width - j);
          bad += x * 0.0f;
          if (c != out) store(out + i * p.N + j, x, width - j);
        }
      return !any(bad != 0.0f);
    }
    case Product::store:
      if (c != out) multiply_rows(t, nullptr);
      return true;
  }
  return true;
}

static int64_t product_tasks(const Product& p) {
  return pieces(p.M, row_block) * pieces(p.N, panel);
}

static bool product(const Product& p, int64_t task) {
  int64_t panels = pieces(p.N, panel), blocks = pieces(p.M, row_block);
  int64_t n = task % panels * panel, block = task / panels;
  int64_t m0 = p.M * block / blocks, m1 = p.M * (block + 1) / blocks;
  int64_t width = p.N - n < panel ? p.N - n : panel, rows = m1 - m0;
  int64_t tiles = pieces(rows, tile);
  bool whole = width == panel, narrow = width <= L;
  bool packs = p.b_transposed || !whole || rows >= pack_from_rows;

  alignas(64) float packed[k_block * panel];
  alignas(64) float edge[row_block * panel];
  float* c = whole ? p.c + m0 * p.N + n : edge;
  int64_t c_row = whole ? p.N : panel;
  bool finite = true;
  for (int64_t k = 0; k < p.K; k += k_block) {
    int64_t depth = p.K - k < k_block ? p.K - k : k_block;
    bool last = k + depth == p.K;
    const float* b = packed;
    int64_t b_row = panel;
    if (packs) {
      pack(p, k, depth, n, width, packed);
    } else {
      b = p.b + k * p.b_row + n;
      b_row = p.b_row;
    }
    if (p.column_sums && block == 0)
      sum_columns(b, b_row, depth, width, p.column_sums + n, k == 0);
    for (int64_t i = 0; i < tiles; i++) {
      int64_t r0 = rows * i / tiles, r1 = rows * (i + 1) / tiles;
      const float* a = p.a + (m0 + r0) * p.a_row + k * p.a_step;
      auto run = narrow ? micro_rows<1> : micro_rows<2>;
      run(int(r1 - r0), a, p.a_row, p.a_step, b, b_row, c + r0 * c_row, c_row, depth,
          k == 0);
      if (last) finite &= finish(p, c + r0 * c_row, c_row, m0 + r0, r1 - r0, n, width);
    }
  }
  return finite;
}
