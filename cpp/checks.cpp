// Checks a plan's numbers once, before anything is built, because they determine memory
// sizes and offsets.
#include <algorithm>

#include "program.h"

namespace kurve {
namespace {

// Sizes within these bounds can be multiplied with each other.
constexpr int64_t max_elements = int64_t(1) << 40, max_axis = INT32_MAX;

[[noreturn]] void refuse(const std::string& what, const char* rule) {
  throw std::invalid_argument("[native] " + what + " of a plan must " + rule);
}

void check_shape(const Shape& shape, const std::string& what) {
  int64_t n = 1;
  bool fits = shape.size() <= max_axes;
  for (int64_t axis : shape) {
    fits = fits && axis >= 1 && axis <= std::min(max_axis, max_elements / n);
    if (fits) n *= axis;
  }
  if (!fits) refuse(what, "have axes of at least 1, and a size that memory can hold.");
}

void check_variables(const std::vector<VariableSpec>& variables) {
  std::vector<const VariableSpec*> order;
  for (const VariableSpec& s : variables) {
    check_shape(s.shape, "the variable " + s.name);
    if (s.offset < 0 || s.offset > max_elements)
      refuse("the variable " + s.name, "lie within its vector.");
    order.push_back(&s);
  }
  std::sort(order.begin(), order.end(),
            [](const VariableSpec* a, const VariableSpec* b) {
              return a->offset < b->offset;
            });
  for (size_t i = 1; i < order.size(); i++)
    if (order[i - 1]->offset + order[i - 1]->size() > order[i]->offset)
      refuse("the variable " + order[i]->name, "not overlap another variable.");
}

void check_roles(const OpSpec& op, const std::map<std::string, int>& roles,
                 size_t variables) {
  for (const auto& [role, index] : roles)
    if (index < 0 || size_t(index) >= variables)
      refuse("the " + role + " of " + op.layer, "be one of its variables.");
}

// Whether samples of this op must have axes; other ops also accept single numbers.
bool needs_axes(const std::string& kind) {
  static const char* const kinds[] = {"dense",
                                      "softmax",
                                      "normalization",
                                      "scale",
                                      "conv",
                                      "pool",
                                      "batch_normalization",
                                      "pad",
                                      "global_pool",
                                      "conv_transpose",
                                      "layer_normalization",
                                      "upsample",
                                      "affine_image",
                                      "masked_batch_normalization"};
  return std::find(std::begin(kinds), std::end(kinds), kind) != std::end(kinds);
}

// The inputs of a map after its values.
void check_operands(const OpSpec& op, const std::vector<int>& slots, size_t variables) {
  for (int slot : slots)
    if (slot < 0 || size_t(slot) >= variables)
      refuse("the variables of " + op.layer, "be among its variables.");
}

}  // namespace

void check(const Description& d) {
  for (const Shape& shape : d.inputs) check_shape(shape, "an input");
  for (const Shape& shape : d.targets) check_shape(shape, "a target");
  for (const Head& head : d.heads) {
    check_shape(head.shape, "an output");
    if (!(head.weight - head.weight == 0)) refuse("the weight of a loss", "be finite.");
  }
  check_variables(d.params);
  check_variables(d.buffers);
  for (const OpSpec& op : d.ops) {
    check_shape(op.in_shape, "the input of " + op.layer);
    check_shape(op.out_shape, "the output of " + op.layer);
    for (const Shape& shape : op.more_shapes)
      check_shape(shape, "the input of " + op.layer);
    if ((op.in_shape.empty() || op.out_shape.empty()) && needs_axes(op.kind))
      refuse("the shapes of " + op.layer, "have at least one axis.");
    check_roles(op, op.params, d.params.size());
    check_roles(op, op.buffers, d.buffers.size());
    check_operands(op, op.operands, d.params.size());
    check_operands(op, op.constants, d.buffers.size());
  }
}

}  // namespace kurve
