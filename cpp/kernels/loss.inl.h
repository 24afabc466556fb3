// Losses and their gradients: p prediction, y target; formulas as in kurve.losses.
#pragma once

constexpr float smallest =
    1e-7f;  // probabilities are clipped to [smallest, 1 - smallest]
constexpr float ln_2 = 0.693147181f;

struct Term {
  vf value, gradient;
};

template <LossKind kind>
INLINE Term term(const Loss& loss, vf p, vf y) {
  const vf one = splat(1.0f), zero = splat(0.0f);
  vf e = p - y;
  if constexpr (kind == LossKind::mean_squared_error) {
    return {e * e, 2.0f * e};
  } else if constexpr (kind == LossKind::mean_absolute_error) {
    return {abs(e), e == 0.0f ? e : with_sign(one, e)};
  } else if constexpr (kind == LossKind::huber) {
    vf a = abs(e), d = splat(loss.delta);
    vi inside = a <= d;
    return {inside ? 0.5f * e * e : d * (a - 0.5f * d), inside ? e : with_sign(d, e)};
  } else if constexpr (kind == LossKind::log_cosh) {
    vf a = abs(e);
    return {a + log1p_unit(exp(-2.0f * a)) - ln_2, tanh(e)};
  } else {
    y = y * (1.0f - loss.smoothing) + 0.5f * loss.smoothing;
    if (loss.from_logits) {
      vf positive = p < 0.0f ? zero : p;
      return {positive - p * y + log1p_unit(exp(-abs(p))), sigmoid(p) - y};
    }
    vf q = min(max(splat(smallest), p), splat(1.0f - smallest));
    q = p == p ? q : p;
    vf value = -(y * log(q) + (1.0f - y) * log(1.0f - q));
    return {value, p == q ? (q - y) / (q * (1.0f - q)) : zero};
  }
}

// The sum of O floats, in an order that depends on O only.
static double row_sum(const float* x, int64_t O) {
  double lanes[8] = {};
  for (int64_t j = 0; j < O; j++) lanes[j % 8] += double(x[j]);
  double total = 0;
  for (double lane : lanes) total += lane;
  return total;
}

// The mean over O of a term of each element.
template <LossKind kind>
static void elementwise(const Loss& loss, const float* p, const float* y, int64_t rows,
                        int64_t O, float* scratch, double* row_loss, float* dp) {
  for (int64_t j = 0, n = rows * O; j < n; j += L) {
    Term t = term<kind>(loss, load(p + j, n - j), load(y + j, n - j));
    store(scratch + j, t.value, n - j);
    if (dp) store(dp + j, t.gradient / float(O), n - j);
  }
  if (O == 1)
    for (int64_t i = 0; i < rows; i++) row_loss[i] = double(scratch[i]);
  else
    for (int64_t i = 0; i < rows; i++)
      row_loss[i] = row_sum(scratch + i * O, O) / double(O);
}

struct Target {
  const float* y;  // (O,), or null if the class is `label`
  int64_t label;
  float smoothing, uniform;  // y (1 - s) + s / O

  vf at(int64_t j, int64_t n) const {
    if (y) return load(y + j, n) * smoothing + (n >= L ? splat(uniform) : tail(n));
    vf t{};
    if (label >= j && label < j + L) t[label - j] = 1.0f;
    return t;
  }
  // Zero beyond the last element.
  vf tail(int64_t n) const {
    vf t{};
    for (int64_t i = 0; i < n; i++) t[i] = uniform;
    return t;
  }
};

// l = sum_j t_j (log sum e^p - p_j); dp = softmax(p) sum t - t.
static double logits_row(const float* p, const Target& t, int64_t O, float* dp) {
  vf m = splat(-__builtin_inff());
  LongSum s, weight, dot;
  for (int64_t j = 0; j < O; j += L) m = max(load(p + j, O - j, p[0]), m);
  float top = largest(m);
  for (int64_t j = 0; j < O; j += L) {
    vf z = load(p + j, O - j, -__builtin_inff()) - top, target = t.at(j, O - j);
    s.add(exp(z));
    weight.add(target);
    dot.add(target == 0.0f ? target : target * z);
  }
  vf total = splat(float(s.total())), mass = splat(float(weight.total()));
  if (dp)
    for (int64_t j = 0; j < O; j += L) {
      vf q = exp(load(p + j, O - j) - top) / total;
      store(dp + j, q * mass - t.at(j, O - j), O - j);
    }
  return double(mass[0]) * double(log(total)[0]) - dot.total();
}

// x with zeros after its first n elements.
INLINE vf first(vf x, int64_t n) {
  for (int64_t i = n; i < L; i++) x[i] = 0;
  return x;
}

// q = p / sum p, c = clip(q): l = -sum_j t_j log c_j;
// dp = (g - sum g q) / sum p with g_j = -t_j / c_j where q was not clipped, else 0.
static double probabilities_row(const float* p, const Target& t, int64_t O, float* dp) {
  LongSum s, value, dot;
  for (int64_t j = 0; j < O; j += L) s.add(load(p + j, O - j));
  vf total = splat(float(s.total()));
  for (int64_t j = 0; j < O; j += L) {
    vf q = load(p + j, O - j) / total, target = t.at(j, O - j);
    vf c = min(max(splat(smallest), q), splat(1.0f - smallest));
    c = q == q ? c : q;
    value.add(first(-target * log(c), O - j));  // beyond them, 0 / total may be NaN
    vf g = q == c ? -target / c : splat(0.0f);
    dot.add(first(g * q, O - j));
    if (dp) store(dp + j, g, O - j);
  }
  vf mean = splat(float(dot.total()));
  if (dp)
    for (int64_t j = 0; j < O; j += L)
      store(dp + j, (load(dp + j, O - j) - mean) / total, O - j);
  return value.total();
}

constexpr float min_variance = 1e-6f, log_2_pi = 1.837877066f;

// p (rows, 2T): means, then s with v = softplus(s) + min_variance.
// l = (log(2 pi v) + e^2 / v) / 2 with e = m - y; dm = e / v;
// ds = (1 - e^2 / v) / (2 v) sigmoid(s), both times v^beta.
// A vector holds elements of several rows.
static void gaussian(const Loss& loss, const float* p, const float* y, int64_t rows,
                     int64_t O, float* scratch, double* row_loss, float* dp) {
  int64_t T = O / 2, n = rows * T;
  float scale = 1.0f / float(T);
  for (int64_t first = 0; first < n; first += L) {
    int64_t count = min(n - first, L);
    int64_t at[L];  // the index of each mean in p
    alignas(64) float m[L] = {}, s[L] = {};
    for (int64_t i = 0, row = first / T, t = first % T; i < count; i++) {
      at[i] = row * O + t;
      m[i] = p[at[i]];
      s[i] = p[at[i] + T];
      if (++t == T) t = 0, row++;
    }
    vf raw = load(s), v = softplus(raw) + min_variance;
    vf e = load(m) - load(y + first, count), scaled = e / v, square = e * scaled;
    vf log_v = log(v), factor = splat(scale);
    store(scratch + first, 0.5f * (log_v + square + log_2_pi), count);
    if (!dp) continue;
    if (loss.beta != 0.0f) factor = factor * exp(loss.beta * log_v);
    store(m, scaled * factor);
    store(s, 0.5f * factor * (1.0f - square) / v * sigmoid(raw));
    for (int64_t i = 0; i < count; i++) {
      dp[at[i]] = m[i];
      dp[at[i] + T] = s[i];
    }
  }
  for (int64_t i = 0; i < rows; i++)
    row_loss[i] = row_sum(scratch + i * T, T) / double(T);
}

// p (rows, T Q) with e = y - p: l = max(q e, (q - 1) e).
static void pinball(const Loss& loss, const float* p, const float* y, int64_t rows,
                    int64_t O, float* scratch, double* row_loss, float* dp) {
  float scale = 1.0f / float(O);
  for (int64_t i = 0; i < rows * (O / loss.count); i++)
    for (int k = 0; k < loss.count; k++) {
      int64_t at = i * loss.count + k;
      float q = loss.quantiles[k], e = y[i] - p[at];
      scratch[at] = e >= 0 ? q * e : (q - 1.0f) * e;
      if (dp) dp[at] = e > 0 ? -q * scale : e < 0 ? (1.0f - q) * scale : e * 0.0f;
    }
  for (int64_t i = 0; i < rows; i++)
    row_loss[i] = row_sum(scratch + i * O, O) / double(O);
}

static void crossentropy(const Loss& loss, const float* p, const float* y, int64_t rows,
                         int64_t O, double* row_loss, float* dp) {
  bool sparse = loss.kind == LossKind::sparse_categorical_crossentropy;
  for (int64_t i = 0; i < rows; i++) {
    Target t{sparse ? nullptr : y + i * O, sparse ? int64_t(y[i]) : 0,
             1.0f - loss.smoothing, loss.smoothing / float(O)};
    auto row = loss.from_logits ? logits_row : probabilities_row;
    row_loss[i] = row(p + i * O, t, O, dp ? dp + i * O : nullptr);
  }
}

static void loss(const Loss& loss, const float* p, const float* y, int64_t rows,
                 int64_t O, float* scratch, double* row_loss, float* dp) {
  switch (loss.kind) {
#define CASE(name)     \
  case LossKind::name: \
    return elementwise<LossKind::name>(loss, p, y, rows, O, scratch, row_loss, dp);
    KURVE_ELEMENTWISE_LOSSES(CASE)
#undef CASE
    case LossKind::gaussian_nll:
      return gaussian(loss, p, y, rows, O, scratch, row_loss, dp);
    case LossKind::pinball:
      return pinball(loss, p, y, rows, O, scratch, row_loss, dp);
    case LossKind::categorical_crossentropy:
    case LossKind::sparse_categorical_crossentropy:
      return crossentropy(loss, p, y, rows, O, row_loss, dp);
  }
}
