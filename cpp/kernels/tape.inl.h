// Runs a tape block by block, so intermediate values stay in the L1 cache. Every
// element gets the same bits wherever its block starts.
#pragma once

// Functions that are too rare for vector code, or too long.
template <class T, class F>
INLINE void each(const T* a, T* y, int64_t n, F f) {
  for (int64_t i = 0; i < n; i++) y[i] = f(a[i]);
}
template <class T, class F>
INLINE void each(const T* a, const T* b, T* y, int64_t n, F f) {
  for (int64_t i = 0; i < n; i++) y[i] = f(a[i], b[i]);
}

// 1 and 0; the type of a mask differs between compilers.
template <class V, class Mask>
INLINE V truth(Mask mask) {
  return mask ? V{} + 1.0f : V{};
}
INLINE vf truncated(vf x) {  // of |x| < 2^23, to the nearest, ties to even
  const float magic = 8388608.0f;
  vf t = abs(x), r = (t + magic) - magic;
  return t < magic ? with_sign(r, x) : x;
}
INLINE vw truncated(vw x) {
  const double magic = 4503599627370496.0;
  vw t = abs(x), r = (t + magic) - magic;
  return t < magic ? with_sign(r, x) : x;
}
template <class V>
INLINE V floored(V x) {
  V r = truncated(x);
  return r > x ? r - 1.0f : r;
}
// u - v floor(u / v), of the sign of v, as Python's.
static float floor_mod(float u, float v) {
  float r = __builtin_fmodf(u, v);
  return r != 0 && (r < 0) != (v < 0) ? r + v
                                      : (r == 0 ? __builtin_copysignf(r, v) : r);
}
static double floor_mod(double u, double v) {
  double r = __builtin_fmod(u, v);
  return r != 0 && (r < 0) != (v < 0) ? r + v : (r == 0 ? __builtin_copysign(r, v) : r);
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

#define BOTH1(name)                                                  \
  INLINE float name##_of(float x) { return __builtin_##name##f(x); } \
  INLINE double name##_of(double x) { return __builtin_##name(x); }
#define BOTH2(name)                                                              \
  INLINE float name##_of(float u, float v) { return __builtin_##name##f(u, v); } \
  INLINE double name##_of(double u, double v) { return __builtin_##name(u, v); }
BOTH1(tan)
BOTH1(sinh)
BOTH1(cosh)
BOTH1(asin)
BOTH1(acos)
BOTH1(asinh)
BOTH1(acosh)
BOTH1(atan)
BOTH1(atanh)
BOTH2(atan2)
BOTH2(pow)
#undef BOTH1
#undef BOTH2

// y = f(a, b); the operand without a pointer is `value`.
template <class V, class T, class F>
INLINE void map_pair(const T* a, const T* b, T value, T* y, int64_t n, F f) {
  constexpr int64_t lanes = sizeof(V) / sizeof(T);
  const V k = splat(value);
  if (!a)
    for (int64_t i = 0; i < n; i += lanes) store(y + i, f(k, V(load(b + i))));
  else if (!b)
    for (int64_t i = 0; i < n; i += lanes) store(y + i, f(V(load(a + i)), k));
  else
    for (int64_t i = 0; i < n; i += lanes)
      store(y + i, f(V(load(a + i)), V(load(b + i))));
}

// One instruction over n numbers T, a multiple of the lanes of a vector V; y may be a,
// b or c.
template <class V, class T>
static __attribute__((noinline)) void run_instruction(Micro kind, T value, const T* a,
                                                      const T* b, const T* c, T* y,
                                                      int64_t n) {
  constexpr int64_t lanes = sizeof(V) / sizeof(T);
#define MAP1(name, expression)               \
  case Micro::name:                          \
    for (int64_t i = 0; i < n; i += lanes) { \
      V x = load(a + i);                     \
      store(y + i, (expression));            \
    }                                        \
    return;
#define MAP2(name, expression)               \
  case Micro::name:                          \
    for (int64_t i = 0; i < n; i += lanes) { \
      V u = load(a + i), v = load(b + i);    \
      store(y + i, (expression));            \
    }                                        \
    return;
#define PAIR(name, expression) \
  case Micro::name:            \
    return map_pair<V>(a, b, value, y, n, [](V u, V v) { return (expression); });
#define CALL1(name, function) \
  case Micro::name:           \
    return each(a, y, n, [](T x) { return function(x); });
#define CALL2(name, function) \
  case Micro::name:           \
    return each(a, b, y, n, [](T u, T v) { return function(u, v); });
  const V one = splat(T(1)), zero = splat(T(0));
  switch (kind) {
    case Micro::constant:
      for (int64_t i = 0; i < n; i += lanes) store(y + i, splat(value));
      return;
      PAIR(add, u + v)
      PAIR(sub, u - v)
      PAIR(mul, u * v)
      PAIR(div, u / v)
      MAP1(neg, -x)
      MAP1(reciprocal, one / x)
      MAP1(square, x * x)
      MAP1(sqrt, sqrt(x))
      MAP1(rsqrt, one / sqrt(x))
      CALL2(pow, pow_of)
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
      CALL1(tan, tan_of)
      MAP1(tanh, tanh(x))
      CALL1(sinh, sinh_of)
      CALL1(cosh, cosh_of)
      CALL1(arcsin, asin_of)
      CALL1(arccos, acos_of)
      CALL1(arcsinh, asinh_of)
      CALL1(arccosh, acosh_of)
      CALL1(arctan, atan_of)
      CALL1(arctanh, atanh_of)
      CALL2(arctan2, atan2_of)
      MAP1(abs, abs(x))
      MAP1(sign, x > zero ? one : (x < zero ? -one : x))
      MAP1(floor, floored(x))
      MAP1(ceil, -floored(-x))
      MAP1(round, truncated(x))
      MAP1(stop_gradient, x)
      PAIR(max, u > v ? u : (u == u ? v : u))
      PAIR(min, u < v ? u : (u == u ? v : u))
      MAP1(relu, x < zero ? zero : x)
    case Micro::where:
      for (int64_t i = 0; i < n; i += lanes)
        store(y + i, load(a + i) != zero ? load(b + i) : load(c + i));
      return;
      PAIR(lt, truth<V>(u < v))
      PAIR(le, truth<V>(u <= v))
      PAIR(gt, truth<V>(u > v))
      PAIR(ge, truth<V>(u >= v))
      PAIR(eq, truth<V>(u == v))
      PAIR(ne, truth<V>(u != v))
      MAP2(land, truth<V>((u != zero) & (v != zero)))
      MAP2(lor, truth<V>((u != zero) | (v != zero)))
      MAP1(lnot, truth<V>(x == zero))
      MAP1(isfinite, truth<V>(x - x == zero))
      MAP1(isnan, truth<V>(x != x))
  }
#undef MAP1
#undef MAP2
#undef PAIR
#undef CALL1
#undef CALL2
}

// A tape in float64 over n numbers, a multiple of D, in every register.
static void run_tape64(const Step64* code, int64_t count, double* const* registers,
                       int64_t n) {
  for (int64_t i = 0; i < count; i++) {
    const Step64& s = code[i];
    run_instruction<vw>(s.kind, s.value, registers[s.a], registers[s.b], registers[s.c],
                        registers[s.to], n);
  }
}

// to[i] = element at + i of an operand that is not full.
static void spread_operand(const Operand& x, int64_t at, int64_t count, float* to) {
  for (int64_t i = 0; i < count;) {
    int64_t element = at + i, group = element / x.inner;
    const float* from = x.data + element / x.outer * x.size;
    int64_t index = group % x.size, left = x.outer - element % x.outer;
    if (x.inner == 1) {
      int64_t run = min(min(x.size - index, left), count - i);
      for (int64_t k = 0; k < run; k++) to[i + k] = from[index + k];
      i += run;
    } else {
      int64_t run = min(min((group + 1) * x.inner - element, left), count - i);
      for (int64_t k = 0; k < run; k++) to[i + k] = from[index];
      i += run;
    }
  }
}

struct Registers {
  alignas(64) float scratch[Tape::max_scratch][Tape::block];
  alignas(64) float spread[Tape::max_inputs][Tape::block];  // not read in place
  alignas(64) float ends[Tape::max_outputs][Tape::block];   // of a partial block
};

// Elements first..first+n-1; the outputs are whole arrays.
static void run_tape(const Tape& tape, const Operand* inputs, float* const* outputs,
                     int64_t first, int64_t n) {
  constexpr int B = Tape::block;
  auto& [scratch, spread, ends] = task_memory_as<Registers>();
  const float* in[Tape::max_inputs];
  float* out[Tape::max_outputs];
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
      if (p.kind == Place::value) return nullptr;
      if (p.kind == Place::input) return in[p.index];
      return p.kind == Place::output ? out[p.index] : scratch[p.index];
    };
    for (int k = 0; k < tape.count; k++) {
      const Instruction& i = tape.code[k];
      float* y = i.to.kind == Place::output ? out[i.to.index] : scratch[i.to.index];
      run_instruction<vf>(i.kind, i.value, read(i.a), read(i.b), read(i.c), y, whole);
    }
    if (whole != count)
      for (int k = 0; k < tape.outputs; k++)
        for (int64_t i = 0; i < count; i++) outputs[k][at + i] = ends[k][i];
  }
}
