// Sums of rows, softmax, dropout and normalization.
#pragma once

// Sums of `vectors` vectors of columns, the last of which has `rest` elements. Each
// column has four independent chains, so an addition need not wait for the previous
// one.
template <int vectors>
INLINE void sum_columns(const float* x, int64_t R, int64_t N, int64_t rest,
                        float* sums) {
  vf s[vectors][4] = {};
  auto add = [&](int k) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
      s[v][k] += load(x + v * L, v + 1 < vectors ? L : rest);
    x += N;
  };
  int64_t i = 0;
  for (; i + 4 <= R; i += 4)
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) add(k);
  for (; i < R; i++) add(0);
#pragma GCC unroll 4
  for (int v = 0; v < vectors; v++)
    store(sums + v * L, (s[v][0] + s[v][1]) + (s[v][2] + s[v][3]),
          v + 1 < vectors ? L : rest);
}

// The same in blocks of rows, which are added in float64.
template <int vectors>
static void sum_blocks(const float* x, int64_t R, int64_t N, int64_t rest,
                       float* sums) {
  constexpr int64_t block = 256;
  if (R <= block) return sum_columns<vectors>(x, R, N, rest, sums);
  alignas(64) float part[vectors * L] = {};
  vd total[vectors] = {};
  for (int64_t i = 0; i < R; i += block) {
    sum_columns<vectors>(x + i * N, min(block, R - i), N, rest, part);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) total[v] += widened(load(part + v * L));
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; v++)
    store(sums + v * L, narrowed(total[v]), v + 1 < vectors ? L : rest);
}

// Rows of a large x are far apart, so several vectors are read from each.
static void sum_rows(const float* x, int64_t R, int64_t N, int64_t n, int64_t count,
                     float* sums) {
  constexpr int across = L == 16 ? 4 : 2;  // as many as keep their sums in registers
  int64_t j = 0;
  for (; j + across * L <= count; j += across * L)
    sum_blocks<across>(x + n + j, R, N, L, sums + j);
  for (; j < count; j += L) sum_blocks<1>(x + n + j, R, N, count - j, sums + j);
}

static bool in_safe_range(const float* x, int64_t n) {
  vi may_overflow{};
  for (int64_t j = 0; j < n; j += L)
    may_overflow |= ~(abs(load(x + j, n - j)) <= safe_factor);
  return !any(may_overflow);
}

// y = e^(x - max x) / sum, over the O elements of each row; the order of the sum
// depends on O only.
static void softmax_forward(const float* x, float* y, int64_t rows, int64_t O) {
  for (int64_t i = 0; i < rows; i++, x += O, y += O) {
    vf m = splat(-__builtin_inff());
    LongSum s;
    for (int64_t j = 0; j < O; j += L) m = max(load(x + j, O - j, x[0]), m);
    float top = largest(m);
    for (int64_t j = 0; j < O; j += L) {
      vf e = exp(load(x + j, O - j, -__builtin_inff()) - top);
      s.add(e);
      store(y + j, e, O - j);
    }
    vf total = splat(float(s.total()));
    for (int64_t j = 0; j < O; j += L) store(y + j, load(y + j, O - j) / total, O - j);
  }
}

// dx = y (dy - sum of dy y).
static void softmax_backward(const float* y, const float* dy, float* dx, int64_t rows,
                             int64_t O) {
  for (int64_t i = 0; i < rows; i++, y += O, dy += O, dx += O) {
    LongSum s;
    for (int64_t j = 0; j < O; j += L) s.add(load(y + j, O - j) * load(dy + j, O - j));
    vf dot = splat(float(s.total()));
    for (int64_t j = 0; j < O; j += L)
      store(dx + j, load(y + j, O - j) * (load(dy + j, O - j) - dot), O - j);
  }
}

struct Words {
  vu first, second;
};

// Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011), L / 2 blocks of four words at a
// time; as kurve.core.rng.philox. Each 32-bit number is in a 64-bit lane.
INLINE Words philox(const Dropout& d, uint64_t block) {
  vq c0 = vq{} + block, c1 = vq{} + d.purpose, c2 = vq{} + (d.stream & 0xffffffffu),
     c3 = vq{} + (d.stream >> 32);
  for (int i = 0; i < L / 2; i++) c0[i] += uint64_t(i);
  uint32_t k0 = uint32_t(d.seed), k1 = uint32_t(d.seed >> 32);
  for (int round = 0; round < 10; round++) {
    vq p0 = multiply_low(c0, vq{} + 0xD2511F53u);
    vq p1 = multiply_low(c2, vq{} + 0xCD9E8D57u);
    c0 = (p1 >> 32) ^ c1 ^ k0;
    c2 = (p0 >> 32) ^ c3 ^ k1;
    c1 = p1 & 0xffffffffu;
    c3 = p0 & 0xffffffffu;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  vq low = c0 | c1 << 32, high = c2 | c3 << 32;
#if defined(__AVX512F__)
  vq first = __builtin_shufflevector(low, high, 0, 8, 1, 9, 2, 10, 3, 11);
  vq second = __builtin_shufflevector(low, high, 4, 12, 5, 13, 6, 14, 7, 15);
#elif defined(__AVX2__)
  vq first = __builtin_shufflevector(low, high, 0, 4, 1, 5);
  vq second = __builtin_shufflevector(low, high, 2, 6, 3, 7);
#else
  vq first = __builtin_shufflevector(low, high, 0, 2);
  vq second = __builtin_shufflevector(low, high, 1, 3);
#endif
  return {reinterpret_cast<vu>(first), reinterpret_cast<vu>(second)};
}

static void dropout(const Dropout& d, const float* x, float* y, float* saved,
                    int64_t first, int64_t n) {
  for (int64_t i = 0; i < n; i += 2 * L) {
    Words words = philox(d, uint64_t(first + i) / 4);
    for (int half = 0; half < 2; half++) {
      int64_t j = i + half * L, rest = n - j;
      if (rest <= 0) break;
      vu word = half ? words.second : words.first;
      vf k = word >= d.threshold ? splat(d.scale) : splat(0.0f);
      store(saved + j, k, rest);
      store(y + j, load(x + j, rest) * k, rest);
    }
  }
}

INLINE vf stddev(const Normalization& p, int64_t j) {
  // Beyond the last element the variance counts as 1.
  return max(sqrt(load(p.variance + j, p.C - j, 1)), splat(p.epsilon));
}

// y = (x - mean) / sd, or mean + x sd where inverted; sd = max(sqrt(variance),
// epsilon).
static void normalize(const Normalization& p, const float* x, float* y, int64_t rows) {
  for (int64_t i = 0; i < rows; i++, x += p.C, y += p.C)
    for (int64_t j = 0; j < p.C; j += L) {
      int64_t n = p.C - j;
      vf v = load(x + j, n), mean = load(p.mean + j, n), sd = stddev(p, j);
      store(y + j, p.invert ? mean + v * sd : (v - mean) / sd, n);
    }
}

static void normalize_backward(const Normalization& p, const float* dy, float* dx,
                               int64_t rows) {
  for (int64_t i = 0; i < rows; i++, dy += p.C, dx += p.C)
    for (int64_t j = 0; j < p.C; j += L) {
      vf v = load(dy + j, p.C - j), sd = stddev(p, j);
      store(dx + j, p.invert ? v * sd : v / sd, p.C - j);
    }
}
