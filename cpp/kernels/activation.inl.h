// Elementwise activations and their derivatives; formulas as in
// kurve.engines.reference.activations.
#pragma once

constexpr float selu_alpha = 1.6732632423543772f, selu_scale = 1.0507009873554805f;
constexpr float largest_float = 3.402823466e38f;

struct Activated {
  vf y, d;
};

// y = f(x) and d = f'(x); d is computed only if it does not follow from y, or costs
// nothing. Comparisons are written so that NaN passes through.
template <Activation kind>
INLINE Activated activated(vf x, float alpha) {
  vi negative = x < 0.0f;
  const vf one = splat(1.0f), zero = splat(0.0f);
  if constexpr (kind == Activation::relu) {
    return {negative ? zero : x, zero};
  } else if constexpr (kind == Activation::leaky_relu) {
    return {negative ? x * alpha : x, x > 0.0f ? one : splat(alpha)};
  } else if constexpr (kind == Activation::elu) {
    vf y = alpha * expm1_negative(negative ? x : zero);
    vf d = (negative | (x == 0.0f)) ? y + alpha : x;  // NaN passes through
    return {x > 0.0f ? x : (negative ? y : x), x > 0.0f ? one : d};
  } else if constexpr (kind == Activation::selu) {
    vf y = (selu_scale * selu_alpha) * expm1_negative(negative ? x : zero);
    return {negative ? y : selu_scale * x, zero};
  } else if constexpr (kind == Activation::gelu) {
    vf cdf = 0.5f * (1.0f + erf(x * 0.707106781f));
    vf pdf = 0.398942280f * exp(-0.5f * (x * x));
    return {x * cdf, x * pdf + cdf};
  } else if constexpr (kind == Activation::silu) {
    vf s = sigmoid(x), rest = 1.0f - s;
    return {x * s, s * (x * rest + 1.0f)};
  } else if constexpr (kind == Activation::sigmoid) {
    return {sigmoid(x), zero};
  } else if constexpr (kind == Activation::tanh) {
    return {tanh(x), zero};
  } else if constexpr (kind == Activation::softplus) {
    return {softplus(x), sigmoid(x)};
  } else if constexpr (kind == Activation::softsign) {
    return {x / (1.0f + abs(x)), zero};
  } else if constexpr (kind == Activation::sin) {
    SinCos s = sincos(x);
    return {s.sin, s.cos};
  } else if constexpr (kind == Activation::snake) {
    // An infinite phase has no sine; this far out, a finite one is as good.
    vf phase = alpha * x;
    phase = phase > largest_float ? splat(largest_float) : phase;
    phase = phase < -largest_float ? splat(-largest_float) : phase;
    SinCos s = sincos(phase);
    return {x + s.sin * (s.sin / alpha), 1.0f + 2.0f * (s.sin * s.cos)};
  } else {
    return {x, one};
  }
}

// f'(x) from y = f(x).
template <Activation kind>
INLINE vf derivative_from_output(vf y, float alpha) {
  const vf one = splat(1.0f);
  if constexpr (kind == Activation::relu) {
    return y > 0.0f ? one : splat(0.0f);
  } else if constexpr (kind == Activation::leaky_relu) {
    return y > 0.0f ? one : splat(alpha);
  } else if constexpr (kind == Activation::elu) {
    return y > 0.0f ? one : y + alpha;
  } else if constexpr (kind == Activation::selu) {
    return y > 0.0f ? splat(selu_scale) : y + selu_scale * selu_alpha;
  } else if constexpr (kind == Activation::sigmoid) {
    return y * (1.0f - y);
  } else if constexpr (kind == Activation::tanh) {
    return 1.0f - y * y;
  } else if constexpr (kind == Activation::softsign) {
    vf rest = 1.0f - abs(y);
    return rest * rest;
  } else {
    return one;
  }
}

// A block of rows: x (rows, columns) at x[i * x_row + j], y likewise. x may be y.
struct Block {
  const float* x;
  int64_t x_row;
  float* y;
  int64_t y_row;
  int64_t rows, columns;
};

// `saves` is a template argument, so inference does not pay for the derivative.
template <Activation kind, bool saves>
static void activate_rows(const Block& t, float alpha, const float* bias,
                          float* saved) {
  for (int64_t i = 0; i < t.rows; i++) {
    for (int64_t j = 0; j < t.columns; j += L) {
      int64_t n = t.columns - j;
      vf z = load(t.x + i * t.x_row + j, n);
      if (bias) z = z + load(bias + j, n);
      Activated a = activated<kind>(z, alpha);
      store(t.y + i * t.y_row + j, a.y, n);
      if constexpr (saves) store(saved + i * t.y_row + j, a.d, n);
    }
  }
}

template <Activation kind>
static void differentiate_rows(const Block& t, float alpha, const float* y) {
  for (int64_t i = 0; i < t.rows; i++)
    for (int64_t j = 0; j < t.columns; j += L) {
      int64_t n = t.columns - j;
      vf d = derivative_from_output<kind>(load(y + i * t.y_row + j, n), alpha);
      store(t.y + i * t.y_row + j, load(t.x + i * t.x_row + j, n) * d, n);
    }
}

static void multiply_rows(const Block& t, const float* d) {
  for (int64_t i = 0; i < t.rows; i++)
    for (int64_t j = 0; j < t.columns; j += L) {
      int64_t n = t.columns - j;
      vf x = load(t.x + i * t.x_row + j, n);
      store(t.y + i * t.y_row + j, d ? x * load(d + i * t.y_row + j, n) : x, n);
    }
}

static __attribute__((noinline)) void activate_block(const Block& t, Activation kind,
                                                     float alpha, const float* bias,
                                                     float* saved) {
  switch (kind) {
#define CASE(name)                                                              \
  case Activation::name:                                                        \
    return saved ? activate_rows<Activation::name, true>(t, alpha, bias, saved) \
                 : activate_rows<Activation::name, false>(t, alpha, bias, saved);
    KURVE_ACTIVATIONS(CASE)
#undef CASE
  }
}

// `values` points to the block's first element.
static __attribute__((noinline)) void differentiate_block(const Block& t,
                                                          const Derivative& d,
                                                          const float* values) {
  if (d.source == Derivative::one) return multiply_rows(t, nullptr);
  if (d.source == Derivative::saved) return multiply_rows(t, values);
  switch (d.kind) {
#define CASE(name)       \
  case Activation::name: \
    return differentiate_rows<Activation::name>(t, d.alpha, values);
    KURVE_ACTIVATIONS(CASE)
#undef CASE
  }
}

static void activate(Activation kind, float alpha, const float* x, float* y,
                     float* saved, int64_t n) {
  activate_block({x, n, y, n, 1, n}, kind, alpha, nullptr, saved);
}
static void differentiate(const Derivative& d, int64_t offset, const float* dy,
                          float* dx, int64_t n) {
  differentiate_block({dy, n, dx, n, 1, n}, d, d.values ? d.values + offset : nullptr);
}
