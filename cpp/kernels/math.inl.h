// Elementary functions in float32, accurate to a few ULP, correct at 0, infinity and
// NaN. Range reduction after Cody & Waite 1980; the polynomials are weighted minimax
// fits.
#pragma once

// Coefficients from the highest power down.
template <int n>
INLINE vf horner(vf x, const float (&c)[n]) {
  vf p = splat(c[0]);
#pragma GCC unroll 16
  for (int i = 1; i < n; i++) p = p * x + c[i];
  return p;
}

// e^x = (1 + q) 2^n. Powers of two are applied as two factors, so subnormal and huge
// results need no branch, or by an instruction that gives the same bits.
struct Reduced {
  vf q;
#if defined(__AVX512F__)
  vf n;
  INLINE_MEMBER vf times(vf x) const {
    return reinterpret_cast<vf>(
        _mm512_scalef_ps(reinterpret_cast<__m512>(x), reinterpret_cast<__m512>(n)));
  }
#else
  vf s1, s2;
  INLINE_MEMBER vf times(vf x) const { return x * s1 * s2; }
#endif
};

// x = n ln2 + r, |r| <= ln2 / 2; q = e^r - 1.
INLINE Reduced reduce_exp(vf x) {
  x = at_most(x, 89.0f);
  x = at_least(x, -104.0f);
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  vf n = (x * 1.44269504f + magic) - magic;
  vf r = x - n * 0.693145751953125f;
  r = r - n * 1.42860682e-6f;
  vf p = horner(r, {1.978926448e-04f, 1.394575229e-03f, 8.333504200e-03f,
                    4.166628048e-02f, 1.666666567e-01f, 0.5f});
  vf q = r * r * p + r;
#if defined(__AVX512F__)
  return {q, n};
#else
  vi e = to_int(n), half = e >> 1;
  return {q, value((half + 127) << 23), value((e - half + 127) << 23)};
#endif
}

INLINE vf exp(vf x) {
  Reduced e = reduce_exp(x);
  return e.times(1.0f + e.q);
}

// e^x - 1 for x <= 0, without cancellation.
INLINE vf expm1_negative(vf x) {
  Reduced e = reduce_exp(x);
  vf s = e.times(splat(1.0f));
  return e.q * s + (s - 1.0f);
}

// x = m 2^e with m in [sqrt(1/2), sqrt(2)); log x = log m + e ln2.
INLINE vf log(vf x) {
  vi tiny = x < 1.17549435e-38f;
  vf y = tiny ? x * 8388608.0f : x;
  vi e = (bits(y) - 0x3f3504f3) >> 23;
  vf f = value(bits(y) - (e << 23)) - 1.0f;
  vf n = to_float(e) + (tiny ? splat(-23.0f) : splat(0.0f));
  vf p = horner(f, {6.916990131e-02f, -1.179192439e-01f, 1.187339574e-01f,
                    -1.238404214e-01f, 1.421856582e-01f, -1.666926444e-01f,
                    2.000223100e-01f, -2.499998659e-01f, 3.333331048e-01f});
  vf f2 = f * f;
  vf low = n * 1.42860682e-6f + f2 * f * p;
  low = low - 0.5f * f2;
  vf result = n * 0.693145751953125f + (f + low);
  result = x == 0.0f ? splat(-__builtin_inff()) : result;
  result = x < 0.0f ? splat(__builtin_nanf("")) : result;
  return x < __builtin_inff() ? result : x;  // infinity, NaN
}

// log(1 + x) for x in [0, 1]: corrects the rounding error of 1 + x to first order.
INLINE vf log1p_unit(vf x) {
  vf w = 1.0f + x;
  return log(w) + (x - (w - 1.0f)) / w;
}

// From e^-|x|, which never overflows.
INLINE vf sigmoid(vf x) {
  vf e = exp(-abs(x));
  return (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
}

// x| < 0.55, where tanh is below 1/2: x + x^3 P(x^2); else 1 - 2 e / (1 + e) with e =
// e^(-2|x|), whose error is then a small part of the result's.
INLINE vf tanh(vf x) {
  vf t = abs(x), u = x * x;
  vf p = horner(u, {-6.266696379e-03f, 2.106665447e-02f, -5.385116860e-02f,
                    1.333257556e-01f, -3.333331645e-01f});
  vf e = exp(-2.0f * t);
  vf large = 1.0f - 2.0f * e / (1.0f + e);
  return with_sign(t < 0.55f ? t + t * u * p : large, x);
}

INLINE vf softplus(vf x) {
  vf positive = x < 0.0f ? splat(0.0f) : x;
  return positive + log1p_unit(exp(-abs(x)));
}

// |x| < 0.92: x P(x^2); else 1 - exp(-Q(|x|)), where Q fits -log erfc.
INLINE vf erf(vf x) {
  vf t = abs(x), u = t * t;
  vf small = horner(
      u, {8.185092156e-05f, -8.097703103e-04f, 5.196952261e-03f, -2.685770579e-02f,
          1.128366366e-01f, -3.761263192e-01f, 1.128379226e+00f});
  vf c = t > 4.0f ? splat(4.0f) : t;
  vf q = horner(
      c, {-1.110781227e-06f, 1.786259054e-05f, -1.034082234e-04f, 5.953287473e-05f,
          2.940597711e-03f, -2.312263288e-02f, 1.061673090e-01f, 6.347535849e-01f,
          1.128979683e+00f, -8.594096289e-05f});
  vf large = 1.0f - exp(-q);
  vf result = t < 0.92f ? t * small : large;
  return with_sign(result, x);
}

struct SinCos {
  vf sin, cos;
};

// r = x - n pi / 2 for n < 2^13, in four parts: n times the first three, of 8, 11 and
// 11 bits, is exact, so little precision is lost near a multiple, with or without fma.
INLINE vf reduce_half_pi(vf x, vf n) {
  x = x - n * 1.5703125f;
  x = x - n * 4.8375129699707031e-04f;
  vf r = x - n * 7.5495336204767227e-08f;
  vf lost = (x - r) - n * 7.5495336204767227e-08f;  // lost in rounding r
  return r + (lost - n * 2.563344e-12f);
}

static __attribute__((noinline)) SinCos sincos_huge(vf x, SinCos y) {
  for (int i = 0; i < L; i++)
    if (!(x[i] <= 1e4f && x[i] >= -1e4f)) {
      y.sin[i] = __builtin_sinf(x[i]);
      y.cos[i] = __builtin_cosf(x[i]);
    }
  return y;
}

// r| < pi / 4; polynomials of Cephes's sinf and cosf (Moshier 1992); n mod 4 selects
// the function and the sign.
INLINE SinCos sincos(vf x) {
  const float magic = 12582912.0f;
  vf n = (x * 0.636619772f + magic) - magic;
  vf r = reduce_half_pi(x, n), u = r * r;
  vf p = horner(u, {-1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f});
  vf q =
      horner(u, {2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f});
  vf s = r + r * u * p, c = 1.0f - 0.5f * u + u * u * q;
  vi turns = to_int(n), odd = (turns & 1) != 0;
  SinCos y{value(bits(odd ? c : s) ^ ((turns & 2) << 30)),
           value(bits(odd ? s : c) ^ (((turns + 1) & 2) << 30))};
  if (any(~(abs(x) <= 1e4f))) return sincos_huge(x, y);
  return y;
}
