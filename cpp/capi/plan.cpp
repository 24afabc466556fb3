#include "plan.h"

#include "plan_json.h"

namespace kurve {
namespace {

constexpr int64_t alignment = 16;

// Variables follow one another, as in kurve.plan.
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

// Features of the engine that this library does not support.
void check_kinds(const Field& ops) {
  for (const Field& op : ops.list()) {
    const std::string& kind = op.at("kind").text();
    if (kind == "keep_states" || kind == "python")
      op.refuse("a plan for this library cannot have the operation " + kind);
    if (op.has("body")) check_kinds(op.at("body").at("ops"));
  }
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
  if (index_of(top.at("version")) != 1)
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
  check_kinds(top.at("ops"));
  d.params = variables_of(top.at("params"), plan.arrays);
  d.buffers = variables_of(top.at("buffers"), plan.arrays);
  for (const Field& item : top.at("outputs").list(64)) {
    item.expect_keys({"name", "shape", "value"});
    plan.outputs.push_back({item.at("name").text(), shape_of(item.at("shape"))});
    Head& head = d.heads.emplace_back();
    head.value = index_of(item.at("value"));
    head.shape = plan.outputs.back().shape;
  }
  plan.seed = top.at("seed").digits();
  plan.step = top.at("step").integer(0, int64_t(1) << 53);
  return plan;
}

}  // namespace kurve
