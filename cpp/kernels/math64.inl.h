// Elementary functions in float64, accurate to about one ULP, correct at 0, infinity
// and NaN. exp: a Taylor polynomial of degree 13; log, sin, cos: the polynomials of
// fdlibm (Sun Microsystems 1993); tanh: Cephes (Moshier 1992).
#pragma once

INLINE vl bits(vw x) { return reinterpret_cast<vl>(x); }
INLINE vw value(vl x) { return reinterpret_cast<vw>(x); }
INLINE vw abs(vw x) { return value(bits(x) & INT64_MAX); }
INLINE vw with_sign(vw magnitude, vw of) {
  return value(bits(magnitude) | (bits(of) & INT64_MIN));
}
INLINE bool any(vl mask) {
  int64_t found = 0;
  for (int i = 0; i < D; i++) found |= mask[i];
  return found != 0;
}

// Functions without vector code, lane by lane.
template <class F>
INLINE vw lanes_of(vw x, F f) {
  for (int i = 0; i < D; i++) x[i] = f(x[i]);
  return x;
}
INLINE vw sqrt(vw x) {
  return lanes_of(x, [](double a) { return __builtin_sqrt(a); });
}
INLINE vw expm1(vw x) {
  return lanes_of(x, [](double a) { return __builtin_expm1(a); });
}
INLINE vw log1p(vw x) {
  return lanes_of(x, [](double a) { return __builtin_log1p(a); });
}
INLINE vw erf(vw x) {
  return lanes_of(x, [](double a) { return __builtin_erf(a); });
}

template <int n>
INLINE vw horner(vw x, const double (&c)[n]) {
  vw p = splat(c[0]);
#pragma GCC unroll 16
  for (int i = 1; i < n; i++) p = p * x + c[i];
  return p;
}

constexpr double magic64 = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds
INLINE vl rounded_bits(vw shifted) { return bits(shifted) - bits(splat(magic64)); }

// x = n ln2 + r, |r| <= ln2 / 2; e^x = e^r 2^n, in two factors.
INLINE vw exp(vw x) {
  x = x > 710.0 ? splat(710.0) : x;
  x = x < -750.0 ? splat(-750.0) : x;
  vw shifted = x * 1.4426950408889634 + magic64, n = shifted - magic64;
  vw r = x - n * 6.93145751953125e-1;
  r = r - n * 1.42860682030941723212e-6;
  vw p =
      horner(r, {1.6059043836821613e-10, 2.08767569878681e-09, 2.505210838544172e-08,
                 2.755731922398589e-07, 2.7557319223985893e-06, 2.48015873015873e-05,
                 1.984126984126984e-04, 1.3888888888888889e-03, 8.333333333333333e-03,
                 4.1666666666666664e-02, 1.6666666666666666e-01, 0.5});
  vw q = r * r * p + r;
  vl e = rounded_bits(shifted), half = e >> 1;
  return (1.0 + q) * value((half + 1023) << 52) * value((e - half + 1023) << 52);
}

// x = m 2^e with m in [sqrt(1/2), sqrt(2)); log x = log m + e ln2.
INLINE vw log(vw x) {
  vl tiny = x < 2.2250738585072014e-308;
  vw y = tiny ? x * 18014398509481984.0 : x;
  // Unsigned, because bits of negative numbers would overflow.
  const vq u = reinterpret_cast<vq>(y);
  vl e = reinterpret_cast<vl>(u - 0x3fe6a09e667f3bcdu) >> 52;
  vw f = reinterpret_cast<vw>(u - (reinterpret_cast<vq>(e) << 52)) - 1.0;
  vw n = value(e + bits(splat(magic64))) - magic64;
  n = n + (tiny ? splat(-54.0) : splat(0.0));
  vw s = f / (2.0 + f), z = s * s, h = 0.5 * f * f;
  vw p = z * horner(z, {1.479819860511658591e-01, 1.531383769920937332e-01,
                        1.818357216161805012e-01, 2.222219843214978396e-01,
                        2.857142874366239149e-01, 3.999999999940941908e-01,
                        6.666666666666735130e-01});
  vw low = h - (s * (h + p) + n * 1.90821492927058770002e-10);
  vw result = n * 6.93147180369123816490e-01 - (low - f);
  result = x == 0.0 ? splat(-__builtin_inf()) : result;
  result = x < 0.0 ? splat(__builtin_nan("")) : result;
  return x < __builtin_inf() ? result : x;  // infinity, NaN
}

INLINE vw sigmoid(vw x) {
  vw e = exp(-abs(x));
  return (x < 0.0 ? e : splat(1.0)) / (1.0 + e);
}
INLINE vw softplus(vw x) { return (x < 0.0 ? splat(0.0) : x) + log1p(exp(-abs(x))); }

// |x| < 0.625: x + x^3 P(x^2) / Q(x^2); else 1 - 2 / (e^(2|x|) + 1).
INLINE vw tanh(vw x) {
  vw t = abs(x), u = x * x;
  vw p = horner(u, {-9.64399179425052238628e-1, -9.92877231001918586564e1,
                    -1.61468768441708447952e3});
  vw q = horner(u, {1.0, 1.12811678491632931402e2, 2.23548839060100448583e3,
                    4.84406305325125486048e3});
  vw large = 1.0 - 2.0 / (exp(2.0 * t) + 1.0);
  return t < 0.625 ? x + x * u * (p / q) : with_sign(large, x);
}

struct SinCos64 {
  vw sin, cos;
};

static __attribute__((noinline)) SinCos64 sincos_huge(vw x, SinCos64 y) {
  for (int i = 0; i < D; i++)
    if (!(x[i] <= 1e5 && x[i] >= -1e5)) {
      y.sin[i] = __builtin_sin(x[i]);
      y.cos[i] = __builtin_cos(x[i]);
    }
  return y;
}

// r + low = x - n pi / 2 with |r| < pi / 4; n times the first two parts of pi / 2, of
// 33 bits each, is exact. n mod 4 selects the function and the sign.
INLINE SinCos64 sincos(vw x) {
  vw shifted = x * 0.63661977236758134308 + magic64, n = shifted - magic64;
  vw first = x - n * 1.57079632673412561417;
  vw second = n * 6.07710050630396597660e-11, r = first - second;
  vw low = n * 2.02226624879595063154e-21 - ((first - r) - second);
  vw reduced = r - low;
  low = (r - reduced) - low;
  r = reduced;
  vw u = r * r, v = u * r;
  vw p = horner(u, {1.58969099521155010221e-10, -2.50507602534068634195e-08,
                    2.75573137070700676789e-06, -1.98412698298579493134e-04,
                    8.33333333332248946124e-03});
  vw s = r - ((u * (0.5 * low - v * p) - low) - v * -1.66666666666666324348e-01);
  vw q = u * horner(u, {-1.13596475577881948265e-11, 2.08757232129817482790e-09,
                        -2.75573143513906633035e-07, 2.48015872894767294178e-05,
                        -1.38888888888741095749e-03, 4.16666666666666019037e-02});
  vw h = 0.5 * u, w = 1.0 - h;
  vw c = w + (((1.0 - w) - h) + (u * q - r * low));
  vl turns = rounded_bits(shifted), odd = (turns & 1) != 0;
  SinCos64 y{value(bits(odd ? c : s) ^ ((turns & 2) << 62)),
             value(bits(odd ? s : c) ^ (((turns + 1) & 2) << 62))};
  vl huge = ~(abs(x) <= 1e5);  // Clang's comparisons have a type of their own
  if (any(huge)) return sincos_huge(x, y);
  return y;
}
