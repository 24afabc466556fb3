// The geometry of images, read from a plan and checked.
#pragma once

#include "kernels/images.h"
#include "ops.h"

namespace kurve {

// Channels last; a sample (L, C) has height 1, one (C,) is a single pixel.
struct Image {
  int64_t H, W, C;
};

inline Image image_of(const Shape& s) {
  if (s.empty() || s.size() > 3)
    throw std::invalid_argument("[native] images have the shape (H, W, C) or (L, C).");
  Image image{s.size() == 3 ? s[0] : 1, s.size() >= 2 ? s[s.size() - 2] : 1, s.back()};
  if (image.H * image.W > INT32_MAX)
    throw std::invalid_argument("[native] images have up to 2^31 - 1 pixels.");
  return image;
}

// Checks the sizes of the variables too; a bias_size of -1 means no bias.
Conv conv_of(const OpSpec& spec, int64_t kernel_size, int64_t bias_size,
             bool transposed);
Pool pool_of(const OpSpec& spec);

}  // namespace kurve
