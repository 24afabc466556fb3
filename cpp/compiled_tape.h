// A tape with storage assigned to every register, and how arrays are broadcast over its
// elements.
#pragma once

#include <algorithm>

#include "ops.h"

namespace kurve {

inline Micro micro_of(const std::string& name) {
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

// Whether one of the two operands may be in the instruction.
inline bool takes_value(Micro kind) {
  switch (kind) {
    case Micro::add:
    case Micro::sub:
    case Micro::mul:
    case Micro::div:
    case Micro::max:
    case Micro::min:
    case Micro::lt:
    case Micro::le:
    case Micro::gt:
    case Micro::ge:
    case Micro::eq:
    case Micro::ne:
      return true;
    default:
      return false;
  }
}

inline size_t arity_of(Micro kind) {
  switch (kind) {
    case Micro::constant:
      return 0;
    case Micro::where:
      return 3;
    case Micro::pow:
    case Micro::mod:
    case Micro::arctan2:
    case Micro::land:
    case Micro::lor:
      return 2;
    default:
      return takes_value(kind) ? 2 : 1;
  }
}

// A tape with storage assigned to every register: registers that are live at the same
// time are in different blocks of scratch memory.
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
    // Constants that only take part in instructions are stored in those.
    std::vector<bool> inside(registers, false);
    auto is_constant = [&](size_t r) {
      return r >= size_t(spec.inputs) &&
             std::get<0>(spec.code[r - size_t(spec.inputs)]) == "constant";
    };
    for (size_t r = 0; r < registers; r++) inside[r] = is_constant(r) && !placed[r];
    for (const auto& [name, arguments, value] : spec.code) {
      bool takes =
          takes_value(micro_of(name)) && arguments[0] != arguments[1] &&
          !(is_constant(size_t(arguments[0])) && is_constant(size_t(arguments[1])));
      for (int a : arguments)
        if (!takes) inside[size_t(a)] = false;
    }
    std::vector<int16_t> free;
    for (int16_t k = Tape::max_scratch; k-- > 0;) free.push_back(k);
    for (size_t i = 0; i < count; i++) {
      const auto& [name, arguments, value] = spec.code[i];
      size_t r = size_t(spec.inputs) + i;
      if (inside[r]) continue;
      Instruction step{micro_of(name), float(value), {}, {}, {}, {}};
      Place* to[] = {&step.a, &step.b, &step.c};
      for (size_t k = 0; k < arguments.size(); k++) {
        size_t a = size_t(arguments[k]);
        if (inside[a]) {
          *to[k] = {Place::value, 0};
          step.value = float(std::get<2>(spec.code[a - size_t(spec.inputs)]));
          continue;
        }
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
        if (last[r] <= i) free.push_back(places[r].index);  // never read
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
        spec.inputs >= 0 && spec.inputs <= Tape::max_inputs && !spec.outputs.empty() &&
        spec.outputs.size() <= size_t(Tape::max_outputs) && spec.code.size() <= 65536;
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

// How an array of shape `from` is broadcast to shape `to`, both without the batch axis.
// Throws if that takes more than one run of repeated axes.
inline Operand operand_of(Shape from, const Shape& to, bool batched) {
  Operand x;
  if (from.size() > to.size() && from[0] == 1) from.erase(from.begin());  // the batch
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

}  // namespace kurve
