#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops.h"
#include "pool.h"
#include "stream.h"

namespace kurve {
namespace {

// Outside of training, y = x, with derivative 1.
void pass_through(const float* x, int64_t n, float* y, float* saved) {
  if (saved)
    in_chunks(n, [&](int64_t first, int64_t count) {
      std::fill_n(saved + first, count, 1.0f);
    });
  copy(x, n, y);
}

// Saves its mask, already scaled, as the derivative. If positions share the mask, it
// has one element per channel of each block of them. Alpha dropout replaces dropped
// values with the lowest value of selu, and preserves mean and variance (Klambauer et
// al. 2017): y = a x + b or a low + b.
class DropoutOp : public Op {
 public:
  explicit DropoutOp(const OpSpec& spec) : stream_(spec.attrs) {
    check_same_shape(spec);
    double rate = number(spec.attrs, "rate");
    if (!(rate >= 0 && rate <= 1))
      throw std::invalid_argument("[native] the plan's 'rate' must be in [0, 1].");
    bool all = rate >= 1.0;  // drop all: the threshold would overflow
    threshold_ = all ? 0xffffffff : uint32_t(rate * 4294967296.0);
    scale_ = all ? 0.0f : float(1.0 / (1.0 - rate));
    saves = identity_at_inference = true;
    if (spec.attrs.count("shared")) shared_ = integer(spec.attrs, "shared", 1, 1e12);
    int64_t size = product_of(spec.out_shape);
    channels_ = size / shared_;
    if (spec.attrs.count("channels"))
      channels_ = integer(spec.attrs, "channels", 1, 1e12);
    if (size % shared_ || size / shared_ % channels_)
      refuse_shapes(spec, "what its channels share");
    if (spec.attrs.count("alpha") && number(spec.attrs, "alpha") != 0 && rate > 0) {
      if (all)
        throw std::invalid_argument("[native] the plan's 'rate' must be below 1.");
      double low = -1.6732632423543772 * 1.0507009873554805;
      double a = 1 / std::sqrt((1 - rate) * (1 + rate * low * low));
      scale_ = float(a);
      kept_ = float(-a * low * rate);
      dropped_ = float(a * low - a * low * rate);
      shifts_ = true;
    }
  }
  int64_t scratch(const Kernels&, int64_t batch, bool training) const override {
    return shared_ > 1 && training ? 2 * (batch * out / shared_ + 16) : 0;
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    int64_t n = ctx.batch * out;
    if (!ctx.training) return pass_through(x, n, y, saved);
    if (shared_ == 1) {
      draw(ctx, n, x, y, saved);
    } else {
      draw_shared(ctx, n, x, y, saved);
    }
    if (shifts_)
      in_chunks(n, [&](int64_t first, int64_t count) {
        for (int64_t i = first; i < first + count; i++)
          y[i] += saved[i] != 0.0f ? kept_ : dropped_;
      });
  }
  Derivative derivative(const float*, const float* saved) const override {
    return {Derivative::saved, Activation::linear, 0, saved};
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    differentiate(ctx.kernels, before, dz, dx, ctx.batch * out);
  }

 private:
  void draw_shared(const ExecContext& ctx, int64_t n, const float* x, float* y,
                   float* saved) const {
    int64_t blocks = n / (shared_ * channels_), channels = channels_;
    float *mask = ctx.scratch, *unused = mask + blocks * channels + 16;
    draw(ctx, blocks * channels, x, unused, mask);
    parallel(blocks, n * element_cost, [&](int64_t b) {
      const float* channel_mask = mask + b * channels;
      in_chunks(shared_, [&](int64_t first, int64_t count) {
        int64_t at = (b * shared_ + first) * channels;
        for (int64_t i = at; i < at + count * channels; i += channels)
          for (int64_t c = 0; c < channels; c++) {
            saved[i + c] = channel_mask[c];
            y[i + c] = x[i + c] * channel_mask[c];
          }
      });
    });
  }
  void draw(const ExecContext& ctx, int64_t n, const float* x, float* y,
            float* mask) const {
    Dropout d{stream_.key(ctx), stream_.purpose, ctx.step, threshold_, scale_};
    int64_t before = ctx.first * (n / std::max<int64_t>(ctx.batch, 1));
    parallel((n + task_size - 1) / task_size, n * element_cost, [&](int64_t task) {
      int64_t first = task * task_size, count = std::min(task_size, n - first);
      ctx.kernels.dropout(d, x + first, y + first, mask + first, before + first, count);
    });
  }

  Stream stream_;
  uint32_t threshold_;
  float scale_, kept_ = 0, dropped_ = 0;
  bool shifts_ = false;
  int64_t shared_ = 1, channels_ = 1;
};

// Four standard normal numbers: each pair of words gives two by the Box-Muller
// transform (1958).
void normal(const uint32_t words[4], double to[4]) {
  for (int k = 0; k < 4; k += 2) {
    double radius = std::sqrt(-2.0 * std::log(uniform(words[k])));
    double angle = 2.0 * std::numbers::pi * uniform(words[k + 1]);
    to[k] = radius * std::cos(angle);
    to[k + 1] = radius * std::sin(angle);
  }
}

// In training, y = x + stddev n, or x (1 + stddev n) if the noise is multiplicative,
// with n standard normal.
class GaussianNoise : public Op {
 public:
  explicit GaussianNoise(const OpSpec& spec)
      : stream_(spec.attrs), stddev_(number(spec.attrs, "stddev")) {
    check_same_shape(spec);
    identity_at_inference = true;
    saves = spec.attrs.count("multiply") && number(spec.attrs, "multiply") != 0;
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    int64_t n = ctx.batch * out;
    if (!ctx.training) return pass_through(x, n, y, saved);
    parallel((n + task_size - 1) / task_size, n * element_cost * 4, [&](int64_t task) {
      int64_t end = std::min(n, (task + 1) * task_size);
      for (int64_t i = task * task_size; i < end; i += 4) {
        uint32_t words[4];
        double four[4];
        int64_t block = (ctx.first * out + i) / 4;
        philox(stream_.key(ctx), stream_.purpose, ctx.step, uint32_t(block), words);
        normal(words, four);
        for (int64_t k = 0; k < 4 && i + k < end; k++) {
          double noise = four[k];
          if (saves) {
            float factor = float(1.0 + stddev_ * noise);
            saved[i + k] = factor;
            y[i + k] = x[i + k] * factor;
          } else {
            y[i + k] = x[i + k] + float(stddev_ * noise);
          }
        }
      }
    });
  }
  Derivative derivative(const float* y, const float* saved) const override {
    if (!saves) return Op::derivative(y, saved);
    return {Derivative::saved, Activation::linear, 0, saved};
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    differentiate(ctx.kernels, before, dz, dx, ctx.batch * out);
  }

 private:
  Stream stream_;
  double stddev_;
};

// Random numbers, different for each sample or the same for all. Only the number of
// samples of the input is used.
class Random : public Op {
 public:
  explicit Random(const OpSpec& spec)
      : purpose_(layer_purpose + uint32_t(integer(spec.attrs, "stream", 0))) {
    const std::string& distribution = text(spec.attrs, "distribution");
    is_normal_ = distribution == "normal";
    if (!is_normal_ && distribution != "uniform")
      throw Unsupported("distribution", distribution);
    is_shared_ = spec.attrs.count("shared") && number(spec.attrs, "shared") != 0;
  }
  void forward(const ExecContext& ctx, const float*, float* y, float*) const override {
    if (!is_shared_) return draw(ctx, ctx.first * out, ctx.batch * out, y);
    draw(ctx, 0, out, y);
    for (int64_t row = 1; row < ctx.batch; row++) std::copy_n(y, out, y + row * out);
  }
  void backward(const ExecContext&, const float*, const float*, const float*, float*,
                const Derivative&) const override {}

 private:
  static constexpr double most = 1 - 0x1p-24;  // the largest float below 1

  // Draws the elements from `start` on.
  void draw(const ExecContext& ctx, int64_t start, int64_t count, float* y) const {
    int64_t end = start + count;
    int64_t blocks = (end + 3) / 4 - start / 4, size = task_size / 4;
    parallel((blocks + size - 1) / size, blocks * element_cost * 16, [&](int64_t task) {
      int64_t last = std::min(blocks, (task + 1) * size) + start / 4;
      for (int64_t block = task * size + start / 4; block < last; block++) {
        uint32_t words[4];
        double numbers[4];
        philox(ctx.seed, purpose_, ctx.step, uint32_t(block), words);
        if (is_normal_)
          normal(words, numbers);
        else
          for (int k = 0; k < 4; k++) numbers[k] = std::min(uniform(words[k]), most);
        for (int64_t k = 0; k < 4; k++) {
          int64_t e = block * 4 + k;
          if (e >= start && e < end) y[e - start] = float(numbers[k]);
        }
      }
    });
  }

  uint32_t purpose_;
  bool is_normal_, is_shared_;
};

}  // namespace

std::unique_ptr<Op> make_random(const OpSource& source) {
  return std::make_unique<Random>(source.spec);
}
std::unique_ptr<Op> make_dropout(const OpSource& source) {
  return std::make_unique<DropoutOp>(source.spec);
}
std::unique_ptr<Op> make_gaussian_noise(const OpSource& source) {
  return std::make_unique<GaussianNoise>(source.spec);
}

}  // namespace kurve
