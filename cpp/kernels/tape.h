// Tapes of elementwise operations (kurve.ops.tape) as a kernel sees them.
#pragma once

#include <cstdint>

namespace kurve {

// land, lor and lnot are `and`, `or` and `not`.
// clang-format off: a list, not statements
#define KURVE_MICRO(CASE) \
  CASE(constant) CASE(add) CASE(sub) CASE(mul) CASE(div) CASE(neg) CASE(reciprocal) \
  CASE(square) CASE(sqrt) CASE(rsqrt) CASE(pow) CASE(mod) CASE(exp) CASE(expm1) \
  CASE(log) CASE(log1p) CASE(sigmoid) CASE(softplus) CASE(erf) CASE(sin) CASE(cos) \
  CASE(tan) CASE(tanh) CASE(sinh) CASE(cosh) CASE(arcsin) CASE(arccos) CASE(arcsinh) \
  CASE(arccosh) CASE(arctan) CASE(arctanh) CASE(arctan2) CASE(abs) CASE(sign) \
  CASE(floor) CASE(ceil) CASE(round) CASE(stop_gradient) CASE(max) CASE(min) \
  CASE(relu) CASE(where) CASE(lt) CASE(le) CASE(gt) CASE(ge) CASE(eq) CASE(ne) \
  CASE(land) CASE(lor) CASE(lnot) CASE(isfinite) CASE(isnan)
// clang-format on

enum class Micro : int {
#define CASE(name) name,
  KURVE_MICRO(CASE)
#undef CASE
};

// Where a register is stored: an input, an output, a block of scratch memory, or in the
// instruction.
struct Place {
  enum Kind : int16_t { input, output, scratch, value } kind = scratch;
  int16_t index = 0;
};

struct Instruction {
  Micro kind;
  float value = 0;  // of a constant, or of the operand that is in the instruction
  Place to, a, b, c;
};

// An instruction in float64; registers are places in memory.
struct Step64 {
  Micro kind;
  int to = 0, a = 0, b = 0, c = 0;
  double value = 0;  // of a constant
};

// How an input is broadcast over the elements of the outputs: element i reads data[i /
// outer * size + i / inner % size]. A full input has size = outer and inner 1; if an
// input is the same for all samples, `outer` is the number of elements.
struct Operand {
  const float* data = nullptr;
  int64_t size = 1, inner = 1, outer = 1;
  bool full = true;
};

struct Tape {
  static constexpr int max_inputs = 24, max_outputs = 24, max_scratch = 24;
  static constexpr int block = 512;

  const Instruction* code;
  int count, inputs, outputs;
};

}  // namespace kurve
