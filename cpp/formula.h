// Formulas on whole arrays (kurve.ops.formula): what an optimizer does with a variable.
#pragma once

#include "compiled_tape.h"

namespace kurve {

// Registers are the inputs, then the results of the steps. Those of shape () are
// float64 numbers; the others are arrays.
struct FormulaSpec {
  struct Step {
    enum Kind { number, tape, sum, matmul, reshape } kind;
    std::vector<int> arguments;
    std::string name{};  // number: the operation, or "constant" with `value`
    double value = 0;
    TapeSpec code{};             // tape: each result is a register
    Shape shape{};               // of each result
    std::vector<int> options{};  // sum: the axes; matmul: which sides are transposed
  };
  std::vector<Shape> inputs;
  std::vector<Step> steps;
  std::vector<int> outputs;
};

class Formula {
 public:
  explicit Formula(const FormulaSpec&);

  static constexpr size_t max_registers = 512;

  size_t inputs() const { return spec_.inputs.size(); }
  size_t outputs() const { return spec_.outputs.size(); }
  int64_t input_size(size_t k) const { return product_of(spec_.inputs[k]); }
  int64_t output_size(size_t k) const { return product_of(shape(spec_.outputs[k])); }
  int64_t scratch() const { return scratch_; }  // floats
  int64_t work() const { return work_; }

  // An array or, if that is null, a number.
  struct Value {
    const float* array = nullptr;
    double number = 0;
  };
  // Writes the outputs, which may overwrite inputs.
  void run(const Kernels&, const Value* inputs, float* scratch,
           float* const* outputs) const;

 private:
  const Shape& shape(int r) const { return shapes_[size_t(r)]; }

  FormulaSpec spec_;
  std::vector<Shape> shapes_;                   // of each register
  std::vector<int64_t> offsets_;                // of each in scratch; -1: none needed
  std::vector<CompiledTape> tapes_;             // of the steps that have one
  std::vector<std::vector<Operand>> operands_;  // of the tapes, without data
  int64_t scratch_ = 0, work_ = 0;
};

}  // namespace kurve
