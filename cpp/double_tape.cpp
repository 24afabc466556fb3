#include "double_tape.h"

#include <algorithm>
#include <memory>

#include "compiled_tape.h"
#include "dispatch.h"
#include "pool.h"

namespace kurve {
namespace {

[[noreturn]] void refuse() {
  throw std::invalid_argument("[native] a float64 tape is not valid.");
}

constexpr size_t max_instructions = 65536;
constexpr int64_t part = 4096;  // elements of a task

}  // namespace

// Places: one block for each register that is the same for all elements; blocks that
// registers share when they are not live at the same time; the arrays.
DoubleTape::DoubleTape(const TapeSpec& spec, size_t cheap)
    : inputs_(spec.inputs), cheap_(cheap) {
  size_t count = spec.code.size();
  if (spec.inputs < 0 || size_t(spec.inputs) > max_instructions ||
      count > max_instructions || spec.outputs.empty() || cheap < 1 ||
      cheap > spec.outputs.size())
    refuse();
  auto n = size_t(spec.inputs);
  size_t registers = n + count;
  std::vector<size_t> last(registers, 0);
  std::vector<char> is_uniform(registers, true), is_array(registers, false);
  std::vector<Step64> steps(count);
  for (size_t i = 0; i < count; i++) {
    const auto& [name, arguments, value] = spec.code[i];
    for (int a : arguments)
      if (a < 0 || size_t(a) >= n + i) refuse();
    if (name == "array") {
      if (!arguments.empty() || !(value >= 0 && value < double(max_instructions)))
        refuse();
      is_array[n + i] = true, is_uniform[n + i] = false;
      arrays_ = std::max(arrays_, size_t(value) + 1);
      continue;
    }
    steps[i].kind = micro_of(name), steps[i].value = value;
    if (arity_of(steps[i].kind) != arguments.size()) refuse();
    for (int a : arguments) {
      last[size_t(a)] = i;
      is_uniform[n + i] = is_uniform[n + i] && is_uniform[size_t(a)];
    }
  }
  size_t needed = 0;  // instructions for the cheap outputs
  for (size_t k = 0; k < spec.outputs.size(); k++) {
    int r = spec.outputs[k];
    if (r < 0 || size_t(r) >= registers) refuse();
    last[size_t(r)] = count;
    if (k < cheap && size_t(r) >= n) needed = std::max(needed, size_t(r) - n + 1);
  }
  std::vector<int> block_of(registers, 0), free;
  for (size_t r = 0; r < registers; r++)
    if (is_uniform[r]) block_of[r] = blocks_++;
  for (size_t i = 0; i < count; i++) {
    size_t r = n + i;
    const auto& [name, arguments, value] = spec.code[i];
    if (is_array[r]) {
      block_of[r] = -1 - int(value);
      continue;
    }
    int* to[] = {&steps[i].a, &steps[i].b, &steps[i].c};
    for (size_t k = 0; k < arguments.size(); k++) {
      auto a = size_t(arguments[k]);
      *to[k] = block_of[a];
      bool first = std::find(arguments.begin(), arguments.begin() + long(k),
                             arguments[k]) == arguments.begin() + long(k);
      if (!is_uniform[r] && !is_uniform[a] && !is_array[a] && last[a] == i && first)
        free.push_back(block_of[a]);
    }
    if (!is_uniform[r]) {
      if (free.empty()) free.push_back(blocks_++);
      block_of[r] = free.back(), free.pop_back();
      if (last[r] <= i) free.push_back(block_of[r]);  // never read
    }
    steps[i].to = block_of[r];
    (is_uniform[r] ? uniform_ : code_).push_back(steps[i]);
    if (i < needed) cheap_code_ = code_.size();
  }
  for (int r : spec.outputs) outputs_.push_back(block_of[size_t(r)]);
  auto after = [&](int& p) { p = p < 0 ? blocks_ - 1 - p : p; };  // arrays
  for (Step64& s : code_) after(s.a), after(s.b), after(s.c);
  for (int& o : outputs_) after(o);
}

void DoubleTape::run(const double* numbers, const double* const* arrays, int64_t n,
                     size_t count, double* const* to) const {
  int64_t tasks = (n + part - 1) / part;
  parallel(tasks, n * int64_t(code_.size()) * 4, [&](int64_t task) {
    int64_t first = task * part;
    run_part(numbers, arrays, first, std::min(part, n - first), count, to);
  });
}

void DoubleTape::run_part(const double* numbers, const double* const* arrays,
                          int64_t first, int64_t n, size_t count,
                          double* const* to) const {
  const Kernels& k = kernels();
  int64_t lanes = k.lanes / 2;
  size_t own = size_t(blocks_) + arrays_;  // a partial block of an array is copied
  std::unique_ptr<double[]> memory(new double[own * size_t(block)]);
  std::vector<double*> registers(own);
  for (size_t i = 0; i < own; i++) registers[i] = memory.get() + i * size_t(block);
  int64_t wide = std::min(block, (n + lanes - 1) / lanes * lanes);
  for (int i = 0; i < inputs_; i++) std::fill_n(registers[size_t(i)], wide, numbers[i]);
  for (const Step64& s : uniform_) {
    k.run_tape64(&s, 1, registers.data(), lanes);
    double* y = registers[size_t(s.to)];
    std::fill_n(y, wide, y[0]);
  }
  auto steps = int64_t(count > cheap_ ? code_.size() : cheap_code_);
  for (int64_t at = first; at < first + n; at += block) {
    int64_t here = std::min(block, first + n - at);
    int64_t whole = (here + lanes - 1) / lanes * lanes;
    for (size_t a = 0; a < arrays_; a++) {
      double*& input = registers[size_t(blocks_) + a];
      if (whole == here) {
        input = const_cast<double*>(arrays[a] + at);  // never written
      } else {
        input = memory.get() + (size_t(blocks_) + a) * size_t(block);
        std::copy_n(arrays[a] + at, here, input);
        std::fill_n(input + here, whole - here, arrays[a][at]);
      }
    }
    k.run_tape64(code_.data(), steps, registers.data(), whole);
    for (size_t o = 0; o < count; o++)
      std::copy_n(registers[size_t(outputs_[o])], here, to[o] + at);
  }
}

}  // namespace kurve
