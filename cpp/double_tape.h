// Formulas of numbers and of arrays in float64, run block by block: `curve_fit`
// evaluates a traced formula and its derivatives by one.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tape.h"
#include "ops.h"

namespace kurve {

class DoubleTape {
 public:
  // The inputs are numbers; an instruction "array" reads the array of index `value`.
  // Outputs after the first `cheap` are not needed by every run.
  // Throws std::invalid_argument.
  DoubleTape(const TapeSpec&, size_t cheap);

  size_t inputs() const { return size_t(inputs_); }
  size_t arrays() const { return arrays_; }
  size_t outputs() const { return outputs_.size(); }

  // to[k] (n,) = output k for the first `count` outputs, either `cheap` or all; arrays
  // (n,) each. The bits of an element depend on nothing but its operands.
  void run(const double* numbers, const double* const* arrays, int64_t n, size_t count,
           double* const* to) const;

 private:
  static constexpr int64_t block = 256;
  void run_part(const double* numbers, const double* const* arrays, int64_t first,
                int64_t n, size_t count, double* const* to) const;

  int inputs_;
  size_t arrays_ = 0, cheap_;
  int blocks_ = 0;               // places in scratch memory; arrays come after them
  std::vector<Step64> uniform_;  // of what is the same for all elements
  std::vector<Step64> code_;
  size_t cheap_code_ = 0;     // the part of code_ that the cheap outputs need
  std::vector<int> outputs_;  // places
};

}  // namespace kurve
