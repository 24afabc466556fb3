// The widest vectors of the instruction set, by GCC/Clang extensions.
#pragma once

#if defined(__AVX512F__)
constexpr int L = 16;
#elif defined(__AVX2__)
constexpr int L = 8;
#else
constexpr int L = 4;
#endif

typedef float vf __attribute__((vector_size(L * 4)));
typedef int32_t vi __attribute__((vector_size(L * 4)));
typedef uint32_t vu __attribute__((vector_size(L * 4)));
typedef double vd __attribute__((vector_size(L * 8)));
typedef uint64_t vq __attribute__((vector_size(L * 4)));
typedef float vf_memory __attribute__((vector_size(L * 4), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define INLINE_MEMBER inline __attribute__((always_inline))

INLINE vf splat(float x) { return x - vf{}; }
INLINE vf load(const float* p) { return *reinterpret_cast<const vf_memory*>(p); }
INLINE void store(float* p, vf x) { *reinterpret_cast<vf_memory*>(p) = x; }

// The first n < L elements, the others `fill`: tails use the same vector code.
#if defined(__AVX512F__)
INLINE vf load_tail(const float* p, int64_t n, float fill) {
  return reinterpret_cast<vf>(_mm512_mask_loadu_ps(
      reinterpret_cast<__m512>(splat(fill)), __mmask16((1u << n) - 1), p));
}
INLINE void store_tail(float* p, vf x, int64_t n) {
  _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), reinterpret_cast<__m512>(x));
}
#elif defined(__AVX2__)
INLINE vi first_lanes(int64_t n) { return vi{0, 1, 2, 3, 4, 5, 6, 7} < int32_t(n); }
INLINE vf load_tail(const float* p, int64_t n, float fill) {
  vi mask = first_lanes(n);
  vf x = reinterpret_cast<vf>(_mm256_maskload_ps(p, reinterpret_cast<__m256i>(mask)));
  return mask ? x : splat(fill);
}
INLINE void store_tail(float* p, vf x, int64_t n) {
  _mm256_maskstore_ps(p, reinterpret_cast<__m256i>(first_lanes(n)),
                      reinterpret_cast<__m256>(x));
}
#else
static __attribute__((noinline)) vf load_tail(const float* p, int64_t n, float fill) {
  vf x = splat(fill);
  for (int64_t i = 0; i < n; i++) x[i] = p[i];
  return x;
}
static __attribute__((noinline)) void store_tail(float* p, vf x, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = x[i];
}
#endif
INLINE vf load(const float* p, int64_t n, float fill = 0) {
  return n >= L ? load(p) : load_tail(p, n, fill);
}
INLINE void store(float* p, vf x, int64_t n) {
  if (n >= L) return store(p, x);
  store_tail(p, x, n);
}

INLINE vi bits(vf x) { return reinterpret_cast<vi>(x); }
INLINE vf value(vi x) { return reinterpret_cast<vf>(x); }
INLINE vf max(vf a, vf b) { return a > b ? a : b; }
INLINE vf min(vf a, vf b) { return a < b ? a : b; }
// NaN stays NaN.
#if defined(__AVX512F__)
INLINE vf at_most(vf x, float y) {
  return reinterpret_cast<vf>(
      _mm512_min_ps(reinterpret_cast<__m512>(splat(y)), reinterpret_cast<__m512>(x)));
}
INLINE vf at_least(vf x, float y) {
  return reinterpret_cast<vf>(
      _mm512_max_ps(reinterpret_cast<__m512>(splat(y)), reinterpret_cast<__m512>(x)));
}
#else
INLINE vf at_most(vf x, float y) { return x > y ? splat(y) : x; }
INLINE vf at_least(vf x, float y) { return x < y ? splat(y) : x; }
#endif
INLINE vf abs(vf x) { return value(bits(x) & 0x7fffffff); }
INLINE vf with_sign(vf magnitude, vf of) {
  return value(bits(magnitude) | (bits(of) & INT32_MIN));
}
INLINE vf to_float(vi x) { return __builtin_convertvector(x, vf); }
INLINE vi to_int(vf x) { return __builtin_convertvector(x, vi); }

// Keeps the compiler from fusing this product into an addition.
INLINE vf rounded(vf x) {
#if defined(__x86_64__)
  asm("" : "+v"(x));
#elif defined(__wasm__)
  asm("" : "+r"(x));
#else
  asm("" : "+w"(x));
#endif
  return x;
}

INLINE vf sqrt(vf x) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(_mm512_sqrt_ps(reinterpret_cast<__m512>(x)));
#elif defined(__AVX2__)
  return reinterpret_cast<vf>(_mm256_sqrt_ps(reinterpret_cast<__m256>(x)));
#elif defined(__SSE2__)
  return reinterpret_cast<vf>(_mm_sqrt_ps(reinterpret_cast<__m128>(x)));
#elif defined(__wasm__)
  return reinterpret_cast<vf>(wasm_f32x4_sqrt(reinterpret_cast<v128_t>(x)));
#else
  return reinterpret_cast<vf>(vsqrtq_f32(reinterpret_cast<float32x4_t>(x)));
#endif
}

// The low 32 bits of each 64-bit lane, multiplied to 64 bits.
INLINE vq multiply_low(vq a, vq b) {
#if defined(__AVX512F__)
  return reinterpret_cast<vq>(
      _mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<vq>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<vq>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

INLINE bool any(vi mask) {
  int32_t found = 0;
  for (int i = 0; i < L; i++) found |= mask[i];
  return found != 0;
}
INLINE double sum(vd x) {
  double total = 0;
  for (int i = 0; i < L; i++) total += x[i];
  return total;
}
INLINE float sum(vf x) {
  for (int half = L / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) x[i] += x[i + half];
  return x[0];
}
INLINE float largest(vf x) {
  float m = x[0];
  for (int i = 1; i < L; i++) m = x[i] > m ? x[i] : m;
  return m;
}

INLINE vd widened(vf x) { return __builtin_convertvector(x, vd); }
INLINE vf narrowed(vd x) { return __builtin_convertvector(x, vf); }

// Adds the first n < L elements of a vector, or all L, to memory.
INLINE void add(float* p, vf x, int64_t n) { store(p, load(p, n) + x, n); }
INLINE void add(double* p, vf x, int64_t n) {
  vd sum{};
  if (n >= L) {
    __builtin_memcpy(&sum, p, sizeof sum);
    sum += widened(x);
    __builtin_memcpy(p, &sum, sizeof sum);
    return;
  }
  const uint64_t bytes = uint64_t(n) * 8;
  __builtin_memcpy(&sum, p, bytes);
  sum += widened(x);
  __builtin_memcpy(p, &sum, bytes);
}

// A sum of vectors, in short float32 chains that are added in float64. The order
// depends on the number of terms only.
struct LongSum {
  vf part{};
  vd whole{};
  int64_t terms = 0;

  INLINE_MEMBER void add(vf x) {
    part += x;
    if (++terms % longest_chain == 0) flush();
  }
  INLINE_MEMBER vd lanes() {
    flush();
    return whole;
  }
  // A single chain stays in float32.
  INLINE_MEMBER double total() {
    if (terms < longest_chain) return double(sum(part));
    flush();
    return sum(whole);
  }

 private:
  INLINE_MEMBER void flush() {
    whole += widened(part);
    part = vf{};
  }
};

// For sizes; `pieces` rounds up.
INLINE int64_t pieces(int64_t n, int64_t most) { return (n + most - 1) / most; }
INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t clamp(int64_t n, int64_t low, int64_t high) {
  return n < low ? low : min(n, high);
}
