// Random words as a function of a counter; see kurve.core.rng.
#pragma once

#include <cstdint>

namespace kurve {

// Philox4x32-10 (Salmon et al. 2011): counter (block, purpose, stream), key seed.
inline void philox(uint64_t seed, uint32_t purpose, uint64_t stream, uint32_t block,
                   uint32_t words[4]) {
  uint32_t c0 = block, c1 = purpose, c2 = uint32_t(stream), c3 = uint32_t(stream >> 32);
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = uint64_t(0xD2511F53) * c0, p1 = uint64_t(0xCD9E8D57) * c2;
    c0 = uint32_t(p1 >> 32) ^ c1 ^ k0;
    c2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c1 = uint32_t(p1);
    c3 = uint32_t(p0);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

// Layers draw with this purpose plus their stream, as kurve.core.rng.DROPOUT.
constexpr uint32_t layer_purpose = 0x10000;

// In (0, 1).
inline double uniform(uint32_t word) { return (double(word) + 0.5) * 0x1p-32; }

}  // namespace kurve
