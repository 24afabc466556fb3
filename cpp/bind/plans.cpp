// The parts of a plan, as Python passes them to a Program.
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "program.h"
#include "register.h"

namespace nb = nanobind;
using namespace kurve;

namespace {

void register_formulas(nb::module_& m) {
  using Step = FormulaSpec::Step;
  nb::class_<FormulaSpec>(m, "Formula", "A formula on whole arrays, step by step.")
      .def(
          "__init__",
          [](FormulaSpec* self, std::vector<Shape> inputs) {
            new (self) FormulaSpec{std::move(inputs), {}, {}};
          },
          nb::arg("inputs"))
      .def(
          "number",
          [](FormulaSpec& f, std::string name, std::vector<int> arguments,
             double value) {
            f.steps.push_back({Step::number, std::move(arguments), name, value});
          },
          nb::arg("name"), nb::arg("arguments"), nb::arg("value"))
      .def(
          "tape",
          [](FormulaSpec& f, std::vector<int> arguments, TapeSpec code, Shape shape) {
            f.steps.push_back({Step::tape, std::move(arguments), "", 0, std::move(code),
                               std::move(shape)});
          },
          nb::arg("arguments"), nb::arg("code"), nb::arg("shape"))
      .def(
          "sum",
          [](FormulaSpec& f, int of, std::vector<int> axes, Shape shape) {
            f.steps.push_back(
                {Step::sum, {of}, "", 0, {}, std::move(shape), std::move(axes)});
          },
          nb::arg("of"), nb::arg("axes"), nb::arg("shape"))
      .def(
          "matmul",
          [](FormulaSpec& f, std::vector<int> of, std::vector<int> transposed,
             Shape shape) {
            f.steps.push_back({Step::matmul,
                               std::move(of),
                               "",
                               0,
                               {},
                               std::move(shape),
                               std::move(transposed)});
          },
          nb::arg("of"), nb::arg("transposed"), nb::arg("shape"))
      .def(
          "reshape",
          [](FormulaSpec& f, int of, Shape shape) {
            f.steps.push_back({Step::reshape, {of}, "", 0, {}, std::move(shape)});
          },
          nb::arg("of"), nb::arg("shape"))
      .def(
          "finish",
          [](FormulaSpec& f, std::vector<int> outputs) {
            f.outputs = std::move(outputs);
          },
          nb::arg("outputs"));
  nb::class_<RuleSpec>(m, "Rule").def(
      "__init__",
      [](RuleSpec* self, const FormulaSpec& formula, std::vector<int> slots) {
        new (self) RuleSpec{formula, std::move(slots)};
      },
      nb::arg("formula"), nb::arg("slots"));
  nb::class_<UpdateSpec>(m, "Update", "How one of the params is updated.")
      .def(
          "__init__",
          [](UpdateSpec* self, bool decays, const RuleSpec* rule,
             const RuleSpec* after) {
            new (self) UpdateSpec{decays};
            if (rule) self->rule = *rule;
            if (after) self->after = *after;
          },
          nb::arg("decays"), nb::arg("rule").none(), nb::arg("after").none());
}

}  // namespace

void register_plans(nb::module_& m) {
  nb::register_exception_translator([](const std::exception_ptr& p, void*) {
    try {
      std::rethrow_exception(p);
    } catch (const Unsupported& error) {
      PyErr_SetString(PyExc_NotImplementedError, error.what());
    }
  });

  nb::class_<VariableSpec>(m, "VariableSpec")
      .def(nb::init<std::string, Shape, int64_t, bool, double, double>(),
           nb::arg("name"), nb::arg("shape"), nb::arg("offset"), nb::arg("trainable"),
           nb::arg("l1"), nb::arg("l2"))
      .def(
          "set_penalty",
          [](VariableSpec& v, const FormulaSpec& formula) {
            v.penalty = std::make_shared<const FormulaSpec>(formula);
          },
          nb::arg("formula"), "A formula from the value to its gradient and a number.");
  nb::class_<TapeSpec>(m, "Tape").def(
      nb::init<int, std::vector<std::tuple<std::string, std::vector<int>, double>>,
               std::vector<int>>(),
      nb::arg("inputs"), nb::arg("code"), nb::arg("outputs"));
  nb::class_<OpSpec>(m, "Op")
      .def(nb::init<std::string, std::string, Shape, Shape, std::map<std::string, int>,
                    std::map<std::string, int>, Attrs>(),
           nb::arg("kind"), nb::arg("layer"), nb::arg("in_shape"), nb::arg("out_shape"),
           nb::arg("params"), nb::arg("buffers"), nb::arg("attrs"))
      .def(
          "set_inputs",
          [](OpSpec& op, std::vector<int> inputs, std::vector<Shape> more_shapes) {
            op.inputs = std::move(inputs), op.more_shapes = std::move(more_shapes);
          },
          nb::arg("inputs"), nb::arg("more_shapes"),
          "The values that it reads, and the shapes of all but the first.")
      .def(
          "set_tape",
          [](OpSpec& op, TapeSpec tape, TapeSpec gradient, std::vector<int> operands,
             std::vector<int> constants, std::vector<int> wanted) {
            op.tape = std::move(tape), op.gradient = std::move(gradient);
            op.operands = std::move(operands), op.constants = std::move(constants);
            op.wanted = std::move(wanted);
          },
          nb::arg("tape"), nb::arg("gradient"), nb::arg("operands"),
          nb::arg("constants"), nb::arg("wanted"),
          "For a map: the formula, the params and then the buffers that follow x as "
          "inputs, the tape of the gradient, and the inputs it differentiates.")
      .def(
          "set_body",
          [](OpSpec& op, std::vector<Shape> inputs, std::vector<OpSpec> ops,
             std::vector<int> outputs) {
            op.body = std::make_shared<const BodySpec>(
                BodySpec{std::move(inputs), std::move(ops), std::move(outputs)});
          },
          nb::arg("inputs"), nb::arg("ops"), nb::arg("outputs"),
          "For a scan: the inputs, ops and outputs of an iteration.");
  nb::class_<Spec>(m, "Spec").def(nb::init<std::string, Attrs>(), nb::arg("kind"),
                                  nb::arg("attrs"));
  nb::class_<MetricSpec>(m, "Metric")
      .def(
          "__init__",
          [](MetricSpec* self, std::string kind, Attrs attrs, int64_t size,
             bool weighted, int rows, std::string of_batch) {
            new (self) MetricSpec{{std::move(kind), std::move(attrs)},
                                  size,
                                  weighted,
                                  rows,
                                  std::move(of_batch)};
          },
          nb::arg("kind"), nb::arg("attrs"), nb::arg("size"), nb::arg("weighted"),
          nb::arg("rows") = -1, nb::arg("of_batch") = "");

  register_formulas(m);

  nb::class_<Head>(m, "Head", "An output of a plan.")
      .def(
          "__init__",
          [](Head* self, int value, Shape shape, const Spec* loss,
             std::vector<MetricSpec> metrics, double weight, int rows,
             std::string reduction, std::string name) {
            new (self) Head{
                value, std::move(shape),     loss,           std::move(metrics), weight,
                rows,  std::move(reduction), std::move(name)};
          },
          nb::keep_alive<1, 4>(), nb::arg("value"), nb::arg("shape"),
          nb::arg("loss").none(), nb::arg("metrics"), nb::arg("weight"),
          nb::arg("rows") = -1, nb::arg("reduction") = "mean", nb::arg("name") = "");
}
