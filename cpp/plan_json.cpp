#include "plan_json.h"

#include <limits>

namespace kurve {
namespace {

// Nothing in a plan vouches for the sizes of values between two ops, so they have a
// limit: of 1 GiB for a row.
constexpr int64_t max_axis = INT32_MAX, max_elements = int64_t(1) << 28;

std::map<std::string, int> roles_of(const Field& field) {
  std::map<std::string, int> roles;
  for (const auto& [role, index] : field.table())
    roles[role] = index_of(field.inner(role, index));
  return roles;
}

OpSpec op_of(const Field& field) {
  field.expect_keys(
      {"kind", "layer", "in_shape", "out_shape", "params", "buffers", "attrs"},
      {"inputs", "more_shapes", "tape", "gradient", "operands", "constants", "wanted",
       "body"});
  OpSpec op{field.at("kind").text(),        field.at("layer").text(),
            shape_of(field.at("in_shape")), shape_of(field.at("out_shape")),
            roles_of(field.at("params")),   roles_of(field.at("buffers")),
            attrs_of(field.at("attrs"))};
  if (field.has("inputs")) op.inputs = indices_of(field.at("inputs"));
  if (field.has("more_shapes")) op.more_shapes = shapes_of(field.at("more_shapes"));
  if (field.has("tape")) {
    op.tape = tape_of(field.at("tape"));
    op.gradient = tape_of(field.at("gradient"));
    op.operands = indices_of(field.at("operands"));
    op.constants = indices_of(field.at("constants"));
    op.wanted = indices_of(field.at("wanted"));
  }
  if (field.has("body")) {
    Field body = field.at("body");
    body.expect_keys({"inputs", "ops", "outputs"});
    op.body = std::make_shared<const BodySpec>(
        BodySpec{shapes_of(body.at("inputs")), ops_of(body.at("ops")),
                 indices_of(body.at("outputs"))});
  }
  return op;
}

}  // namespace

int index_of(const Field& field, int min) { return int(field.integer(min, max_index)); }

Shape shape_of(const Field& field) {
  Shape shape = field.integers(1, max_axis);
  int64_t size = 1;
  for (int64_t axis : shape) {
    if (axis > max_elements / size) field.refuse("it is larger than 1 GiB");
    size *= axis;
  }
  return shape;
}

std::vector<Shape> shapes_of(const Field& field) { return all_of(field, shape_of); }

std::vector<int> indices_of(const Field& field) {
  return all_of(field, [](const Field& item) { return index_of(item); });
}

double number_of(const Field& field) {
  if (field.json().kind != Json::table) return field.number();
  field.expect_keys({"number"});
  const std::string& name = field.at("number").text();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (name == "inf") return infinity;
  if (name == "-inf") return -infinity;
  if (name == "nan") return std::numeric_limits<double>::quiet_NaN();
  field.refuse("it must be a number");
}

Attrs attrs_of(const Field& field) {
  Attrs attrs;
  for (const auto& [name, value] : field.table()) {
    Field item = field.inner(name, value);
    switch (value.kind) {
      case Json::text:
        attrs[name] = value.string;
        break;
      case Json::list:
        attrs[name] = item.integers(-(int64_t(1) << 53), int64_t(1) << 53);
        break;
      default:
        attrs[name] = number_of(item);
    }
  }
  return attrs;
}

TapeSpec tape_of(const Field& field) {
  field.expect_keys({"inputs", "code", "outputs"});
  TapeSpec tape{index_of(field.at("inputs")), {}, indices_of(field.at("outputs"))};
  for (const Field& line : field.at("code").list()) {
    auto parts = line.list(3);
    if (parts.size() != 3) line.refuse("it must have three parts");
    tape.code.emplace_back(parts[0].text(), indices_of(parts[1]), number_of(parts[2]));
  }
  return tape;
}

std::vector<OpSpec> ops_of(const Field& field) { return all_of(field, op_of); }

}  // namespace kurve
