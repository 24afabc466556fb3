// Clipping and the update of all trainable variables.
#pragma once

#include "formula.h"
#include "objective.h"

namespace kurve {

// What is known about the state: no element of the momentum exceeds this.
struct Bounds {
  double momentum = 0;
};

// kurve.ops.formula.Rule and Update: formulas that change a variable.
struct RuleSpec {
  FormulaSpec formula;
  std::vector<int> slots;
};
struct UpdateSpec {
  bool decays = true;
  std::optional<RuleSpec> rule{}, after{};
};

class Optimizer {
 public:
  static constexpr int max_scalars = 1, max_slots = 8;

  // With updates, one for each of params, there are `slots` vectors; `every` gradients
  // are accumulated in the last one before their mean is applied.
  Optimizer(const Spec&, const std::vector<VariableSpec>& params,
            const std::vector<UpdateSpec>& updates, int slots, int64_t every);

  int slots() const { return slots_; }      // vectors as long as params
  int scalars() const { return scalars_; }  // running scalars

  // Whether each element is updated from its own gradient alone.
  bool can_fuse() const {
    return clipnorm_ <= 0 && clipvalue_ <= 0 && global_clipnorm_ <= 0 &&
           updates_.empty();
  }

  // Whether an update by gradients of at most `safe_sum` cannot overflow, whatever the
  // variables are: no step larger than 1e30 changes the largest float32.
  bool cannot_overflow(float learning_rate, const Bounds&) const;
  Bounds scan_bounds(const Kernels&, const float* slots, int64_t size) const;
  Bounds next_bounds(float learning_rate, const Bounds&) const;

  // The parameters for a step, counted from 0; advances the running scalars.
  UpdateParams params_for_step(double* scalars, int64_t step,
                               float learning_rate) const;

  int64_t scratch() const { return int64_t(pieces_.size()) + variables_; }
  int64_t formula_scratch() const { return formula_scratch_; }  // floats

  // Clips and updates.
  void apply(const Kernels&, const UpdateTarget&, float* gradient, double* scratch,
             float* formula_scratch, int64_t step, float learning_rate) const;

 private:
  struct Piece {
    int variable;  // index among the trainable variables
    int64_t offset, size;
  };
  struct Rule {
    Formula formula;
    std::vector<int> slots;
  };
  struct Update {  // for one trainable variable
    int64_t offset, size;
    bool decays;
    std::optional<Rule> rule, after;
  };
  void read_kind(const Spec&);
  std::optional<Rule> read_rule(const std::optional<RuleSpec>&, int64_t size);
  void run(const Kernels&, const Rule&, const Update&, const UpdateTarget&,
           float* gradient, float* scratch, int64_t step, float learning_rate) const;
  void accumulate(const UpdateTarget&, float* gradient, bool due) const;
  double max_step() const;
  template <class Body>
  void in_pieces(Body&& body) const;
  void clip(const Kernels&, float* gradient, double* scratch) const;

  UpdateParams fixed_{};  // constant over all steps
  double max_step_ = 0;   // no step is larger than this times the learning rate
  int momentum_ = -1;     // the slot of past steps or (unsquared) gradients; -1: none
  double beta_1_ = 0, beta_2_ = 0;
  double clipnorm_, clipvalue_, global_clipnorm_;
  int slots_ = 0, scalars_ = 0, variables_ = 0;
  int64_t floats_ = 0;
  std::vector<Piece> pieces_;
  std::vector<Update> updates_;  // empty if the kind is enough
  bool rules_ = false;           // formulas replace the kind's
  int64_t every_ = 1, formula_scratch_ = 0;
};

}  // namespace kurve
