// Standardization by columns (of a batch) and by rows (of a sample), and fixed scales.
#pragma once

// Per column of rows (rows, C): the sum of x, or of (x - mean)^2 where mean is given.
static void column_moments(const float* x, int64_t rows, int64_t C, const double* mean,
                           double* sums) {
  for (int64_t j = 0; j < C; j += L) {
    const int64_t n = C - j;
    vd m{}, s[2] = {};
    if (mean) __builtin_memcpy(&m, mean + j, uint64_t(n < L ? n : L) * 8);
    for (int64_t i = 0; i < rows; i++) {
      vd v = __builtin_convertvector(load(x + i * C + j, n), vd);
      if (mean) v = (v - m) * (v - m);
      s[i % 2] += v;
    }
    s[0] += s[1];
    __builtin_memcpy(sums + j, &s[0], uint64_t(n < L ? n : L) * 8);
  }
}

INLINE vf load_or(const float* p, int64_t j, int64_t n, float otherwise) {
  return p ? load(p + j, n) : splat(otherwise);
}

static void standardize_columns(const NormParams& p, const float* x, float* y,
                                int64_t rows) {
  for (int64_t j = 0; j < p.C; j += L) {
    const int64_t n = p.C - j;
    vf mean = load(p.mean + j, n), slope = load(p.slope + j, n);
    vf gamma = load_or(p.gamma, j, n, 1), beta = load_or(p.beta, j, n, 0);
    for (int64_t i = 0; i < rows; i++) {
      vf standard = (load(x + i * p.C + j, n) - mean) * slope;
      store(y + i * p.C + j, standard * gamma + beta, n);
    }
  }
}

// sums (2, C): of dy x^, and of dy.
static void column_gradients(const NormParams& p, const float* x, const float* dy,
                             int64_t rows, double* sums) {
  for (int64_t j = 0; j < p.C; j += L) {
    const int64_t n = p.C - j;
    const uint64_t bytes = uint64_t(n < L ? n : L) * 8;
    vf mean = load(p.mean + j, n), slope = load(p.slope + j, n);
    vd s[2] = {};
    for (int64_t i = 0; i < rows; i++) {
      vf standard = (load(x + i * p.C + j, n) - mean) * slope;
      vf d = load(dy + i * p.C + j, n);
      s[0] += __builtin_convertvector(d * standard, vd);
      s[1] += __builtin_convertvector(d, vd);
    }
    __builtin_memcpy(sums + j, &s[0], bytes);
    __builtin_memcpy(sums + p.C + j, &s[1], bytes);
  }
}

// dx = gamma slope (dy - m_1 - x^ m_0), means (2, C) of dy x^ and of dy; without means
// dx = gamma slope dy.
static void columns_backward(const NormParams& p, const float* means, const float* x,
                             const float* dy, float* dx, int64_t rows) {
  for (int64_t j = 0; j < p.C; j += L) {
    const int64_t n = p.C - j;
    vf mean = load(p.mean + j, n), slope = load(p.slope + j, n);
    vf factor = load_or(p.gamma, j, n, 1) * slope;
    vf by_variance = load_or(means, j, n, 0);
    vf by_mean = load_or(means, p.C + j, n, 0);
    for (int64_t i = 0; i < rows; i++) {
      vf d = load(dy + i * p.C + j, n);
      if (means)
        d = d - by_mean - (load(x + i * p.C + j, n) - mean) * slope * by_variance;
      store(dx + i * p.C + j, d * factor, n);
    }
  }
}

// Rows of C elements; writes mean and slope (rows,) of each.
static void standardize_rows(const NormParams& p, float epsilon, const float* x,
                             float* y, int64_t rows, float* means, float* slopes) {
  for (int64_t i = 0; i < rows; i++, x += p.C, y += p.C) {
    vd s{};
    for (int64_t j = 0; j < p.C; j += L)
      s += __builtin_convertvector(load(x + j, p.C - j), vd);
    double mean = sum(s) / double(p.C);
    vd squares{}, m = vd{} + mean;
    for (int64_t j = 0; j < p.C; j += L) {
      vd v = __builtin_convertvector(load(x + j, p.C - j), vd) - m;
      if (p.C - j < L)
        for (int64_t k = p.C - j; k < L; k++) v[k] = 0;
      squares += v * v;
    }
    means[i] = float(mean);
    slopes[i] = float(
        1.0 / __builtin_sqrt(double(float(sum(squares) / double(p.C)) + epsilon)));
    vf at = splat(means[i]), slope = splat(slopes[i]);
    for (int64_t j = 0; j < p.C; j += L) {
      const int64_t n = p.C - j;
      vf standard = (load(x + j, n) - at) * slope;
      store(y + j, standard * load_or(p.gamma, j, n, 1) + load_or(p.beta, j, n, 0), n);
    }
  }
}

// dx, where wanted, of rows with their means and slopes, and sums (2, C) += the
// gradients of gamma and beta, where wanted.
static void rows_backward(const NormParams& p, const float* x, const float* dy,
                          float* dx, int64_t rows, const float* means,
                          const float* slopes, double* sums) {
  for (int64_t i = 0; i < rows; i++, x += p.C, dy += p.C) {
    vf at = splat(means[i]), slope = splat(slopes[i]);
    vd by_mean{}, by_variance{};
    for (int64_t j = 0; j < p.C; j += L) {
      const int64_t n = p.C - j;
      vf d = load(dy + j, n), standard = (load(x + j, n) - at) * slope;
      vf scaled = d * load_or(p.gamma, j, n, 1);
      by_mean += __builtin_convertvector(scaled, vd);
      by_variance += __builtin_convertvector(scaled * standard, vd);
      if (!sums) continue;
      vd more[2] = {__builtin_convertvector(d * standard, vd),
                    __builtin_convertvector(d, vd)};
      for (int k = 0; k < 2; k++)
        for (int64_t l = 0; l < (n < L ? n : L); l++)
          sums[k * p.C + j + l] += more[k][l];
    }
    if (!dx) continue;
    vf m = splat(float(sum(by_mean) / double(p.C)));
    vf v = splat(float(sum(by_variance) / double(p.C)));
    for (int64_t j = 0; j < p.C; j += L) {
      const int64_t n = p.C - j;
      vf standard = (load(x + j, n) - at) * slope;
      vf scaled = load(dy + j, n) * load_or(p.gamma, j, n, 1);
      store(dx + j, (scaled - m - standard * v) * slope, n);
    }
    dx += p.C;
  }
}

// y = x scale + offset, both repeating after C elements; a null offset is zero.
static void affine(const float* scale, const float* offset, int64_t C, const float* x,
                   float* y, int64_t n) {
  for (; n > 0; x += C, y += C, n -= C)
    for (int64_t j = 0; j < min(n, C); j += L) {
      const int64_t rest = min(n, C) - j;
      vf v = load(x + j, rest) * load(scale + j, rest);
      store(y + j, offset ? v + load(offset + j, rest) : v, rest);
    }
}
