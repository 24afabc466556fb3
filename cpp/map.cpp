// Elementwise formulas as tapes, forward and backward, see kernels/tape.h.
#include <algorithm>
#include <cmath>

#include "ops.h"
#include "pool.h"

namespace kurve {
namespace {

Micro micro_of(const std::string& name) {
  static const char* const names[] = {
#define CASE(name) #name,
      KURVE_MICRO(CASE)
#undef CASE
  };
  std::string known =
      name == "and" || name == "or" || name == "not" ? "l" + name : name;
  auto found = std::find(std::begin(names), std::end(names), known);
  if (found == std::end(names)) throw Unsupported("elementwise operation", name);
  return Micro(found - std::begin(names));
}

size_t arity_of(Micro kind) {
  switch (kind) {
    case Micro::constant:
      return 0;
    case Micro::where:
      return 3;
    case Micro::add:
    case Micro::sub:
    case Micro::mul:
    case Micro::div:
    case Micro::pow:
    case Micro::mod:
    case Micro::arctan2:
    case Micro::max:
    case Micro::min:
    case Micro::lt:
    case Micro::le:
    case Micro::gt:
    case Micro::ge:
    case Micro::eq:
    case Micro::ne:
    case Micro::land:
    case Micro::lor:
      return 2;
    default:
      return 1;
  }
}

// A tape with a place for every register: those that are in use at the same time lie in
// different blocks of scratch memory.
class CompiledTape {
 public:
  explicit CompiledTape(const TapeSpec& spec)
      : inputs_(spec.inputs), outputs_(int(spec.outputs.size())) {
    check(spec);
    size_t count = spec.code.size(), registers = size_t(spec.inputs) + count;
    std::vector<size_t> last(registers, 0);  // the instruction that reads it last
    for (size_t i = 0; i < count; i++)
      for (int a : std::get<1>(spec.code[i])) last[size_t(a)] = i;
    std::vector<Place> places(registers);
    std::vector<bool> placed(registers, false);
    for (int k = 0; k < spec.inputs; k++) {
      places[size_t(k)] = {Place::input, int16_t(k)};
      placed[size_t(k)] = true;
    }
    for (size_t k = 0; k < spec.outputs.size(); k++) {
      size_t r = size_t(spec.outputs[k]);
      if (placed[r]) continue;  // copied below
      places[r] = {Place::output, int16_t(k)};
      placed[r] = true;
    }
    std::vector<int16_t> free;
    for (int16_t k = Tape::most_scratch; k-- > 0;) free.push_back(k);
    for (size_t i = 0; i < count; i++) {
      const auto& [name, arguments, value] = spec.code[i];
      size_t r = size_t(spec.inputs) + i;
      Instruction step{micro_of(name), float(value), {}, {}, {}, {}};
      Place* to[] = {&step.a, &step.b, &step.c};
      for (size_t k = 0; k < arguments.size(); k++) {
        size_t a = size_t(arguments[k]);
        *to[k] = places[a];
        if (places[a].kind == Place::scratch && last[a] == i &&
            std::find(arguments.begin(), arguments.begin() + long(k), arguments[k]) ==
                arguments.begin() + long(k))
          free.push_back(places[a].index);
      }
      if (!placed[r]) {
        if (free.empty()) throw Unsupported("formula", "of so many terms at once");
        places[r] = {Place::scratch, free.back()};
        free.pop_back();
        if (last[r] <= i) free.push_back(places[r].index);  // nobody reads it
      }
      step.to = places[r];
      code_.push_back(step);
    }
    for (size_t k = 0; k < spec.outputs.size(); k++) {
      Place from = places[size_t(spec.outputs[k])], to{Place::output, int16_t(k)};
      if (from.kind != Place::output || from.index != to.index)
        code_.push_back({Micro::stop_gradient, 0, to, from, {}, {}});
    }
  }

  Tape view() const { return {code_.data(), int(code_.size()), inputs_, outputs_}; }
  int64_t work() const { return int64_t(code_.size()); }

 private:
  static void check(const TapeSpec& spec) {
    bool fits =
        spec.inputs >= 0 && spec.inputs <= Tape::most_inputs && !spec.outputs.empty() &&
        spec.outputs.size() <= size_t(Tape::most_outputs) && spec.code.size() <= 65536;
    int64_t registers = spec.inputs;
    for (const auto& [name, arguments, value] : spec.code) {
      fits = fits && arity_of(micro_of(name)) == arguments.size();
      for (int a : arguments) fits = fits && a >= 0 && a < registers;
      registers++;
    }
    for (int o : spec.outputs) fits = fits && o >= 0 && o < registers;
    if (!fits) throw std::invalid_argument("[native] a tape of the plan is not valid.");
  }

  int inputs_, outputs_;
  std::vector<Instruction> code_;
};

// How an array of this shape is spread over one of that shape, both without the batch
// axis. Throws where it takes more than one run of repeated axes.
Operand operand_of(const Shape& from, const Shape& to, bool batched) {
  Operand x;
  int stage = 0;  // trailing repeated axes, those read, those repeated, the rest
  int64_t repeated = 1;
  if (from.size() > to.size()) throw Unsupported("formula", "of such shapes");
  for (size_t k = 0; k < to.size(); k++) {
    int64_t d = to[to.size() - 1 - k];
    int64_t e = k < from.size() ? from[from.size() - 1 - k] : 1;
    if (e != d && e != 1) throw Unsupported("formula", "of such shapes");
    if (d == 1) continue;
    bool read = e == d;
    if (stage == 0 && read) stage = 1;
    if (stage == 1 && !read) stage = 2;
    if (stage == 2 && read) stage = 3;
    if (stage == 3 && (!read || !batched))
      throw Unsupported("formula", "of such shapes");
    (stage == 0 ? x.inner : stage == 1 ? x.size : repeated) *= stage < 3 ? d : 1;
  }
  x.outer = x.inner * x.size * repeated;
  x.full = batched && x.inner == 1 && repeated == 1;
  return x;
}

// y = f(x, variables, constants) element by element.
class Map : public Op {
 public:
  Map(const OpSpec& spec, const std::vector<VariableSpec>& params,
      const std::vector<VariableSpec>& buffers)
      : forward_(spec.tape), backward_(spec.gradient) {
    int64_t n = product_of(spec.out_shape);
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
    if (spec.tape.inputs != int(operands_.size()) || spec.tape.outputs.size() != 1 ||
        spec.gradient.inputs != spec.tape.inputs + 1 ||
        spec.gradient.outputs.size() != wanted_.size())
      throw std::invalid_argument("[native] a tape of the plan is not valid.");
    work = work_of({n, forward_.work()});
    if (trainable) rows = never_fused;
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    forward_many(ctx, &x, y, saved);
  }

  void forward_many(const ExecContext& ctx, const float* const* x, float* y,
                    float*) const override {
    std::vector<Operand> inputs = arrays(ctx, x, ctx.batch * out);
    float* outputs[] = {y};
    run(ctx, forward_, inputs, outputs, ctx.batch * out);
  }

  int64_t scratch(const Kernels&, int64_t batch, bool training) const override {
    return training ? batch * out * int64_t(wanted_.size() + 1) : 0;
  }

  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    backward_many(ctx, &x, y, dz, &dx);
    if (dx) differentiate(ctx.kernels, before, dx, dx, ctx.batch * in);
  }

  void backward_many(const ExecContext& ctx, const float* const* x, const float*,
                     const float* dz, float* const* dx) const override {
    int64_t n = ctx.batch * out;
    if (std::all_of(dx, dx + inputs_, [](float* d) { return !d; }) &&
        !(ctx.gradient && trainable))
      return;
    std::vector<float*> parts = gradients(ctx, x, dz, dx);
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
        if (!std::all_of(to, to + v.size,
                         [](float g) { return std::abs(g) <= safe_sum; }))
          ctx.overflowing[v.slot].store(true, std::memory_order_relaxed);
      }
    }
  }

  void jacobian(const ExecContext& ctx, const float* x, const float*, const float* dz,
                float* to, int64_t stride) const override {
    if (!trainable) return;
    const float* xs[] = {x};
    std::vector<float*> parts = gradients(ctx, xs, dz, nullptr);
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

  std::vector<Operand> arrays(const ExecContext& ctx, const float* const* x,
                              int64_t n) const {
    std::vector<Operand> inputs;
    for (size_t k = 0; k < operands_.size(); k++) {
      const Source& v = operands_[k];
      inputs.push_back(v.operand);
      inputs.back().data = v.slot < 0       ? x[k]
                           : k < variables_ ? ctx.params + v.offset
                                            : ctx.buffers + v.offset;
      if (v.slot >= 0) inputs.back().outer = n;
    }
    return inputs;
  }

  // What the gradient tape gives for each wanted input, as large as the output: in dx
  // where it is the gradient of an input of that size, else in scratch memory.
  std::vector<float*> gradients(const ExecContext& ctx, const float* const* x,
                                const float* dz, float* const* dx) const {
    int64_t n = ctx.batch * out;
    std::vector<Operand> inputs = arrays(ctx, x, n);
    Operand dy;
    dy.data = dz;
    inputs.push_back(dy);
    std::vector<float*> to;
    for (size_t i = 0; i < wanted_.size(); i++) {
      const Source& v = operands_[size_t(wanted_[i])];
      bool here = v.slot < 0 && dx && dx[wanted_[i]] && v.operand.full;
      to.push_back(here ? dx[wanted_[i]] : ctx.scratch + int64_t(i) * n);
    }
    run(ctx, backward_, inputs, to.data(), n);
    return to;
  }

  static void run(const ExecContext& ctx, const CompiledTape& code,
                  const std::vector<Operand>& inputs, float* const* outputs,
                  int64_t n) {
    constexpr int64_t size = 8 * Tape::block;
    Tape tape = code.view();
    parallel((n + size - 1) / size, n * code.work() * 4, [&](int64_t task) {
      int64_t first = task * size;
      ctx.kernels.run_tape(tape, inputs.data(), outputs, first,
                           std::min(size, n - first));
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

  CompiledTape forward_, backward_;
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
