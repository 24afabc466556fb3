// Ops whose outputs are other pixels, or weighted sums of some.
#include <algorithm>
#include <cmath>
#include <vector>

#include "philox.h"
#include "pool.h"
#include "shapes.h"

namespace kurve {
namespace {

// Zeros around the image.
class Pad : public Op {
 public:
  explicit Pad(const OpSpec& spec)
      : from_(image_of(spec.in_shape)),
        to_(image_of(spec.out_shape)),
        top_(whole(spec.attrs, "pad_top", 0)),
        left_(whole(spec.attrs, "pad_left", 0)) {
    if (from_.C != to_.C || top_ + from_.H > to_.H || left_ + from_.W > to_.W)
      refuse_shapes(spec, "its padding");
    rows = never_fused;
  }
  void forward(const ExecContext& pass, const float* x, float* y,
               float*) const override {
    parallel(pass.batch, pass.batch * out, [&](int64_t b) {
      kurve::clear(y + b * out, out);
      for (int64_t h = 0; h < from_.H && !stop_requested(line()); h++)
        std::copy_n(x + b * in + h * line(), line(), y + b * out + inside(h));
    });
  }
  void backward(const ExecContext& pass, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    parallel(pass.batch, pass.batch * in, [&](int64_t b) {
      float* to = dx + b * in;
      for (int64_t h = 0; h < from_.H && !stop_requested(line()); h++)
        std::copy_n(dz + b * out + inside(h), line(), to + h * line());
      differentiate_in_turn(pass.kernels, before, b * in, to, in);
    });
  }

 private:
  int64_t line() const { return from_.W * from_.C; }
  int64_t inside(int64_t h) const { return ((top_ + h) * to_.W + left_) * to_.C; }
  Image from_, to_;
  int64_t top_, left_;
};

// Of one axis: which of the inputs each output is made of, and what share they have.
struct Axis {
  std::vector<int32_t> at;
  std::vector<double> share;
};

// "nearest": output i is input i / size; "bilinear": it lies at (i + 1/2) / size - 1/2,
// between two inputs, or beyond the last.
Axis enlarged(int64_t n, int64_t size, bool bilinear) {
  Axis axis;
  for (int64_t i = 0; i < n * size; i++) {
    if (!bilinear) {
      axis.at.push_back(int32_t(i / size));
      axis.share.push_back(1);
      continue;
    }
    double at = (double(i) + 0.5) / double(size) - 0.5;
    at = std::clamp(at, 0.0, double(n - 1));
    double lower = std::min(std::floor(at), double(std::max<int64_t>(n - 2, 0)));
    for (int k = 0; k < 2; k++) {
      axis.at.push_back(int32_t(std::min<int64_t>(int64_t(lower) + k, n - 1)));
      axis.share.push_back(k ? at - lower : 1 - (at - lower));
    }
  }
  return axis;
}

// Calls body(first, taps) for all pixels of an image, some at a time; near(pixel, at,
// weight) says what one is made of.
template <class Near, class Body>
void for_pixels(int64_t pixels, int64_t C, int64_t each, float fill, Near&& near,
                Body&& body) {
  constexpr int64_t most = 512;
  int32_t at[4 * most];
  float weight[4 * most];
  for (int64_t first = 0; first < pixels; first += most) {
    int64_t count = std::min(most, pixels - first);
    if (stop_requested(count * (100 + each * C))) return;
    for (int64_t i = 0; i < count; i++)
      near(first + i, at + i * each, weight + i * each);
    body(first, ResampleTable{C, count, each, at, weight, fill});
  }
}

class Upsample : public Op {
 public:
  explicit Upsample(const OpSpec& spec)
      : from_(image_of(spec.in_shape)), to_(image_of(spec.out_shape)) {
    const std::string& how = text(spec.attrs, "interpolation");
    if (how != "nearest" && how != "bilinear") throw Unsupported("interpolation", how);
    int64_t h = whole(spec.attrs, "size_h", 1), w = whole(spec.attrs, "size_w", 1);
    if (from_.C != to_.C || from_.H * h != to_.H || from_.W * w != to_.W)
      refuse_shapes(spec, "its size");
    bool bilinear = how == "bilinear";
    high_ = enlarged(from_.H, h, bilinear), wide_ = enlarged(from_.W, w, bilinear);
    each_ = bilinear ? 2 : 1;
    rows = never_fused;
    work = product_of(spec.out_shape) * each_ * each_;
    long_ = h * w * each_ * each_ > longest_chain_in_place;
  }
  int64_t scratch(const Kernels&, int64_t batch, bool training) const override {
    return long_ && training ? batch * room_for_sums(in) : 0;
  }
  void forward(const ExecContext& pass, const float* x, float* y,
               float*) const override {
    parallel(pass.batch, pass.batch * work, [&](int64_t b) {
      for_outputs([&](int64_t first, const ResampleTable& taps) {
        float* to = y + b * out + first * to_.C;
        pass.kernels.images->resample(taps, x + b * in, to);
      });
    });
  }
  void backward(const ExecContext& pass, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    parallel(pass.batch, pass.batch * work, [&](int64_t b) {
      float *to = dx + b * in, *room = pass.scratch + b * room_for_sums(in);
      double* sums = long_ ? reinterpret_cast<double*>(room) : nullptr;
      if (sums)
        kurve::clear(sums, in);
      else
        kurve::clear(to, in);
      for_outputs([&](int64_t first, const ResampleTable& taps) {
        const float* from = dz + b * out + first * to_.C;
        pass.kernels.images->resample_backward(taps, from, to, sums);
      });
      if (sums) round_sums(sums, in, to);
      differentiate_in_turn(pass.kernels, before, b * in, to, in);
    });
  }

 private:
  template <class Body>
  void for_outputs(Body&& body) const {
    auto near = [&](int64_t pixel, int32_t* at, float* weight) {
      int64_t h = pixel / to_.W * each_, w = pixel % to_.W * each_;
      for (int64_t k = h; k < h + each_; k++)
        for (int64_t l = w; l < w + each_; l++) {
          *at++ = int32_t(high_.at[size_t(k)] * from_.W + wide_.at[size_t(l)]);
          *weight++ = float(high_.share[size_t(k)] * wide_.share[size_t(l)]);
        }
    };
    for_pixels(to_.H * to_.W, to_.C, each_ * each_, 0, near, body);
  }
  Image from_, to_;
  Axis high_, wide_;
  int64_t each_;  // inputs of an axis that an output is made of
  bool long_;     // sums of gradients
};

// Pictures moved at random in training: each pixel of the result comes from a place of
// the picture, and is made of the pixels near by.
class Affine : public Op {
 public:
  explicit Affine(const OpSpec& spec)
      : image_(image_of(spec.in_shape)),
        purpose_(layer_purpose + uint32_t(whole(spec.attrs, "stream", 0))),
        fill_(float(number(spec.attrs, "fill_value"))) {
    what_ = choose(spec, "what", {"translation", "rotation", "flip"});
    mode_ = Mode(choose(spec, "fill_mode", {"constant", "nearest", "reflect", "wrap"}));
    bilinear_ = choose(spec, "interpolation", {"nearest", "bilinear"}) == 1;
    auto range = [&](const char* low, const char* high, double* to) {
      to[0] = number(spec.attrs, low);
      to[1] = number(spec.attrs, high) - to[0];
      if (!(std::abs(to[0]) <= most_whole && std::abs(to[1]) <= most_whole))
        throw std::invalid_argument("[native] the ranges of " + spec.layer +
                                    " are too large.");
    };
    if (what_ == 0) {
      range("height_low", "height_high", range_[0]);
      range("width_low", "width_high", range_[1]);
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
    return long_sums() && training ? batch * room_for_sums(in) : 0;
  }
  void forward(const ExecContext& pass, const float* x, float* y,
               float*) const override {
    if (!pass.training) return copy(x, pass.batch * in, y);
    for_all(pass, [&](int64_t b, int64_t first, const ResampleTable& taps) {
      float* to = y + b * out + first * image_.C;
      pass.kernels.images->resample(taps, x + b * in, to);
    });
  }
  void backward(const ExecContext& pass, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    if (!pass.training)
      return differentiate(pass.kernels, before, dz, dx, pass.batch * in);
    auto* room = reinterpret_cast<double*>(pass.scratch);
    int64_t apart = room_for_sums(in) / 2;
    if (long_sums())
      kurve::clear(room, pass.batch * apart);
    else
      kurve::clear(dx, pass.batch * in);
    for_all(pass, [&](int64_t b, int64_t first, const ResampleTable& taps) {
      const float* from = dz + b * out + first * image_.C;
      double* sums = long_sums() ? room + b * apart : nullptr;
      pass.kernels.images->resample_backward(taps, from, dx + b * in, sums);
    });
    for (int64_t b = 0; long_sums() && b < pass.batch; b++)
      round_sums(room + b * apart, in, dx + b * in);
    differentiate(pass.kernels, before, dx, dx, pass.batch * in);
  }

 private:
  enum class Mode { constant, nearest, reflect, wrap };

  // All that lies outside may come from one pixel at the edge.
  bool long_sums() const { return mode_ == Mode::nearest; }

  static int choose(const OpSpec& spec, const char* name,
                    std::initializer_list<const char*> known) {
    const std::string& value = text(spec.attrs, name);
    auto found = std::find(known.begin(), known.end(), value);
    if (found == known.end()) throw Unsupported(name, value);
    return int(found - known.begin());
  }

  // Where the pixels of picture b come from.
  struct Motion {
    double shift[2];      // translation
    double cosine, sine;  // rotation
    bool mirror[2];       // flip
  };
  Motion motion(const ExecContext& pass, int64_t b) const {
    uint32_t words[4];
    philox(pass.seed, purpose_, pass.step, uint32_t(b), words);
    double u = uniform(words[0]), v = uniform(words[1]);
    Motion m{};
    m.shift[0] = double(image_.H) * (range_[0][0] + range_[0][1] * u);
    m.shift[1] = double(image_.W) * (range_[1][0] + range_[1][1] * v);
    double angle = range_[0][0] + range_[0][1] * u;
    m.cosine = std::cos(angle), m.sine = std::sin(angle);
    m.mirror[1] = u < 0.5 && mirrors_[0];  // the column
    m.mirror[0] = v < 0.5 && mirrors_[1];
    return m;
  }
  void origin(const Motion& m, double h, double w, double* place) const {
    double high = double(image_.H - 1), wide = double(image_.W - 1);
    if (what_ == 0) {
      place[0] = h - m.shift[0];
      place[1] = w - m.shift[1];
    } else if (what_ == 1) {
      double a = h - high / 2, b = w - wide / 2;
      place[0] = high / 2 + a * m.cosine + b * m.sine;
      place[1] = wide / 2 - a * m.sine + b * m.cosine;
    } else {
      place[0] = m.mirror[0] ? high - h : h;
      place[1] = m.mirror[1] ? wide - w : w;
    }
  }
  // The pixel that stands for one that may lie outside; -1 where there is none.
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

  // Calls body(b, first, taps) for all pixels of the batch, some at a time; of one
  // picture from one thread.
  template <class Body>
  void for_all(const ExecContext& pass, Body&& body) const {
    parallel(pass.batch, pass.batch * work, [&](int64_t b) {
      Motion m = motion(pass, b);
      for_pixels(
          image_.H * image_.W, image_.C, bilinear_ ? 4 : 1, fill_,
          [&](int64_t pixel, int32_t* at, float* weight) {
            near(m, double(pixel / image_.W), double(pixel % image_.W), at, weight);
          },
          [&](int64_t first, const ResampleTable& taps) { body(b, first, taps); });
    });
  }
  void near(const Motion& m, double h, double w, int32_t* at, float* weight) const {
    double place[2];
    origin(m, h, w, place);
    int64_t size[2] = {image_.H, image_.W}, index[2][2];
    double share[2][2];
    for (int axis = 0; axis < 2; axis++) {
      double lower = bilinear_ ? std::floor(place[axis]) : std::nearbyint(place[axis]);
      for (int k = 0; k < 2; k++)
        index[axis][k] = pixel(int64_t(lower) + k, size[axis]);
      share[axis][1] = place[axis] - lower;
      share[axis][0] = bilinear_ ? 1 - share[axis][1] : 1;
    }
    for (int i = 0; i < (bilinear_ ? 2 : 1); i++)
      for (int j = 0; j < (bilinear_ ? 2 : 1); j++) {
        bool there = index[0][i] >= 0 && index[1][j] >= 0;
        *at++ = there ? int32_t(index[0][i] * image_.W + index[1][j]) : -1;
        *weight++ = float(share[0][i] * share[1][j]);
      }
  }

  Image image_;
  uint32_t purpose_;
  float fill_;
  int what_;
  Mode mode_;
  bool bilinear_, mirrors_[2] = {};
  double range_[2][2] = {};  // lowest value, and how far the highest is above it
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
