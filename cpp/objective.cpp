#include "objective.h"

#include <algorithm>

#include "formula.h"
#include "pool.h"

namespace kurve {
Objective::Objective(const Shape& output_shape, const Spec* loss,
                     const std::vector<MetricSpec>& metrics,
                     const std::vector<VariableSpec>& params, int64_t loss_values,
                     const std::string& reduction)
    : O_(output_shape.empty() ? 1 : output_shape.back()) {
  rows_ = product_of(output_shape) / O_;
  width_ = O_;
  if (loss && loss->kind == "rows") {
    has_loss_ = true;
    loss_values_ = loss_values;
  } else if (loss) {
    if (!read_loss(*loss, loss_)) throw Unsupported("loss", loss->kind);
    has_loss_ = true;
    use_targets(targets_of(loss_, O_), loss->kind);
  }
  if (reduction == "sum")
    reduction_ = Reduction::sum;
  else if (reduction == "sum_if_weighted")
    reduction_ = Reduction::sum_if_weighted;
  else if (reduction == "mean_with_sample_weight")
    reduction_ = Reduction::mean_with_sample_weight;
  else if (reduction != "mean")
    throw Unsupported("reduction of a loss", reduction);
  for (const MetricSpec& spec : metrics) {
    metrics_.emplace_back(spec, O_);
    totals_size_ += spec.size;
    if (metrics_.back().by_ops()) continue;
    use_targets(metrics_.back().width(), spec.kind);
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

// Four independent chains, so an addition need not wait for the previous one.
template <class T>
Objective::Sum Objective::sum(const Outputs& o, const T* values, int64_t rows,
                              bool weighted) {
  double s[4] = {}, w[4] = {};
  int64_t R = o.batch * rows;
  if (!weighted || !o.weights) {
    for (int64_t r = 0; r < R; r++) s[r % 4] += double(values[r]);
    w[0] = double(R);
  } else {
    for (int64_t i = 0, r = 0; i < o.batch; i++)
      for (int64_t k = 0; k < rows; k++, r++) {
        s[r % 4] += double(o.weights[i]) * double(values[r]);
        w[r % 4] += double(o.weights[i]);
      }
  }
  return {(s[0] + s[1]) + (s[2] + s[3]), (w[0] + w[1]) + (w[2] + w[3])};
}

// The same, where rows of the ignored class have the value 0, and weight 0 if there are
// weights.
Objective::Sum Objective::sum_without(const Outputs& o, const double* values,
                                      bool weighted, float ignored) const {
  Sum total{};
  for (int64_t r = 0; r < o.batch * rows_; r++) {
    bool is_ignored = o.y[r * width_] == ignored;
    if (is_ignored && weighted) continue;
    double w = weighted && o.weights ? double(o.weights[r / rows_]) : 1.0;
    if (!is_ignored) total.value += w * values[r];
    total.weight += w;
  }
  return total;
}

double Objective::loss(const Kernels& kernels, const Outputs& o, const Scratch& scratch,
                       float* dp) const {
  if (loss_values_) return mean_of_rows(o, dp);
  row_losses(kernels, loss_, o, scratch, dp);
  return sum(o, scratch.rows, rows_, true).value / double(o.batch * rows_);
}

// For the case that o.p holds the loss of each row.
double Objective::mean_of_rows(const Outputs& o, float* dp) const {
  double count = double(o.batch * loss_values_);
  if (dp) {
    float factor = 1.0f / float(count);
    for (int64_t b = 0; b < o.batch; b++)
      std::fill_n(dp + b * loss_values_, loss_values_,
                  o.weights ? o.weights[b] * factor : factor);
  }
  return sum(o, o.p, loss_values_, true).value / count;
}

double Objective::scale(int64_t batch, int64_t all, const float* weights,
                        double weights_sum) const {
  int64_t values = loss_values_ ? loss_values_ : rows_;
  double count = double(batch * values);
  double part = batch == all ? 1 : double(batch) / double(all);
  switch (reduction_) {
    case Reduction::sum:
      return count;
    case Reduction::sum_if_weighted:
      return weights ? count : part;
    case Reduction::mean_with_sample_weight:
      if (!weights) return part;
      return weights_sum == 0 ? 0 : count / weights_sum;
    default:
      return part;
  }
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
                            const Scratch& scratch, const std::vector<int>& read,
                            const std::vector<const float*>& values,
                            const std::vector<int64_t>& widths, double* totals) const {
  for (size_t k = 0; k < metrics_.size(); k++) {
    const Metric& metric = metrics_[k];
    if (metric.by_ops()) {
      size_t i = size_t(read[k]);
      Sum s = sum(o, values[i], widths[i], metric.weighted());
      metric.add(s.value, s.weight, totals);
    } else if (metric.counts()) {
      metric.count(o, rows_, totals);
    } else {
      if (const Loss* loss = metric.loss()) {
        row_losses(kernels, *loss, o, scratch, nullptr);
      } else {
        bool signs = metric.takes_signs(o.y, o.batch * rows_);
        in_pieces(o.batch, [&](int64_t first, int64_t rows) {
          for (int64_t r = first; r < first + rows; r++)
            scratch.rows[r] = metric.value(o.y + r * width_, o.p + r * O_, signs);
        });
      }
      std::optional<float> ignored = metric.ignored();
      Sum s = ignored ? sum_without(o, scratch.rows, metric.weighted(), *ignored)
                      : sum(o, scratch.rows, rows_, metric.weighted());
      metric.add(s.value, s.weight, totals);
    }
    totals += metric.size();
  }
}

}  // namespace kurve
