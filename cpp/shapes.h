// The geometry of images, read from a plan and checked.
#pragma once

#include "kernels/images.h"
#include "ops.h"

namespace kurve {

// Channels last; a sample (L, C) has the height 1, one (C,) is a pixel.
struct Image {
  int64_t H, W, C;
};

inline Image image_of(const Shape& s) {
  if (s.empty() || s.size() > 3)
    throw std::invalid_argument("[native] images have the shape (H, W, C) or (L, C).");
  return {s.size() == 3 ? s[0] : 1, s.size() >= 2 ? s[s.size() - 2] : 1, s.back()};
}

// A number of pixels.
inline int64_t whole(const Attrs& attrs, const char* name, int64_t least) {
  double value = number(attrs, name);
  if (!(value >= double(least) && value <= 1e9) || value != double(int64_t(value)))
    throw std::invalid_argument("[native] the plan's '" + std::string(name) +
                                "' is no number of pixels.");
  return int64_t(value);
}

// Of a convolution; the sizes of its variables are checked, bias_size -1 is none.
Conv conv_of(const OpSpec& spec, int64_t kernel_size, int64_t bias_size,
             bool transposed);
Pool pool_of(const OpSpec& spec);

}  // namespace kurve
