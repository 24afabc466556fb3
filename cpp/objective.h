// The loss, its penalties and the metrics of a plan.
#pragma once

#include <optional>

#include "ops.h"

namespace kurve {

struct Spec {
  std::string kind;
  Attrs attrs;
};

struct MetricSpec : Spec {
  int64_t size = 2;
  bool weighted = false;
};

// Predictions of one batch and their targets. Rows are B x the output's leading axes;
// weights count samples.
struct Outputs {
  const float* p;        // (rows, O)
  const float* y;        // (rows, width)
  const float* weights;  // (B,) or null
  int64_t batch;
};

// Scratch memory, (rows, O) floats and (rows,) doubles.
struct Scratch {
  float* elements;
  double* rows;
};

class Formula;

class Objective {
 public:
  Objective(const Shape& output_shape, const Spec* loss,
            const std::vector<MetricSpec>& metrics,
            const std::vector<VariableSpec>& params);

  bool has_loss() const { return has_loss_; }
  int64_t target_size() const { return rows_ * width_; }  // per sample
  int64_t rows(int64_t batch) const { return batch * rows_; }
  int64_t totals_size() const { return totals_size_; }

  // Mean weighted loss without penalties; its gradient is written to dp unless that is
  // null.
  double loss(const Kernels&, const Outputs&, const Scratch&, float* dp) const;

  bool has_penalties() const { return !penalties_.empty(); }

  // l1 |w| + l2 w^2 summed over the trainable variables; the gradient is added unless
  // it is null, and variables whose gradient then exceeds safe_sum are flagged.
  double penalties(const Kernels&, const float* params, float* gradient,
                   std::atomic<bool>* overflowing) const;

  // Adds the batch to the totals of every metric, which follow the loss's two.
  void add_metrics(const Kernels&, const Outputs&, const Scratch&,
                   double* totals) const;

 private:
  struct Metric {
    MetricKind kind{};
    std::optional<Loss> loss;  // whose mean the metric is; `kind` is then unused
    double threshold = 0.5;
    int64_t k = 1;
    bool weighted = false;
  };
  struct Sum {
    double value, weight;
  };
  static Metric read_metric(const MetricSpec&);
  template <class Body>
  void in_pieces(int64_t batch, Body&& body) const;
  Sum sum(const Outputs&, const double* values, bool weighted) const;
  void row_losses(const Kernels&, const Loss&, const Outputs&, const Scratch&,
                  float* dp) const;
  void row_accuracies(const Metric&, const Outputs&, double* values) const;
  void add_r2(const Metric&, const Outputs&, double* totals) const;
  void use_targets(int64_t width, const std::string& kind);

  int64_t rows_, O_, totals_size_ = 2;
  int64_t width_;  // targets of a row: O; 1 where classes are numbers
  bool has_loss_ = false, targets_known_ = false;
  Loss loss_{};
  std::vector<Metric> metrics_;
  struct Penalty {
    int variable;
    int64_t offset, size;
    float l1, l2;
    std::shared_ptr<const Formula> formula;  // null: none
  };
  double penalty_by_formula(const Kernels&, const Penalty&, const float* w,
                            float* gradient) const;
  std::vector<Penalty> penalties_;
};

}  // namespace kurve
