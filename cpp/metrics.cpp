#include "metrics.h"

#include <algorithm>
#include <cmath>

namespace kurve {
namespace {

constexpr float smallest = 1e-7f;  // as in kurve.engines.reference.losses
constexpr double smallest_d = 1e-7;
constexpr float unchosen = -1e10f;      // marks an output that is not among the top_k
constexpr double max_thresholds = 1e6;  // and classes of a confusion matrix, 1e4
constexpr double max_classes = 1e4;

bool has(const Attrs& attrs, const char* name) { return attrs.count(name) != 0; }

// NaN is larger than any number, as in NumPy.
bool less(float a, float b) { return a < b || (b != b && a == a); }

// The first of the largest.
int64_t argmax(const float* x, int64_t n) {
  return std::max_element(x, x + n, less) - x;
}

// Whether fewer than k elements exceed that of the class; false for a class that does
// not exist.
bool among_largest(const float* x, int64_t n, int64_t label, int64_t k) {
  if (label < 0 || label >= n) return false;
  return std::count_if(x, x + n, [=](float other) { return other > x[label]; }) < k;
}

template <class Term>
double sum_of(int64_t n, Term&& term) {
  double total = 0;
  for (int64_t j = 0; j < n; j++) total += double(term(j));
  return total;
}

// The class of a number truncated to an integer; -1 if there is no such class.
int64_t class_of(float x, int64_t classes) {
  return x > -1.0f && x < float(classes) ? int64_t(x) : -1;
}

struct Moments {
  double y, p, yy, pp, yp;  // means; then variances and covariance
};

Moments moments(const float* y, const float* p, int64_t n) {
  double N = double(n);
  Moments m{};
  m.y = sum_of(n, [&](int64_t j) { return y[j]; }) / N;
  m.p = sum_of(n, [&](int64_t j) { return p[j]; }) / N;
  for (int64_t j = 0; j < n; j++) {
    double a = double(y[j]) - m.y, b = double(p[j]) - m.p;
    m.yy += a * a, m.pp += b * b, m.yp += a * b;
  }
  m.yy /= N, m.pp /= N, m.yp /= N;
  return m;
}

}  // namespace

Metric::Metric(const MetricSpec& spec, int64_t O)
    : O_(O), size_(spec.size), width_(O), weighted_(spec.weighted) {
  const Attrs& attrs = spec.attrs;
  if (!spec.of_batch.empty()) {
    sums_batch_ = spec.of_batch == "sum", one_of_batch_ = !weighted_;
    if (!sums_batch_ && spec.of_batch != "mean")
      throw Unsupported("number of a batch", spec.of_batch);
  }
  if (spec.kind == "rows") {
    by_ops_ = true;
    if (size_ != 2) throw Unsupported("number of accumulators", spec.kind);
    return;
  }
  if (has(attrs, "ignore_class")) ignored_ = float(number(attrs, "ignore_class"));
  std::optional<MetricKind> kind = kind_named<MetricKind>(spec.kind);
  if (!kind) {
    if (!read_loss(spec, loss_.emplace())) throw Unsupported("metric", spec.kind);
    width_ = targets_of(*loss_, O);
    if (width_ != 1) ignored_.reset();
  } else {
    kind_ = *kind;
    if (has(attrs, "threshold")) threshold_ = float(number(attrs, "threshold"));
  }
  switch (kind_) {
    case MetricKind::root_mean_squared_error:  // the root is taken in Python
      if (kind) loss_.emplace().kind = LossKind::mean_squared_error;
      break;
    case MetricKind::binary_accuracy:
      threshold_ = float(number(attrs, "threshold"));
      break;
    case MetricKind::sparse_categorical_accuracy:
      width_ = 1;
      break;
    case MetricKind::sparse_top_k_categorical_accuracy:
    case MetricKind::among_first:
      width_ = 1;
      [[fallthrough]];
    case MetricKind::top_k_categorical_accuracy:
      k_ = integer(attrs, "k", 1, 1e15);
      break;
    case MetricKind::r2_score:
      counts_rows_ = has(attrs, "counts_rows");
      break;
    case MetricKind::confusion:
      read_thresholds(attrs);
      break;
    case MetricKind::confusion_matrix:
      classes_ = integer(attrs, "classes", 1, max_classes);
      largest_target_ = number(attrs, "largest_target") != 0;
      largest_output_ = number(attrs, "largest_output") != 0;
      if (largest_target_ && !largest_output_)
        throw std::invalid_argument(
            "[native] one-hot targets need an output for each class.");
      if (largest_output_ && !largest_target_) width_ = 1;
      break;
    default:
      break;
  }
  if (size_ != expected_size())
    throw std::invalid_argument("[native] the plan gives the metric " + spec.kind +
                                " the wrong number of accumulators.");
}

void Metric::read_thresholds(const Attrs& attrs) {
  levels_ = integer(attrs, "thresholds", 1, max_thresholds);
  even_ = has(attrs, "even");
  with_ends_ = even_ && number(attrs, "with_ends") != 0;
  for (int64_t i = 0; !even_ && i < levels_; i++) {
    std::string name = "threshold_" + std::to_string(i);
    thresholds_.push_back(float(number(attrs, name.c_str())));
  }
  if (!std::is_sorted(thresholds_.begin(), thresholds_.end()))
    throw std::invalid_argument("[native] thresholds must be in order.");
  from_logits_ = has(attrs, "from_logits");
  multi_label_ = has(attrs, "multi_label");
  if (has(attrs, "top_k")) k_ = integer(attrs, "top_k", 1, double(O_));
  if (has(attrs, "class_id"))
    class_id_ = integer(attrs, "class_id", 0, double(O_) - 1.0);
  if (multi_label_ && class_id_ >= 0)
    throw std::invalid_argument(
        "[native] multi_label and class_id exclude each other.");
  if (!has(attrs, "label_weights")) return;
  integer(attrs, "label_weights", O_, double(O_));
  for (int64_t j = 0; j < O_; j++) {
    std::string name = "label_weight_" + std::to_string(j);
    label_weights_.push_back(number(attrs, name.c_str()));
  }
}

int64_t Metric::expected_size() const {
  if (loss_) return 2;
  switch (kind_) {
    case MetricKind::r2_score:
      return 1 + 3 * O_ + counts_rows_;
    case MetricKind::confusion:
      return 2 * (multi_label_ ? O_ : 1) * (levels_ + 1);
    case MetricKind::class_counts:
      return 3 * O_;
    case MetricKind::confusion_matrix:
      return classes_ * classes_;
    default:
      return 2;
  }
}

void Metric::add(double value, double weight, double* totals) const {
  if (one_of_batch_) value = sums_batch_ ? value : value / weight, weight = 1;
  totals[0] += value;
  totals[1] += weight;
}

bool Metric::counts() const {
  if (loss_ || by_ops_) return false;
  switch (kind_) {
    case MetricKind::r2_score:
    case MetricKind::confusion:
    case MetricKind::class_counts:
    case MetricKind::confusion_matrix:
      return true;
    default:
      return false;
  }
}

bool Metric::takes_signs(const float* y, int64_t rows) const {
  if (kind_ != MetricKind::hinge && kind_ != MetricKind::squared_hinge) return false;
  return std::all_of(y, y + rows * O_, [](float v) { return v == 0 || v == 1; });
}

double Metric::value(const float* y, const float* p, bool signs) const {
  auto mean = [this](auto&& term) { return sum_of(O_, term) / double(O_); };
  auto margin = [&](int64_t j) {
    return std::max(1.0f - (signs ? 2.0f * y[j] - 1.0f : y[j]) * p[j], 0.0f);
  };
  switch (kind_) {
    case MetricKind::accuracy:
      return mean([&](int64_t j) { return y[j] == p[j]; });
    case MetricKind::binary_accuracy:
      return mean([&](int64_t j) { return y[j] == float(p[j] > *threshold_); });
    case MetricKind::categorical_accuracy:
      return argmax(y, O_) == argmax(p, O_);
    case MetricKind::sparse_categorical_accuracy:
      return y[0] == float(argmax(p, O_));
    case MetricKind::top_k_categorical_accuracy:
      return among_largest(p, O_, argmax(y, O_), k_);
    case MetricKind::sparse_top_k_categorical_accuracy:
      return among_largest(p, O_, class_of(y[0], O_), k_);
    case MetricKind::among_first:
      return std::find(p, p + std::min(k_, O_), y[0]) != p + std::min(k_, O_);
    case MetricKind::mean_absolute_percentage_error:
      return 100.0 * mean([&](int64_t j) {
               return std::abs((y[j] - p[j]) / std::max(std::abs(y[j]), smallest));
             });
    case MetricKind::mean_squared_logarithmic_error:
      return mean([&](int64_t j) {
        float e = std::log(std::max(p[j], smallest) + 1.0f) -
                  std::log(std::max(y[j], smallest) + 1.0f);
        return e * e;
      });
    case MetricKind::poisson:
      return mean([&](int64_t j) { return p[j] - y[j] * std::log(p[j] + smallest); });
    case MetricKind::kl_divergence:
      return sum_of(O_, [&](int64_t j) {
        float a = std::clamp(y[j], smallest, 1.0f);
        return a * std::log(a / std::clamp(p[j], smallest, 1.0f));
      });
    case MetricKind::hinge:
      return mean(margin);
    case MetricKind::squared_hinge:
      return mean([&](int64_t j) { return margin(j) * margin(j); });
    case MetricKind::categorical_hinge: {
      double right = sum_of(O_, [&](int64_t j) { return y[j] * p[j]; });
      float wrong = (1.0f - y[0]) * p[0];
      for (int64_t j = 1; j < O_; j++) {
        float other = (1.0f - y[j]) * p[j];
        if (less(wrong, other)) wrong = other;
      }
      double value = 1.0 + double(wrong) - right;
      return value < 0 ? 0.0 : value;
    }
    case MetricKind::cosine_similarity: {
      auto dot = [this](const float* a, const float* b) {
        return sum_of(O_, [=](int64_t j) { return double(a[j]) * double(b[j]); });
      };
      double length_y = std::max(std::sqrt(dot(y, y)), smallest_d);
      double length_p = std::max(std::sqrt(dot(p, p)), smallest_d);
      return dot(y, p) / length_y / length_p;
    }
    case MetricKind::pearson_correlation: {
      Moments m = moments(y, p, O_);
      return m.yp / std::sqrt(m.yy * m.pp);
    }
    case MetricKind::concordance_correlation: {
      Moments m = moments(y, p, O_);
      double difference = m.y - m.p;
      return 2.0 * m.yp / (m.yy + m.pp + difference * difference + smallest_d);
    }
    default:
      return 0;
  }
}

void Metric::count(const Outputs& o, int64_t rows, double* totals) const {
  if (counts_rows_) totals[size_ - 1] += double(o.batch * rows);
  for (int64_t r = 0; r < o.batch * rows; r++) {
    double w = weighted_ && o.weights ? double(o.weights[r / rows]) : 1.0;
    const float *y = o.y + r * width_, *p = o.p + r * O_;
    if (w == 0) continue;
    switch (kind_) {
      case MetricKind::r2_score:
        add_r2(y, p, w, totals);
        break;
      case MetricKind::confusion:
        add_histogram(y, p, w, totals);
        break;
      case MetricKind::class_counts:
        add_class_counts(y, p, w, totals);
        break;
      default:
        add_matrix(y, p, w, totals);
    }
  }
}

// W = sum of w; then for each output the mean M = sum of w y / W, the total sum of
// squares w (y - M)^2 and the residual sum of squares w (y - p)^2. The running mean
// keeps precision if the mean is large, and the total of equal numbers is exactly 0
// (West 1979).
void Metric::add_r2(const float* y, const float* p, double w, double* totals) const {
  double *mean = totals + 1, *total = mean + O_, *residual = total + O_;
  double fraction = w / (totals[0] += w);
  for (int64_t j = 0; j < O_; j++) {
    double target = double(y[j]), e = target - double(p[j]);
    double deviation = target - mean[j];
    mean[j] += fraction * deviation;
    total[j] += w * deviation * (target - mean[j]);
    residual[j] += w * e * e;
  }
}

int64_t Metric::thresholds_below(float x) const {
  if (x != x) return 0;
  if (even_) {
    float inside = std::clamp(x, 0.0f, 1.0f);
    return std::max(int64_t(std::ceil(inside * float(levels_ - 1))),
                    int64_t(with_ends_));
  }
  return std::lower_bound(thresholds_.begin(), thresholds_.end(), x) -
         thresholds_.begin();
}

// Which outputs are among the k largest; of equal ones, the first count.
std::vector<char> Metric::among_top(const float* p) const {
  std::vector<int64_t> order(static_cast<size_t>(O_));
  for (int64_t j = 0; j < O_; j++) order[size_t(j)] = j;
  std::nth_element(order.begin(), order.begin() + (k_ - 1), order.end(),
                   [p](int64_t a, int64_t b) {
                     return less(p[b], p[a]) || (!less(p[a], p[b]) && a < b);
                   });
  std::vector<char> chosen(static_cast<size_t>(O_));
  for (int64_t i = 0; i < k_; i++) chosen[size_t(order[size_t(i)])] = 1;
  return chosen;
}

// The weight of every output by [whether y != 0][label][number of thresholds below p].
void Metric::add_histogram(const float* y, const float* p, double w,
                           double* totals) const {
  std::vector<char> chosen;
  if (k_) chosen = among_top(p);
  int64_t first = class_id_ < 0 ? 0 : class_id_, last = class_id_ < 0 ? O_ : first + 1;
  int64_t labels = multi_label_ ? O_ : 1;
  for (int64_t j = first; j < last; j++) {
    float x = from_logits_ ? 1.0f / (1.0f + std::exp(-p[j])) : p[j];
    if (k_ && !chosen[size_t(j)]) x = unchosen;
    int64_t row = (y[j] != 0 ? labels : 0) + (multi_label_ ? j : 0);
    double weight = label_weights_.empty() ? w : w * label_weights_[size_t(j)];
    totals[row * (levels_ + 1) + thresholds_below(x)] += weight;
  }
}

// True positives, false positives and false negatives of each class.
void Metric::add_class_counts(const float* y, const float* p, double w,
                              double* totals) const {
  float largest = p[argmax(p, O_)];
  for (int64_t j = 0; j < O_; j++) {
    bool positive =
        threshold_ ? p[j] > *threshold_ : p[j] >= largest && std::abs(p[j]) > 1e-9f;
    double target = double(y[j]);
    if (positive) {
      totals[j] += w * target;
      totals[O_ + j] += w * (1.0 - target);
    } else {
      totals[2 * O_ + j] += w * target;
    }
  }
}

// Weights by [class of y][class of p].
void Metric::add_matrix(const float* y, const float* p, double w,
                        double* totals) const {
  auto add = [&](int64_t target, int64_t output) {
    bool is_ignored = ignored_ && float(target) == *ignored_;
    if (target >= 0 && output >= 0 && target < classes_ && output < classes_ &&
        !is_ignored)
      totals[target * classes_ + output] += w;
  };
  if (largest_output_)
    return add(largest_target_ ? argmax(y, O_) : class_of(y[0], classes_),
               argmax(p, O_));
  for (int64_t j = 0; j < O_; j++)
    add(class_of(y[j], classes_),
        threshold_ ? int64_t(p[j] >= *threshold_) : class_of(p[j], classes_));
}

}  // namespace kurve
