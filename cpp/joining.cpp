// Ops that join several inputs, and products of two values.
#include <algorithm>

#include "ops.h"
#include "pool.h"

namespace kurve {
namespace {

// y = the inputs concatenated along an axis: (outer, sum of widths), each of them
// (outer, width).
class Concatenate : public Op {
 public:
  explicit Concatenate(const OpSpec& spec) {
    auto axis =
        size_t(integer(spec.attrs, "axis", 0, double(spec.out_shape.size()) - 1));
    outer_ = 1;
    for (size_t k = 0; k < axis; k++) outer_ *= spec.out_shape[k];
    add(spec, spec.in_shape, axis);
    for (const Shape& shape : spec.more_shapes) add(spec, shape, axis);
    if (outer_ * total_ != product_of(spec.out_shape))
      refuse_shapes(spec, "its inputs");
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    forward_many(ctx, &x, y, saved);
  }
  void forward_many(const ExecContext& ctx, const float* const* x, float* y,
                    float*) const override {
    each_row(ctx, [&](int64_t row) {
      float* to = y + row * total_;
      for (size_t k = 0; k < widths_.size(); k++) {
        take(x[k] + row * widths_[k], widths_[k], to);
        to += widths_[k];
      }
    });
  }
  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    backward_many(ctx, &x, y, dz, &dx);
    if (dx) differentiate(ctx.kernels, before, dx, dx, ctx.batch * in);
  }
  void backward_many(const ExecContext& ctx, const float* const*, const float*,
                     const float* dz, float* const* dx) const override {
    each_row(ctx, [&](int64_t row) {
      const float* from = dz + row * total_;
      for (size_t k = 0; k < widths_.size(); k++) {
        if (dx[k]) take(from, widths_[k], dx[k] + row * widths_[k]);
        from += widths_[k];
      }
    });
  }

 private:
  void add(const OpSpec& spec, const Shape& shape, size_t axis) {
    if (shape.size() != spec.out_shape.size()) refuse_shapes(spec, "its inputs");
    int64_t width = 1;
    for (size_t k = 0; k < shape.size(); k++) {
      if (k != axis && shape[k] != spec.out_shape[k]) refuse_shapes(spec, "its inputs");
      if (k >= axis) width *= shape[k];
    }
    widths_.push_back(width);
    total_ += width;
  }
  static void take(const float* from, int64_t n, float* to) {
    constexpr int64_t large = 1 << 18;
    if (n < large)
      std::copy_n(from, n, to);
    else
      copy(from, n, to);  // can be interrupted
  }
  template <class Body>
  void each_row(const ExecContext& ctx, Body&& body) const {
    int64_t rows = ctx.batch * outer_;
    int64_t size = std::max<int64_t>(1, 16384 / total_);
    parallel((rows + size - 1) / size, rows * total_, [&](int64_t task) {
      int64_t last = std::min(rows, (task + 1) * size);
      for (int64_t row = task * size; row < last; row++) body(row);
    });
  }

  int64_t outer_ = 1, total_ = 0;
  std::vector<int64_t> widths_;
};

}  // namespace

std::unique_ptr<Op> make_concatenate(const OpSource& source) {
  return std::make_unique<Concatenate>(source.spec);
}

}  // namespace kurve
