// Clipping and the update of all trainable variables.
#pragma once

#include "objective.h"

namespace kurve {

class Optimizer {
 public:
  Optimizer(const Spec&, const std::vector<Slot>& params);

  int slots() const { return slots_; }      // vectors as long as params
  int scalars() const { return scalars_; }  // running numbers

  // Whether an update needs nothing of the gradients but their own elements.
  bool local() const {
    return clipnorm_ <= 0 && clipvalue_ <= 0 && global_clipnorm_ <= 0;
  }

  // The numbers of the step'th update, counted from 0; moves the running ones on.
  Update numbers(double* scalars, int64_t step, float learning_rate) const;

  int64_t scratch() const { return int64_t(pieces_.size()) + variables_; }

  // Clips and updates.
  void apply(const Kernels&, const Step&, float* gradient, double* scratch) const;

 private:
  struct Piece {
    int slot;  // index among the trainable variables
    int64_t offset, size;
  };
  template <class Body>
  void in_pieces(Body&& body) const;
  void clip(const Kernels&, float* gradient, double* scratch) const;

  Update fixed_{};  // what does not change from step to step
  double beta_1_ = 0, beta_2_ = 0;
  double clipnorm_, clipvalue_, global_clipnorm_;
  int slots_ = 0, scalars_ = 0, variables_ = 0;
  int64_t floats_ = 0;
  std::vector<Piece> pieces_;
};

}  // namespace kurve
