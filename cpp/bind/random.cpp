// Permutations of rows, the same as those of kurve.core.rng.
#include <nanobind/ndarray.h>

#include <cstdint>

#include "interrupt.h"
#include "permutation.h"
#include "register.h"

namespace nb = nanobind;

namespace {

using Rows = nb::ndarray<nb::numpy, int64_t, nb::ndim<1>>;

// The rows 0..n-1 in the order of their keys, of two words each.
Rows permutation(uint64_t seed, uint32_t purpose, uint64_t stream, size_t n) {
  auto* out = new int64_t[n];
  nb::capsule owner(out, [](void* p) noexcept { delete[] static_cast<int64_t*>(p); });
  interruptible([&] { kurve::permute(seed, purpose, stream, out, n); });
  return Rows(out, {n}, owner);
}

}  // namespace

void register_random(nb::module_& m) {
  m.def("permutation", &permutation, nb::arg("seed"), nb::arg("purpose"),
        nb::arg("stream"), nb::arg("count"),
        "range(count) in the order of random 64-bit keys, int64.");
}
