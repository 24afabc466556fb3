// Worst error of the vectorized functions in units in the last place, over all
// exponents and both signs of float32; exits with 1 if a bound is exceeded.
//
// usage: ulp [mantissas of each exponent, a power of 2 [function]]
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels/table.h"

namespace {
using kurve::longest_chain;
#include "kernels/vector.inl.h"

#include "kernels/math.inl.h"

constexpr float inf = std::numeric_limits<float>::infinity();

struct Function {
  const char* name;
  vf (*fast)(vf);
  double (*exact)(double);
  double bound;       // in ULP
  float first, last;  // range of the bound
};

// clang-format off: a table
const Function functions[] = {
    {"exp", [](vf x) { return exp(x); }, [](double x) { return std::exp(x); },
     1.5, -inf, inf},
    {"expm1", [](vf x) { return expm1_negative(x); },
     [](double x) { return std::expm1(x); }, 1.5, -inf, 0.0f},
    {"log", [](vf x) { return log(x); }, [](double x) { return std::log(x); },
     1.5, -inf, inf},
    {"log1p", [](vf x) { return log1p_unit(x); },
     [](double x) { return std::log1p(x); }, 2.5, 0.0f, 1.0f},
    {"sigmoid", [](vf x) { return sigmoid(x); },
     [](double x) { return 1 / (1 + std::exp(-x)); }, 2.5, -inf, inf},
    {"tanh", [](vf x) { return tanh(x); }, [](double x) { return std::tanh(x); },
     2, -inf, inf},
    {"softplus", [](vf x) { return softplus(x); },
     [](double x) { return x > 40 ? x : std::log1p(std::exp(x)); }, 2.5, -inf, inf},
    {"erf", [](vf x) { return erf(x); }, [](double x) { return std::erf(x); },
     4, -inf, inf},
    {"sin", [](vf x) { return sincos(x).sin; }, [](double x) { return std::sin(x); },
     2, -1e4f, 1e4f},
    {"cos", [](vf x) { return sincos(x).cos; }, [](double x) { return std::cos(x); },
     2, -1e4f, 1e4f},
    {"sin_huge", [](vf x) { return sincos(x).sin; },
     [](double x) { return std::sin(x); }, 2, -inf, inf},
};
// clang-format on

float from_bits(uint32_t word) {
  float x;
  std::memcpy(&x, &word, 4);
  return x;
}

// Both signs of `each` mantissas of an exponent (0: subnormal numbers), evenly spaced
// up to a random offset, including the first and last four; all of them if each is
// 2^23.
void add_exponent(uint32_t exponent, uint32_t each, std::vector<float>& x) {
  uint32_t random = exponent, gap = (1u << 23) / each;
  for (uint32_t i = 0; i < each; i++) {
    random = random * 1664525u + 1013904223u;
    uint32_t mantissa = i * gap + (random >> 8) % gap;
    if (i < 4) mantissa = i;
    if (i + 4 >= each) mantissa = (1u << 23) - (each - i);
    x.push_back(from_bits(exponent << 23 | mantissa));
    x.push_back(-x.back());
  }
}

// Values near thresholds; multiples of pi / 2 rounded to float, where sin or cos is
// smallest; and non-finite values.
void add_special(std::vector<float>& x) {
  for (int i = -200000; i <= 200000; i++) x.push_back(float(i) * 5.5e-4f);
  for (float t : {0.55f, 0.92f, 4.0f, 1.0f, 88.722839f, 89.0f, 87.336544f, 103.27892f,
                  103.97208f, 104.0f, 16.6f, 17.3287f, 9.01f, 44.3614f, 1e4f})
    for (uint32_t word = 0; word < 512; word++) {
      uint32_t at;
      std::memcpy(&at, &t, 4);
      x.push_back(from_bits(at - 256 + word));
      x.push_back(-x.back());
    }
  for (int n = 1; n < 6400; n++) {
    float at = float(n * 1.5707963267948966);
    for (float v : {std::nextafter(at, 0.0f), at, std::nextafter(at, inf)}) {
      x.push_back(v);
      x.push_back(-v);
    }
  }
  for (float v : {0.0f, -0.0f, inf, -inf, std::nanf("")}) x.push_back(v);
  while (x.size() % L) x.push_back(0.5f);
}

// Distance from the exact answer in units in the last place; infinite if only one of
// the two is NaN. The largest number is followed by 2^128.
double distance(float got, double right) {
  if (std::isnan(right) || std::isnan(got))
    return std::isnan(right) && std::isnan(got) ? 0 : inf;
  int exponent;
  right = std::clamp(right, -0x1p128, 0x1p128);
  std::frexp(std::min(std::abs(right), 0x1p127), &exponent);
  double ulp = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::abs(std::clamp(double(got), -0x1p128, 0x1p128) - right) / ulp;
}

struct Worst {
  double error = 0;
  float where = 0;
};

void measure(const Function& f, const std::vector<float>& x, Worst& worst) {
  for (size_t i = 0; i < x.size(); i += L) {
    vf y = f.fast(load(&x[i]));
    for (int lane = 0; lane < L; lane++) {
      float at = x[i + size_t(lane)];
      if (at < f.first || at > f.last) continue;
      double error = distance(y[lane], f.exact(at));
      if (error > worst.error) worst = {error, at};
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  uint32_t each = count > 1 ? uint32_t(std::atoi(arguments[1])) : 4096;
  const char* only = count > 2 ? arguments[2] : "";
  std::vector<Worst> worst(std::size(functions));
  for (uint32_t exponent = 0; exponent <= 255; exponent++) {
    std::vector<float> x;
    if (exponent < 255)
      add_exponent(exponent, each, x);
    else
      add_special(x);
    for (size_t i = 0; i < worst.size(); i++)
      if (!*only || !std::strcmp(only, functions[i].name))
        measure(functions[i], x, worst[i]);
  }
  bool met = true;
  for (size_t i = 0; i < worst.size(); i++) {
    const Function& f = functions[i];
    bool good = worst[i].error <= f.bound;
    met = met && good;
    std::printf("%-8s %5.2f ULP of %.1f, at %.9g%s\n", f.name, worst[i].error, f.bound,
                double(worst[i].where), good ? "" : "  NOT MET");
  }
  return met ? 0 : 1;
}
