#include <algorithm>
#include <cmath>

#include "ops.h"
#include "pool.h"
#include "shapes.h"

namespace kurve {
namespace {

// Partial sums of dW are made by blocks of images, as many as fit `most_sums` floats,
// and added in their order: the number depends on the batch and the shapes only.
constexpr int64_t most_blocks = 16, most_sums = 1 << 20;
constexpr int64_t balanced = 16;  // tasks that keep the threads in balance

int64_t whole_lines(int64_t n) { return (n + 15) / 16 * 16; }

// y = f(convolution of x + b), and where a pooling follows, its maximum over windows:
// then nothing is kept of the convolution but where each maximum was.
class ConvOp : public Op {
 public:
  ConvOp(const OpSpec& spec, const OpSpec* pool, const std::vector<Slot>& params)
      : activation_(activation_of(spec.attrs)),
        alpha_(float(number(spec.attrs, "alpha"))) {
    kernel_ = spec.params.at("kernel");
    kernel_at_ = params[kernel_].offset;
    train_kernel_ = params[kernel_].trainable;
    if (auto found = spec.params.find("bias"); found != spec.params.end()) {
      bias_ = found->second;
      bias_at_ = params[bias_].offset;
      train_bias_ = params[bias_].trainable;
    }
    c_ = conv_of(spec, params[kernel_].size(), bias_ < 0 ? -1 : params[bias_].size());
    trainable = train_kernel_ || train_bias_;
    keeps = keeps_derivative(activation_, alpha_);
    taps_ = c_.kh * c_.kw * (c_.I / c_.groups);
    if (pool) {
      Pool p = pool_of(*pool);
      ph_ = p.ph, pw_ = p.pw;
      c_.OH = p.OH * ph_, c_.OW = p.OW * pw_;
      behind = (product_of(pool->out_shape) + 3) / 4;  // a byte for each maximum
    }
    work = c_.OH * c_.OW * c_.O * taps_;
    rows = never_local;
  }

  static bool can_take(const OpSpec& spec, const OpSpec& next) {
    if (next.kind != "pool" || next.in_shape != spec.out_shape) return false;
    Pool p = pool_of(next);
    return !p.average && p.sh == p.ph && p.sw == p.pw && p.top == 0 && p.left == 0 &&
           p.OH * p.ph <= p.H && p.OW * p.pw <= p.W && p.ph * p.pw <= most_window &&
           p.ph * p.OW * p.pw * p.C <= most_strip;
  }

  int64_t scratch(const Kernels& kernels, int64_t batch, bool training) const override {
    const ImageKernels& k = *kernels.images;
    int64_t size = whole_lines(k.packed_size(c_));
    if (!training) return size;
    int64_t turned = whole_lines(k.turned_size(c_));
    return std::max(size, turned + blocks(kernels, batch) * apart(kernels));
  }

  void forward(const Pass& pass, const float* x, float* y, float* kept) const override {
    const ImageKernels& k = *pass.kernels.images;
    const float* kernel = pass.params + kernel_at_;
    const float* packed = kernel;
    if (int64_t tasks = k.pack_tasks(c_)) {
      parallel(tasks, taps_ * c_.O,
               [&](int64_t task) { k.pack(c_, kernel, pass.scratch, task); });
      packed = pass.scratch;
    }
    Finish f{bias_ < 0 ? nullptr : pass.params + bias_at_, activation_, alpha_};
    auto* index = reinterpret_cast<uint8_t*>(y + pass.batch * out);
    int64_t high = c_.OH / ph_, line = out / high;
    int64_t strips = std::clamp<int64_t>(balanced / pass.batch, 1, high);
    parallel(pass.batch * strips, pass.batch * work, [&](int64_t task) {
      int64_t b = task / strips, strip = task % strips;
      int64_t row = high * strip / strips, count = high * (strip + 1) / strips - row;
      int64_t at = b * out + row * line;
      float* derivative = kept ? kept + at : nullptr;
      if (pooled())
        k.forward_max(c_, f, ph_, pw_, packed, x + b * in, row, count, y + at,
                      derivative, pass.keeps ? index + at : nullptr);
      else
        k.forward(c_, f, packed, x + b * in, row, count, y + at, derivative);
    });
  }

  Derivative derivative(const float* y, const float* kept) const override {
    if (activation_ == Activation::linear) return {};
    return {keeps ? Derivative::kept : Derivative::from_output, activation_, alpha_,
            keeps ? kept : y};
  }

  void backward(const Pass& pass, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    const ImageKernels& k = *pass.kernels.images;
    const float* kernel = pass.params + kernel_at_;
    const float* turned = kernel;
    if (int64_t tasks = dx ? k.turn_tasks(c_) : 0) {
      parallel(tasks, taps_ * c_.O * 4,
               [&](int64_t task) { k.turn(c_, kernel, pass.scratch, task); });
      turned = pass.scratch;
    }
    float* sums = pass.scratch + whole_lines(k.turned_size(c_));
    bool computes = pass.gradient && trainable;
    int64_t parts = blocks(pass.kernels, pass.batch), pieces = pieces_of(k, parts);
    int64_t own = computes ? parts * pieces : 0, each = apart(pass.kernels);
    int64_t tasks = own + (dx ? pass.batch : 0);
    parallel(tasks, pass.batch * work * (computes + (dx != nullptr)), [&](int64_t i) {
      if (i < own) {
        int64_t part = i / pieces, b = pass.batch * part / parts;
        add_sums(pass, x, y, dz, b, pass.batch * (part + 1) / parts, sums + part * each,
                 i % pieces, pieces);
        return;
      }
      int64_t b = i - own;
      float* to = dx + b * in;
      std::fill_n(to, in, 0.0f);
      strips_of(pass, y, dz, b, [&](const float* d, int64_t row, int64_t count) {
        k.add_dx(c_, turned, d, row, count, to);
      });
      pass.kernels.differentiate(before, b * in, to, to, in);
    });
    if (computes) finish(pass, sums, parts, each, pass.gradient, true);
  }

  void jacobian(const Pass& pass, const float* x, const float* y, const float* dz,
                float* to, int64_t stride) const override {
    const ImageKernels& k = *pass.kernels.images;
    float* sums = pass.scratch + whole_lines(k.turned_size(c_));
    int64_t parts = blocks(pass.kernels, pass.batch), each = apart(pass.kernels);
    parallel(parts, pass.batch * work, [&](int64_t part) {
      float* own = sums + part * each;
      for (int64_t b = pass.batch * part / parts; b < pass.batch * (part + 1) / parts;
           b++) {
        add_sums(pass, x, y, dz, b, b + 1, own, 0, 1);
        finish(pass, own, 1, each, to + b * stride, false);
      }
    });
  }

 private:
  bool pooled() const { return behind > 0; }
  int64_t blocks(const Kernels& kernels, int64_t batch) const {
    int64_t most = std::clamp(most_sums / apart(kernels), int64_t(1), most_blocks);
    return std::min(batch, most);
  }
  // Few blocks are divided by rows of taps.
  static int64_t divided(const ImageKernels& k, const Conv& c, int64_t parts) {
    return parts >= balanced / 2 ? 1 : k.sums_pieces(c);
  }
  int64_t pieces_of(const ImageKernels& k, int64_t parts) const {
    return divided(k, c_, parts);
  }
  // Floats of a block: sums for the kernel, for the bias, and those of one strip.
  int64_t apart(const Kernels& kernels) const {
    return whole_lines(kernels.images->sums_size(c_)) + 2 * whole_lines(c_.O);
  }

  // Calls body(dz, row, rows) for the rows of image b, from the top.
  template <class Body>
  void strips_of(const Pass& pass, const float* y, const float* dz, int64_t b,
                 Body&& body) const {
    if (!pooled()) return body(dz + b * out, 0, c_.OH);
    alignas(64) float strip[most_strip];
    auto* index = reinterpret_cast<const uint8_t*>(y + pass.batch * out) + b * out;
    int64_t high = c_.OH / ph_, most = most_strip / (ph_ * c_.OW * c_.O);
    for (int64_t row = 0, count; row < high; row += count) {
      count = std::min(most, high - row);
      pass.kernels.images->spread(c_, ph_, pw_, dz + b * out, index, row, count, strip);
      body(strip, row * ph_, count * ph_);
    }
  }

  // Of images first..last-1, the i-th of so many pieces; the bias goes with the first.
  void add_sums(const Pass& pass, const float* x, const float* y, const float* dz,
                int64_t first, int64_t last, float* sums, int64_t i,
                int64_t pieces) const {
    const ImageKernels& k = *pass.kernels.images;
    int64_t all = k.sums_pieces(c_), size = k.sums_size(c_);
    int64_t begin = all * i / pieces, end = all * (i + 1) / pieces;
    float *bias = sums + whole_lines(size), *part = bias + whole_lines(c_.O);
    if (train_kernel_)
      std::fill(sums + size / all * begin, sums + size / all * end, 0.0f);
    if (i == 0) std::fill_n(bias, c_.O, 0.0f);
    for (int64_t b = first; b < last; b++)
      strips_of(pass, y, dz, b, [&](const float* d, int64_t row, int64_t count) {
        if (train_kernel_)
          for (int64_t piece = begin; piece < end; piece++)
            k.add_sums(c_, x + b * in, d, row, count, sums, piece);
        if (i > 0 || !train_bias_) return;
        pass.kernels.sum_rows(d, count * c_.OW, c_.O, 0, c_.O, part);
        for (int64_t o = 0; o < c_.O; o++) bias[o] += part[o];
      });
  }

  // Blocks of sums to the gradient.
  void finish(const Pass& pass, const float* sums, int64_t parts, int64_t each,
              float* gradient, bool check) const {
    const ImageKernels& k = *pass.kernels.images;
    auto look = [&](const float* g, int64_t n, int slot) {
      if (check &&
          !std::all_of(g, g + n, [](float v) { return std::abs(v) <= tame_sum; }))
        pass.infinite[slot].store(true, std::memory_order_relaxed);
    };
    if (train_kernel_) {
      int64_t size = std::max<int64_t>(1, 4096 / c_.O);  // rows of a task
      parallel((taps_ + size - 1) / size, taps_ * c_.O * parts, [&](int64_t task) {
        int64_t row = task * size, end = std::min(taps_, row + size);
        float* to = gradient + kernel_at_;
        for (int64_t r = row; r < end; r++)
          k.sums_row(c_, sums, parts, each, r, to + r * c_.O);
        look(to + row * c_.O, (end - row) * c_.O, kernel_);
      });
    }
    if (train_bias_) {
      float* to = gradient + bias_at_;
      const float* from = sums + whole_lines(k.sums_size(c_));
      std::copy_n(from, c_.O, to);
      for (int64_t i = 1; i < parts; i++)
        for (int64_t o = 0; o < c_.O; o++) to[o] += from[i * each + o];
      look(to, c_.O, bias_);
    }
  }

  Conv c_;
  Activation activation_;
  float alpha_;
  int kernel_ = -1, bias_ = -1;
  int64_t kernel_at_ = 0, bias_at_ = 0, taps_, ph_ = 1, pw_ = 1;
  bool train_kernel_ = false, train_bias_ = false;
};

}  // namespace

Conv conv_of(const OpSpec& spec, int64_t kernel_size, int64_t bias_size) {
  Image in = image_of(spec.in_shape), to = image_of(spec.out_shape);
  Conv c{in.H, in.W, in.C, to.H, to.W, to.C, 1, 1, 1, 1, 1, 1, 0, 0, 1};
  c.kh = whole(spec.attrs, "kernel_h", 1);
  c.kw = whole(spec.attrs, "kernel_w", 1);
  c.sh = whole(spec.attrs, "stride_h", 1);
  c.sw = whole(spec.attrs, "stride_w", 1);
  c.dh = whole(spec.attrs, "dilation_h", 1);
  c.dw = whole(spec.attrs, "dilation_w", 1);
  c.top = whole(spec.attrs, "pad_top", 0);
  c.left = whole(spec.attrs, "pad_left", 0);
  c.groups = whole(spec.attrs, "groups", 1);
  auto fits = [](int64_t size, int64_t before, int64_t after, int64_t kernel,
                 int64_t dilation, int64_t stride, int64_t n) {
    return n >= 1 && (n - 1) * stride + (kernel - 1) * dilation < size + before + after;
  };
  if (c.I % c.groups || c.O % c.groups ||
      kernel_size != c.kh * c.kw * (c.I / c.groups) * c.O ||
      (bias_size >= 0 && bias_size != c.O) ||
      !fits(c.H, c.top, whole(spec.attrs, "pad_bottom", 0), c.kh, c.dh, c.sh, c.OH) ||
      !fits(c.W, c.left, whole(spec.attrs, "pad_right", 0), c.kw, c.dw, c.sw, c.OW))
    throw std::invalid_argument("[native] shapes of " + spec.layer +
                                " do not fit its kernel.");
  return c;
}

std::unique_ptr<Op> make_conv(const OpSpec& spec, const OpSpec* next,
                              const std::vector<Slot>& params, bool& takes_next) {
  if (spec.kind != "conv") return nullptr;
  const Slot& kernel = params.at(size_t(spec.params.at("kernel")));
  auto bias = spec.params.find("bias");
  Conv c = conv_of(spec, kernel.size(),
                   bias == spec.params.end() ? -1 : params[bias->second].size());
  takes_next = next && ConvOp::can_take(spec, *next);
  // Every pixel by itself is a dense layer.
  if (!takes_next && c.kh == 1 && c.kw == 1 && c.sh == 1 && c.sw == 1 &&
      c.groups == 1 && c.H == c.OH && c.W == c.OW && c.top == 0 && c.left == 0)
    return make_dense(spec, params);
  return std::make_unique<ConvOp>(spec, takes_next ? next : nullptr, params);
}

}  // namespace kurve
