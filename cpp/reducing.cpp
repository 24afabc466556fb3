// Reductions and running sums along axes of a sample.
#include <algorithm>

#include "ops.h"
#include "pool.h"

namespace kurve {
namespace {

// A sample viewed as (outer, n, inner), where n combines `count` axes starting at
// `axis`.
class AlongAxes : public Op {
 protected:
  AlongAxes(const OpSpec& spec, ReductionKind kind, int64_t count) {
    const Shape& shape = spec.in_shape;
    auto rank = int64_t(shape.size());
    int64_t axis = integer(spec.attrs, "axis", 0, double(rank - 1));
    if (axis + count > rank) refuse_shapes(spec, "its axes");
    auto first = shape.begin() + axis, last = first + count;
    outer_ = product_of({shape.begin(), first});
    p_ = {kind, product_of({first, last}), product_of({last, shape.end()})};
    work = product_of(shape);
  }

  // Calls body(first, count) for the units of a batch.
  template <class Body>
  void each_unit(const ExecContext& ctx, Body&& body) const {
    int64_t units = ctx.batch * outer_ * p_.units_across();
    int64_t size =
        std::max<int64_t>(1, 2 * task_size / (p_.n * std::min(p_.inner, unit_columns)));
    bool exponential = p_.kind == ReductionKind::logsumexp;
    parallel((units + size - 1) / size,
             ctx.batch * in * (exponential ? element_cost : element_cost / 4),
             [&](int64_t task) {
               int64_t first = task * size;
               body(first, std::min(size, units - first));
             });
  }

  Reduction p_;
  int64_t outer_;
};

class Reduce : public AlongAxes {
 public:
  explicit Reduce(const OpSpec& spec)
      : AlongAxes(spec, kind_of(spec), integer(spec.attrs, "count", 1)) {
    if (product_of(spec.out_shape) != outer_ * p_.inner)
      refuse_shapes(spec, "its axes");
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    each_unit(ctx, [&](int64_t first, int64_t count) {
      ctx.kernels.reduce(p_, x, y, first, count);
    });
  }
  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    each_unit(ctx, [&](int64_t first, int64_t count) {
      ctx.kernels.reduce_backward(p_, x, y, dz, dx, first, count);
    });
    differentiate(ctx.kernels, before, dx, dx, ctx.batch * in);
  }

 private:
  static ReductionKind kind_of(const OpSpec& spec) {
    const std::string& mode = text(spec.attrs, "mode");
    std::optional<ReductionKind> found = kind_named<ReductionKind>(mode);
    if (!found) throw Unsupported("reduction", mode);
    return *found;
  }
};

class RunningSum : public AlongAxes {
 public:
  explicit RunningSum(const OpSpec& spec)
      : AlongAxes(spec, ReductionKind::sum, 1),
        reverse_(number(spec.attrs, "reverse") != 0) {
    check_same_shape(spec);
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    run(ctx, reverse_, x, y);
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    run(ctx, !reverse_, dz, dx);
    differentiate(ctx.kernels, before, dx, dx, ctx.batch * in);
  }

 private:
  void run(const ExecContext& ctx, bool reverse, const float* x, float* y) const {
    each_unit(ctx, [&](int64_t first, int64_t count) {
      ctx.kernels.running_sum(p_, reverse, x, y, first, count);
    });
  }
  bool reverse_;
};

}  // namespace

std::unique_ptr<Op> make_reduce(const OpSource& source) {
  return std::make_unique<Reduce>(source.spec);
}
std::unique_ptr<Op> make_cumsum(const OpSource& source) {
  return std::make_unique<RunningSum>(source.spec);
}

}  // namespace kurve
