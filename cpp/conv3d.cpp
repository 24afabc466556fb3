// Convolution of volumes (D, H, W, I) by a kernel (KD, KH, KW, I / groups, O).
#include <algorithm>

#include "pool.h"
#include "strides.h"

namespace kurve {
namespace {

// For each column q of y, x is unfolded to an image (D, H, KW I): the KW elements of a
// row that the kernel covers there become channels, group by group. Convolving these
// images with the kernel, whose memory is also (KD, KH, KW I / groups, O), gives the
// columns of y.
class Conv3D : public Op {
 public:
  explicit Conv3D(const OpSource& source) {
    const OpSpec& spec = source.spec;
    if (spec.in_shape.size() != 4 || spec.out_shape.size() != 4)
      refuse_shapes(spec, "volumes");
    int64_t D = spec.in_shape[0], H = spec.in_shape[1], W = spec.in_shape[2],
            I = spec.in_shape[3], P = spec.out_shape[0], Q = spec.out_shape[1],
            O = spec.out_shape[3];
    int64_t groups = integer(spec.attrs, "groups", 1), each = I / groups;
    int64_t taps = integer(spec.attrs, "kernel_w", 1),
            stride = integer(spec.attrs, "stride_w", 1),
            dilation = integer(spec.attrs, "dilation_w", 1),
            left = integer(spec.attrs, "pad_left", 0);
    columns_ = spec.out_shape[2];
    int64_t reach = (columns_ - 1) * stride + (taps - 1) * dilation - left;
    double size = double(columns_) * double(D) * double(H) * double(taps) * double(I);
    if (reach >= W + integer(spec.attrs, "pad_right", 0) || size > 1e12 || I % groups)
      refuse_shapes(spec, "its kernel");
    int64_t depth = taps * I;
    OpSpec inner{"conv",      spec.layer, {D, H, depth}, {P, Q, O},
                 spec.params, {},         spec.attrs};
    for (auto [to, from] : {std::pair{"kernel_w", "kernel_h"},
                            {"stride_w", "stride_h"},
                            {"dilation_w", "dilation_h"},
                            {"pad_left", "pad_top"},
                            {"pad_right", "pad_bottom"},
                            {"kernel_h", "kernel_d"},
                            {"stride_h", "stride_d"},
                            {"dilation_h", "dilation_d"},
                            {"pad_top", "pad_front"},
                            {"pad_bottom", "pad_back"}})
      inner.attrs[to] = number(inner.attrs, from);
    conv_ = make_op({inner, source.params, source.buffers});
    unfolded_ = columns_ * D * H * depth;
    for (int64_t s = 0; s < taps; s++) {
      // Column q sees column q stride + at.
      int64_t at = s * dilation - left;
      int64_t first = at < 0 ? (-at + stride - 1) / stride : 0;
      int64_t count = std::min(columns_, (W - 1 - at + stride) / stride) - first;
      if (at >= W || count <= 0) continue;
      taps_.emplace_back(std::vector<Axis>{{count, stride * I, D * H * depth},
                                           {D, H * W * I, H * depth},
                                           {H, W * I, depth},
                                           {groups, each, taps * each},
                                           {each, 1, 1}},
                         (first * stride + at) * I, first * D * H * depth + s * each);
      copied_ += taps_.back().size();
      back_.push_back(taps_.back().inverse());
    }
    to_volume_ = StridedCopy({{P, Q * O, Q * columns_ * O},
                              {Q, O, columns_ * O},
                              {columns_, P * Q * O, O},
                              {O, 1, 1}});
    from_volume_ = to_volume_.inverse();
    trainable = conv_->trainable;
    saves = conv_->saves;
    rows = never_fused;
    work = work_of({columns_, conv_->work});
    variables_ = source.params.size();
  }

  Derivative derivative(const float* y, const float* saved) const override {
    return conv_->derivative(y, saved);
  }

  int64_t scratch(const Kernels& kernels, int64_t batch, bool training) const override {
    int64_t n = at_once(batch);
    int64_t forward = round_up(n * unfolded_) + round_up(n * out) * 2 +
                      conv_->scratch(kernels, n * columns_, training);
    if (!training) return forward;
    return std::max(forward, 2 * round_up(batch * unfolded_) + round_up(batch * out) +
                                 conv_->scratch(kernels, batch * columns_, training));
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    int64_t most = at_once(ctx.batch);
    float* u = ctx.scratch;
    float* z = u + round_up(most * unfolded_);
    float* slopes = z + round_up(most * out);
    ExecContext own = ctx;
    own.scratch = slopes + round_up(most * out);
    for (int64_t first = 0; first < ctx.batch && !stopped(); first += most) {
      int64_t n = std::min(most, ctx.batch - first);
      own.batch = n * columns_;
      unfold(n, x + first * in, u);
      conv_->forward(own, u, z, saved ? slopes : nullptr);
      to_volume_.run(n, z, out, y + first * out, out);
      if (saved) to_volume_.run(n, slopes, out, saved + first * out, out);
    }
  }

  void backward(const ExecContext& ctx, const float* x, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    float* u = ctx.scratch;
    float* du = u + round_up(ctx.batch * unfolded_);
    float* d = du + round_up(ctx.batch * unfolded_);
    ExecContext own = ctx;
    own.scratch = d + round_up(ctx.batch * out);
    own.batch = ctx.batch * columns_;
    unfold(ctx.batch, x, u);
    from_volume_.run(ctx.batch, dz, out, d, out);
    conv_->backward(own, u, d, d, dx ? du : nullptr, {});
    if (!dx) return;
    clear_all(dx, ctx.batch * in);
    for (const StridedCopy& tap : back_) tap.add(ctx.batch, du, unfolded_, dx, in);
    differentiate(ctx.kernels, before, dx, dx, ctx.batch * in);
  }

  // Sample by sample: a sample's gradient is the sum over its columns.
  void jacobian(const ExecContext& ctx, const float* x, const float*, const float* dz,
                float* to, int64_t stride) const override {
    if (!trainable) return;
    auto overflowing = std::make_unique<std::atomic<bool>[]>(variables_);
    for (int64_t b = 0; b < ctx.batch; b++) {
      float* u = ctx.scratch;
      float* d = u + round_up(unfolded_);
      ExecContext own = ctx;
      own.scratch = d + round_up(out);
      own.batch = columns_;
      own.gradient = to + b * stride;
      own.overflowing = overflowing.get();
      unfold(1, x + b * in, u);
      from_volume_.run(1, dz + b * out, out, d, out);
      conv_->backward(own, u, d, d, nullptr, {});
    }
  }

 private:
  static int64_t round_up(int64_t n) { return (n + 15) / 16 * 16; }
  // The number of samples unfolded at once, since the results may be large.
  int64_t at_once(int64_t batch) const {
    return std::clamp((int64_t(1) << 21) / unfolded_, int64_t(1), batch);
  }
  void unfold(int64_t batch, const float* x, float* u) const {
    if (copied_ < unfolded_) clear_all(u, batch * unfolded_);
    for (const StridedCopy& tap : taps_) tap.run(batch, x, in, u, unfolded_);
  }

  std::unique_ptr<Op> conv_;
  std::vector<StridedCopy> taps_, back_;  // to the positions of each tap, and back
  StridedCopy to_volume_{{}}, from_volume_{{}};  // for the columns of y
  int64_t columns_, unfolded_, copied_ = 0;
  size_t variables_;
};

}  // namespace

std::unique_ptr<Op> make_conv3d(const OpSource& source) {
  return std::make_unique<Conv3D>(source);
}

}  // namespace kurve
