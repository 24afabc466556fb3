// Programs built without Python, with the same data on every machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "program.h"

namespace proofs {
using namespace kurve;

// splitmix64, which gives the same numbers with every compiler and library.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t word() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  float uniform(float low, float high) {
    return low + (high - low) * float(word() >> 40) / 16777216.0f;
  }

 private:
  uint64_t state_;
};

// Floats aligned to 64 bytes with nothing after the last one, so the address sanitizer
// catches overruns.
class Floats {
 public:
  explicit Floats(int64_t n)
      : size_(n),
        values_(
            static_cast<float*>(::operator new(size_t(n) * 4, std::align_val_t(64)))) {
    std::memset(values_.get(), 0, size_t(n) * 4);
  }
  float* data() const { return values_.get(); }
  int64_t size() const { return size_; }
  float& operator[](int64_t i) const { return values_.get()[i]; }

 private:
  struct Free {
    void operator()(float* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  int64_t size_;
  std::unique_ptr<float, Free> values_;
};

// How a window moves over an image; a sequence is an image of height 1.
struct Moves {
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  bool same = false;  // padding keeps the size of the image
  int64_t groups = 1;
};

// Adds ops one by one, each reading the output of the last. tests/native/plans.py has a
// similar builder in Python; this one needs neither Python nor files.
class Builder {
 public:
  explicit Builder(Shape input) : shape_(input), shapes_{input} {
    d_.inputs = {std::move(input)};
  }

  Builder& dense(int64_t units, const char* activation, double l2 = 0,
                 bool frozen = false) {
    std::map<std::string, int> params{
        {"kernel", variable(d_.params, "kernel", {shape_.back(), units}, l2, frozen)},
        {"bias", variable(d_.params, "bias", {units}, 0, frozen)}};
    return op("dense", units, params, {}, function(activation));
  }
  Builder& activation(const char* name) {
    return op("activation", 0, {}, {}, function(name));
  }
  Builder& softmax() { return op("softmax", 0, {}, {}, {}); }
  // With spatial dropout, all positions share one mask of the channels.
  Builder& dropout(double rate, bool spatial = false) {
    double shared = spatial ? double(product_of(shape_) / shape_.back()) : 1.0;
    return op("dropout", 0, {}, {},
              {{"rate", rate}, {"stream", stream()}, {"shared", shared}});
  }
  Builder& normalization() {
    std::map<std::string, int> buffers{
        {"mean", variable(d_.buffers, "mean", {shape_.back()}, 0, true)},
        {"variance", variable(d_.buffers, "variance", {shape_.back()}, 0, true)}};
    return op("normalization", 0, {}, buffers, {{"invert", 0.0}, {"epsilon", 1e-7}});
  }

  Builder& conv(int64_t kh, int64_t kw, int64_t filters, const char* activation,
                Moves m = {}) {
    Shape kernel{kh, kw, shape_.back() / m.groups, filters};
    std::map<std::string, int> params{
        {"kernel", variable(d_.params, "kernel", kernel, 0, false)},
        {"bias", variable(d_.params, "bias", {filters}, 0, false)}};
    Attrs attrs = function(activation);
    attrs["groups"] = double(m.groups);
    Shape to = slid(kh, kw, m, "kernel", attrs);
    to.back() = filters;
    return reshaped("conv", to, params, {}, attrs);
  }
  Builder& depthwise(int64_t size, int64_t multiplier, const char* activation,
                     Moves m = {}) {
    m.groups = shape_.back();
    return conv(size, size, multiplier * m.groups, activation, m);
  }
  // Transposed convolution of an image, without cropping.
  Builder& transposed(int64_t size, int64_t filters, int64_t stride,
                      const char* activation) {
    Shape to{(shape_[0] - 1) * stride + size, (shape_[1] - 1) * stride + size, filters};
    std::map<std::string, int> params{
        {"kernel",
         variable(d_.params, "kernel", {size, size, filters, shape_.back()}, 0, false)},
        {"bias", variable(d_.params, "bias", {filters}, 0, false)}};
    Attrs attrs = function(activation);
    for (const char* axis : {"_h", "_w"}) {
      attrs[std::string("kernel") + axis] = double(size);
      attrs[std::string("stride") + axis] = double(stride);
      attrs[std::string("dilation") + axis] = 1.0;
    }
    attrs["pad_top"] = attrs["pad_left"] = 0.0;
    return reshaped("conv_transpose", to, params, {}, attrs);
  }
  Builder& pool(const char* mode, int64_t ph, int64_t pw, Moves m) {
    Attrs attrs{{"mode", std::string(mode)}};
    Shape to = slid(ph, pw, m, "pool", attrs);
    return reshaped("pool", to, {}, {}, attrs);
  }
  Builder& global_pool(const char* mode) {
    return reshaped("global_pool", {shape_.back()}, {}, {},
                    {{"mode", std::string(mode)}});
  }
  Builder& batch_normalization(bool frozen = false) {
    Shape row{shape_.back()};
    std::map<std::string, int> buffers{
        {"moving_mean", variable(d_.buffers, "moving_mean", row, 0, true)},
        {"moving_variance", variable(d_.buffers, "moving_variance", row, 0, true)}};
    return op("batch_normalization", 0, scales(row), buffers,
              {{"momentum", 0.9}, {"epsilon", 1e-3}, {"frozen", frozen ? 1.0 : 0.0}});
  }
  Builder& layer_normalization(int64_t size) {
    return op("layer_normalization", 0, scales({size}), {},
              {{"size", double(size)}, {"epsilon", 1e-3}});
  }
  Builder& scale(double scale, double offset) {
    return op("scale", 0, {}, {}, {{"scale", scale}, {"offset", offset}});
  }
  // Adds `before` and `after` zeros to each axis.
  Builder& pad(int64_t before, int64_t after) {
    Shape to = shape_;
    for (size_t i = 0; i + 1 < to.size(); i++) to[i] += before + after;
    return reshaped("pad", to, {}, {},
                    {{"pad_top", to.size() == 3 ? double(before) : 0.0},
                     {"pad_left", double(before)}});
  }
  Builder& upsample(int64_t h, int64_t w, const char* interpolation) {
    Shape to = shape_;
    to[to.size() - 2] *= w;
    if (to.size() == 3) to[0] *= h;
    return reshaped("upsample", to, {}, {},
                    {{"size_h", double(h)},
                     {"size_w", double(w)},
                     {"interpolation", std::string(interpolation)}});
  }
  // "translation", "rotation" or "flip".
  Builder& moved(const char* what, const char* fill_mode) {
    Attrs attrs{{"what", std::string(what)},
                {"fill_mode", std::string(fill_mode)},
                {"fill_value", 0.3},
                {"interpolation", std::string("bilinear")},
                {"stream", stream()},
                {"horizontal", 1.0},
                {"vertical", 1.0}};
    for (const char* range : {"height", "width", "angle"}) {
      attrs[std::string(range) + "_low"] = -0.3;
      attrs[std::string(range) + "_high"] = 0.3;
    }
    return op("affine_image", 0, {}, {}, attrs);
  }
  Builder& noise(double stddev) {
    return op("gaussian_noise", 0, {}, {}, {{"stddev", stddev}, {"stream", stream()}});
  }
  // A convolution of volumes without padding; the same size along each axis.
  Builder& conv3d(int64_t size, int64_t filters, const char* activation) {
    Shape kernel{size, size, size, shape_.back(), filters}, to = shape_;
    std::map<std::string, int> params{
        {"kernel", variable(d_.params, "kernel", kernel, 0, false)},
        {"bias", variable(d_.params, "bias", {filters}, 0, false)}};
    Attrs attrs = function(activation);
    attrs["groups"] = 1.0;
    for (const char* axis : {"_d", "_h", "_w"}) {
      attrs[std::string("kernel") + axis] = double(size);
      attrs[std::string("stride") + axis] = 1.0;
      attrs[std::string("dilation") + axis] = 1.0;
    }
    for (const char* side : {"front", "back", "top", "bottom", "left", "right"})
      attrs[std::string("pad_") + side] = 0.0;
    for (int k = 0; k < 3; k++) to[k] -= size - 1;
    to.back() = filters;
    return reshaped("conv3d", to, params, {}, attrs);
  }
  // Reduces `count` axes starting at `axis`.
  Builder& reduce(const char* mode, int64_t axis, int64_t count) {
    Shape to = shape_;
    to.erase(to.begin() + axis, to.begin() + axis + count);
    return reshaped("reduce", to, {}, {},
                    {{"mode", std::string(mode)},
                     {"axis", double(axis)},
                     {"count", double(count)}});
  }
  Builder& cumsum(int64_t axis, bool reverse) {
    return op("cumsum", 0, {}, {},
              {{"axis", double(axis)}, {"reverse", reverse ? 1.0 : 0.0}});
  }
  Builder& permute(Shape axes) {
    Shape to;
    for (int64_t axis : axes) to.push_back(shape_[size_t(axis)]);
    return reshaped("permute", to, {}, {}, {{"axes", axes}});
  }
  Builder& slice(Shape starts, Shape sizes, Shape steps) {
    return reshaped("slice", sizes, {}, {},
                    {{"starts", starts}, {"sizes", sizes}, {"steps", steps}});
  }
  Builder& place(Shape to, Shape starts, Shape steps) {
    return reshaped("place", to, {}, {},
                    {{"starts", starts}, {"sizes", shape_}, {"steps", steps}});
  }
  Builder& reshape(Shape to) { return reshaped("reshape", to, {}, {}, {}); }
  Builder& flatten() { return reshape({product_of(shape_)}); }
  Builder& embedding(int64_t rows, int64_t width) {
    Shape to = shape_;
    to.push_back(width);
    int table = variable(d_.params, "embeddings", {rows, width}, 0, false);
    return reshaped("embedding", to, {{"embeddings", table}}, {}, {});
  }
  Builder& whole(Shape to) {
    int v = variable(d_.params, "v", to, 0, false);
    return reshaped("variable", to, {{"v", v}}, {}, {});
  }
  Builder& random(const char* distribution) {
    Attrs attrs{{"stream", stream()}, {"distribution", std::string(distribution)}};
    return reshaped("random", shape_, {}, {}, attrs);
  }
  // The product of two values, given by number; b is transposed.
  Builder& matmul(int a, int b) {
    Shape left = shapes_[size_t(a)], right = shapes_[size_t(b)], to = left;
    to.back() = right[right.size() - 2];
    reshaped("matmul", to, {}, {}, {{"transpose_a", 0.0}, {"transpose_b", 1.0}});
    OpSpec& op = d_.ops.back();
    op.in_shape = left, op.inputs = {a, b}, op.more_shapes = {right};
    return *this;
  }
  // Maps a sequence (T, F) to all of a cell's outputs or to the last; `flags` are
  // attributes that are on.
  Builder& recurrent(const std::string& kind, int64_t units,
                     const std::vector<std::string>& flags = {},
                     const char* activation = "tanh") {
    int64_t width = units * (kind == "lstm" ? 4 : kind == "gru" ? 3 : 1);
    Attrs attrs = function(activation);
    for (const std::string& flag : flags) attrs[flag] = 1.0;
    if (kind != "simple_rnn") attrs["recurrent_activation"] = std::string("sigmoid");
    if (kind == "gru") attrs.emplace("reset_after", 0.0);
    Shape bias{width}, to{units * (attrs.count("states") ? 2 : 1)};
    if (kind == "gru" && number(attrs, "reset_after") != 0) bias = {2, width};
    if (attrs.count("sequences")) to.insert(to.begin(), shape_[0]);
    std::map<std::string, int> params{
        {"kernel", variable(d_.params, "kernel", {shape_[1], width}, 0, false)},
        {"recurrent_kernel", variable(d_.params, "u", {units, width}, 0, false)},
        {"bias", variable(d_.params, "bias", bias, 0, false)}};
    return reshaped(kind.c_str(), to, params, {}, attrs);
  }
  // The output so far is the head; ops that follow compute its loss.
  Builder& head() {
    d_.heads = {{.value = last(), .shape = shape_}};
    return *this;
  }
  Builder& batch_mean() {
    return op("batch_reduce", 0, {}, {}, {{"mode", std::string("mean")}});
  }
  int last() const { return int(shapes_.size()) - 1; }

  Description description() {
    Description d = d_;
    if (d.heads.empty())
      d.heads = {{.shape = shape_}};
    else
      d.heads[0].rows = last();
    return d;
  }

 private:
  static Attrs function(const char* name) {
    bool has_alpha = !std::strcmp(name, "leaky_relu") || !std::strcmp(name, "elu") ||
                     !std::strcmp(name, "snake");
    return {{"activation", std::string(name)}, {"alpha", has_alpha ? 0.3 : 0.0}};
  }
  int variable(std::vector<VariableSpec>& variables, const char* name, Shape shape,
               double l2, bool frozen) {
    int64_t end =
        variables.empty() ? 0 : variables.back().offset + variables.back().size();
    variables.push_back({"op_" + std::to_string(d_.ops.size()) + "/" + name, shape,
                         (end + 15) / 16 * 16, !frozen, 0, l2});
    return int(variables.size()) - 1;
  }
  std::map<std::string, int> scales(const Shape& row) {
    return {{"gamma", variable(d_.params, "gamma", row, 0, false)},
            {"beta", variable(d_.params, "beta", row, 0, false)}};
  }
  double stream() const { return double(d_.ops.size()); }
  // The output shape of windows (h, w); writes their geometry to attrs.
  Shape slid(int64_t h, int64_t w, const Moves& m, const std::string& what,
             Attrs& attrs) const {
    Shape to = shape_;
    auto slide = [&](const char* axis, int64_t size, int64_t stride, int64_t dilation,
                     const char* before, const char* after, int64_t length) {
      int64_t span = (size - 1) * dilation + 1;
      int64_t places = m.same ? (length + stride - 1) / stride : 0;
      int64_t zeros = std::max<int64_t>((places - 1) * stride + span - length, 0);
      if (!m.same) zeros = 0, places = (length - span) / stride + 1;
      attrs[what + axis] = double(size);
      attrs[std::string("stride") + axis] = double(stride);
      attrs[std::string("dilation") + axis] = double(dilation);
      attrs[before] = double(zeros / 2);
      attrs[after] = double(zeros - zeros / 2);
      return places;
    };
    int64_t height = to.size() == 3 ? to[0] : 1;
    height = slide("_h", h, m.stride_h, m.dilation_h, "pad_top", "pad_bottom", height);
    if (to.size() == 3) to[0] = height;
    int64_t& width = to[to.size() - 2];
    width = slide("_w", w, m.stride_w, m.dilation_w, "pad_left", "pad_right", width);
    return to;
  }
  Builder& op(const char* kind, int64_t units, std::map<std::string, int> params,
              std::map<std::string, int> buffers, Attrs attrs) {
    Shape to = shape_;
    if (units) to.back() = units;
    return reshaped(kind, to, std::move(params), std::move(buffers), std::move(attrs));
  }
  Builder& reshaped(const char* kind, Shape to, std::map<std::string, int> params,
                    std::map<std::string, int> buffers, Attrs attrs) {
    d_.ops.push_back({kind, "op_" + std::to_string(d_.ops.size()), shape_, to,
                      std::move(params), std::move(buffers), std::move(attrs)});
    shape_ = std::move(to);
    shapes_.push_back(shape_);
    return *this;
  }

  Description d_;
  Shape shape_;
  std::vector<Shape> shapes_;  // of all values
};

inline Spec optimizer(const char* kind, Attrs attrs) {
  for (const char* name : {"clipnorm", "clipvalue", "global_clipnorm", "weight_decay"})
    attrs.try_emplace(name, 0.0);
  return {kind, std::move(attrs)};
}
// A large epsilon, so a gradient of 1e-9 does not determine a whole step.
inline Spec adam(Attrs attrs = {}) {
  for (auto [name, value] : {std::pair{"beta_1", 0.9},
                             {"beta_2", 0.999},
                             {"epsilon", 1e-3},
                             {"amsgrad", 0.0}})
    attrs.try_emplace(name, value);
  return optimizer("adam", std::move(attrs));
}

// A model, and what it is trained on.
struct Case {
  std::string name;
  Description description;
  Spec loss, optimizer;
  std::vector<MetricSpec> metrics;
  int64_t rows, batch;
  bool weighted, shuffled, bytes;
  std::unique_ptr<Program> program;

  Case(std::string name, Builder& builder, Spec loss, Spec optimizer,
       std::vector<MetricSpec> metrics, int64_t rows, int64_t batch,
       bool weighted = false, bool shuffled = true, bool bytes = false)
      : name(std::move(name)),
        description(builder.description()),
        loss(std::move(loss)),
        optimizer(std::move(optimizer)),
        metrics(std::move(metrics)),
        rows(rows),
        batch(batch),
        weighted(weighted),
        shuffled(shuffled),
        bytes(bytes) {
    description.heads[0].loss = &this->loss;
    description.heads[0].metrics = this->metrics;
    description.optimizer = &this->optimizer;
    program = std::make_unique<Program>(description);
  }
  Case(const Case&) = delete;  // description points into it
};

// The arrays that one run of a case works on.
struct Run {
  Floats x, y, weights, params, buffers, slots;
  std::vector<uint8_t> bytes;  // source of x, if the case uses bytes
  Inputs samples;
  std::vector<double> scalars{1.0}, totals;
  std::vector<int64_t> order, bounds;
  std::vector<float> rates;
  State state;
  Batches batches;

  explicit Run(const Case& c)
      : x(c.rows * c.program->input_size()),
        y(c.rows * c.program->target_size()),
        weights(c.rows),
        params(c.program->params_size()),
        buffers(c.program->buffers_size()),
        slots(c.program->optimizer()->slots() * c.program->params_size()),
        totals(size_t(c.program->totals_size())) {
    Random random(7);
    int64_t classes = c.description.heads[0].shape.back();
    for (int64_t i = 0; i < x.size(); i++) x[i] = random.uniform(-2, 2);
    if (c.bytes) bytes.resize(size_t(x.size()));
    for (uint8_t& byte : bytes) byte = uint8_t(random.word());
    samples = c.bytes ? Inputs(bytes.data()) : Inputs(x.data());
    for (int64_t i = 0; i < c.rows; i++) weights[i] = random.uniform(0.5, 2);
    for (int64_t i = 0; i < y.size(); i++) {
      y[i] = random.uniform(-1, 1);
      if (c.loss.kind.starts_with("sparse"))
        y[i] = float(random.word() % uint64_t(classes));
      if (c.loss.kind.starts_with("binary")) y[i] = float(random.word() % 2);
      if (c.loss.kind.starts_with("categorical")) y[i] = 1.0f / float(classes);
    }
    for (const VariableSpec& s : c.description.params) {
      float inputs = float(s.size() / s.shape.back());
      float scale = s.shape.size() > 1 ? std::sqrt(3.0f / inputs) : 0.1f;
      float middle = s.name.ends_with("gamma") ? 1 : 0;
      for (int64_t i = 0; i < s.size(); i++)
        params[s.offset + i] = middle + random.uniform(-scale, scale);
    }
    for (const VariableSpec& s : c.description.buffers)
      for (int64_t i = 0; i < s.size(); i++)
        buffers[s.offset + i] = random.uniform(0.5, 2);
    for (int64_t i = 0; i < c.rows; i++) {
      order.push_back(i);
      if (i % c.batch == 0) bounds.push_back(i);
    }
    for (size_t i = order.size() - 1; c.shuffled && i > 0; i--)
      std::swap(order[i], order[random.word() % (i + 1)]);
    bounds.push_back(c.rows);
    rates.assign(bounds.size() - 1, 1e-3f);
    state = {params.data(), buffers.data(), slots.data(), scalars.data(), 0, 42};
    batches = {{samples},
               {{y.data(), c.weighted ? weights.data() : nullptr}},
               c.rows,
               c.shuffled ? order.data() : nullptr,
               c.rows,
               bounds.data(),
               int64_t(rates.size()),
               rates.data()};
  }
};

// For a program with one input and one output.
inline void predict(const Case& c, const State& state, const Inputs& x, int64_t n,
                    float* y) {
  c.program->predict(state, &x, n, &y);
}

}  // namespace proofs
