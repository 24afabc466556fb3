// Random permutations, the same as those of kurve.core.rng.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kurve {

// Writes 0..n-1 in the order of their keys, of two words each. Returns early when the
// caller's StopToken stops.
void permute(uint64_t seed, uint32_t purpose, uint64_t stream, int64_t* out, size_t n);

}  // namespace kurve
