// Strided copies, which rearrange the elements of samples.
#pragma once

#include <vector>

#include "ops.h"

namespace kurve {

// An axis of a copy: its size and its strides in the source and in the target.
struct Axis {
  int64_t size, from, to;
};

// The stride of each axis of an array in C order.
Shape strides_of(const Shape& shape);

// Copies element (i, j, ...) from index from + sum of i_k axes[k].from to index to +
// sum of i_k axes[k].to.
class StridedCopy {
 public:
  explicit StridedCopy(std::vector<Axis> axes, int64_t from = 0, int64_t to = 0);
  StridedCopy inverse() const;
  // Elements per sample.
  int64_t size() const { return outer_ * rows_.size * columns_.size; }
  // Copies a batch whose samples are x_stride and y_stride apart.
  void run(int64_t batch, const float* x, int64_t x_stride, float* y,
           int64_t y_stride) const;
  // The same, but adds to y.
  void add(int64_t batch, const float* x, int64_t x_stride, float* y,
           int64_t y_stride) const;

 private:
  template <class Body>
  void each_plane(int64_t batch, Body&& body) const;
  std::vector<Axis> axes_;  // all but the last two
  Axis rows_{1, 0, 0}, columns_{1, 1, 1};
  int64_t from_, to_, outer_ = 1;
};

// Writes n zeros.
void clear_all(float* to, int64_t n);

}  // namespace kurve
