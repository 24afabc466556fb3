// Clipping, penalties and the update, each in one pass over a variable's part of the
// flat vectors. Formulas and slots as in kurve.engines.reference.optimizers; a, b and c
// are the slots in that order.
#pragma once

static void scale(float* x, float factor, int64_t n) {
  for (int64_t j = 0; j < n; j += L) store(x + j, load(x + j, n - j) * factor, n - j);
}

static void clamp(float* x, float limit, int64_t n) {
  for (int64_t j = 0; j < n; j += L) {
    vf v = max(splat(-limit), min(splat(limit), load(x + j, n - j)));
    store(x + j, v, n - j);
  }
}

static double sum_of_squares(const float* x, int64_t n) {
  vd s{};
  for (int64_t j = 0; j < n; j += L) {
    vd v = __builtin_convertvector(load(x + j, n - j), vd);
    s += v * v;
  }
  return sum(s);
}

static double sum_of_magnitudes(const float* x, int64_t n) {
  vd s{};
  for (int64_t j = 0; j < n; j += L)
    s += __builtin_convertvector(abs(load(x + j, n - j)), vd);
  return sum(s);
}

static bool penalize(float* g, const float* w, float l1, float l2, int64_t n) {
  vi may_overflow{};
  for (int64_t j = 0; j < n; j += L) {
    vf v = load(w + j, n - j);
    vf sign = v == 0.0f ? splat(0.0f) : with_sign(splat(1.0f), v);
    vf result = load(g + j, n - j) + l1 * sign;
    result = result + (2.0f * l2) * v;
    may_overflow |= ~(abs(result) <= safe_sum);
    store(g + j, result, n - j);
  }
  return !any(may_overflow);
}

// Updates one vector of a variable: w from g, and `count` of the slots a, b, c in
// place. In a sum of two products, `rounded` marks the one that is not fused; otherwise
// the compiler might choose differently in different places.
template <OptimizerKind kind, int count>
INLINE vf step_vector(const UpdateParams& u, vf w, vf g, vf& a, vf& b, vf& c) {
  if constexpr (kind == OptimizerKind::sgd) {
    if constexpr (count == 0) return w - u.lr * g;
    vf step = rounded(u.lr * g);
    a = u.momentum * a - step;
    return u.nesterov ? w + (u.momentum * a - step) : w + a;
  } else if constexpr (kind == OptimizerKind::rmsprop) {
    // slots: v, then momentum and mean if they are on
    vf& mean = u.momentum_on ? c : b;
    vf square = g * g;
    a = rounded(u.rho * a) + u.one_minus_rho * square;
    vf denominator = a;
    if (u.centered) {
      mean = rounded(u.rho * mean) + u.one_minus_rho * g;
      denominator = denominator - mean * mean;
    }
    vf increment = u.lr * g / sqrt(denominator + u.epsilon);
    if (!u.momentum_on) return w - increment;
    b = u.momentum * b + increment;
    return w - b;
  } else if constexpr (kind == OptimizerKind::adagrad) {
    a = a + g * g;
    return w - u.lr * g / sqrt(a + u.epsilon);
  } else if constexpr (kind == OptimizerKind::adam) {
    a = a + (g - a) * u.one_minus_b1;
    vf square = g * g;
    b = b + (square - b) * u.one_minus_b2;
    if (u.amsgrad) c = max(c, b);
    return w - u.alpha * a / (sqrt(u.amsgrad ? c : b) + u.epsilon);
  } else if constexpr (kind == OptimizerKind::nadam) {
    a = a + (g - a) * u.one_minus_b1;
    vf square = g * g;
    b = b + (square - b) * u.one_minus_b2;
    return w - u.lr * (rounded(a * u.c_m) + u.c_g * g) / (sqrt(b / u.c_v) + u.epsilon);
  } else {
    a = a + (g - a) * u.one_minus_b1;
    b = max(b * u.beta_2, abs(g));
    return w - u.lr * a / (u.alpha * (b + u.epsilon));
  }
}

// Rows of `columns` elements: w and slots at i * w_row, g at i * g_row, times factors[i
// * factor_step] unless that is null.
struct UpdateBlock {
  float* w;
  int64_t w_row;
  const float* g;
  int64_t g_row;
  float* const* slots;
  int64_t rows, columns;
  const float* factors = nullptr;
  int64_t factor_step = 0;
};

// The first n < L elements of a vector, or all L, of w and the slots at `at`.
template <OptimizerKind kind, int count>
INLINE void update_vector(const UpdateParams& u, float* w, float* const* slots,
                          int64_t at, vf g, int64_t n) {
  vf s[3] = {};
  for (int k = 0; k < count; k++) s[k] = load(slots[k] + at, n);
  vf v = load(w + at, n);
  if (u.decay != 0.0f) {
    vf decayed = v * u.decay;
    v = v - decayed * u.lr;
  }
  v = step_vector<kind, count>(u, v, g, s[0], s[1], s[2]);
  store(w + at, v, n);
  for (int k = 0; k < count; k++) store(slots[k] + at, s[k], n);
}

// Passed by value: anything that stores might alias could not stay in registers.
template <OptimizerKind kind, int count>
static void update_rows(const UpdateParams u, const UpdateBlock t) {
  for (int64_t i = 0; i < t.rows; i++) {
    vf factor = splat(t.factors ? t.factors[i * t.factor_step] : 1.0f);
    for (int64_t j = 0; j < t.columns; j += L) {
      vf g = load(t.g + i * t.g_row + j, t.columns - j) * factor;
      update_vector<kind, count>(u, t.w, t.slots, i * t.w_row + j, g, t.columns - j);
    }
  }
}

// Calls body.operator()<kind, number of slots>().
template <class Body>
INLINE void by_kind(const UpdateParams& u, const Body& body) {
  using enum OptimizerKind;
  switch (u.kind) {
    case sgd:
      return u.momentum_on ? body.template operator()<sgd, 1>()
                           : body.template operator()<sgd, 0>();
    case rmsprop:
      switch (int(u.momentum_on) + int(u.centered)) {
        case 0:
          return body.template operator()<rmsprop, 1>();
        case 1:
          return body.template operator()<rmsprop, 2>();
        default:
          return body.template operator()<rmsprop, 3>();
      }
    case adagrad:
      return body.template operator()<adagrad, 1>();
    case adam:
      return u.amsgrad ? body.template operator()<adam, 3>()
                       : body.template operator()<adam, 2>();
    case nadam:
      return body.template operator()<nadam, 2>();
    case adamax:
      return body.template operator()<adamax, 2>();
  }
}

static __attribute__((noinline)) void update_block(const UpdateParams& u,
                                                   const UpdateBlock& t) {
  by_kind(u, [&]<OptimizerKind kind, int count>() { update_rows<kind, count>(u, t); });
}

static void update(const UpdateParams& u, float* w, const float* g, float* const* slots,
                   int64_t n) {
  update_block(u, {w, n, g, n, slots, 1, n});
}
