// SHA-256 (FIPS 180-4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace kurve {

class Sha256 {
 public:
  void add(const void* bytes, size_t size);
  std::string hex();  // of all bytes added; nothing may be added after it

 private:
  void block(const unsigned char* bytes);

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  unsigned char rest_[64];
  uint64_t size_ = 0;
};

}  // namespace kurve
