// A plan lowered to C++: the ops, the objective, the optimizer, and the memory that
// calls work in. Calls on one program from several threads are safe.
#pragma once

#include "optimizer.h"

namespace kurve {

struct Description {
  Shape input_shape, output_shape;
  std::vector<OpSpec> ops;
  std::vector<Slot> params, buffers;
  const Spec* loss = nullptr;
  std::vector<MetricSpec> metrics;
  const Spec* optimizer = nullptr;
};

// kurve.engines.base.State and Batches, as pointers.
struct State {
  float *params, *buffers;
  float* slots;
  double* scalars;
  int64_t step;
  uint64_t seed;
};

// Samples, as floats or as bytes; the other is null.
struct Inputs {
  const float* floats;
  const uint8_t* bytes = nullptr;
};

struct Batches {
  Inputs x;
  const float *y, *weights;  // weights may be null
  int64_t n;                 // rows of data
  const int64_t* order;      // (order_size,) or null
  int64_t order_size;
  const int64_t* bounds;  // (steps + 1,)
  int64_t steps;
  const float* learning_rates;  // (steps,), read by train only
};

// Why train stopped before its last step; what is empty where it did not.
struct Outcome {
  std::string what;  // that was not finite
  bool interrupted = false;
};

// Asked between steps; true makes the call end there.
using Interrupted = bool (*)();

struct Workspace;

class Program {
 public:
  explicit Program(const Description&);
  ~Program();

  int64_t input_size() const { return input_size_; }
  int64_t output_size() const { return output_size_; }
  int64_t target_size() const { return objective_.target_size(); }
  int64_t params_size() const { return params_size_; }
  int64_t buffers_size() const { return buffers_size_; }
  int64_t totals_size() const { return objective_.totals_size(); }
  const Objective& objective() const { return objective_; }
  const Optimizer* optimizer() const { return optimizer_.get(); }

  // Advances state.step and totals by each finished step.
  Outcome train(State&, const Batches&, int64_t first, int64_t last, double* totals,
                Interrupted) const;
  Outcome test(const State&, const Batches&, double* totals, Interrupted) const;
  Outcome predict(const State&, const Inputs& x, int64_t n, float* y,
                  Interrupted) const;
  // Writes the whole gradient (P,) and returns the loss.
  double gradient(const State&, const Batches&, int64_t step, float* gradient) const;
  // Outputs for x, and the derivative of each with respect to every variable:
  // (n * outputs, P), zero for padding and frozen variables.
  Outcome jacobian(const State&, const Inputs& x, int64_t n, float* y, float* jacobian,
                   Interrupted) const;

 private:
  class Borrowed;
  struct Rows;
  Rows gather(const Batches&, int64_t step, Workspace&) const;
  const float* floats(const Inputs&, int64_t first, int64_t n, Workspace&) const;
  const float* forward(const Pass&, const float* x, Workspace&, float* output) const;
  double forward_backward(const Pass&, const Rows&, Workspace&) const;
  void weights(const Pass&, const Rows&, Workspace&) const;
  std::string first_infinite(const Workspace&) const;
  Pass pass(const State&, int64_t batch, const Workspace&) const;

  const Kernels& kernels_;
  std::vector<Slot> params_;
  std::vector<std::unique_ptr<Op>> ops_;
  int64_t input_size_, output_size_, params_size_, buffers_size_;
  int64_t widest_;              // of any op's input or output
  int64_t work_ = 0;            // multiply-adds per sample
  size_t first_trainable_ = 0;  // no gradient is wanted below this op
  int64_t local_batch_ = 0;     // up to this size, gradients are made as they are used
  Objective objective_;
  std::unique_ptr<Optimizer> optimizer_;
  mutable std::vector<std::unique_ptr<Workspace>> free_;
};

// The multiple of 16 floats that holds every slot.
int64_t vector_size(const std::vector<Slot>& slots);

}  // namespace kurve
