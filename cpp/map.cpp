// Elementwise formulas as tapes, forward and backward, see kernels/tape.h.
#include <algorithm>
#include <cmath>

#include "compiled_tape.h"
#include "pool.h"

namespace kurve {
namespace {

// y = f(x, variables, constants) element by element.
class Map : public Op {
 public:
  Map(const OpSpec& spec, const std::vector<VariableSpec>& params,
      const std::vector<VariableSpec>& buffers)
      : forward_(spec.tape), backward_(spec.gradient) {
    int64_t n = product_of(spec.out_shape);
    saves = spec.gradient.inputs == spec.tape.inputs;
    operands_.push_back({operand_of(spec.in_shape, spec.out_shape, true), -1, 0,
                         product_of(spec.in_shape)});
    for (const Shape& shape : spec.more_shapes)
      operands_.push_back(
          {operand_of(shape, spec.out_shape, true), -1, 0, product_of(shape)});
    inputs_ = operands_.size();
    for (int slot : spec.operands) {
      const VariableSpec& v = params[size_t(slot)];
      operands_.push_back({operand_of(v.shape, spec.out_shape, false), slot, v.offset,
                           v.size(), v.trainable});
      trainable = trainable || v.trainable;
    }
    variables_ = operands_.size();
    for (int slot : spec.constants) {
      const VariableSpec& v = buffers[size_t(slot)];
      operands_.push_back(
          {operand_of(v.shape, spec.out_shape, false), slot, v.offset, v.size()});
    }
    for (int k : spec.wanted) {
      if (k < 0 || k >= int(variables_))
        throw std::invalid_argument("[native] a tape of the plan is not valid.");
      wanted_.push_back(k);
    }
    bool fits = saves ? spec.gradient.outputs.size() == 2 && inputs_ == 1 &&
                            !trainable && operands_[0].operand.full
                      : spec.gradient.inputs == spec.tape.inputs + 1 &&
                            spec.gradient.outputs.size() == wanted_.size();
    if (spec.tape.inputs != int(operands_.size()) || spec.tape.outputs.size() != 1 ||
        !fits)
      throw std::invalid_argument("[native] a tape of the plan is not valid.");
    work = work_of({n, forward_.work()});
    if (trainable) rows = never_fused;
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    forward_many(ctx, &x, y, saved);
  }

  void forward_many(const ExecContext& ctx, const float* const* x, float* y,
                    float* saved) const override {
    Operand inputs[Tape::max_inputs];
    arrays(ctx, x, ctx.batch * out, inputs);
    float* outputs[] = {y, saved};
    run(ctx, saves && saved ? backward_ : forward_, inputs, outputs, ctx.batch * out);
  }

  Derivative derivative(const float*, const float* saved) const override {
    if (!saves) return {};
    Derivative d;
    d.source = Derivative::saved, d.values = saved;
    return d;
  }

  int64_t scratch(const Kernels&, int64_t batch, bool training) const override {
    return training && !saves ? batch * out * int64_t(wanted_.size() + 1) : 0;
  }

  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    if (saves) {
      if (dx) differentiate(ctx.kernels, before, dz, dx, ctx.batch * in);
      return;
    }
    backward_many(ctx, &x, y, dz, &dx);
    if (dx) differentiate(ctx.kernels, before, dx, dx, ctx.batch * in);
  }

  void backward_many(const ExecContext& ctx, const float* const* x, const float*,
                     const float* dz, float* const* dx) const override {
    int64_t n = ctx.batch * out;
    if (std::all_of(dx, dx + inputs_, [](float* d) { return !d; }) &&
        !(ctx.gradient && trainable))
      return;
    float* parts[Tape::max_outputs];
    gradients(ctx, x, dz, dx, parts);
    float* room = ctx.scratch + n * int64_t(wanted_.size());
    for (size_t i = 0; i < wanted_.size(); i++) {
      const Source& v = operands_[size_t(wanted_[i])];
      Operand o = v.operand;
      if (v.slot < 0) {
        float* to = dx[wanted_[i]];
        if (to && !o.full) reduce(ctx.kernels, parts[i], n, o, room, to);
      } else if (ctx.gradient && v.trainable) {
        o.outer = n;
        float* to = ctx.gradient + v.offset;
        reduce(ctx.kernels, parts[i], n, o, room, to);
        check_overflow(ctx, to, v.size, v.slot);
      }
    }
  }

  void jacobian(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* to, int64_t stride) const override {
    jacobian_many(ctx, &x, y, dz, to, stride);
  }

  void jacobian_many(const ExecContext& ctx, const float* const* x, const float*,
                     const float* dz, float* to, int64_t stride) const override {
    if (!trainable) return;
    float* parts[Tape::max_outputs];
    gradients(ctx, x, dz, nullptr, parts);
    float* room = ctx.scratch + ctx.batch * out * int64_t(wanted_.size());
    for (size_t i = 0; i < wanted_.size(); i++) {
      const Source& v = operands_[size_t(wanted_[i])];
      if (v.slot < 0 || !v.trainable) continue;
      Operand o = v.operand;
      o.outer = out;
      for (int64_t b = 0; b < ctx.batch; b++)
        reduce(ctx.kernels, parts[i] + b * out, out, o, room,
               to + b * stride + v.offset);
    }
  }

 private:
  // Where an input of the tape comes from: an input of the op (slot -1), a variable or
  // a buffer.
  struct Source {
    Operand operand;
    int slot;
    int64_t offset = 0, size = 0;
    bool trainable = false;
  };

  // The operands for n elements, which `CompiledTape` has counted.
  void arrays(const ExecContext& ctx, const float* const* x, int64_t n,
              Operand* inputs) const {
    for (size_t k = 0; k < operands_.size(); k++) {
      const Source& v = operands_[k];
      inputs[k] = v.operand;
      inputs[k].data = v.slot < 0       ? x[k]
                       : k < variables_ ? ctx.params + v.offset
                                        : ctx.buffers + v.offset;
      if (v.slot >= 0) inputs[k].outer = n;
    }
  }

  // The outputs of the gradient tape for the wanted inputs, each as large as the
  // output: in dx for inputs of that size, otherwise in scratch memory.
  void gradients(const ExecContext& ctx, const float* const* x, const float* dz,
                 float* const* dx, float** to) const {
    int64_t n = ctx.batch * out;
    Operand inputs[Tape::max_inputs];
    arrays(ctx, x, n, inputs);
    inputs[operands_.size()].data = dz;
    for (size_t i = 0; i < wanted_.size(); i++) {
      const Source& v = operands_[size_t(wanted_[i])];
      bool here = v.slot < 0 && dx && dx[wanted_[i]] && v.operand.full;
      to[i] = here ? dx[wanted_[i]] : ctx.scratch + int64_t(i) * n;
    }
    run(ctx, backward_, inputs, to, n);
  }

  static void run(const ExecContext& ctx, const CompiledTape& code,
                  const Operand* inputs, float* const* outputs, int64_t n) {
    constexpr int64_t size = 8 * Tape::block;
    Tape tape = code.view();
    parallel((n + size - 1) / size, n * code.work() * 4, [&](int64_t task) {
      int64_t first = task * size;
      ctx.kernels.run_tape(tape, inputs, outputs, first, std::min(size, n - first));
    });
  }

  // Sums n elements to those of an operand; the order depends on sizes only.
  static void reduce(const Kernels& kernels, const float* from, int64_t n,
                     const Operand& o, float* room, float* to) {
    int64_t groups = n / o.inner, outer = o.outer / o.inner;
    if (o.inner > 1) {
      parallel((groups + 63) / 64, n, [&](int64_t task) {
        for (int64_t g = task * 64; g < std::min(groups, (task + 1) * 64); g++) {
          double sum = 0;
          for (int64_t k = 0; k < o.inner; k++) sum += double(from[g * o.inner + k]);
          room[g] = float(sum);
        }
      });
      from = room;
    }
    constexpr int64_t piece = 128;
    int64_t pieces = (o.size + piece - 1) / piece;
    parallel(groups / outer * pieces, groups, [&](int64_t task) {
      int64_t block = task / pieces, first = task % pieces * piece;
      kernels.sum_rows(from + block * outer, outer / o.size, o.size, first,
                       std::min(piece, o.size - first), to + block * o.size + first);
    });
  }

  CompiledTape forward_, backward_;  // backward_ of `saves`: y and dy/dx
  std::vector<Source> operands_;
  // Operands: the inputs of the op, then the variables, then the buffers.
  size_t inputs_ = 1, variables_;
  std::vector<int> wanted_;
};

}  // namespace

std::unique_ptr<Op> make_map(const OpSource& source) {
  return std::make_unique<Map>(source.spec, source.params, source.buffers);
}

}  // namespace kurve
