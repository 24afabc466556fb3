#include "objective.h"

#include <algorithm>
#include <cmath>

#include "pool.h"

namespace kurve {
namespace {

bool read_loss(const Spec& spec, Loss& loss) {
  static const char* const names[] = {"mean_squared_error",
                                      "mean_absolute_error",
                                      "huber",
                                      "log_cosh",
                                      "binary_crossentropy",
                                      "categorical_crossentropy",
                                      "sparse_categorical_crossentropy"};
  auto found = std::find(std::begin(names), std::end(names), spec.kind);
  if (found == std::end(names)) return false;
  loss.kind = LossKind(found - std::begin(names));
  if (loss.kind == LossKind::huber) loss.delta = float(number(spec.attrs, "delta"));
  if (loss.kind >= LossKind::binary_crossentropy)
    loss.from_logits = number(spec.attrs, "from_logits") != 0;
  if (loss.kind == LossKind::binary_crossentropy ||
      loss.kind == LossKind::categorical_crossentropy)
    loss.smoothing = float(number(spec.attrs, "label_smoothing"));
  return true;
}

bool is_sparse(const Loss& loss) {
  return loss.kind == LossKind::sparse_categorical_crossentropy;
}

int64_t argmax(const float* x, int64_t n) { return std::max_element(x, x + n) - x; }

}  // namespace

Objective::Objective(const Shape& output_shape, const Spec* loss,
                     const std::vector<MetricSpec>& metrics,
                     const std::vector<Slot>& params)
    : O_(output_shape.empty() ? 1 : output_shape.back()) {
  rows_ = product_of(output_shape) / O_;
  if (loss) {
    if (!read_loss(*loss, loss_)) throw Unsupported("loss", loss->kind);
    has_loss_ = true;
    use_targets(is_sparse(loss_), loss->kind);
  }
  for (const MetricSpec& spec : metrics) {
    Metric metric{};
    metric.weighted = spec.weighted;
    if (spec.kind == "root_mean_squared_error") {
      metric.kind = Metric::root;
      metric.function.kind = LossKind::mean_squared_error;
    } else if (spec.kind == "binary_accuracy") {
      metric.kind = Metric::binary;
      metric.threshold = number(spec.attrs, "threshold");
    } else if (spec.kind == "categorical_accuracy") {
      metric.kind = Metric::categorical;
    } else if (spec.kind == "sparse_categorical_accuracy") {
      metric.kind = Metric::sparse;
    } else if (spec.kind == "r2_score") {
      metric.kind = Metric::r2;
    } else if (!read_loss(spec, metric.function)) {
      throw Unsupported("metric", spec.kind);
    }
    use_targets(metric.kind == Metric::sparse ||
                    (metric.kind == Metric::loss && is_sparse(metric.function)),
                spec.kind);
    if (spec.size != (metric.kind == Metric::r2 ? 1 + 3 * O_ : 2))
      throw std::invalid_argument("[native] the plan gives the metric " + spec.kind +
                                  " the wrong number of accumulators.");
    totals_size_ += spec.size;
    metrics_.push_back(metric);
  }
  for (size_t i = 0; i < params.size(); i++)
    if (const Slot& s = params[i]; s.trainable && (s.l1 != 0 || s.l2 != 0))
      penalties_.push_back({int(i), s.offset, s.size(), float(s.l1), float(s.l2)});
}

void Objective::use_targets(bool sparse, const std::string& kind) {
  if (decided_ && sparse != sparse_)
    throw std::invalid_argument(
        "[native] the loss and the metrics of a plan must agree on whether targets are "
        "class numbers. Received: '" +
        kind + "' beside one that does not agree.");
  decided_ = true;
  sparse_ = sparse;
}

void Objective::row_losses(const Kernels& kernels, const Loss& loss, const Outputs& o,
                           const Scratch& scratch, float* dp) const {
  int64_t R = o.batch * rows_, size = std::max<int64_t>(1, 4096 / O_);
  parallel((R + size - 1) / size, R * O_ * 32, [&](int64_t task) {
    int64_t row = task * size, first = row * O_;
    kernels.loss(loss, o.p + first, o.y + (sparse_ ? row : first),
                 std::min(size, R - row), O_, scratch.elements + first,
                 scratch.rows + row, dp ? dp + first : nullptr);
  });
}

double Objective::loss(const Kernels& kernels, const Outputs& o, const Scratch& scratch,
                       float* dp) const {
  row_losses(kernels, loss_, o, scratch, dp);
  int64_t R = o.batch * rows_;
  double total = 0;
  for (int64_t r = 0; r < R; r++)
    total += scratch.rows[r] * (o.weights ? double(o.weights[r / rows_]) : 1.0);
  if (dp) {
    if (o.weights)
      for (int64_t r = 0; r < R; r++)
        kernels.scale(dp + r * O_, o.weights[r / rows_] / float(R), O_);
    else
      kernels.scale(dp, 1.0f / float(R), R * O_);
  }
  return total / double(R);
}

double Objective::penalties(const Kernels& kernels, const float* params,
                            float* gradient, std::atomic<bool>* infinite) const {
  double total = 0;
  for (const Penalty& p : penalties_) {
    const float* w = params + p.offset;
    if (p.l1 != 0) total += double(p.l1) * kernels.sum_of_magnitudes(w, p.size);
    if (p.l2 != 0) total += double(p.l2) * kernels.sum_of_squares(w, p.size);
    if (gradient && !kernels.penalize(gradient + p.offset, w, p.l1, p.l2, p.size))
      infinite[p.slot].store(true);
  }
  return total;
}

void Objective::add_metrics(const Kernels& kernels, const Outputs& o,
                            const Scratch& scratch, double* totals) const {
  for (const Metric& metric : metrics_) {
    switch (metric.kind) {
      case Metric::loss:
      case Metric::root: {
        row_losses(kernels, metric.function, o, scratch, nullptr);
        for (int64_t r = 0; r < o.batch * rows_; r++) {
          double w = metric.weighted && o.weights ? double(o.weights[r / rows_]) : 1.0;
          totals[0] += w * scratch.rows[r];
          totals[1] += w;
        }
        break;
      }
      case Metric::r2:
        add_r2(metric, o, totals);
        totals += 3 * O_ - 1;
        break;
      default:
        add_accuracy(metric, o, totals);
    }
    totals += 2;
  }
}

void Objective::add_accuracy(const Metric& metric, const Outputs& o,
                             double* totals) const {
  for (int64_t r = 0; r < o.batch * rows_; r++) {
    const float* p = o.p + r * O_;
    const float* y = o.y + (sparse_ ? r : r * O_);
    double value = 0;
    if (metric.kind == Metric::binary) {
      for (int64_t j = 0; j < O_; j++)
        value += y[j] == float(p[j] > float(metric.threshold));
      value /= double(O_);
    } else if (metric.kind == Metric::categorical) {
      value = argmax(y, O_) == argmax(p, O_);
    } else {
      value = y[0] == float(argmax(p, O_));
    }
    double w = metric.weighted && o.weights ? double(o.weights[r / rows_]) : 1.0;
    totals[0] += w * value;
    totals[1] += w;
  }
}

// Sum of w, then for each output the sums of w y, w y^2 and w (y - p)^2.
void Objective::add_r2(const Metric& metric, const Outputs& o, double* totals) const {
  for (int64_t r = 0; r < o.batch * rows_; r++) {
    double w = metric.weighted && o.weights ? double(o.weights[r / rows_]) : 1.0;
    totals[0] += w;
    for (int64_t j = 0; j < O_; j++) {
      double y = double(o.y[r * O_ + j]), e = y - double(o.p[r * O_ + j]);
      totals[1 + j] += w * y;
      totals[1 + O_ + j] += w * y * y;
      totals[1 + 2 * O_ + j] += w * e * e;
    }
  }
}

}  // namespace kurve
