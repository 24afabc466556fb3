// A plan lowered to C++: the ops, the objective, the optimizer, and the workspaces of
// calls. Several threads may call one program at once.
#pragma once

#include <new>

#include "optimizer.h"

namespace kurve {

// An output of a plan, and its role in training.
struct Head {
  int value = -1;  // its value; -1: the output of the last op
  Shape shape;
  const Spec* loss = nullptr;
  std::vector<MetricSpec> metrics{};
  double weight = 1;  // of its loss in the total
  int rows = -1;      // for the loss "rows": the value with the loss of each row
  std::string reduction = "mean";  // of the rows, see Objective::scale
  std::string name{};              // of the output, for messages
};

struct Description {
  std::vector<Shape> inputs;
  std::vector<OpSpec> ops;
  std::vector<VariableSpec> params, buffers;
  std::vector<Head> heads;
  const Spec* optimizer = nullptr;
  std::vector<Shape> targets{};  // of each head if ops read them, else empty
  // For an optimizer that does more than its kind implies: see Optimizer.
  std::vector<UpdateSpec> updates{};
  int slots = 0;
  int64_t every = 1;
  // Whether rows do not influence each other, so that a batch can be computed in parts.
  bool separable = false;
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

// The targets and weights of a head; y is null if nothing reads it.
struct Targets {
  const float *y, *weights;  // weights may be null
};

struct Batches {
  std::vector<Inputs> x;         // of each input
  std::vector<Targets> targets;  // of each head
  int64_t n;                     // rows of data
  const int64_t* order;          // (order_size,) or null
  int64_t order_size;
  const int64_t* bounds;  // (steps + 1,)
  int64_t steps;
  const float* learning_rates;  // (steps,), read by train only
};

// Thrown if a batch does not fit into memory; carries the message for the user.
struct OutOfMemory : std::bad_alloc {
  OutOfMemory(int64_t batch, double bytes);
  const char* what() const noexcept override { return text_; }

 private:
  char text_[192];
};

struct Workspace;
struct Graph;
struct Node;

class Program {
 public:
  explicit Program(const Description&);
  ~Program();

  // Floats per sample of an input, and of a head's output and target.
  size_t inputs() const { return input_sizes_.size(); }
  size_t heads() const { return objectives_.size(); }
  int64_t input_size(size_t k = 0) const { return input_sizes_[k]; }
  int64_t output_size(size_t h = 0) const { return output_sizes_[h]; }
  int64_t target_size(size_t h = 0) const { return target_sizes_[h]; }
  const std::vector<VariableSpec>& params() const { return params_; }
  int64_t params_size() const { return params_size_; }
  int64_t buffers_size() const { return buffers_size_; }
  // The totals are: the sum of the losses and the number of rows; each head's loss if
  // there are several heads; the accumulators of every head's metrics.
  int64_t totals_size() const { return totals_size_; }
  bool has_loss() const;
  // Whether a head's target is read: by its loss, its metrics or an op.
  bool uses_target(size_t h) const;
  // Whether outputs can be computed alone: not if ops compute a loss or read targets.
  bool predicts() const { return predicts_; }
  const Optimizer* optimizer() const { return optimizer_.get(); }
  // The cost of a step or an epoch of `rows` rows, in multiply-adds.
  int64_t work_of(int64_t rows) const;

  // All of these return early when the caller's StopToken stops.

  // Advances state.step and the totals with each finished step; an update that has
  // started is completed. Returns what was not finite, or "". With a share, does its
  // part of each step.
  std::string train(State&, const Batches&, int64_t first, int64_t last, double* totals,
                    Share* share = nullptr) const;
  // One update by these gradients of the trainable variables, in the order of params,
  // instead of those of a batch. Advances state.step; returns what was not finite, or
  // "".
  std::string update_by(State&, const float* const* gradients,
                        float learning_rate) const;
  void test(const State&, const Batches&, double* totals) const;
  // One x per input, one output per head.
  void predict(const State&, const Inputs* x, int64_t n, float* const* y) const;
  // Writes the whole gradient (P,) and returns the loss.
  double gradient(const State&, const Batches&, int64_t step, float* gradient) const;
  // For a plan with one head: the outputs for x, and the derivative of each with
  // respect to every variable, (n * outputs, P), zero for padding and frozen variables.
  void jacobian(const State&, const Inputs* x, int64_t n, float* y,
                float* jacobian) const;

 private:
  class WorkspaceLease;
  void check_rows(int64_t rows) const;
  enum class UpdateMode : int;
  int64_t gather(const Batches&, int64_t step, Workspace&) const;
  void gather_rows(const Batches&, int64_t first, int64_t batch, Workspace&) const;
  void use_inputs(const Inputs*, int64_t first, int64_t n, Workspace&) const;
  void forward(const ExecContext&, Workspace&, float* const* outputs) const;
  float* gradient_at(const ExecContext&, const Workspace&, size_t node) const;
  void backward(const ExecContext&, Workspace&, float* jacobian, int64_t stride) const;
  void add_shared(const ExecContext&, const Node&, const float* from) const;
  void add_jacobian(const ExecContext&, const Node&, const float* const* x,
                    const float* y, const float* dz, float* to, int64_t stride) const;
  double losses(const ExecContext&, Workspace&, bool training) const;
  void add_totals(const ExecContext&, const Workspace&, double loss,
                  double* totals) const;
  void add_losses(int64_t batch, const Workspace&, double loss, double* totals) const;
  void add_metrics(const ExecContext&, const Workspace&, double* totals) const;
  double weights_sum(const Targets&, const Batches&, int64_t first,
                     int64_t batch) const;
  double shared_forward_backward(const ExecContext&, Workspace&, double* totals) const;
  double forward_backward(const ExecContext&, Workspace&) const;
  int64_t parts_of(int64_t batch) const;
  int64_t rows_to_reserve(const Batches&, int64_t first, int64_t last) const;
  double in_parts(const Batches&, int64_t first, const ExecContext&, Workspace&,
                  double* totals) const;
  void run_weight_tasks(const ExecContext&, Workspace&) const;
  bool any_suspicious(const Workspace&) const;
  const VariableSpec* first_nonfinite(const float* vector) const;
  std::string nonfinite_loss(const Workspace&) const;
  std::string update(State&, const ExecContext&, UpdateMode, float learning_rate,
                     Workspace&) const;
  void commit_buffers(State&, const ExecContext&, const Workspace&) const;
  ExecContext context(const State&, int64_t batch, const Workspace&) const;

  const Kernels& kernels_;
  std::vector<VariableSpec> params_, buffers_;
  std::unique_ptr<const Graph> graph_;
  std::vector<int64_t> input_sizes_, output_sizes_, target_sizes_;
  int64_t params_size_, buffers_size_, totals_size_ = 2;
  bool predicts_;
  int64_t widest_ = 0;       // of any op's input or output
  int64_t work_ = 0;         // multiply-adds per sample
  int64_t fused_batch_ = 0;  // largest batch whose products update the variables
  int64_t fixed_rows_ = 0;   // rows of each batch if states carry over; 0: any number
  int64_t part_rows_ = 0;    // of a batch that is computed in parts; 0: none is
  std::vector<Objective> objectives_;  // of each head
  std::vector<float> loss_weights_;
  std::vector<std::string> head_names_;
  std::unique_ptr<Optimizer> optimizer_;
  mutable std::vector<std::unique_ptr<Workspace>> free_;
  mutable size_t workspaces_ = 0;  // created so far; free_ has capacity for all
};

// Throws if a number of the plan is out of range; ops check their attributes.
void check(const Description&);

// The multiple of 16 floats that holds all variables.
int64_t vector_size(const std::vector<VariableSpec>& variables);

}  // namespace kurve
