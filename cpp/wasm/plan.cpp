#include "wasm/plan.h"

#include "wasm/json.h"

namespace kurve {
namespace {

std::vector<int> ints(const Json& json) {
  std::vector<int> out;
  for (const Json& item : json.as_list()) out.push_back(item.as_int());
  return out;
}

Shape shape(const Json& json) {
  Shape out;
  for (const Json& item : json.as_list()) out.push_back(item.as_int());
  return out;
}

template <class T, class Read>
std::vector<T> all(const Json& json, Read&& read) {
  std::vector<T> out;
  for (const Json& item : json.as_list()) out.push_back(read(item));
  return out;
}

std::vector<Shape> shapes(const Json& json) { return all<Shape>(json, shape); }

std::map<std::string, int> roles(const Json& json) {
  std::map<std::string, int> out;
  for (const auto& [name, index] : json.members) out[name] = index.as_int();
  return out;
}

Attrs attrs(const Json& json) {
  Attrs out;
  for (const auto& [name, value] : json.members) {
    if (value.kind == Json::text)
      out[name] = value.as_text();
    else if (value.kind == Json::list)
      out[name] = shape(value);
    else
      out[name] = value.as_number();
  }
  return out;
}

Spec spec(const Json& json) {
  return {json.at("kind").as_text(), attrs(json.at("attrs"))};
}

TapeSpec tape(const Json& json) {
  TapeSpec out;
  out.inputs = json.at("inputs").as_int();
  for (const Json& step : json.at("code").as_list()) {
    const std::vector<Json>& parts = step.as_list();
    if (parts.size() != 3) throw std::invalid_argument("[plan] a wrong instruction.");
    out.code.emplace_back(parts[0].as_text(), ints(parts[1]), parts[2].as_number());
  }
  out.outputs = ints(json.at("outputs"));
  return out;
}

FormulaSpec::Step step(const Json& json) {
  using Step = FormulaSpec::Step;
  static const std::map<std::string, Step::Kind> kinds{{"number", Step::number},
                                                       {"tape", Step::tape},
                                                       {"sum", Step::sum},
                                                       {"matmul", Step::matmul},
                                                       {"reshape", Step::reshape}};
  auto kind = kinds.find(json.at("kind").as_text());
  if (kind == kinds.end()) throw std::invalid_argument("[plan] a wrong step.");
  Step out{kind->second, ints(json.at("arguments"))};
  if (const Json* name = json.find("name")) out.name = name->as_text();
  if (const Json* value = json.find("value")) out.value = value->as_number();
  if (const Json* code = json.find("code")) out.code = tape(*code);
  if (const Json* of = json.find("shape")) out.shape = shape(*of);
  if (const Json* options = json.find("options")) out.options = ints(*options);
  return out;
}

FormulaSpec formula(const Json& json) {
  return {shapes(json.at("inputs")), all<FormulaSpec::Step>(json.at("steps"), step),
          ints(json.at("outputs"))};
}

VariableSpec variable(const Json& json) {
  VariableSpec out{json.at("name").as_text(), shape(json.at("shape")),
                   json.at("offset").as_int()};
  out.trainable = json.at("trainable").as_bool();
  out.l1 = json.at("l1").as_number();
  out.l2 = json.at("l2").as_number();
  if (const Json* penalty = json.find("penalty"))
    out.penalty = std::make_shared<const FormulaSpec>(formula(*penalty));
  return out;
}

OpSpec op(const Json& json) {
  OpSpec out{json.at("kind").as_text(),  json.at("layer").as_text(),
             shape(json.at("in_shape")), shape(json.at("out_shape")),
             roles(json.at("params")),   roles(json.at("buffers")),
             attrs(json.at("attrs"))};
  if (const Json* inputs = json.find("inputs")) out.inputs = ints(*inputs);
  if (const Json* more = json.find("more_shapes")) out.more_shapes = shapes(*more);
  if (const Json* code = json.find("tape")) {
    out.tape = tape(*code);
    out.gradient = tape(json.at("gradient"));
    out.operands = ints(json.at("operands"));
    out.constants = ints(json.at("constants"));
    out.wanted = ints(json.at("wanted"));
  }
  if (const Json* body = json.find("body"))
    out.body = std::make_shared<const BodySpec>(
        BodySpec{shapes(body->at("inputs")), all<OpSpec>(body->at("ops"), op),
                 ints(body->at("outputs"))});
  return out;
}

MetricSpec metric(const Json& json) {
  return {spec(json), json.at("size").as_int(), json.at("weighted").as_bool(),
          json.at("rows").as_int(), json.at("of_batch").as_text()};
}

std::optional<RuleSpec> rule(const Json* json) {
  if (!json) return std::nullopt;
  return RuleSpec{formula(json->at("formula")), ints(json->at("slots"))};
}

UpdateSpec update(const Json& json) {
  return {json.at("decays").as_bool(), rule(json.find("rule")),
          rule(json.find("after"))};
}

}  // namespace

ParsedPlan::ParsedPlan(const std::string& text) {
  const Json json = Json::parse(text);
  description.inputs = shapes(json.at("inputs"));
  description.ops = all<OpSpec>(json.at("ops"), op);
  description.params = all<VariableSpec>(json.at("params"), variable);
  description.buffers = all<VariableSpec>(json.at("buffers"), variable);
  for (const Json& head : json.at("heads").as_list()) {
    const Json* loss = head.find("loss");
    losses.push_back(loss ? std::make_unique<Spec>(spec(*loss)) : nullptr);
    description.heads.push_back(
        {head.at("value").as_int(), shape(head.at("shape")), losses.back().get(),
         all<MetricSpec>(head.at("metrics"), metric), head.at("weight").as_number(),
         head.at("rows").as_int(), head.at("reduction").as_text(),
         head.at("name").as_text()});
  }
  if (const Json* given = json.find("optimizer")) {
    optimizer = std::make_unique<Spec>(spec(*given));
    description.optimizer = optimizer.get();
  }
  if (const Json* targets = json.find("targets"))
    description.targets = shapes(*targets);
  if (const Json* updates = json.find("updates"))
    description.updates = all<UpdateSpec>(*updates, update);
  if (const Json* slots = json.find("slots")) description.slots = slots->as_int();
  if (const Json* every = json.find("every")) description.every = every->as_int();
}

}  // namespace kurve
