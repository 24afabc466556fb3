// Ops whose output pixels are input pixels or weighted sums of them.
#include <algorithm>
#include <cmath>
#include <vector>

#include "pool.h"
#include "shapes.h"
#include "stream.h"

namespace kurve {
namespace {

// Zeros around the image.
class Pad : public Op {
 public:
  explicit Pad(const OpSpec& spec)
      : from_(image_of(spec.in_shape)),
        to_(image_of(spec.out_shape)),
        top_(integer(spec.attrs, "pad_top", 0)),
        left_(integer(spec.attrs, "pad_left", 0)) {
    if (from_.C != to_.C || top_ + from_.H > to_.H || left_ + from_.W > to_.W)
      refuse_shapes(spec, "its padding");
    rows = never_fused;
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    parallel(ctx.batch, ctx.batch * out, [&](int64_t b) {
      kurve::clear(y + b * out, out);
      for (int64_t h = 0; h < from_.H && !stop_requested(line()); h++)
        std::copy_n(x + b * in + h * line(), line(), y + b * out + inside(h));
    });
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    parallel(ctx.batch, ctx.batch * in, [&](int64_t b) {
      float* to = dx + b * in;
      for (int64_t h = 0; h < from_.H && !stop_requested(line()); h++)
        std::copy_n(dz + b * out + inside(h), line(), to + h * line());
      differentiate_in_chunks(ctx.kernels, before, b * in, to, in);
    });
  }

 private:
  int64_t line() const { return from_.W * from_.C; }
  int64_t inside(int64_t h) const { return ((top_ + h) * to_.W + left_) * to_.C; }
  Image from_, to_;
  int64_t top_, left_;
};

// One axis: the inputs of each output, and their weights.
struct Axis {
  std::vector<int32_t> at;
  std::vector<double> weight;
};

// "nearest": output i is input i / size; "bilinear": it lies at (i + 1/2) / size - 1/2,
// between two inputs, or beyond the outermost one.
Axis enlarged(int64_t n, int64_t size, bool bilinear) {
  Axis axis;
  for (int64_t i = 0; i < n * size; i++) {
    if (!bilinear) {
      axis.at.push_back(int32_t(i / size));
      axis.weight.push_back(1);
      continue;
    }
    double at = (double(i) + 0.5) / double(size) - 0.5;
    at = std::clamp(at, 0.0, double(n - 1));
    double lower = std::min(std::floor(at), double(std::max<int64_t>(n - 2, 0)));
    for (int k = 0; k < 2; k++) {
      axis.at.push_back(int32_t(std::min<int64_t>(int64_t(lower) + k, n - 1)));
      axis.weight.push_back(k ? at - lower : 1 - (at - lower));
    }
  }
  return axis;
}

// Calls body(first, table) for all pixels of an image, some at a time; sources(pixel,
// at, weight) writes the sources of a pixel and their weights.
template <class Sources, class Body>
void for_pixels(int64_t pixels, int64_t C, int64_t each, float fill, Sources&& sources,
                Body&& body) {
  constexpr int64_t chunk = 512;
  int32_t at[4 * chunk];
  float weight[4 * chunk];
  for (int64_t first = 0; first < pixels; first += chunk) {
    int64_t count = std::min(chunk, pixels - first);
    if (stop_requested(count * (100 + each * C))) return;
    for (int64_t i = 0; i < count; i++)
      sources(first + i, at + i * each, weight + i * each);
    body(first, ResampleTable{C, count, each, at, weight, fill});
  }
}

class Upsample : public Op {
 public:
  explicit Upsample(const OpSpec& spec)
      : from_(image_of(spec.in_shape)), to_(image_of(spec.out_shape)) {
    const std::string& how = text(spec.attrs, "interpolation");
    if (how != "nearest" && how != "bilinear") throw Unsupported("interpolation", how);
    int64_t h = integer(spec.attrs, "size_h", 1), w = integer(spec.attrs, "size_w", 1);
    if (from_.C != to_.C || from_.H * h != to_.H || from_.W * w != to_.W)
      refuse_shapes(spec, "its size");
    bool bilinear = how == "bilinear";
    vertical_ = enlarged(from_.H, h, bilinear);
    horizontal_ = enlarged(from_.W, w, bilinear);
    inputs_per_axis_ = bilinear ? 2 : 1;
    rows = never_fused;
    work = product_of(spec.out_shape) * inputs_per_axis_ * inputs_per_axis_;
    float64_sums_ =
        h * w * inputs_per_axis_ * inputs_per_axis_ > longest_chain_in_place;
  }
  int64_t scratch(const Kernels&, int64_t batch, bool training) const override {
    return float64_sums_ && training ? batch * floats_for_doubles(in) : 0;
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    parallel(ctx.batch, ctx.batch * work, [&](int64_t b) {
      for_outputs([&](int64_t first, const ResampleTable& table) {
        float* to = y + b * out + first * to_.C;
        ctx.kernels.images->resample(table, x + b * in, to);
      });
    });
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    parallel(ctx.batch, ctx.batch * work, [&](int64_t b) {
      float *to = dx + b * in, *memory = ctx.scratch + b * floats_for_doubles(in);
      double* sums = float64_sums_ ? reinterpret_cast<double*>(memory) : nullptr;
      if (sums)
        kurve::clear(sums, in);
      else
        kurve::clear(to, in);
      for_outputs([&](int64_t first, const ResampleTable& table) {
        const float* from = dz + b * out + first * to_.C;
        ctx.kernels.images->resample_backward(table, from, to, sums);
      });
      if (sums) round_sums(sums, in, to);
      differentiate_in_chunks(ctx.kernels, before, b * in, to, in);
    });
  }

 private:
  template <class Body>
  void for_outputs(Body&& body) const {
    auto sources = [&](int64_t pixel, int32_t* at, float* weight) {
      int64_t h = pixel / to_.W * inputs_per_axis_,
              w = pixel % to_.W * inputs_per_axis_;
      for (int64_t k = h; k < h + inputs_per_axis_; k++)
        for (int64_t l = w; l < w + inputs_per_axis_; l++) {
          *at++ =
              int32_t(vertical_.at[size_t(k)] * from_.W + horizontal_.at[size_t(l)]);
          *weight++ =
              float(vertical_.weight[size_t(k)] * horizontal_.weight[size_t(l)]);
        }
    };
    for_pixels(to_.H * to_.W, to_.C, inputs_per_axis_ * inputs_per_axis_, 0, sources,
               body);
  }
  Image from_, to_;
  Axis vertical_, horizontal_;
  int64_t inputs_per_axis_;  // per output
  bool float64_sums_;        // sums of gradients
};

// Random geometric augmentation in training: each output pixel is interpolated at its
// position in the original image.
class Affine : public Op {
 public:
  explicit Affine(const OpSpec& spec)
      : image_(image_of(spec.in_shape)),
        stream_(spec.attrs),
        fill_(float(number(spec.attrs, "fill_value"))) {
    what_ = choose(spec, "what", {"translation", "rotation", "flip", "zoom"});
    mode_ = Mode(choose(spec, "fill_mode", {"constant", "nearest", "reflect", "wrap"}));
    bilinear_ = choose(spec, "interpolation", {"nearest", "bilinear"}) == 1;
    auto range = [&](const char* low, const char* high, double* to) {
      to[0] = number(spec.attrs, low);
      to[1] = number(spec.attrs, high) - to[0];
      if (!(std::abs(to[0]) <= max_integer && std::abs(to[1]) <= max_integer))
        throw std::invalid_argument("[native] the ranges of " + spec.layer +
                                    " are too large.");
    };
    if (what_ == 0 || what_ == 3) {
      range("height_low", "height_high", range_[0]);
      range("width_low", "width_high", range_[1]);
      together_ = what_ == 3 && number(spec.attrs, "together") != 0;
    } else if (what_ == 1) {
      range("angle_low", "angle_high", range_[0]);
    } else {
      mirrors_[0] = number(spec.attrs, "horizontal") != 0;
      mirrors_[1] = number(spec.attrs, "vertical") != 0;
    }
    if (spec.in_shape != spec.out_shape) refuse_shapes(spec, "each other");
    rows = never_fused;
    identity_at_inference = true;
    work = product_of(spec.out_shape) * 8;
  }
  int64_t scratch(const Kernels&, int64_t batch, bool training) const override {
    return float64_sums() && training ? batch * floats_for_doubles(in) : 0;
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    if (!ctx.training) return copy(x, ctx.batch * in, y);
    for_all(ctx, [&](int64_t b, int64_t first, const ResampleTable& table) {
      float* to = y + b * out + first * image_.C;
      ctx.kernels.images->resample(table, x + b * in, to);
    });
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    if (!ctx.training)
      return differentiate(ctx.kernels, before, dz, dx, ctx.batch * in);
    auto* memory = reinterpret_cast<double*>(ctx.scratch);
    int64_t sample_stride = floats_for_doubles(in) / 2;
    if (float64_sums())
      kurve::clear(memory, ctx.batch * sample_stride);
    else
      kurve::clear(dx, ctx.batch * in);
    for_all(ctx, [&](int64_t b, int64_t first, const ResampleTable& table) {
      const float* from = dz + b * out + first * image_.C;
      double* sums = float64_sums() ? memory + b * sample_stride : nullptr;
      ctx.kernels.images->resample_backward(table, from, dx + b * in, sums);
    });
    for (int64_t b = 0; float64_sums() && b < ctx.batch; b++)
      round_sums(memory + b * sample_stride, in, dx + b * in);
    differentiate(ctx.kernels, before, dx, dx, ctx.batch * in);
  }

 private:
  enum class Mode { constant, nearest, reflect, wrap };

  // Everything outside may come from a single pixel at the edge.
  bool float64_sums() const { return mode_ == Mode::nearest; }

  static int choose(const OpSpec& spec, const char* name,
                    std::initializer_list<const char*> known) {
    const std::string& value = text(spec.attrs, name);
    auto found = std::find(known.begin(), known.end(), value);
    if (found == known.end()) throw Unsupported(name, value);
    return int(found - known.begin());
  }

  // The random transformation of one image.
  struct Motion {
    double shift[2];      // translation
    double cosine, sine;  // rotation
    bool mirror[2];       // flip
    double zoom[2];       // zoom: below 1 enlarges
  };
  Motion motion(const ExecContext& ctx, int64_t b) const {
    uint32_t words[4];
    uint32_t image = uint32_t(ctx.first + b);
    philox(stream_.key(ctx), stream_.purpose, ctx.step, image, words);
    double u = uniform(words[0]), v = uniform(words[1]);
    Motion m{};
    m.shift[0] = double(image_.H) * (range_[0][0] + range_[0][1] * u);
    m.shift[1] = double(image_.W) * (range_[1][0] + range_[1][1] * v);
    m.zoom[0] = 1 + (range_[0][0] + range_[0][1] * u);
    m.zoom[1] = together_ ? m.zoom[0] : 1 + (range_[1][0] + range_[1][1] * v);
    double angle = range_[0][0] + range_[0][1] * u;
    m.cosine = std::cos(angle), m.sine = std::sin(angle);
    m.mirror[1] = u < 0.5 && mirrors_[0];  // of the column
    m.mirror[0] = v < 0.5 && mirrors_[1];
    return m;
  }
  void origin(const Motion& m, double h, double w, double* position) const {
    double max_h = double(image_.H - 1), max_w = double(image_.W - 1);
    if (what_ == 0) {
      position[0] = h - m.shift[0];
      position[1] = w - m.shift[1];
    } else if (what_ == 1) {
      double a = h - max_h / 2, b = w - max_w / 2;
      position[0] = max_h / 2 + a * m.cosine + b * m.sine;
      position[1] = max_w / 2 - a * m.sine + b * m.cosine;
    } else if (what_ == 3) {
      position[0] = max_h / 2 + (h - max_h / 2) * m.zoom[0];
      position[1] = max_w / 2 + (w - max_w / 2) * m.zoom[1];
    } else {
      position[0] = m.mirror[0] ? max_h - h : h;
      position[1] = m.mirror[1] ? max_w - w : w;
    }
  }
  // The pixel that replaces one outside the image; -1 if there is none.
  int64_t pixel(int64_t i, int64_t size) const {
    auto modulo = [](int64_t a, int64_t n) { return (a % n + n) % n; };
    switch (mode_) {
      case Mode::wrap:
        return modulo(i, size);
      case Mode::reflect:
        i = modulo(i, 2 * size);
        return std::min(i, 2 * size - 1 - i);
      case Mode::nearest:
        return std::clamp<int64_t>(i, 0, size - 1);
      default:
        return i >= 0 && i < size ? i : -1;
    }
  }

  // Calls body(b, first, table) for all pixels of the batch, some at a time; each image
  // on one thread.
  template <class Body>
  void for_all(const ExecContext& ctx, Body&& body) const {
    parallel(ctx.batch, ctx.batch * work, [&](int64_t b) {
      Motion m = motion(ctx, b);
      for_pixels(
          image_.H * image_.W, image_.C, bilinear_ ? 4 : 1, fill_,
          [&](int64_t pixel, int32_t* at, float* weight) {
            sources(m, double(pixel / image_.W), double(pixel % image_.W), at, weight);
          },
          [&](int64_t first, const ResampleTable& table) { body(b, first, table); });
    });
  }
  void sources(const Motion& m, double h, double w, int32_t* at, float* weight) const {
    double position[2];
    origin(m, h, w, position);
    int64_t size[2] = {image_.H, image_.W}, index[2][2];
    double fraction[2][2];
    for (int axis = 0; axis < 2; axis++) {
      double lower =
          bilinear_ ? std::floor(position[axis]) : std::nearbyint(position[axis]);
      for (int k = 0; k < 2; k++)
        index[axis][k] = pixel(int64_t(lower) + k, size[axis]);
      fraction[axis][1] = position[axis] - lower;
      fraction[axis][0] = bilinear_ ? 1 - fraction[axis][1] : 1;
    }
    for (int i = 0; i < (bilinear_ ? 2 : 1); i++)
      for (int j = 0; j < (bilinear_ ? 2 : 1); j++) {
        bool there = index[0][i] >= 0 && index[1][j] >= 0;
        *at++ = there ? int32_t(index[0][i] * image_.W + index[1][j]) : -1;
        *weight++ = float(fraction[0][i] * fraction[1][j]);
      }
  }

  Image image_;
  Stream stream_;
  float fill_;
  int what_;
  bool together_ = false;  // both axes are zoomed by one draw
  Mode mode_;
  bool bilinear_, mirrors_[2] = {};
  double range_[2][2] = {};  // lowest value, and width of the range
};

}  // namespace

std::unique_ptr<Op> make_pad(const OpSource& source) {
  return std::make_unique<Pad>(source.spec);
}
std::unique_ptr<Op> make_upsample(const OpSource& source) {
  return std::make_unique<Upsample>(source.spec);
}
std::unique_ptr<Op> make_affine_image(const OpSource& source) {
  return std::make_unique<Affine>(source.spec);
}

}  // namespace kurve
