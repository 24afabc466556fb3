#include "wasm/plan.h"

#include <limits>

#include "plan_json.h"

namespace kurve {
namespace {

constexpr int64_t max_integer_32 = std::numeric_limits<int32_t>::max();

Spec spec(const Field& field) {
  field.expect_keys({"kind", "attrs"});
  return {field.at("kind").text(), attrs_of(field.at("attrs"))};
}

FormulaSpec::Step step(const Field& field) {
  using Step = FormulaSpec::Step;
  static const std::map<std::string, Step::Kind> kinds{{"number", Step::number},
                                                       {"tape", Step::tape},
                                                       {"sum", Step::sum},
                                                       {"matmul", Step::matmul},
                                                       {"reshape", Step::reshape}};
  field.expect_keys({"kind", "arguments"},
                    {"name", "value", "code", "shape", "options"});
  auto kind = kinds.find(field.at("kind").text());
  if (kind == kinds.end()) field.at("kind").refuse("there is no such step");
  Step out{kind->second, indices_of(field.at("arguments"))};
  if (field.has("name")) out.name = field.at("name").text();
  if (field.has("value")) out.value = number_of(field.at("value"));
  if (field.has("code")) out.code = tape_of(field.at("code"));
  if (field.has("shape")) out.shape = shape_of(field.at("shape"));
  if (field.has("options")) out.options = indices_of(field.at("options"));
  return out;
}

FormulaSpec formula(const Field& field) {
  field.expect_keys({"inputs", "steps", "outputs"});
  return {shapes_of(field.at("inputs")), all_of(field.at("steps"), step),
          indices_of(field.at("outputs"))};
}

VariableSpec variable(const Field& field) {
  field.expect_keys({"name", "shape", "offset", "trainable", "l1", "l2"}, {"penalty"});
  VariableSpec out{field.at("name").text(), shape_of(field.at("shape")),
                   field.at("offset").integer(0, max_integer_32)};
  out.trainable = field.at("trainable").boolean();
  out.l1 = number_of(field.at("l1"));
  out.l2 = number_of(field.at("l2"));
  if (field.has("penalty"))
    out.penalty = std::make_shared<const FormulaSpec>(formula(field.at("penalty")));
  return out;
}

MetricSpec metric(const Field& field) {
  field.expect_keys({"kind", "attrs", "size", "weighted", "rows", "of_batch"});
  return {{field.at("kind").text(), attrs_of(field.at("attrs"))},
          int(field.at("size").integer(0, max_integer_32)),
          field.at("weighted").boolean(),
          index_of(field.at("rows"), -1),
          field.at("of_batch").text()};
}

std::optional<RuleSpec> rule(const Field& update, const char* name) {
  if (!update.has(name)) return std::nullopt;
  Field field = update.at(name);
  field.expect_keys({"formula", "slots"});
  return RuleSpec{formula(field.at("formula")), indices_of(field.at("slots"))};
}

UpdateSpec update(const Field& field) {
  field.expect_keys({"decays"}, {"rule", "after"});
  return {field.at("decays").boolean(), rule(field, "rule"), rule(field, "after")};
}

Head head(const Field& field, const Spec* loss) {
  field.expect_keys(
      {"value", "shape", "metrics", "weight", "rows", "reduction", "name"}, {"loss"});
  return {index_of(field.at("value"), -1),
          shape_of(field.at("shape")),
          loss,
          all_of(field.at("metrics"), metric),
          number_of(field.at("weight")),
          index_of(field.at("rows"), -1),
          field.at("reduction").text(),
          field.at("name").text()};
}

}  // namespace

ParsedPlan::ParsedPlan(const std::string& text) {
  const Json json = parse_json(text, "plan");
  const Field top(json, "plan");
  top.expect_keys({"inputs", "ops", "params", "buffers", "heads"},
                  {"optimizer", "targets", "updates", "slots", "every", "separable"});
  Description& d = description;
  d.inputs = shapes_of(top.at("inputs"));
  d.ops = ops_of(top.at("ops"));
  d.params = all_of(top.at("params"), variable);
  d.buffers = all_of(top.at("buffers"), variable);
  for (const Field& item : top.at("heads").list()) {
    bool has_loss = item.has("loss");
    losses.push_back(has_loss ? std::make_unique<Spec>(spec(item.at("loss")))
                              : nullptr);
    d.heads.push_back(head(item, losses.back().get()));
  }
  if (top.has("optimizer")) {
    optimizer = std::make_unique<Spec>(spec(top.at("optimizer")));
    d.optimizer = optimizer.get();
  }
  if (top.has("targets")) d.targets = shapes_of(top.at("targets"));
  if (top.has("updates")) d.updates = all_of(top.at("updates"), update);
  if (top.has("slots")) d.slots = index_of(top.at("slots"));
  if (top.has("every")) d.every = top.at("every").integer(1, max_integer_32);
  if (top.has("separable")) d.separable = top.at("separable").boolean();
}

}  // namespace kurve
