// The metrics of a plan, which sum over rows in float64 accumulators. Formulas as in
// kurve.engines.reference.metrics.
#pragma once

#include <optional>

#include "losses.h"

namespace kurve {

struct MetricSpec : Spec {
  int64_t size = 2;
  bool weighted = false;
  int rows = -1;  // for the kind "rows": the value whose elements it averages
  // What a batch adds: its rows (""), or one number, the "mean" or "sum" of its rows.
  std::string of_batch{};
};

// Predictions of one batch and their targets. Rows are B x the output's leading axes;
// weights count samples.
struct Outputs {
  const float* p;        // (rows, O)
  const float* y;        // (rows, width)
  const float* weights;  // (B,) or null
  int64_t batch;
};

class Metric {
 public:
  // O outputs in a row.
  Metric(const MetricSpec&, int64_t O);

  bool weighted() const { return weighted_; }
  int64_t size() const { return size_; }
  int64_t width() const { return width_; }                   // targets per row
  std::optional<float> ignored() const { return ignored_; }  // the ignored class
  const Loss* loss() const {
    return loss_ ? &*loss_ : nullptr;
  }  // the loss whose mean it is
  bool by_ops() const { return by_ops_; }  // the mean of rows that ops compute
  // For a mean over rows: adds those of a batch.
  void add(double value, double weight, double* totals) const;

  // The value of a row, for metrics that are a mean over rows but not of a loss. With
  // `signs`, targets 0 and 1 stand for -1 and 1.
  double value(const float* y, const float* p, bool signs) const;
  // Whether they do, because all targets of the batch are 0 or 1.
  bool takes_signs(const float* y, int64_t rows) const;

  // For the other metrics: adds a batch with `rows` rows per sample.
  bool counts() const;
  void count(const Outputs&, int64_t rows, double* totals) const;

 private:
  int64_t expected_size() const;
  void read_thresholds(const Attrs&);
  int64_t thresholds_below(float x) const;

  void add_r2(const float* y, const float* p, double w, double* totals) const;
  void add_histogram(const float* y, const float* p, double w, double* totals) const;
  void add_class_counts(const float* y, const float* p, double w, double* totals) const;
  void add_matrix(const float* y, const float* p, double w, double* totals) const;
  std::vector<char> among_top(const float* p) const;

  MetricKind kind_{};
  std::optional<Loss> loss_;  // if set, `kind_` is unused
  int64_t O_, size_, width_;
  bool weighted_, by_ops_ = false, one_of_batch_ = false, sums_batch_ = false;
  std::optional<float> ignored_;

  std::optional<float> threshold_;
  int64_t k_ = 0;             // of top_k; 0: all
  bool counts_rows_ = false;  // r2_score
  int64_t levels_ = 0;        // confusion: number of thresholds
  bool even_ = false, with_ends_ = false, from_logits_ = false, multi_label_ = false;
  int64_t class_id_ = -1;          // -1: all
  std::vector<float> thresholds_;  // ascending; empty if evenly spaced
  std::vector<double> label_weights_;
  int64_t classes_ = 0;  // confusion_matrix
  bool largest_target_ = false, largest_output_ = false;
};

}  // namespace kurve
