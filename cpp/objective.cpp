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
                                      "sparse_categorical_crossentropy",
                                      "gaussian_nll",
                                      "pinball"};
  auto found = std::find(std::begin(names), std::end(names), spec.kind);
  if (found == std::end(names)) return false;
  loss.kind = LossKind(found - std::begin(names));
  if (loss.kind == LossKind::huber) loss.delta = float(number(spec.attrs, "delta"));
  if (loss.kind >= LossKind::binary_crossentropy &&
      loss.kind <= LossKind::sparse_categorical_crossentropy)
    loss.from_logits = number(spec.attrs, "from_logits") != 0;
  if (loss.kind == LossKind::binary_crossentropy ||
      loss.kind == LossKind::categorical_crossentropy)
    loss.smoothing = float(number(spec.attrs, "label_smoothing"));
  if (loss.kind == LossKind::gaussian_nll)
    loss.beta = float(number(spec.attrs, "beta"));
  if (loss.kind == LossKind::pinball) {
    loss.count = int(whole(spec.attrs, "quantiles", 1, most_quantiles));
    for (int i = 0; i < loss.count; i++)
      loss.quantiles[i] =
          float(number(spec.attrs, ("quantile_" + std::to_string(i)).c_str()));
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
        "[native] the outputs of a plan must be a multiple of those for one target.");
  return O / heads;
}

// The first of the largest; NaN is larger than any number, as in NumPy.
int64_t argmax(const float* x, int64_t n) {
  auto less = [](float a, float b) { return a < b || (b != b && a == a); };
  return std::max_element(x, x + n, less) - x;
}

// Whether fewer than k elements are larger than that of the class, if there is one.
bool among_largest(const float* x, int64_t n, int64_t own, int64_t k) {
  if (own < 0 || own >= n) return false;
  return std::count_if(x, x + n, [=](float other) { return other > x[own]; }) < k;
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
    Metric metric{};
    metric.weighted = spec.weighted;
    if (spec.kind == "root_mean_squared_error") {
      metric.kind = Metric::root;
      metric.function.kind = LossKind::mean_squared_error;
    } else if (spec.kind == "accuracy") {
      metric.kind = Metric::equal;
    } else if (spec.kind == "binary_accuracy") {
      metric.kind = Metric::binary;
      metric.threshold = number(spec.attrs, "threshold");
    } else if (spec.kind == "categorical_accuracy") {
      metric.kind = Metric::categorical;
    } else if (spec.kind == "sparse_categorical_accuracy") {
      metric.kind = Metric::sparse;
    } else if (spec.kind == "top_k_categorical_accuracy") {
      metric.kind = Metric::top;
      metric.k = whole(spec.attrs, "k", 1, 1e15);
    } else if (spec.kind == "sparse_top_k_categorical_accuracy") {
      metric.kind = Metric::sparse_top;
      metric.k = whole(spec.attrs, "k", 1, 1e15);
    } else if (spec.kind == "r2_score") {
      metric.kind = Metric::r2;
    } else if (!read_loss(spec, metric.function)) {
      throw Unsupported("metric", spec.kind);
    }
    bool numbers = metric.kind == Metric::sparse || metric.kind == Metric::sparse_top;
    use_targets(numbers                       ? 1
                : metric.kind == Metric::loss ? targets_of(metric.function, O_)
                                              : O_,
                spec.kind);
    if (spec.size != (metric.kind == Metric::r2 ? 1 + 3 * O_ : 2))
      throw std::invalid_argument("[native] the plan gives the metric " + spec.kind +
                                  " the wrong number of accumulators.");
    totals_size_ += spec.size;
    metrics_.push_back(metric);
  }
  for (size_t i = 0; i < params.size(); i++)
    if (const VariableSpec& s = params[i]; s.trainable && (s.l1 != 0 || s.l2 != 0))
      penalties_.push_back({int(i), s.offset, s.size(), float(s.l1), float(s.l2)});
}

void Objective::use_targets(int64_t width, const std::string& kind) {
  if (decided_ && width != width_)
    throw std::invalid_argument(
        "[native] the loss and the metrics of a plan must agree on the targets of a "
        "row. Received: '" +
        kind + "' beside one that does not agree.");
  decided_ = true;
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
  float share = 1.0f / float(o.batch * rows_);
  in_pieces(o.batch, [&](int64_t row, int64_t rows) {
    int64_t first = row * O_;
    float* d = dp ? dp + first : nullptr;
    kernels.loss(loss, o.p + first, o.y + row * width_, rows, O_,
                 scratch.elements + first, scratch.rows + row, d);
    if (!d) return;
    if (!o.weights)
      kernels.scale(d, share, rows * O_);
    else if (O_ * rows_ == 1)
      for (int64_t i = 0; i < rows; i++) d[i] *= o.weights[row + i] * share;
    else
      for (int64_t i = 0; i < rows; i++)
        kernels.scale(d + i * O_, o.weights[(row + i) / rows_] * share, O_);
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
    if (gradient && !kernels.penalize(gradient + p.offset, w, p.l1, p.l2, p.size))
      overflowing[p.slot].store(true);
  }
  return total;
}

void Objective::add_metrics(const Kernels& kernels, const Outputs& o,
                            const Scratch& scratch, double* totals) const {
  for (const Metric& metric : metrics_) {
    switch (metric.kind) {
      case Metric::r2:
        add_r2(metric, o, totals);
        totals += 1 + 3 * O_;
        continue;
      case Metric::loss:
      case Metric::root:
        row_losses(kernels, metric.function, o, scratch, nullptr);
        break;
      default:
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
  in_pieces(o.batch, [&](int64_t first, int64_t rows) {
    for (int64_t r = first; r < first + rows; r++) {
      const float* p = o.p + r * O_;
      const float* y = o.y + r * width_;
      if (metric.kind == Metric::binary) {
        int64_t hits = 0;
        for (int64_t j = 0; j < O_; j++) hits += y[j] == float(p[j] > threshold);
        values[r] = double(hits) / double(O_);
      } else if (metric.kind == Metric::equal) {
        int64_t hits = 0;
        for (int64_t j = 0; j < O_; j++) hits += y[j] == p[j];
        values[r] = double(hits) / double(O_);
      } else if (metric.kind == Metric::categorical) {
        values[r] = argmax(y, O_) == argmax(p, O_);
      } else if (metric.kind == Metric::top) {
        values[r] = among_largest(p, O_, argmax(y, O_), metric.k);
      } else if (metric.kind == Metric::sparse_top) {
        values[r] = among_largest(p, O_, int64_t(y[0]), metric.k);
      } else {
        values[r] = y[0] == float(argmax(p, O_));
      }
    }
  });
}

// W = sum of w, then for each output M = sum of w y / W, and the sums of w (y - M)^2
// and w (y - p)^2. The mean moves along with the rows, so that no spread is lost beside
// a large mean, and that of numbers which are all the same is 0 (West 1979).
void Objective::add_r2(const Metric& metric, const Outputs& o, double* totals) const {
  double *mean = totals + 1, *spread = mean + O_, *residual = spread + O_;
  for (int64_t r = 0; r < o.batch * rows_; r++) {
    double w = metric.weighted && o.weights ? double(o.weights[r / rows_]) : 1.0;
    if (w == 0) continue;
    double share = w / (totals[0] += w);
    for (int64_t j = 0; j < O_; j++) {
      double y = double(o.y[r * O_ + j]), e = y - double(o.p[r * O_ + j]);
      double away = y - mean[j];
      mean[j] += share * away;
      spread[j] += w * away * (y - mean[j]);
      residual[j] += w * e * e;
    }
  }
}

}  // namespace kurve
