// Compares the tiled product with the naive one, for every tiling method; exits with 1
// if they differ.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels/table.h"

namespace kurve {

void* task_memory() {
  alignas(64) static char memory[task_memory_size];
  return memory;
}

namespace {
#include "kernels/vector.inl.h"

#include "kernels/math.inl.h"

#include "kernels/activation.inl.h"
#include "kernels/micro.inl.h"
#include "kernels/optimizer.inl.h"

#include "kernels/pack.inl.h"
#include "kernels/product.inl.h"

constexpr float rate = 0.5f;  // of the update

std::vector<float> numbers(int64_t n, uint32_t seed) {
  std::vector<float> x(size_t(n), 0.0f);
  for (float& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = float(seed >> 8) / 8388608.0f - 1.0f;
  }
  return x;
}

// The largest error, relative to the sum of the magnitudes of the terms.
double difference(Product p, const std::vector<float>& before) {
  auto size = size_t(p.M * p.N);
  std::vector<float> c = before;
  std::vector<double> exact(size), magnitude(size);
  p.c = c.data();
  for (int64_t task = 0; task < product_tasks(p); task++) product(p, task);
  naive_product(p, exact.data());
  auto a = numbers(p.M * p.K, 1), b = numbers(p.K * p.N, 2);
  for (float& v : a) v = std::abs(v);
  for (float& v : b) v = std::abs(v);
  p.a = a.data(), p.b = b.data();
  naive_product(p, magnitude.data());
  double worst = 0;
  for (size_t i = 0; i < size; i++) {
    double right = exact[i], scale = magnitude[i];
    if (p.after == Product::update) {
      right = double(before[i]) - double(rate) * right;
      scale += std::abs(double(before[i]));
    }
    double error = std::abs(double(c[i]) - right) / scale;
    if (!(error <= worst)) worst = error;  // NaN counts
  }
  return worst;
}

bool check(int64_t M, int64_t N, int64_t K) {
  constexpr double bound = 1e-6;
  auto a = numbers(M * K, 1), b = numbers(K * N, 2), w = numbers(M * N, 3);
  const UpdateParams sgd{.kind = OptimizerKind::sgd, .lr = rate};
  Product forward{.a = a.data(),
                  .a_row = K,
                  .a_step = 1,
                  .b = b.data(),
                  .b_row = N,
                  .b_transposed = false,
                  .c = nullptr,
                  .M = M,
                  .N = N,
                  .K = K,
                  .after = Product::activate};
  Product backward = forward, gradient = forward;
  backward.b_row = K;
  backward.b_transposed = true;
  backward.after = Product::differentiate;
  gradient.a_row = 1;
  gradient.a_step = M;
  gradient.after = Product::check;
  Product transposed = gradient;  // both transposed
  transposed.b_row = K;
  transposed.b_transposed = true;
  transposed.after = Product::activate;
  Product update = gradient;
  update.after = Product::update;
  update.step = &sgd;
  bool good = true;
  for (const Product& p : {forward, backward, gradient, transposed, update}) {
    if (p.after == Product::update && update_width(K) == 0) continue;  // K too large
    double error = difference(p, w);
    if (error <= bound) continue;
    good = false;
    std::printf("(%lld, %lld) of %lld terms, then %d: differs by %.2g\n", (long long)M,
                (long long)N, (long long)K, int(p.after), error);
  }
  return good;
}

}  // namespace
}  // namespace kurve

int main() {
  bool good = true;
  for (int64_t M : {1, 2, 3, 4, 5, 14, 20, 61, 64, 65, 131, 700})
    for (int64_t N : {1, 3, 15, 16, 17, 33, 64, 257, 1043})
      for (int64_t K : {1, 2, 9, 64, 255, 500, 901})
        if (M * N * K <= 10'000'000) good &= kurve::check(M, N, K);
  return good ? 0 : 1;
}
