#include "objective.h"

#include <algorithm>
#include <cmath>

#include "formula.h"
#include "pool.h"

namespace kurve {
namespace {

// Reads a loss; false where the kind is not one.
bool read_loss(const Spec& spec, Loss& loss) {
  std::optional<LossKind> kind = kind_named<LossKind>(spec.kind);
  if (!kind) return false;
  auto get = [&](const char* name) { return float(number(spec.attrs, name)); };
  loss.kind = *kind;
  switch (loss.kind) {
    case LossKind::mean_squared_error:
    case LossKind::mean_absolute_error:
    case LossKind::log_cosh:
      break;
    case LossKind::huber:
      loss.delta = get("delta");
      break;
    case LossKind::binary_crossentropy:
    case LossKind::categorical_crossentropy:
      loss.from_logits = get("from_logits") != 0;
      loss.smoothing = get("label_smoothing");
      break;
    case LossKind::sparse_categorical_crossentropy:
      loss.from_logits = get("from_logits") != 0;
      break;
    case LossKind::gaussian_nll:
      loss.beta = get("beta");
      break;
    case LossKind::pinball:
      loss.count = int(integer(spec.attrs, "quantiles", 1, max_quantiles));
      for (int i = 0; i < loss.count; i++)
        loss.quantiles[i] = get(("quantile_" + std::to_string(i)).c_str());
  }
  return true;
}

// Targets of a row with O outputs.
int64_t targets_of(const Loss& loss, int64_t O) {
  if (loss.kind == LossKind::sparse_categorical_crossentropy) return 1;
  int64_t heads = loss.kind == LossKind::gaussian_nll ? 2
                  : loss.kind == LossKind::pinball    ? loss.count
                                                      : 1;
  if (O % heads)
    throw std::invalid_argument(
        "[native] the number of outputs must be a multiple of the outputs per target.");
  return O / heads;
}

// Whether a row's target is the number of its class.
bool counts_classes(MetricKind kind) {
  return kind == MetricKind::sparse_categorical_accuracy ||
         kind == MetricKind::sparse_top_k_categorical_accuracy;
}

// The first of the largest; NaN is larger than any number, as in NumPy.
int64_t argmax(const float* x, int64_t n) {
  auto less = [](float a, float b) { return a < b || (b != b && a == a); };
  return std::max_element(x, x + n, less) - x;
}

// Whether fewer than k elements exceed that of the class; false for a class that does
// not exist.
bool among_largest(const float* x, int64_t n, int64_t label, int64_t k) {
  if (label < 0 || label >= n) return false;
  return std::count_if(x, x + n, [=](float other) { return other > x[label]; }) < k;
}

}  // namespace

Objective::Objective(const Shape& output_shape, const Spec* loss,
                     const std::vector<MetricSpec>& metrics,
                     const std::vector<VariableSpec>& params)
    : O_(output_shape.empty() ? 1 : output_shape.back()) {
  rows_ = product_of(output_shape) / O_;
  width_ = O_;
  if (loss) {
    if (!read_loss(*loss, loss_)) throw Unsupported("loss", loss->kind);
    has_loss_ = true;
    use_targets(targets_of(loss_, O_), loss->kind);
  }
  for (const MetricSpec& spec : metrics) {
    Metric metric = read_metric(spec);
    use_targets(metric.loss                   ? targets_of(*metric.loss, O_)
                : counts_classes(metric.kind) ? 1
                                              : O_,
                spec.kind);
    bool r2 = !metric.loss && metric.kind == MetricKind::r2_score;
    if (spec.size != (r2 ? 1 + 3 * O_ : 2))
      throw std::invalid_argument("[native] the plan gives the metric " + spec.kind +
                                  " the wrong number of accumulators.");
    totals_size_ += spec.size;
    metrics_.push_back(metric);
  }
  for (size_t i = 0; i < params.size(); i++)
    if (const VariableSpec& s = params[i];
        s.trainable && (s.l1 != 0 || s.l2 != 0 || s.penalty)) {
      penalties_.push_back({int(i), s.offset, s.size(), float(s.l1), float(s.l2), {}});
      if (!s.penalty) continue;
      auto formula = std::make_shared<const Formula>(*s.penalty);
      if (formula->inputs() != 1 || formula->outputs() != 2 ||
          formula->input_size(0) != s.size() || formula->output_size(0) != s.size() ||
          formula->output_size(1) != 1 || s.penalty->inputs[0].empty())
        throw std::invalid_argument("[native] the penalty of " + s.name +
                                    " must fit the variable.");
      penalties_.back().formula = std::move(formula);
    }
}

// Adds its gradient, unless that is null; returns the penalty.
double Objective::penalty_by_formula(const Kernels& kernels, const Penalty& p,
                                     const float* w, float* gradient) const {
  std::vector<float> scratch(size_t(p.formula->scratch())), slope(size_t(p.size));
  Formula::Value input{w, 0};
  float value = 0;
  float* outputs[] = {slope.data(), &value};
  p.formula->run(kernels, &input, scratch.data(), outputs);
  for (int64_t i = 0; gradient && i < p.size; i++) gradient[i] += slope[size_t(i)];
  return double(value);
}

Objective::Metric Objective::read_metric(const MetricSpec& spec) {
  Metric metric;
  metric.weighted = spec.weighted;
  std::optional<MetricKind> kind = kind_named<MetricKind>(spec.kind);
  if (!kind) {
    if (!read_loss(spec, metric.loss.emplace())) throw Unsupported("metric", spec.kind);
    return metric;
  }
  metric.kind = *kind;
  switch (metric.kind) {
    case MetricKind::root_mean_squared_error:  // the root is taken in Python
      metric.loss.emplace().kind = LossKind::mean_squared_error;
      break;
    case MetricKind::binary_accuracy:
      metric.threshold = number(spec.attrs, "threshold");
      break;
    case MetricKind::top_k_categorical_accuracy:
    case MetricKind::sparse_top_k_categorical_accuracy:
      metric.k = integer(spec.attrs, "k", 1, 1e15);
      break;
    default:
      break;
  }
  return metric;
}

void Objective::use_targets(int64_t width, const std::string& kind) {
  if (targets_known_ && width != width_)
    throw std::invalid_argument(
        "[native] the loss and the metrics of a plan must agree on the number of "
        "targets per row. Received: '" +
        kind + "', which differs from those before it.");
  targets_known_ = true;
  width_ = width;
}

// Calls body(first row, rows) for pieces of all rows.
template <class Body>
void Objective::in_pieces(int64_t batch, Body&& body) const {
  int64_t R = batch * rows_, size = std::max<int64_t>(1, 4096 / O_);
  parallel((R + size - 1) / size, R * O_ * 32,
           [&](int64_t task) { body(task * size, std::min(size, R - task * size)); });
}

void Objective::row_losses(const Kernels& kernels, const Loss& loss, const Outputs& o,
                           const Scratch& scratch, float* dp) const {
  float factor = 1.0f / float(o.batch * rows_);
  in_pieces(o.batch, [&](int64_t row, int64_t rows) {
    int64_t first = row * O_;
    float* d = dp ? dp + first : nullptr;
    kernels.loss(loss, o.p + first, o.y + row * width_, rows, O_,
                 scratch.elements + first, scratch.rows + row, d);
    if (!d) return;
    if (!o.weights)
      kernels.scale(d, factor, rows * O_);
    else if (O_ * rows_ == 1)
      for (int64_t i = 0; i < rows; i++) d[i] *= o.weights[row + i] * factor;
    else
      for (int64_t i = 0; i < rows; i++)
        kernels.scale(d + i * O_, o.weights[(row + i) / rows_] * factor, O_);
  });
}

// Four chains, so that one addition need not wait for the last.
Objective::Sum Objective::sum(const Outputs& o, const double* values,
                              bool weighted) const {
  double s[4] = {}, w[4] = {};
  int64_t R = o.batch * rows_;
  if (!weighted || !o.weights) {
    for (int64_t r = 0; r < R; r++) s[r % 4] += values[r];
    w[0] = double(R);
  } else {
    for (int64_t i = 0, r = 0; i < o.batch; i++)
      for (int64_t k = 0; k < rows_; k++, r++) {
        s[r % 4] += double(o.weights[i]) * values[r];
        w[r % 4] += double(o.weights[i]);
      }
  }
  return {(s[0] + s[1]) + (s[2] + s[3]), (w[0] + w[1]) + (w[2] + w[3])};
}

double Objective::loss(const Kernels& kernels, const Outputs& o, const Scratch& scratch,
                       float* dp) const {
  row_losses(kernels, loss_, o, scratch, dp);
  return sum(o, scratch.rows, true).value / double(o.batch * rows_);
}

double Objective::penalties(const Kernels& kernels, const float* params,
                            float* gradient, std::atomic<bool>* overflowing) const {
  double total = 0;
  for (const Penalty& p : penalties_) {
    const float* w = params + p.offset;
    if (p.l1 != 0) total += double(p.l1) * kernels.sum_of_magnitudes(w, p.size);
    if (p.l2 != 0) total += double(p.l2) * kernels.sum_of_squares(w, p.size);
    if (p.formula)
      total +=
          penalty_by_formula(kernels, p, w, gradient ? gradient + p.offset : nullptr);
    if (gradient && !kernels.penalize(gradient + p.offset, w, p.l1, p.l2, p.size))
      overflowing[p.variable].store(true);
  }
  return total;
}

void Objective::add_metrics(const Kernels& kernels, const Outputs& o,
                            const Scratch& scratch, double* totals) const {
  for (const Metric& metric : metrics_) {
    if (metric.loss) {
      row_losses(kernels, *metric.loss, o, scratch, nullptr);
    } else if (metric.kind == MetricKind::r2_score) {
      add_r2(metric, o, totals);
      totals += 1 + 3 * O_;
      continue;
    } else {
      row_accuracies(metric, o, scratch.rows);
    }
    Sum s = sum(o, scratch.rows, metric.weighted);
    totals[0] += s.value;
    totals[1] += s.weight;
    totals += 2;
  }
}

void Objective::row_accuracies(const Metric& metric, const Outputs& o,
                               double* values) const {
  float threshold = float(metric.threshold);
  auto mean_equal = [&](const float* y, auto&& prediction) {
    int64_t hits = 0;
    for (int64_t j = 0; j < O_; j++) hits += y[j] == prediction(j);
    return double(hits) / double(O_);
  };
  in_pieces(o.batch, [&](int64_t first, int64_t rows) {
    for (int64_t r = first; r < first + rows; r++) {
      const float* p = o.p + r * O_;
      const float* y = o.y + r * width_;
      switch (metric.kind) {
        case MetricKind::accuracy:
          values[r] = mean_equal(y, [&](int64_t j) { return p[j]; });
          break;
        case MetricKind::binary_accuracy:
          values[r] = mean_equal(y, [&](int64_t j) { return float(p[j] > threshold); });
          break;
        case MetricKind::categorical_accuracy:
          values[r] = argmax(y, O_) == argmax(p, O_);
          break;
        case MetricKind::sparse_categorical_accuracy:
          values[r] = y[0] == float(argmax(p, O_));
          break;
        case MetricKind::top_k_categorical_accuracy:
          values[r] = among_largest(p, O_, argmax(y, O_), metric.k);
          break;
        case MetricKind::sparse_top_k_categorical_accuracy:
          values[r] = among_largest(p, O_, int64_t(y[0]), metric.k);
          break;
        default:
          break;
      }
    }
  });
}

// W = sum of w, then for each output the mean M = sum of w y / W, the total sum of
// squares of w (y - M)^2 and the residual one of w (y - p)^2. The running mean keeps
// precision where the mean is large, and the total of equal numbers is exactly 0 (West
// 1979).
void Objective::add_r2(const Metric& metric, const Outputs& o, double* totals) const {
  double *mean = totals + 1, *total = mean + O_, *residual = total + O_;
  for (int64_t r = 0; r < o.batch * rows_; r++) {
    double w = metric.weighted && o.weights ? double(o.weights[r / rows_]) : 1.0;
    if (w == 0) continue;
    double fraction = w / (totals[0] += w);
    for (int64_t j = 0; j < O_; j++) {
      double y = double(o.y[r * O_ + j]), e = y - double(o.p[r * O_ + j]);
      double deviation = y - mean[j];
      mean[j] += fraction * deviation;
      total[j] += w * deviation * (y - mean[j]);
      residual[j] += w * e * e;
    }
  }
}

}  // namespace kurve
