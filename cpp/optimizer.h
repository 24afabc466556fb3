// Clipping and the update of all trainable variables.
#pragma once

#include "objective.h"

namespace kurve {

// What is known about the state: no element of the momentum is larger than this.
struct Bounds {
  double momentum = 0;
};

class Optimizer {
 public:
  static constexpr int max_scalars = 1;

  Optimizer(const Spec&, const std::vector<VariableSpec>& params);

  int slots() const { return slots_; }      // vectors as long as params
  int scalars() const { return scalars_; }  // running scalars

  // Whether each element is updated from its own gradient alone.
  bool can_fuse() const {
    return clipnorm_ <= 0 && clipvalue_ <= 0 && global_clipnorm_ <= 0;
  }

  // Whether an update by gradients of at most `safe_sum` cannot overflow, whatever the
  // variables are: no step larger than 1e30 changes the largest float32.
  bool cannot_overflow(float learning_rate, const Bounds&) const;
  Bounds scan_bounds(const Kernels&, const float* slots, int64_t size) const;
  Bounds next_bounds(float learning_rate, const Bounds&) const;

  // The step's numbers, counted from 0; advances the running scalars.
  UpdateParams params_for_step(double* scalars, int64_t step,
                               float learning_rate) const;

  int64_t scratch() const { return int64_t(pieces_.size()) + variables_; }

  // Clips and updates.
  void apply(const Kernels&, const UpdateTarget&, float* gradient,
             double* scratch) const;

 private:
  struct Piece {
    int variable;  // index among the trainable variables
    int64_t offset, size;
  };
  double max_step() const;
  template <class Body>
  void in_pieces(Body&& body) const;
  void clip(const Kernels&, float* gradient, double* scratch) const;

  UpdateParams fixed_{};  // what is the same for every step
  double max_step_ = 0;   // no step is larger than this times the learning rate
  int momentum_ = -1;     // the slot of past steps or gradients, not squared; -1: none
  double beta_1_ = 0, beta_2_ = 0;
  double clipnorm_, clipvalue_, global_clipnorm_;
  int slots_ = 0, scalars_ = 0, variables_ = 0;
  int64_t floats_ = 0;
  std::vector<Piece> pieces_;
};

}  // namespace kurve
