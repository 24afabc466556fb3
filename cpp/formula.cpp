#include "formula.h"

#include <cmath>

#include "pool.h"

namespace kurve {
namespace {

[[noreturn]] void refuse() {
  throw std::invalid_argument("[native] a formula of the plan is not valid.");
}

// An operation on numbers.
double compute(Micro kind, double u, double v, double w) {
  switch (kind) {
    case Micro::add:
      return u + v;
    case Micro::sub:
      return u - v;
    case Micro::mul:
      return u * v;
    case Micro::div:
      return u / v;
    case Micro::neg:
      return -u;
    case Micro::reciprocal:
      return 1 / u;
    case Micro::square:
      return u * u;
    case Micro::sqrt:
      return std::sqrt(u);
    case Micro::rsqrt:
      return 1 / std::sqrt(u);
    case Micro::pow:
      return std::pow(u, v);
    case Micro::mod:
      return u - v * std::floor(u / v);
    case Micro::exp:
      return std::exp(u);
    case Micro::log:
      return std::log(u);
    case Micro::abs:
      return std::abs(u);
    case Micro::sign:
      return u > 0 ? 1 : u < 0 ? -1 : u;
    case Micro::floor:
      return std::floor(u);
    case Micro::ceil:
      return std::ceil(u);
    case Micro::max:
      return u > v ? u : (u == u ? v : u);
    case Micro::min:
      return u < v ? u : (u == u ? v : u);
    case Micro::where:
      return u != 0 ? v : w;
    case Micro::lt:
      return u < v;
    case Micro::le:
      return u <= v;
    case Micro::gt:
      return u > v;
    case Micro::ge:
      return u >= v;
    case Micro::eq:
      return u == v;
    case Micro::ne:
      return u != v;
    case Micro::land:
      return u != 0 && v != 0;
    case Micro::lor:
      return u != 0 || v != 0;
    case Micro::lnot:
      return u == 0;
    default:
      throw Unsupported("operation on a number", "of a formula");
  }
}

// Adds the elements of x to `sums` over the named axes, in memory order.
void add_sums(const float* x, const Shape& shape, const std::vector<int>& axes,
              double* sums) {
  int64_t n = product_of(shape);
  int64_t at[max_axes] = {}, stride[max_axes] = {}, kept = 1, group = 0;
  for (size_t k = shape.size(); k-- > 0;)
    if (std::find(axes.begin(), axes.end(), int(k)) == axes.end())
      stride[k] = kept, kept *= shape[k];
  for (int64_t i = 0; i < n; i++) {
    sums[group] += double(x[i]);
    for (size_t k = shape.size(); k-- > 0;) {
      group += stride[k];
      if (++at[k] < shape[k]) break;
      group -= stride[k] * shape[k];
      at[k] = 0;
    }
  }
}

// to (M, N) = a b, either transposed.
void multiply(const Kernels& kernels, const float* a, const Shape& a_shape,
              bool a_transposed, const float* b, const Shape& b_shape,
              bool b_transposed, float* to) {
  Product p{};
  p.a = a, p.b = b, p.c = to;
  p.a_row = a_transposed ? 1 : a_shape[1];
  p.a_step = a_transposed ? a_shape[1] : 1;
  p.b_row = b_shape[1], p.b_transposed = b_transposed;
  p.M = a_transposed ? a_shape[1] : a_shape[0];
  p.K = a_transposed ? a_shape[0] : a_shape[1];
  p.N = b_transposed ? b_shape[0] : b_shape[1];
  p.after = Product::activate;
  parallel(kernels.product_tasks(p), p.M * p.N * p.K,
           [&](int64_t task) { kernels.product(p, task); });
}

}  // namespace

Formula::Formula(const FormulaSpec& spec) : spec_(spec), shapes_(spec.inputs) {
  auto add = [&](const Shape& shape, bool needs_memory) {
    shapes_.push_back(shape);
    offsets_.push_back(needs_memory ? scratch_ : -1);
    if (needs_memory) scratch_ += (product_of(shape) + 15) / 16 * 16;
  };
  for (const Shape& s : spec.inputs)
    if (product_of(s) < 1) refuse();
  offsets_.assign(spec.inputs.size(), -1);
  for (const FormulaSpec::Step& step : spec.steps) {
    std::vector<Shape> given;
    for (int a : step.arguments) {
      if (a < 0 || size_t(a) >= shapes_.size()) refuse();
      given.push_back(shapes_[size_t(a)]);
    }
    int64_t n = product_of(step.shape);
    if (n < 1 || n > int64_t(1) << 40) refuse();
    switch (step.kind) {
      case FormulaSpec::Step::number: {
        bool constant = step.name == "constant";
        size_t arity = constant ? 0 : arity_of(micro_of(step.name));
        if (arity != given.size() || !step.shape.empty()) refuse();
        for (const Shape& s : given)
          if (!s.empty()) refuse();
        if (!constant) compute(micro_of(step.name), 1, 1, 1);
        add({}, false);
        break;
      }
      case FormulaSpec::Step::tape: {
        if (step.code.inputs != int(given.size()) || step.shape.empty()) refuse();
        tapes_.emplace_back(step.code);
        std::vector<Operand>& operands = operands_.emplace_back();
        for (const Shape& s : given)
          operands.push_back(operand_of(s, step.shape, true));
        for (size_t k = 0; k < step.code.outputs.size(); k++) add(step.shape, true);
        work_ += n * tapes_.back().work();
        break;
      }
      case FormulaSpec::Step::sum: {
        if (given.size() != 1 || given[0].empty() || given[0].size() > max_axes)
          refuse();
        int64_t kept = product_of(given[0]);
        for (int axis : step.options) {
          if (axis < 0 || size_t(axis) >= given[0].size()) refuse();
          kept /= given[0][size_t(axis)];
        }
        if (kept != n) refuse();
        // Sums are float64 before they are rounded.
        add(step.shape, !step.shape.empty());
        scratch_ += floats_for_doubles(n) + 16;
        work_ += product_of(given[0]);
        break;
      }
      case FormulaSpec::Step::matmul: {
        if (given.size() != 2 || step.options.size() != 2) refuse();
        for (size_t k = 0; k < 2; k++) {
          if (given[k].size() != 2) refuse();
          if (step.options[k]) std::swap(given[k][0], given[k][1]);
        }
        if (given[0][1] != given[1][0] || step.shape != Shape{given[0][0], given[1][1]})
          refuse();
        add(step.shape, true);
        work_ += n * given[0][1];
        break;
      }
      case FormulaSpec::Step::reshape:
        if (given.size() != 1 || product_of(given[0]) != n || step.shape.empty() ||
            given[0].empty())
          refuse();
        add(step.shape, false);
    }
    if (shapes_.size() > max_registers) refuse();
  }
  for (int o : spec.outputs)
    if (o < 0 || size_t(o) >= shapes_.size() || shapes_[size_t(o)].empty()) refuse();
}

void Formula::run(const Kernels& kernels, const Value* inputs, float* scratch,
                  float* const* outputs) const {
  Value values[max_registers];
  std::copy_n(inputs, spec_.inputs.size(), values);
  size_t next = spec_.inputs.size(), tape = 0;
  for (const FormulaSpec::Step& step : spec_.steps) {
    auto given = [&](size_t k) -> const Value& {
      return values[size_t(step.arguments[k])];
    };
    float* to = offsets_[next] < 0 ? nullptr : scratch + offsets_[next];
    switch (step.kind) {
      case FormulaSpec::Step::number: {
        double u[3] = {};
        for (size_t k = 0; k < step.arguments.size(); k++) u[k] = given(k).number;
        bool constant = step.name == "constant";
        values[next++].number =
            constant ? step.value : compute(micro_of(step.name), u[0], u[1], u[2]);
        break;
      }
      case FormulaSpec::Step::tape: {
        const CompiledTape& code = tapes_[tape];
        Operand operands[Tape::max_inputs];
        float numbers[Tape::max_inputs];
        for (size_t k = 0; k < step.arguments.size(); k++) {
          operands[k] = operands_[tape][k];
          numbers[k] = float(given(k).number);
          operands[k].data = given(k).array ? given(k).array : &numbers[k];
        }
        float* results[Tape::max_outputs];
        size_t count = step.code.outputs.size();
        for (size_t k = 0; k < count; k++) {
          results[k] = scratch + offsets_[next];
          values[next++].array = results[k];
        }
        int64_t n = product_of(step.shape);
        constexpr int64_t size = 8 * Tape::block;
        Tape view = code.view();
        parallel((n + size - 1) / size, n * code.work() * 4, [&](int64_t task) {
          int64_t first = task * size;
          kernels.run_tape(view, operands, results, first, std::min(size, n - first));
        });
        tape++;
        break;
      }
      case FormulaSpec::Step::sum: {
        const Shape& from = shape(step.arguments[0]);
        int64_t n = product_of(step.shape);
        double single = 0, *sums = &single;
        if (to) {
          // After the results, at a multiple of 8 bytes.
          sums = reinterpret_cast<double*>(to + (n + 15) / 16 * 16);
          std::fill_n(sums, n, 0.0);
        }
        add_sums(given(0).array, from, step.options, sums);
        if (to) round_sums(sums, n, to);
        values[next].number = single;
        values[next++].array = to;
        break;
      }
      case FormulaSpec::Step::matmul:
        multiply(kernels, given(0).array, shape(step.arguments[0]), step.options[0],
                 given(1).array, shape(step.arguments[1]), step.options[1], to);
        values[next++].array = to;
        break;
      case FormulaSpec::Step::reshape:
        values[next++].array = given(0).array;
    }
  }
  // Only now, because earlier steps may still read inputs.
  for (size_t k = 0; k < spec_.outputs.size(); k++) {
    const float* from = values[size_t(spec_.outputs[k])].array;
    if (from != outputs[k]) std::copy_n(from, output_size(k), outputs[k]);
  }
}

}  // namespace kurve
