// Programs built without Python, on data that is the same on every machine.
#pragma once

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

// splitmix64: the same numbers with every compiler and library.
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

// Floats at a multiple of 64 bytes and nothing behind the last one, for the address
// sanitizer to see.
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

// Adds ops one by one, each on the shape that the last one left.
class Builder {
 public:
  explicit Builder(Shape input) : shape_(input) { d_.input_shape = std::move(input); }

  Builder& dense(int64_t units, const char* activation, double l2 = 0,
                 bool frozen = false) {
    std::map<std::string, int> params{
        {"kernel", slot(d_.params, "kernel", {shape_.back(), units}, l2, frozen)},
        {"bias", slot(d_.params, "bias", {units}, 0, frozen)}};
    return op("dense", units, params, {}, function(activation));
  }
  Builder& activation(const char* name) {
    return op("activation", 0, {}, {}, function(name));
  }
  Builder& softmax() { return op("softmax", 0, {}, {}, {}); }
  Builder& dropout(double rate) {
    return op("dropout", 0, {}, {},
              {{"rate", rate}, {"stream", double(d_.ops.size())}});
  }
  Builder& normalization() {
    std::map<std::string, int> buffers{
        {"mean", slot(d_.buffers, "mean", {shape_.back()}, 0, true)},
        {"variance", slot(d_.buffers, "variance", {shape_.back()}, 0, true)}};
    return op("normalization", 0, {}, buffers, {{"invert", 0.0}, {"epsilon", 1e-7}});
  }
  Description description() {
    d_.output_shape = shape_;
    return d_;
  }

 private:
  static Attrs function(const char* name) {
    bool has_alpha = !std::strcmp(name, "leaky_relu") || !std::strcmp(name, "elu") ||
                     !std::strcmp(name, "snake");
    return {{"activation", std::string(name)}, {"alpha", has_alpha ? 0.3 : 0.0}};
  }
  int slot(std::vector<Slot>& slots, const char* name, Shape shape, double l2,
           bool frozen) {
    int64_t end = slots.empty() ? 0 : slots.back().offset + slots.back().size();
    slots.push_back({"op_" + std::to_string(d_.ops.size()) + "/" + name, shape,
                     (end + 15) / 16 * 16, !frozen, 0, l2});
    return int(slots.size()) - 1;
  }
  Builder& op(const char* kind, int64_t units, std::map<std::string, int> params,
              std::map<std::string, int> buffers, Attrs attrs) {
    Shape in = shape_;
    if (units) shape_.back() = units;
    d_.ops.push_back({kind, "op_" + std::to_string(d_.ops.size()), in, shape_,
                      std::move(params), std::move(buffers), std::move(attrs)});
    return *this;
  }

  Description d_;
  Shape shape_;
};

inline Spec optimizer(const char* kind, Attrs attrs) {
  for (const char* name : {"clipnorm", "clipvalue", "global_clipnorm", "weight_decay"})
    attrs.try_emplace(name, 0.0);
  return {kind, std::move(attrs)};
}
// A large epsilon, so that a gradient of 1e-9 does not decide a whole step.
inline Spec adam(Attrs attrs = {}) {
  for (auto [name, value] : {std::pair{"beta_1", 0.9},
                             {"beta_2", 0.999},
                             {"epsilon", 1e-3},
                             {"amsgrad", 0.0}})
    attrs.try_emplace(name, value);
  return optimizer("adam", std::move(attrs));
}

// What a program trains on, and how.
struct Case {
  std::string name;
  Description description;
  Spec loss, optimizer;
  std::vector<MetricSpec> metrics;
  int64_t rows, batch;
  bool weighted, shuffled;
  std::unique_ptr<Program> program;

  Case(std::string name, Builder& builder, Spec loss, Spec optimizer,
       std::vector<MetricSpec> metrics, int64_t rows, int64_t batch,
       bool weighted = false, bool shuffled = true)
      : name(std::move(name)),
        description(builder.description()),
        loss(std::move(loss)),
        optimizer(std::move(optimizer)),
        metrics(std::move(metrics)),
        rows(rows),
        batch(batch),
        weighted(weighted),
        shuffled(shuffled) {
    description.loss = &this->loss;
    description.metrics = this->metrics;
    description.optimizer = &this->optimizer;
    program = std::make_unique<Program>(description);
  }
  Case(const Case&) = delete;  // description points into it
};

// The arrays that one run of a case works on.
struct Run {
  Floats x, y, weights, params, buffers, slots;
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
    int64_t classes = c.description.output_shape.back();
    for (int64_t i = 0; i < x.size(); i++) x[i] = random.uniform(-2, 2);
    for (int64_t i = 0; i < c.rows; i++) weights[i] = random.uniform(0.5, 2);
    for (int64_t i = 0; i < y.size(); i++) {
      y[i] = random.uniform(-1, 1);
      if (c.loss.kind.starts_with("sparse"))
        y[i] = float(random.word() % uint64_t(classes));
      if (c.loss.kind.starts_with("binary")) y[i] = float(random.word() % 2);
      if (c.loss.kind.starts_with("categorical")) y[i] = 1.0f / float(classes);
    }
    for (const Slot& s : c.description.params) {
      float scale = s.shape.size() > 1 ? std::sqrt(3.0f / float(s.shape[0])) : 0.1f;
      for (int64_t i = 0; i < s.size(); i++)
        params[s.offset + i] = random.uniform(-scale, scale);
    }
    for (const Slot& s : c.description.buffers)
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
    batches = {x.data(),
               y.data(),
               c.weighted ? weights.data() : nullptr,
               c.rows,
               c.shuffled ? order.data() : nullptr,
               c.rows,
               bounds.data(),
               int64_t(rates.size()),
               rates.data()};
  }
};

}  // namespace proofs
