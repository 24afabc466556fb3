// Runs a tape block by block, so intermediate values stay in the L1 cache. Every
// element gets the same bits wherever its block starts.
#pragma once

// Functions that are too rare for vector code, or too long.
template <class F>
INLINE void each(const float* a, float* y, int64_t n, F f) {
  for (int64_t i = 0; i < n; i++) y[i] = f(a[i]);
}
template <class F>
INLINE void each(const float* a, const float* b, float* y, int64_t n, F f) {
  for (int64_t i = 0; i < n; i++) y[i] = f(a[i], b[i]);
}

INLINE vf truth(vi mask) { return mask ? splat(1.0f) : splat(0.0f); }
INLINE vf truncated(vf x) {  // of |x| < 2^23, to the nearest, ties to even
  const float magic = 8388608.0f;
  vf t = abs(x), r = (t + magic) - magic;
  return t < magic ? with_sign(r, x) : x;
}
INLINE vf floored(vf x) {
  vf r = truncated(x);
  return r > x ? r - 1.0f : r;
}
// u - v floor(u / v), of the sign of v, as Python's.
static float floor_mod(float u, float v) {
  float r = __builtin_fmodf(u, v);
  return r != 0 && (r < 0) != (v < 0) ? r + v
                                      : (r == 0 ? __builtin_copysignf(r, v) : r);
}
// log(1 + x), with the rounding error of 1 + x corrected to first order.
INLINE vf log1p(vf x) {
  vf w = 1.0f + x;
  vf y = log(w) + (x - (w - 1.0f)) / w;
  y = w == 0.0f ? splat(-__builtin_inff()) : y;
  y = x == __builtin_inff() ? x : y;
  return x == 0.0f ? x : y;
}
INLINE vf expm1(vf x) {
  Reduced e = reduce_exp(x);
  vf s = e.times(splat(1.0f));
  vf y = x > 80.0f ? exp(x) : e.q * s + (s - 1.0f);
  return x == 0.0f ? x : y;
}

// One instruction over n floats, a multiple of L; y may be a, b or c.
static __attribute__((noinline)) void run_instruction(Micro kind, float value,
                                                      const float* a, const float* b,
                                                      const float* c, float* y,
                                                      int64_t n) {
#define MAP1(name, expression)           \
  case Micro::name:                      \
    for (int64_t i = 0; i < n; i += L) { \
      vf x = load(a + i);                \
      store(y + i, (expression));        \
    }                                    \
    return;
#define MAP2(name, expression)             \
  case Micro::name:                        \
    for (int64_t i = 0; i < n; i += L) {   \
      vf u = load(a + i), v = load(b + i); \
      store(y + i, (expression));          \
    }                                      \
    return;
#define CALL1(name, function) \
  case Micro::name:           \
    return each(a, y, n, [](float x) { return function(x); });
#define CALL2(name, function) \
  case Micro::name:           \
    return each(a, b, y, n, [](float u, float v) { return function(u, v); });
  const vf one = splat(1.0f), zero = splat(0.0f);
  switch (kind) {
    case Micro::constant:
      for (int64_t i = 0; i < n; i += L) store(y + i, splat(value));
      return;
      MAP2(add, u + v)
      MAP2(sub, u - v)
      MAP2(mul, u * v)
      MAP2(div, u / v)
      MAP1(neg, -x)
      MAP1(reciprocal, one / x)
      MAP1(square, x * x)
      MAP1(sqrt, sqrt(x))
      MAP1(rsqrt, one / sqrt(x))
      CALL2(pow, __builtin_powf)
      CALL2(mod, floor_mod)
      MAP1(exp, exp(x))
      MAP1(expm1, expm1(x))
      MAP1(log, log(x))
      MAP1(log1p, log1p(x))
      MAP1(sigmoid, sigmoid(x))
      MAP1(softplus, softplus(x))
      MAP1(erf, erf(x))
      MAP1(sin, sincos(x).sin)
      MAP1(cos, sincos(x).cos)
      CALL1(tan, __builtin_tanf)
      MAP1(tanh, tanh(x))
      CALL1(sinh, __builtin_sinhf)
      CALL1(cosh, __builtin_coshf)
      CALL1(arcsin, __builtin_asinf)
      CALL1(arccos, __builtin_acosf)
      CALL1(arcsinh, __builtin_asinhf)
      CALL1(arccosh, __builtin_acoshf)
      CALL1(arctan, __builtin_atanf)
      CALL1(arctanh, __builtin_atanhf)
      CALL2(arctan2, __builtin_atan2f)
      MAP1(abs, abs(x))
      MAP1(sign, x > 0.0f ? one : (x < 0.0f ? -one : x))
      MAP1(floor, floored(x))
      MAP1(ceil, -floored(-x))
      MAP1(round, truncated(x))
      MAP1(stop_gradient, x)
      MAP2(max, u > v ? u : (u == u ? v : u))
      MAP2(min, u < v ? u : (u == u ? v : u))
      MAP1(relu, x < 0.0f ? zero : x)
    case Micro::where:
      for (int64_t i = 0; i < n; i += L)
        store(y + i, load(a + i) != 0.0f ? load(b + i) : load(c + i));
      return;
      MAP2(lt, truth(u < v))
      MAP2(le, truth(u <= v))
      MAP2(gt, truth(u > v))
      MAP2(ge, truth(u >= v))
      MAP2(eq, truth(u == v))
      MAP2(ne, truth(u != v))
      MAP2(land, truth((u != 0.0f) & (v != 0.0f)))
      MAP2(lor, truth((u != 0.0f) | (v != 0.0f)))
      MAP1(lnot, truth(x == 0.0f))
      MAP1(isfinite, truth(x - x == 0.0f))
      MAP1(isnan, truth(x != x))
  }
#undef MAP1
#undef MAP2
#undef CALL1
#undef CALL2
}

// to[i] = element at + i of an operand that is not full.
static void spread_operand(const Operand& x, int64_t at, int64_t count, float* to) {
  for (int64_t i = 0; i < count;) {
    int64_t element = at + i, group = element / x.inner;
    const float* from = x.data + element / x.outer * x.size;
    int64_t place = group % x.size, left = x.outer - element % x.outer;
    if (x.inner == 1) {
      int64_t run = min(min(x.size - place, left), count - i);
      for (int64_t k = 0; k < run; k++) to[i + k] = from[place + k];
      i += run;
    } else {
      int64_t run = min(min((group + 1) * x.inner - element, left), count - i);
      for (int64_t k = 0; k < run; k++) to[i + k] = from[place];
      i += run;
    }
  }
}

// Elements first..first+n-1; the outputs are whole arrays.
static void run_tape(const Tape& tape, const Operand* inputs, float* const* outputs,
                     int64_t first, int64_t n) {
  constexpr int B = Tape::block;
  alignas(64) float scratch[Tape::most_scratch][B];
  alignas(64) float spread[Tape::most_inputs][B];  // inputs that are not read in place
  alignas(64) float ends[Tape::most_outputs][B];   // outputs of a partial block
  const float* in[Tape::most_inputs];
  float* out[Tape::most_outputs];
  for (int k = 0; k < tape.inputs; k++)
    if (!inputs[k].full && inputs[k].size == 1 && inputs[k].outer >= first + n)
      for (int i = 0; i < B; i++) spread[k][i] = inputs[k].data[0];
  for (int64_t at = first; at < first + n; at += B) {
    int64_t count = min(B, first + n - at), whole = (count + L - 1) / L * L;
    for (int k = 0; k < tape.inputs; k++) {
      const Operand& x = inputs[k];
      in[k] = spread[k];
      if (x.full && whole == count) {
        in[k] = x.data + at;
        continue;
      }
      if (!x.full && x.size == 1 && x.outer >= first + n) continue;
      if (x.full)
        for (int64_t i = 0; i < count; i++) spread[k][i] = x.data[at + i];
      else
        spread_operand(x, at, count, spread[k]);
      for (int64_t i = count; i < whole; i++) spread[k][i] = 0;
    }
    for (int k = 0; k < tape.outputs; k++)
      out[k] = whole == count ? outputs[k] + at : ends[k];
    auto read = [&](Place p) -> const float* {
      if (p.kind == Place::input) return in[p.index];
      return p.kind == Place::output ? out[p.index] : scratch[p.index];
    };
    for (int k = 0; k < tape.count; k++) {
      const Instruction& i = tape.code[k];
      float* y = i.to.kind == Place::output ? out[i.to.index] : scratch[i.to.index];
      run_instruction(i.kind, i.value, read(i.a), read(i.b), read(i.c), y, whole);
    }
    if (whole != count)
      for (int k = 0; k < tape.outputs; k++)
        for (int64_t i = 0; i < count; i++) outputs[k][at + i] = ends[k][i];
  }
}
