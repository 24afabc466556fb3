// The loss, its penalties and the metrics of a plan.
#pragma once

#include "metrics.h"

namespace kurve {

// Scratch memory: (rows, O) floats and (rows,) doubles.
struct Scratch {
  float* elements;
  double* rows;
};

class Formula;

class Objective {
 public:
  // The loss "rows" reads `loss_values` numbers per sample, each the loss of a row.
  Objective(const Shape& output_shape, const Spec* loss,
            const std::vector<MetricSpec>& metrics,
            const std::vector<VariableSpec>& params, int64_t loss_values,
            const std::string& reduction = "mean");

  bool has_loss() const { return has_loss_; }
  bool uses_target() const { return targets_known_; }
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

  // The factor that turns the mean over a batch into the loss: 1, except for the
  // reductions "sum" and the weighted mean. For a share of `all` rows, the factor for
  // its part.
  double scale(int64_t batch, int64_t all, const float* weights,
               double weights_sum) const;

  // Adds the batch to the totals of every metric, which follow the loss's two. `read`
  // holds the node that each metric computed by ops reads, -1 for the others; `values`
  // and `widths` (floats per sample) are those of all nodes.
  void add_metrics(const Kernels&, const Outputs&, const Scratch&,
                   const std::vector<int>& read,
                   const std::vector<const float*>& values,
                   const std::vector<int64_t>& widths, double* totals) const;

 private:
  struct Sum {
    double value, weight;
  };
  template <class Body>
  void in_pieces(int64_t batch, Body&& body) const;
  template <class T>
  static Sum sum(const Outputs&, const T* values, int64_t rows, bool weighted);
  double mean_of_rows(const Outputs&, float* dp) const;
  Sum sum_without(const Outputs&, const double* values, bool weighted,
                  float ignored) const;
  void row_losses(const Kernels&, const Loss&, const Outputs&, const Scratch&,
                  float* dp) const;
  void use_targets(int64_t width, const std::string& kind);

  int64_t rows_, O_, totals_size_ = 2;
  int64_t width_;  // targets per row: O, or 1 if classes are numbers
  bool has_loss_ = false, targets_known_ = false;
  int64_t loss_values_ = 0;  // per sample of the loss "rows"
  enum class Reduction { mean, sum, sum_if_weighted, mean_with_sample_weight };
  Reduction reduction_ = Reduction::mean;
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
