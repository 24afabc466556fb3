// Copies of samples whose elements change places.
#pragma once

#include <vector>

#include "ops.h"

namespace kurve {

// An axis of a copy: how far apart its elements lie in the source and in the target.
struct Axis {
  int64_t size, from, to;
};

// The distance of neighbours along each axis of an array in C order.
Shape strides_of(const Shape& shape);

// Element (i, j, ...) goes from from + sum of i_k axes[k].from to to + sum of
// i_k axes[k].to.
class StridedCopy {
 public:
  explicit StridedCopy(std::vector<Axis> axes, int64_t from = 0, int64_t to = 0);
  StridedCopy inverse() const;
  // Elements of a sample.
  int64_t size() const { return outer_ * rows_.size * columns_.size; }
  // Of a batch whose samples are x_stride and y_stride apart.
  void run(int64_t batch, const float* x, int64_t x_stride, float* y,
           int64_t y_stride) const;
  // The same added to y.
  void add(int64_t batch, const float* x, int64_t x_stride, float* y,
           int64_t y_stride) const;

 private:
  template <class Body>
  void each_plane(int64_t batch, Body&& body) const;
  std::vector<Axis> axes_;  // all but the last two
  Axis rows_{1, 0, 0}, columns_{1, 1, 1};
  int64_t from_, to_, outer_ = 1;
};

// Zeros, n of them.
void clear_all(float* to, int64_t n);

}  // namespace kurve
