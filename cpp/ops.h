// Operations on a batch, each lowered from one Op of kurve.plan.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "kernels/table.h"
#include "share.h"
#include "stop_token.h"

namespace kurve {

using Shape = std::vector<int64_t>;

constexpr size_t max_axes = 16;  // of a shape
using Attrs = std::map<std::string, std::variant<double, std::string, Shape>>;

int64_t product_of(const Shape& shape);
double number(const Attrs& attrs, const char* name);
const std::string& text(const Attrs& attrs, const char* name);
// An integer in [min, max]; by default up to what could still be allocated as
// floats.
constexpr double max_integer = 1e9;
int64_t integer(const Attrs& attrs, const char* name, int64_t min,
                double max = max_integer);
// `count` integers in [-2^31, 2^31).
const Shape& integers(const Attrs& attrs, const char* name, size_t count);

// Thrown if the plan asks for something that this engine does not have.
struct Unsupported : std::runtime_error {
  Unsupported(const std::string& what, const std::string& kind);
};

// The kind of this name, if there is one.
template <class Kind>
std::optional<Kind> kind_named(const std::string& name) {
  const auto& names = KindNames<Kind>::all;
  auto found = std::find(std::begin(names), std::end(names), name);
  if (found == std::end(names)) return std::nullopt;
  return Kind(found - std::begin(names));
}

struct FormulaSpec;

// A variable's place in a flat vector.
struct VariableSpec {
  std::string name;
  Shape shape;
  int64_t offset = 0;
  bool trainable = true;
  double l1 = 0, l2 = 0;
  std::shared_ptr<const FormulaSpec> penalty{};  // w -> gradient, penalty
  int64_t size() const { return product_of(shape); }
};

// kurve.ops.tape.Tape: instructions are a name, registers, and a constant's value.
struct TapeSpec {
  int inputs = 0;
  std::vector<std::tuple<std::string, std::vector<int>, double>> code;
  std::vector<int> outputs;
};

struct BodySpec;

// One op of a plan; params and buffers name slots by role.
struct OpSpec {
  std::string kind, layer;
  Shape in_shape, out_shape;                   // in_shape is that of the first input
  std::map<std::string, int> params, buffers;  // role -> index of the slot
  Attrs attrs;

  // The numbers of the values that it reads, and the shapes of all but the first. A
  // plan's inputs come first, then the output of each op. Empty: the previous output.
  std::vector<int> inputs{};
  std::vector<Shape> more_shapes{};

  // Of a map: its formula, the variables and then the buffers that are inputs after x,
  // and the gradient tape, whose outputs belong to the inputs `wanted`. Without an
  // input for dy, it is that of y and dy/dx, which forward then keeps for backward.
  TapeSpec tape{}, gradient{};
  std::vector<int> operands{}, constants{}, wanted{};

  std::shared_ptr<const BodySpec> body{};  // of a scan
};

// kurve.plan.Body: one iteration of a loop.
struct BodySpec {
  std::vector<Shape> inputs;
  std::vector<OpSpec> ops;
  std::vector<int> outputs;
};

// The variables and the state that an update changes; slots (K, size).
struct UpdateTarget {
  UpdateParams settings;
  float *params, *slots;
  int64_t size;
  int count;  // K

  void locate(int64_t offset, float** to) const {
    for (int k = 0; k < count; k++) to[k] = slots + k * size + offset;
  }
};

// Multiply-adds per sample: a product of sizes that no plan can make overflow.
inline int64_t work_of(std::initializer_list<int64_t> sizes) {
  double work = 1;
  for (int64_t size : sizes) work *= double(size);
  return int64_t(std::min(work, 1e12));
}

// The index of the variable in this role.
int variable_index(const std::map<std::string, int>& roles, const char* role);
// The last axis of one of its shapes; throws if it has none.
int64_t last_axis(const OpSpec&, const Shape& shape);
// Throws unless the output has the shape of the input.
void check_same_shape(const OpSpec&);
// Throws an error that the shapes of the op do not fit `what`.
[[noreturn]] void refuse_shapes(const OpSpec&, const char* what);

// The activation at the end of an op.
struct OutputActivation {
  explicit OutputActivation(const Attrs&);
  Derivative derivative(const float* y, const float* saved) const;

  Activation kind;
  float alpha;
  bool saves;  // forward saves the derivative: it does not follow from y
};

// What an op sees of the current call.
struct ExecContext {
  const Kernels& kernels;
  const float* params;
  const float* buffers;
  float* gradient = nullptr;  // null if not needed
  // per variable: its gradient exceeds safe_sum
  std::atomic<bool>* overflowing = nullptr;
  int64_t batch = 0;
  bool training = false;
  bool saves = false;  // forward saves outputs and derivatives for backward
  uint64_t seed = 0, step = 0;
  // In prediction, the index of the batch's first row in x; for a share, in the batch.
  int64_t first = 0;
  const Share* share = nullptr;  // of a step divided among processes
  // Outside training: the buffers, where forward writes states for the next batch.
  float* states = nullptr;

  // If set, backward leaves the gradients of variables to weight_task, and sets
  // `may_overflow` if its numbers are so large that such a gradient might overflow.
  std::atomic<bool>* may_overflow = nullptr;
  // weight_task updates the variables at once, unchecked
  const UpdateTarget* update = nullptr;

  float* scratch = nullptr;  // see Op::scratch

  // The number of rows of the step over all shares.
  int64_t all_rows() const { return share ? share->batch : batch; }
  // Sums over all shares.
  void add(double* sums, int64_t n) const {
    if (share) share->add(sums, n);
  }
};

class Op {
 public:
  virtual ~Op() = default;

  // saved (batch, out) is null in inference and if `saves` is false.
  virtual void forward(const ExecContext&, const float* x, float* y,
                       float* saved) const = 0;

  // The factor that turns dL/dy into dL/dz, which `backward` takes; the next op applies
  // it while it has dL/dy in registers.
  virtual Derivative derivative(const float* y, const float* saved) const;

  // Overwrites, never adds: dx times `before`, and the gradients of the op's variables
  // unless ctx.may_overflow. dx is null only for the first trainable op.
  virtual void backward(const ExecContext&, const float* x, const float* y,
                        const float* dz, float* dx, const Derivative& before) const = 0;

  // The same for ops of several inputs. backward overwrites dx[k] unless it is null; no
  // derivative is applied.
  virtual void forward_many(const ExecContext& ctx, const float* const* x, float* y,
                            float* saved) const {
    forward(ctx, x[0], y, saved);
  }
  virtual void backward_many(const ExecContext& ctx, const float* const* x,
                             const float* y, const float* dz, float* const* dx) const {
    backward(ctx, x[0], y, dz, dx[0], {});
  }

  // The gradients of the op's variables, checked, or their update, in independent
  // tasks.
  virtual int64_t weight_tasks(const ExecContext&) const { return 0; }
  virtual void weight_task(const ExecContext&, const float*, const float*,
                           int64_t) const {}

  // The gradient of each sample, not summed over the batch, with respect to the op's
  // trainable variables: sample b writes its part of the vector (P,) at to + b *
  // stride.
  virtual void jacobian(const ExecContext&, const float* x, const float* y,
                        const float* dz, float* to, int64_t stride) const;
  // The same for an op that reads several values.
  virtual void jacobian_many(const ExecContext& ctx, const float* const* x,
                             const float* y, const float* dz, float* to,
                             int64_t stride) const {
    jacobian(ctx, x[0], y, dz, to, stride);
  }

  // Floats of ctx.scratch that one call of this op needs.
  virtual int64_t scratch(const Kernels&, int64_t, bool) const { return 0; }

  // commit_buffers writes new values, which forward stored after y, once the step is
  // applied. nonfinite_buffer is called before that: the buffer whose new value would
  // not be finite, or -1.
  virtual int nonfinite_buffer(const ExecContext&, const float*) const { return -1; }
  virtual void commit_buffers(const ExecContext&, const float*, float*) const {}

  int64_t in = 0, out = 0;  // floats per sample
  int64_t rows = 1;         // rows per sample of the products with its variables
  int64_t work = 0;         // multiply-adds per sample
  int64_t fixed_rows = 0;   // per batch; 0: any number
  int64_t min_part = 128;   // samples that its products need to be fast
  // Floats after y, per sample and per batch, that forward fills for backward if
  // ctx.saves.
  int64_t aux_per_sample = 0, aux_per_batch = 0;
  bool saves = false;                  // forward saves values for backward
  bool identity_at_inference = false;  // outside training the output is the input
  bool trainable = false;              // owns a trainable variable
};

// Elements of a task: whole vectors and whole Philox blocks. A transcendental element
// costs about as much as 16 multiply-adds; so does one that is only copied.
constexpr int64_t task_size = 4096, element_cost = 16;

// Flags a variable whose gradient exceeds safe_sum.
inline void flag_overflow(const ExecContext& ctx, int variable) {
  ctx.overflowing[variable].store(true, std::memory_order_relaxed);
}
// Whether no element of g (n,) exceeds safe_sum.
inline bool in_safe_range(const float* g, int64_t n) {
  int exceeds = 0;  // without a way out of the loop, so that it is vectorised
  for (int64_t i = 0; i < n; i++) exceeds |= !(std::abs(g[i]) <= safe_sum);
  return !exceeds;
}
// Flags a variable where some element of its gradient g (n,) exceeds safe_sum.
inline void check_overflow(const ExecContext& ctx, const float* g, int64_t n,
                           int variable) {
  if (!in_safe_range(g, n)) flag_overflow(ctx, variable);
}

// dx = dy times the derivative, n floats in tasks of whole vectors.
void differentiate(const Kernels&, const Derivative&, const float* dy, float* dx,
                   int64_t n);

// to += from, (n,).
void add_to(const Kernels&, const float* from, float* to, int64_t n);

// to (n,) = the sum over the batch of x (batch, n), in an order that depends on its
// size.
void sum_batch(const ExecContext&, const float* x, int64_t n, float* to);

// Runs body(first, count) over n floats within one task, in chunks, until the call is
// asked to stop.
template <class Body>
void in_chunks(int64_t n, Body&& body) {
  constexpr int64_t size = 1 << 18;
  for (int64_t first = 0; first < n; first += size) {
    int64_t count = std::min(size, n - first);
    if (stop_requested(count * 4)) return;
    body(first, count);
  }
}
inline void copy(const float* from, int64_t n, float* to) {
  in_chunks(n, [&](int64_t first, int64_t count) {
    std::copy_n(from + first, count, to + first);
  });
}
template <class T>
void clear(T* to, int64_t n) {
  in_chunks(
      n, [&](int64_t first, int64_t count) { std::fill_n(to + first, count, T(0)); });
}
// dx (n,) times the derivative's elements from `at` on.
inline void differentiate_in_chunks(const Kernels& kernels, const Derivative& before,
                                    int64_t at, float* dx, int64_t n) {
  in_chunks(n, [&](int64_t first, int64_t count) {
    kernels.differentiate(before, at + first, dx + first, dx + first, count);
  });
}

// The floats of ctx.scratch that hold n float64 sums; and those sums, rounded.
inline int64_t floats_for_doubles(int64_t n) { return 2 * ((n + 7) / 8 * 8); }
inline void round_sums(const double* sums, int64_t n, float* to) {
  in_chunks(n, [&](int64_t first, int64_t count) {
    for (int64_t i = first; i < first + count; i++) to[i] = float(sums[i]);
  });
}

// For a longer K, one float32 product is not accurate enough: c is then the sum over
// parts of K, added in float64. A is stored by columns, B by rows.
constexpr int64_t longest_product = 16384;
void product_in_parts(const ExecContext&, const Product&, float* scratch);
inline int64_t scratch_for_parts(int64_t n) { return floats_for_doubles(n) + n; }

// What an op is made from.
struct OpSource {
  const OpSpec& spec;
  const std::vector<VariableSpec>&params, &buffers;
  const OpSpec* pool = nullptr;  // max-pooling fused into a convolution
};

std::unique_ptr<Op> make_op(const OpSource&);

#define KURVE_FACTORY(kind) std::unique_ptr<Op> make_##kind(const OpSource&);
KURVE_OPS(KURVE_FACTORY)
#undef KURVE_FACTORY

// Whether an op is a convolution that also does the max-pooling that follows it.
bool fuses_pool(const OpSpec&, const OpSpec& next);

// Rows of ops whose weight gradients are never fused with the update.
constexpr int64_t never_fused = 1 << 20;

}  // namespace kurve
