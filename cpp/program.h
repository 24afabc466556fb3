// A plan lowered to C++: the ops, the objective, the optimizer, and the workspaces of
// calls. Calls on one program from several threads are safe.
#pragma once

#include <new>

#include "optimizer.h"

namespace kurve {

struct Description {
  Shape input_shape, output_shape;
  std::vector<OpSpec> ops;
  std::vector<VariableSpec> params, buffers;
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

// Samples, as floats or as bytes; the other pointer is null.
struct Inputs {
  Inputs(const float* floats = nullptr) : floats(floats) {}
  Inputs(const uint8_t* bytes) : bytes(bytes) {}
  const float* floats = nullptr;
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

// Thrown where a batch does not fit in memory; carries the message for the user.
struct OutOfMemory : std::bad_alloc {
  OutOfMemory(int64_t batch, double bytes);
  const char* what() const noexcept override { return text_; }

 private:
  char text_[192];
};

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
  // Multiply-adds that stand for the cost of a step, or of an epoch, of so many rows.
  int64_t work_of(int64_t rows) const;

  // All of these stop early when the caller's StopToken does.

  // Advances state.step and totals with each finished step; an update that has started
  // is completed. Returns what was not finite, or "".
  std::string train(State&, const Batches&, int64_t first, int64_t last,
                    double* totals) const;
  void test(const State&, const Batches&, double* totals) const;
  void predict(const State&, const Inputs& x, int64_t n, float* y) const;
  // Writes the whole gradient (P,) and returns the loss.
  double gradient(const State&, const Batches&, int64_t step, float* gradient) const;
  // Outputs for x, and the derivative of each with respect to every variable: (n *
  // outputs, P), zero for padding and frozen variables.
  void jacobian(const State&, const Inputs& x, int64_t n, float* y,
                float* jacobian) const;

 private:
  class WorkspaceLease;
  struct Rows;
  enum class UpdateMode : int;
  Rows gather(const Batches&, int64_t step, Workspace&) const;
  const float* floats(const Inputs&, int64_t first, int64_t n, Workspace&) const;
  const float* forward(const ExecContext&, const float* x, Workspace&,
                       float* output) const;
  double forward_backward(const ExecContext&, const Rows&, Workspace&) const;
  void run_weight_tasks(const ExecContext&, const Rows&, Workspace&) const;
  bool any_suspicious(const Workspace&) const;
  const VariableSpec* first_nonfinite(const float* vector) const;
  std::string update(State&, const ExecContext&, const Rows&, UpdateMode,
                     float learning_rate, Workspace&) const;
  void commit_buffers(State&, const ExecContext&, const Workspace&) const;
  ExecContext context(const State&, int64_t batch, const Workspace&) const;

  const Kernels& kernels_;
  std::vector<VariableSpec> params_, buffers_;
  std::vector<std::unique_ptr<Op>> ops_;
  int64_t input_size_, output_size_, params_size_, buffers_size_;
  int64_t widest_;              // of any op's input or output
  int64_t work_ = 0;            // multiply-adds per sample
  size_t first_trainable_ = 0;  // ops before this one need no gradient
  int64_t fused_batch_ = 0;     // largest batch whose products update the variables
  Objective objective_;
  std::unique_ptr<Optimizer> optimizer_;
  mutable std::vector<std::unique_ptr<Workspace>> free_;
  mutable size_t workspaces_ = 0;  // created so far; free_ has room for all
};

// Throws where a number of the plan is out of range; ops check their attributes.
void check(const Description&);

// The multiple of 16 floats that holds all variables.
int64_t vector_size(const std::vector<VariableSpec>& variables);

}  // namespace kurve
