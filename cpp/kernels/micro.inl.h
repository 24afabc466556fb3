// The micro-kernels of a product: register tiles, dot products, and transposition in
// registers.
#pragma once

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int tile = 10, skinny_vectors = 8;  // of 32 registers
#elif defined(__AVX2__)
constexpr int tile = 6, skinny_vectors = 4;
#else
constexpr int tile = 4, skinny_vectors = 4;
#endif
// With so few rows, the registers hold `wide` vectors of each.
constexpr int64_t skinny_rows = 3;

// How a chain of additions starts and ends: from zero, from C, or from zero and then
// added to C.
enum class Chain { start, resume, accumulate };

// C (rows, vectors L) = or += A (rows, K) B (K, vectors L), with C in registers.
// extra(k) is called once per step to do other work on units that the chains leave
// idle.
template <int rows, int vectors, class Extra>
INLINE void micro(const float* a, int64_t a_row, int64_t a_step, const float* b,
                  int64_t b_row, float* c, int64_t c_row, int64_t K, Chain chain,
                  const Extra& extra) {
  vf acc[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
      acc[r][v] = chain == Chain::resume ? load(c + r * c_row + v * L) : vf{};
  for (int64_t k = 0; k < K; k++) {
    vf bv[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
      bv[v] = load(b + v * L);
      // Rows of an unpacked B are too far apart for the hardware prefetcher.
      if (rows >= 4) __builtin_prefetch(b + 32 * b_row + v * L);
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
      vf av = splat(a[r * a_row]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; v++) acc[r][v] += av * bv[v];
    }
    extra(k);
    a += a_step;
    b += b_row;
  }
  if (chain == Chain::accumulate)
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; v++) acc[r][v] += load(c + r * c_row + v * L);
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) store(c + r * c_row + v * L, acc[r][v]);
}

template <int vectors>
static void micro_rows(int rows, const float* a, int64_t a_row, int64_t a_step,
                       const float* b, int64_t b_row, float* c, int64_t c_row,
                       int64_t K, Chain chain) {
  auto none = [](int64_t) {};
  switch (rows) {
#define CASE(n)                                                                     \
  case n:                                                                           \
    if constexpr (n <= (vectors > 2 ? skinny_rows : tile)) {                        \
      if (a_row == 1)                                                               \
        return micro<n, vectors>(a, 1, a_step, b, b_row, c, c_row, K, chain, none); \
      return micro<n, vectors>(a, a_row, 1, b, b_row, c, c_row, K, chain, none);    \
    }                                                                               \
    break;
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10)
#undef CASE
  }
}

// Interleaves two vectors.
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

// Transposes L x L floats in registers by log2 L rounds of interleaving.
INLINE void transpose_square(const float* from, int64_t from_row, float* to,
                             int64_t to_row) {
  vf r[L];
#pragma GCC unroll 16
  for (int i = 0; i < L; i++) r[i] = load(from + i * from_row);
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
#pragma GCC unroll 16
  for (int i = 0; i < L; i++) store(to + i * to_row, r[i]);
}

// Lane i of the result is the sum of r[i]: the rounds of a transposition, with
// additions.
INLINE vf sums_of(vf (&r)[L]) {
#pragma GCC unroll 4
  for (int half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; i++)
      r[i] = LOW(r[i], r[i + half]) + HIGH(r[i], r[i + half]);
  return r[0];
}
#undef LOW
#undef HIGH

// The number of terms of one chain in a lane; chains are then added to each other.
constexpr int64_t lane_chain = 256 * L;

// C[r][j] = sum of A[r][k] B[j][k] over k, first per lane and then over the lanes: an
// order that depends on K only. Only the first `columns` columns are stored.
template <int rows, bool is_long>
INLINE void dot_tile(const float* a, int64_t a_row, const float* b, int64_t b_row,
                     float* c, int64_t c_row, int64_t columns, int64_t K) {
  constexpr int across = L / (rows == 3 ? 4 : rows);
  vf acc[L] = {}, whole[is_long ? L : 1] = {};
  const float* column[across];
  for (int j = 0; j < across; j++)
    column[j] = b + (j < columns ? j : columns - 1) * b_row;
  auto add = [&](int64_t k, int64_t n) __attribute__((always_inline)) {
    vf av[rows];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) av[r] = load(a + r * a_row + k, n);
#pragma GCC unroll 16
    for (int j = 0; j < across; j++) {
      vf bv = load(column[j] + k, n);
#pragma GCC unroll 4
      for (int r = 0; r < rows; r++) acc[r * across + j] += av[r] * bv;
    }
  };
  int64_t k = 0;
  for (int64_t end = lane_chain; is_long && end < K; end += lane_chain) {
    for (; k < end; k += L) add(k, L);
    for (int i = 0; i < L; i++) {
      whole[i] += acc[i];
      acc[i] = vf{};
    }
  }
  for (; k + L <= K; k += L) add(k, L);
  if (k < K) add(k, K - k);
  for (int i = 0; is_long && i < L; i++) acc[i] += whole[i];
  alignas(64) float sums[L];
  store(sums, sums_of(acc));
  for (int r = 0; r < rows; r++) {
    float* to = c + r * c_row;
    if (columns >= across)
      __builtin_memcpy(to, sums + r * across, across * sizeof(float));
    else
      for (int j = 0; j < columns; j++) to[j] = sums[r * across + j];
  }
}

template <int rows, bool is_long>
static void dot_columns(const float* a, int64_t a_row, const float* b, int64_t b_row,
                        float* c, int64_t c_row, int64_t M, int64_t N, int64_t K) {
  constexpr int64_t across = L / (rows == 3 ? 4 : rows);
  for (int64_t n = 0; n < N; n += across)
    for (int64_t m = 0; m + rows <= M; m += rows)
      dot_tile<rows, is_long>(a + m * a_row, a_row, b + n * b_row, b_row,
                              c + m * c_row + n, c_row, N - n, K);
}

template <bool is_long>
static void dots_of(const float* a, int64_t a_row, const float* b, int64_t b_row,
                    float* c, int64_t c_row, int64_t M, int64_t N, int64_t K) {
  if (M >= 4) dot_columns<4, is_long>(a, a_row, b, b_row, c, c_row, M, N, K);
  int64_t done = M - M % 4;
  auto rest = M % 4 == 1   ? dot_columns<1, is_long>
              : M % 4 == 2 ? dot_columns<2, is_long>
                           : dot_columns<3, is_long>;
  if (M % 4)
    rest(a + done * a_row, a_row, b, b_row, c + done * c_row, c_row, M % 4, N, K);
}

// C (M, N) = A (M, K) B^T, B (N, K): the rows of B are read in place.
static void dots(const float* a, int64_t a_row, const float* b, int64_t b_row, float* c,
                 int64_t c_row, int64_t M, int64_t N, int64_t K) {
  auto run = K > lane_chain ? dots_of<true> : dots_of<false>;
  run(a, a_row, b, b_row, c, c_row, M, N, K);
}
