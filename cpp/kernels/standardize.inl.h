// Standardization by columns (of a batch) and by rows (of a sample), and fixed scales.
#pragma once

// For each column of x (rows, C): the sum of x, or of (x - mean)^2 if mean is given.
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
    vf mean = load(p.mean + j, n), inv_std = load(p.inv_std + j, n);
    vf gamma = load_or(p.gamma, j, n, 1), beta = load_or(p.beta, j, n, 0);
    for (int64_t i = 0; i < rows; i++) {
      vf standard = (load(x + i * p.C + j, n) - mean) * inv_std;
      store(y + i * p.C + j, standard * gamma + beta, n);
    }
  }
}

// sums (2, C): of dy x^ and of dy.
static void column_gradients(const NormParams& p, const float* x, const float* dy,
                             int64_t rows, double* sums) {
  for (int64_t j = 0; j < p.C; j += L) {
    const int64_t n = p.C - j;
    const uint64_t bytes = uint64_t(n < L ? n : L) * 8;
    vf mean = load(p.mean + j, n), inv_std = load(p.inv_std + j, n);
    vd s[2] = {};
    for (int64_t i = 0; i < rows; i++) {
      vf standard = (load(x + i * p.C + j, n) - mean) * inv_std;
      vf d = load(dy + i * p.C + j, n);
      s[0] += __builtin_convertvector(d * standard, vd);
      s[1] += __builtin_convertvector(d, vd);
    }
    __builtin_memcpy(sums + j, &s[0], bytes);
    __builtin_memcpy(sums + p.C + j, &s[1], bytes);
  }
}

// dx = gamma inv_std (dy - m_1 - x^ m_0), with the means m (2, C) of dy x^ and of dy;
// without means, dx = gamma inv_std dy.
static void columns_backward(const NormParams& p, const float* means, const float* x,
                             const float* dy, float* dx, int64_t rows) {
  for (int64_t j = 0; j < p.C; j += L) {
    const int64_t n = p.C - j;
    vf mean = load(p.mean + j, n), inv_std = load(p.inv_std + j, n);
    vf factor = load_or(p.gamma, j, n, 1) * inv_std;
    vf by_variance = load_or(means, j, n, 0);
    vf by_mean = load_or(means, p.C + j, n, 0);
    for (int64_t i = 0; i < rows; i++) {
      vf d = load(dy + i * p.C + j, n);
      if (means)
        d = d - by_mean - (load(x + i * p.C + j, n) - mean) * inv_std * by_variance;
      store(dx + i * p.C + j, d * factor, n);
    }
  }
}

// Rows of C elements; writes the mean and inv_std (rows,) of each.
static void standardize_rows(const NormParams& p, float epsilon, const float* x,
                             float* y, int64_t rows, float* means, float* inv_stds) {
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
    inv_stds[i] = float(
        1.0 / __builtin_sqrt(double(float(sum(squares) / double(p.C)) + epsilon)));
    vf at = splat(means[i]), inv_std = splat(inv_stds[i]);
    for (int64_t j = 0; j < p.C; j += L) {
      const int64_t n = p.C - j;
      vf standard = (load(x + j, n) - at) * inv_std;
      store(y + j, standard * load_or(p.gamma, j, n, 1) + load_or(p.beta, j, n, 0), n);
    }
  }
}

// dx of rows with their means and inv_stds, and sums (2, C) += the gradients of gamma
// and beta; either may be null.
static void rows_backward(const NormParams& p, const float* x, const float* dy,
                          float* dx, int64_t rows, const float* means,
                          const float* inv_stds, double* sums) {
  for (int64_t i = 0; i < rows; i++, x += p.C, dy += p.C) {
    vf at = splat(means[i]), inv_std = splat(inv_stds[i]);
    vd by_mean{}, by_variance{};
    for (int64_t j = 0; j < p.C; j += L) {
      const int64_t n = p.C - j;
      vf d = load(dy + j, n), standard = (load(x + j, n) - at) * inv_std;
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
      vf standard = (load(x + j, n) - at) * inv_std;
      vf scaled = load(dy + j, n) * load_or(p.gamma, j, n, 1);
      store(dx + j, (scaled - m - standard * v) * inv_std, n);
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
