#include "optimizer.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "pool.h"

namespace kurve {

// Small enough to balance threads; the order of sums does not depend on their number.
constexpr int64_t piece_size = 8192;

namespace {

[[noreturn]] void refuse_updates() {
  throw std::invalid_argument(
      "[native] the updates of a plan must fit its variables and slots.");
}

}  // namespace

Optimizer::Optimizer(const Spec& spec, const std::vector<VariableSpec>& params,
                     const std::vector<UpdateSpec>& updates, int slots, int64_t every)
    : clipnorm_(number(spec.attrs, "clipnorm")),
      clipvalue_(number(spec.attrs, "clipvalue")),
      global_clipnorm_(number(spec.attrs, "global_clipnorm")) {
  for (const UpdateSpec& update : updates) rules_ = rules_ || update.rule;
  if (!rules_) read_kind(spec);
  max_step_ = max_step();
  for (const VariableSpec& s : params) {
    if (!s.trainable) continue;
    for (int64_t first = 0; first < s.size(); first += piece_size)
      pieces_.push_back(
          {variables_, s.offset + first, std::min(piece_size, s.size() - first)});
    floats_ += s.size();
    variables_++;
  }
  if (updates.empty()) return;
  if (updates.size() != params.size() || slots < slots_ + (every > 1) ||
      slots > max_slots || every < 1)
    refuse_updates();
  slots_ = slots, every_ = every;
  for (size_t i = 0; i < params.size(); i++) {
    const VariableSpec& s = params[i];
    if (!s.trainable) continue;
    if (rules_ && !updates[i].rule) refuse_updates();
    updates_.push_back({s.offset, s.size(), updates[i].decays,
                        read_rule(updates[i].rule, s.size()),
                        read_rule(updates[i].after, s.size())});
  }
}

std::optional<Optimizer::Rule> Optimizer::read_rule(const std::optional<RuleSpec>& spec,
                                                    int64_t size) {
  if (!spec) return std::nullopt;
  Rule rule{Formula(spec->formula), spec->slots};
  const Formula& f = rule.formula;
  size_t count = rule.slots.size();
  bool fits = f.inputs() == count + 4 && f.outputs() == count + 1 &&
              f.input_size(0) == size && f.input_size(1) == size &&
              f.output_size(0) == size && spec->formula.inputs[count + 2].empty() &&
              spec->formula.inputs[count + 3].empty();
  for (size_t k = 0; fits && k < count; k++)
    fits = rule.slots[k] >= 0 && rule.slots[k] < slots_ &&
           f.input_size(2 + k) <= size && f.output_size(1 + k) == f.input_size(2 + k);
  for (size_t k = 0; fits && k < count + 2; k++)
    fits = !spec->formula.inputs[k].empty();
  if (!fits) refuse_updates();
  formula_scratch_ = std::max(formula_scratch_, f.scratch());
  return rule;
}

void Optimizer::read_kind(const Spec& spec) {
  std::optional<OptimizerKind> kind = kind_named<OptimizerKind>(spec.kind);
  if (!kind) throw Unsupported("optimizer", spec.kind);
  auto get = [&](const char* name) { return number(spec.attrs, name); };
  UpdateParams& u = fixed_;
  u.kind = *kind;
  u.decay = float(get("weight_decay"));
  switch (u.kind) {
    case OptimizerKind::sgd:
      u.momentum = float(get("momentum"));
      u.momentum_on = u.momentum != 0;
      u.nesterov = get("nesterov") != 0;
      slots_ = u.momentum_on;
      break;
    case OptimizerKind::rmsprop:
      u.rho = float(get("rho"));
      u.one_minus_rho = float(1 - get("rho"));
      u.momentum = float(get("momentum"));
      u.momentum_on = u.momentum > 0;
      u.centered = get("centered") != 0;
      slots_ = 1 + u.momentum_on + u.centered;
      break;
    case OptimizerKind::adagrad:
      slots_ = 1;
      break;
    default:
      beta_1_ = get("beta_1");
      beta_2_ = get("beta_2");
      u.amsgrad = u.kind == OptimizerKind::adam && get("amsgrad") != 0;
      u.one_minus_b1 = float(1 - beta_1_);
      u.one_minus_b2 = float(1 - beta_2_);
      u.beta_2 = float(beta_2_);
      slots_ = 2 + u.amsgrad;
      scalars_ = u.kind == OptimizerKind::nadam;
  }
  if (u.kind != OptimizerKind::sgd) u.epsilon = float(get("epsilon"));
  if (u.kind == OptimizerKind::adamax) momentum_ = 0;
  if (u.momentum_on) momentum_ = u.kind == OptimizerKind::sgd ? 0 : 1;
}

// From the formulas in kernels/optimizer.inl.h. The m of Adam and Nadam is a mean of
// gradients whose squares did not overflow; that of Adamax is checked against its
// bound.
double Optimizer::max_step() const {
  constexpr double mean = 2e19, never = std::numeric_limits<double>::infinity();
  double epsilon = double(fixed_.epsilon), rest = 1 - beta_1_;
  switch (fixed_.kind) {
    case OptimizerKind::sgd:
      return safe_sum;
    case OptimizerKind::rmsprop:  // centered: rounding can make a root's radicand < 0
      return fixed_.centered ? never : safe_sum / std::sqrt(epsilon);
    case OptimizerKind::adagrad:
      return safe_sum / std::sqrt(epsilon);
    case OptimizerKind::adam:
      return mean / rest / epsilon;
    case OptimizerKind::nadam:
      return (mean / rest + safe_sum) / epsilon;
    case OptimizerKind::adamax:
      return safe_sum / rest / epsilon;
  }
  return never;
}

bool Optimizer::cannot_overflow(float learning_rate, const Bounds& bounds) const {
  if (!updates_.empty()) return false;
  double lr = double(learning_rate), decay = double(fixed_.decay);
  return decay <= 1 && decay * lr <= 1 && 2 * lr * max_step_ + bounds.momentum <= 1e30;
}

Bounds Optimizer::scan_bounds(const Kernels& kernels, const float* slots,
                              int64_t size) const {
  if (momentum_ < 0) return {};
  std::atomic<bool> may_overflow{false};
  in_pieces([&](const Piece& p, size_t) {
    if (!kernels.in_safe_range(slots + momentum_ * size + p.offset, p.size))
      may_overflow.store(true, std::memory_order_relaxed);
  });
  return {may_overflow ? std::numeric_limits<double>::infinity() : safe_sum};
}

Bounds Optimizer::next_bounds(float learning_rate, const Bounds& before) const {
  if (!fixed_.momentum_on) return before;
  return {double(fixed_.momentum) * before.momentum +
          double(learning_rate) * max_step_};
}

template <class Body>
void Optimizer::in_pieces(Body&& body) const {
  parallel(int64_t(pieces_.size()), floats_ * 16,
           [&](int64_t i) { body(pieces_[size_t(i)], size_t(i)); });
}

void Optimizer::clip(const Kernels& kernels, float* gradient, double* scratch) const {
  if (clipnorm_ > 0 || global_clipnorm_ > 0) {
    double *sums = scratch, *factors = scratch + pieces_.size();
    std::fill_n(factors, variables_, 0.0);
    in_pieces([&](const Piece& p, size_t i) {
      sums[i] = kernels.sum_of_squares(gradient + p.offset, p.size);
    });
    double total = 0;
    for (size_t i = 0; i < pieces_.size(); i++) {
      factors[pieces_[i].variable] += sums[i];
      total += sums[i];
    }
    auto factor = [](double limit, double squares) {
      return limit > 0 ? limit / std::max(std::sqrt(squares), limit) : 1.0;
    };
    for (int i = 0; i < variables_; i++)
      factors[i] = factor(clipnorm_, factors[i]) * factor(global_clipnorm_, total);
    in_pieces([&](const Piece& p, size_t) {
      double f = factors[p.variable];
      if (f != 1.0) kernels.scale(gradient + p.offset, float(f), p.size);
    });
  }
  if (clipvalue_ > 0)
    in_pieces([&](const Piece& p, size_t) {
      kernels.clamp(gradient + p.offset, float(clipvalue_), p.size);
    });
}

UpdateParams Optimizer::params_for_step(double* scalars, int64_t step,
                                        float learning_rate) const {
  UpdateParams u = fixed_;
  if (every_ > 1) {
    if ((step + 1) % every_ != 0) return u;
    step /= every_;
  }
  double t = double(step + 1), lr = double(learning_rate);
  double rest_1 = 1 - std::pow(beta_1_, t), rest_2 = 1 - std::pow(beta_2_, t);
  u.lr = learning_rate;
  if (u.kind == OptimizerKind::adam) u.alpha = float(lr * std::sqrt(rest_2) / rest_1);
  if (u.kind == OptimizerKind::adamax) u.alpha = float(rest_1);
  if (u.kind == OptimizerKind::nadam) {
    auto momentum = [&](double s) { return beta_1_ * (1 - 0.5 * std::pow(0.96, s)); };
    double now = momentum(t), next = momentum(t + 1);
    scalars[0] *= now;
    u.c_m = float(next / (1 - scalars[0] * next));
    u.c_g = float((1 - now) / (1 - scalars[0]));
    u.c_v = float(rest_2);
  }
  return u;
}

// Adds to the accumulated gradients; if `due`, computes their mean.
void Optimizer::accumulate(const UpdateTarget& target, float* gradient,
                           bool due) const {
  float *sums = target.slots + (slots_ - 1) * target.size, count = float(every_);
  in_pieces([&](const Piece& p, size_t) {
    float *g = gradient + p.offset, *sum = sums + p.offset;
    for (int64_t i = 0; i < p.size; i++) {
      float total = sum[i] + g[i];
      sum[i] = due ? 0 : total;
      if (due) g[i] = total / count;
    }
  });
}

void Optimizer::run(const Kernels& kernels, const Rule& rule, const Update& update,
                    const UpdateTarget& target, float* gradient, float* scratch,
                    int64_t step, float learning_rate) const {
  Formula::Value inputs[max_slots + 4];
  float* outputs[max_slots + 1] = {target.params + update.offset};
  size_t count = rule.slots.size();
  inputs[0].array = outputs[0];
  inputs[1].array = gradient + update.offset;
  for (size_t k = 0; k < count; k++) {
    outputs[1 + k] = target.slots + rule.slots[k] * target.size + update.offset;
    inputs[2 + k].array = outputs[1 + k];
  }
  inputs[2 + count].number = double(learning_rate);
  inputs[3 + count].number = double(step / every_ + 1);
  rule.formula.run(kernels, inputs, scratch, outputs);
}

void Optimizer::apply(const Kernels& kernels, const UpdateTarget& target,
                      float* gradient, double* scratch, float* formula_scratch,
                      int64_t step, float learning_rate) const {
  bool due = (step + 1) % every_ == 0;
  if (every_ > 1) accumulate(target, gradient, due);
  if (due) clip(kernels, gradient, scratch);
  if (due && !rules_)
    in_pieces([&](const Piece& p, size_t) {
      float* slots[max_slots] = {};
      target.locate(p.offset, slots);
      UpdateParams settings = target.settings;
      if (!updates_.empty() && !updates_[size_t(p.variable)].decays) settings.decay = 0;
      kernels.update(settings, target.params + p.offset, gradient + p.offset, slots,
                     p.size);
    });
  for (const Update& u : updates_) {
    auto run_rule = [&](const std::optional<Rule>& rule) {
      if (rule)
        run(kernels, *rule, u, target, gradient, formula_scratch, step, learning_rate);
    };
    if (due) run_rule(u.rule);
    run_rule(u.after);
  }
}

}  // namespace kurve
