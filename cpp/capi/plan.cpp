#include "plan.h"

#include <algorithm>
#include <limits>

namespace kurve {
namespace {

// Nothing in the file vouches for the sizes of values between two ops, so they have a
// limit: of 1 GiB for a row.
constexpr int64_t max_axis = INT32_MAX, max_elements = int64_t(1) << 28;
constexpr int64_t max_count = 100'000, alignment = 16;

Shape shape_of(const Field& field) {
  Shape shape = field.integers(1, max_axis);
  int64_t size = 1;
  for (int64_t axis : shape) {
    if (axis > max_elements / size) field.refuse("it is larger than 1 GiB");
    size *= axis;
  }
  return shape;
}

std::vector<Shape> shapes_of(const Field& field) {
  std::vector<Shape> shapes;
  for (const Field& item : field.list()) shapes.push_back(shape_of(item));
  return shapes;
}

std::vector<int> indices(const Field& field) {
  std::vector<int> found;
  for (int64_t i : field.integers(0, max_count)) found.push_back(int(i));
  return found;
}

// A number; those that JSON lacks are texts.
double number_of(const Field& field) {
  if (field.json().kind != Json::text) return field.number();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (field.text() == "inf") return infinity;
  if (field.text() == "-inf") return -infinity;
  if (field.text() == "nan") return std::numeric_limits<double>::quiet_NaN();
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
      case Json::table:
        item.expect_keys({"number"});
        attrs[name] = number_of(item.at("number"));
        break;
      default:
        attrs[name] = item.number();
    }
  }
  return attrs;
}

std::map<std::string, int> roles_of(const Field& field) {
  std::map<std::string, int> roles;
  for (const auto& [role, index] : field.table())
    roles[role] = int(field.inner(role, index).integer(0, max_count));
  return roles;
}

TapeSpec tape_of(const Field& field) {
  field.expect_keys({"inputs", "code", "outputs"});
  TapeSpec tape{
      int(field.at("inputs").integer(0, max_count)), {}, indices(field.at("outputs"))};
  for (const Field& line : field.at("code").list()) {
    auto parts = line.list(3);
    if (parts.size() != 3) line.refuse("it must have three parts");
    tape.code.emplace_back(parts[0].text(), indices(parts[1]), number_of(parts[2]));
  }
  return tape;
}

std::vector<OpSpec> ops_of(const Field& field);

OpSpec op_of(const Field& field) {
  field.expect_keys(
      {"kind", "layer", "in_shape", "out_shape", "params", "buffers", "attrs"},
      {"inputs", "more_shapes", "tape", "gradient", "operands", "constants", "wanted",
       "body"});
  OpSpec op{field.at("kind").text(),        field.at("layer").text(),
            shape_of(field.at("in_shape")), shape_of(field.at("out_shape")),
            roles_of(field.at("params")),   roles_of(field.at("buffers")),
            attrs_of(field.at("attrs"))};
  if (op.kind == "keep_states" || op.kind == "python")
    field.refuse("a plan for this library cannot have the operation " + op.kind);
  if (field.has("inputs")) op.inputs = indices(field.at("inputs"));
  if (field.has("more_shapes")) op.more_shapes = shapes_of(field.at("more_shapes"));
  if (field.has("tape")) {
    op.tape = tape_of(field.at("tape"));
    op.gradient = tape_of(field.at("gradient"));
    op.operands = indices(field.at("operands"));
    op.constants = indices(field.at("constants"));
    op.wanted = indices(field.at("wanted"));
  }
  if (field.has("body")) {
    Field body = field.at("body");
    body.expect_keys({"inputs", "ops", "outputs"});
    op.body = std::make_shared<const BodySpec>(BodySpec{shapes_of(body.at("inputs")),
                                                        ops_of(body.at("ops")),
                                                        indices(body.at("outputs"))});
  }
  return op;
}

std::vector<OpSpec> ops_of(const Field& field) {
  std::vector<OpSpec> ops;
  for (const Field& item : field.list()) ops.push_back(op_of(item));
  return ops;
}

// Variables lie one behind the other, as in kurve.plan.
std::vector<VariableSpec> variables_of(const Field& field,
                                       std::vector<std::string>& arrays) {
  std::vector<VariableSpec> variables;
  int64_t end = 0;
  for (const Field& item : field.list()) {
    item.expect_keys({"name", "shape", "trainable", "array"});
    VariableSpec& v = variables.emplace_back();
    v.name = item.at("name").text();
    v.shape = shape_of(item.at("shape"));
    v.trainable = item.at("trainable").boolean();
    v.offset = (end + alignment - 1) / alignment * alignment;
    end = v.offset + v.size();
    arrays.push_back(item.at("array").text());
  }
  return variables;
}

}  // namespace

Plan read_plan(const Json& description) {
  Field top(description, "kurve");
  const std::string& kind = top.at("kind").text();
  if (kind == "model" || kind == "weights" || kind == "estimator")
    throw OtherFile(
        "this is the file of a" + std::string(kind == "estimator" ? "n " : " ") + kind +
        " for Python, which only Python can turn into a plan. Try, in Python, "
        "kurve.models.load_model(path).export('model.plan.kurve')");
  if (kind != "plan") top.at("kind").refuse("it is not 'plan'");
  if (top.at("version").integer(0, max_count) != 1)
    throw OtherFile("the plan is of another version. Try a newer library");
  top.expect_keys({"kind", "version", "inputs", "outputs", "ops", "params", "buffers",
                   "seed", "step"});
  Plan plan;
  Description& d = plan.description;
  for (const Field& item : top.at("inputs").list(64)) {
    item.expect_keys({"name", "shape"});
    plan.inputs.push_back({item.at("name").text(), shape_of(item.at("shape"))});
    d.inputs.push_back(plan.inputs.back().shape);
  }
  d.ops = ops_of(top.at("ops"));
  d.params = variables_of(top.at("params"), plan.arrays);
  d.buffers = variables_of(top.at("buffers"), plan.arrays);
  for (const Field& item : top.at("outputs").list(64)) {
    item.expect_keys({"name", "shape", "value"});
    plan.outputs.push_back({item.at("name").text(), shape_of(item.at("shape"))});
    Head& head = d.heads.emplace_back();
    head.value = int(item.at("value").integer(0, max_count));
    head.shape = plan.outputs.back().shape;
  }
  plan.seed = top.at("seed").digits();
  plan.step = top.at("step").integer(0, int64_t(1) << 53);
  return plan;
}

}  // namespace kurve
