#include "kernels/images.h"
#include "ops.h"
#include "pool.h"
#include "shapes.h"

namespace kurve {
namespace {

class PoolOp : public Op {
 public:
  explicit PoolOp(const OpSpec& spec) : pool_(pool_of(spec)) {
    work = work_of({product_of(spec.out_shape), pool_.ph, pool_.pw});
    rows = never_fused;
    // The number of windows that contain an element.
    auto windows_over = [](int64_t n, int64_t size, int64_t stride) {
      return std::min(n, (size + stride - 1) / stride);
    };
    float64_sums_ = windows_over(pool_.OH, pool_.ph, pool_.sh) *
                        windows_over(pool_.OW, pool_.pw, pool_.sw) >
                    longest_chain_in_place;
  }
  int64_t scratch(const Kernels&, int64_t batch, bool training) const override {
    return float64_sums_ && training ? batch * floats_for_doubles(in) : 0;
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    parallel(ctx.batch, ctx.batch * in * element_cost, [&](int64_t b) {
      ctx.kernels.images->pool(pool_, x + b * in, y + b * out);
    });
  }
  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    const Kernels& kernels = ctx.kernels;
    parallel(ctx.batch, ctx.batch * in * element_cost, [&](int64_t b) {
      float *to = dx + b * in, *memory = ctx.scratch + b * floats_for_doubles(in);
      double* sums = float64_sums_ ? reinterpret_cast<double*>(memory) : nullptr;
      if (sums) clear(sums, in);
      kernels.images->pool_backward(pool_, x + b * in, y + b * out, dz + b * out, to,
                                    sums);
      if (sums) round_sums(sums, in, to);
      differentiate_in_chunks(kernels, before, b * in, to, in);
    });
  }

 private:
  Pool pool_;
  bool float64_sums_;  // sums of gradients need float64
};

}  // namespace

Pool pool_of(const OpSpec& spec) {
  Image in = image_of(spec.in_shape), to = image_of(spec.out_shape);
  Pool p{in.H, in.W, in.C, to.H, to.W, 1, 1, 1, 1, 0, 0, false};
  const std::string& mode = text(spec.attrs, "mode");
  if (mode != "max" && mode != "average") throw Unsupported("pooling", mode);
  p.average = mode == "average";
  if (spec.kind == "global_pool") {
    p.OH = p.OW = 1;
    p.ph = p.sh = p.H;
    p.pw = p.sw = p.W;
  } else {
    p.ph = integer(spec.attrs, "pool_h", 1);
    p.pw = integer(spec.attrs, "pool_w", 1);
    p.sh = integer(spec.attrs, "stride_h", 1);
    p.sw = integer(spec.attrs, "stride_w", 1);
    p.top = integer(spec.attrs, "pad_top", 0);
    p.left = integer(spec.attrs, "pad_left", 0);
  }
  // Every window overlaps the image.
  auto meets = [](int64_t n, int64_t stride, int64_t pad, int64_t size,
                  int64_t window) {
    return (n - 1) * stride - pad < size && pad < window;
  };
  if (p.OH * p.OW * p.C != product_of(spec.out_shape) || to.C != p.C ||
      !meets(p.OH, p.sh, p.top, p.H, p.ph) || !meets(p.OW, p.sw, p.left, p.W, p.pw))
    refuse_shapes(spec, "its windows");
  return p;
}

std::unique_ptr<Op> make_pool(const OpSource& source) {
  return std::make_unique<PoolOp>(source.spec);
}
std::unique_ptr<Op> make_global_pool(const OpSource& source) {
  return std::make_unique<PoolOp>(source.spec);
}

}  // namespace kurve
