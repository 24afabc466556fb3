#include "program.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"
#include "float_mode.h"
#include "interrupt.h"
#include "register.h"
#include "schedule.h"

namespace nb = nanobind;
using namespace kurve;

namespace {

using Data = Array<const float>;
using Samples = std::variant<Data, Array<const uint8_t>>;

// The floats or bytes of each x, (n, *shape), and n.
std::vector<Inputs> inputs(const std::vector<Samples>& x, const Program& program,
                           const char* what, int64_t& n) {
  expect(x.size() == program.inputs(), "there must be an array for each input.");
  std::vector<Inputs> found;
  for (size_t k = 0; k < x.size(); k++)
    std::visit(
        [&](const auto& a) {
          int64_t rows = a.ndim() ? int64_t(a.shape(0)) : 0;
          if (k == 0) n = rows;
          expect(rows == n && int64_t(a.size()) == n * program.input_size(k), what);
          found.push_back(a.data());
        },
        x[k]);
  return found;
}

void check_sizes(const Program& program, const Vector<float>& params,
                 const Vector<float>& buffers) {
  expect(int64_t(params.size()) == program.params_size() &&
             int64_t(buffers.size()) == program.buffers_size(),
         "state.params and state.buffers must have the plan's sizes.");
}

// The arrays of a kurve.engines.base.State.
struct StateArrays {
  Vector<float> params;
  Vector<float> buffers;
  Matrix<float> slots;
  Vector<double> scalars;

  State view(const Program& program, int64_t step, uint64_t seed) const {
    check_sizes(program, params, buffers);
    return {params.data(), buffers.data(), slots.data(), scalars.data(), step, seed};
  }
  void check_slots(const Program& program) const {
    expect(program.optimizer() && program.has_loss(),
           "train needs a plan with a loss and an optimizer.");
    const Optimizer& optimizer = *program.optimizer();
    expect(int(slots.shape(0)) >= optimizer.slots() &&
               (optimizer.slots() == 0 ||
                int64_t(slots.shape(1)) == program.params_size()) &&
               int(scalars.size()) >= optimizer.scalars(),
           "state.slots and state.scalars must have the optimizer's sizes.");
  }
};

struct BatchArrays {
  std::vector<Samples> x;
  std::vector<std::optional<Data>> y;
  std::vector<std::optional<Vector<const float>>> weights;
  std::optional<Vector<const int64_t>> order;
  Vector<const int64_t> bounds;
  std::optional<Vector<const float>> learning_rates;

  Batches view(const Program& program) const {
    int64_t n = 0;
    std::vector<Inputs> samples =
        inputs(x, program, "batches.x must have the shape (n, *input_shape).", n);
    expect(y.size() == program.heads() && weights.size() == program.heads(),
           "batches.y and batches.weights must have an entry for each output.");
    std::vector<Targets> targets;
    for (size_t h = 0; h < y.size(); h++) {
      expect(y[h] ? int64_t(y[h]->size()) == n * program.target_size(h)
                  : !program.uses_target(h),
             "batches.y must have as many rows as x, of the target's shape.");
      expect(!weights[h] || int64_t(weights[h]->size()) == n,
             "batches.weights must have one number for each row.");
      targets.push_back(
          {y[h] ? y[h]->data() : nullptr, weights[h] ? weights[h]->data() : nullptr});
    }
    expect(bounds.size() >= 1, "batches.bounds must not be empty.");
    int64_t steps = int64_t(bounds.size()) - 1;
    expect(!learning_rates || int64_t(learning_rates->size()) == steps,
           "batches.learning_rates must have one number for each step.");
    return {std::move(samples),
            std::move(targets),
            n,
            order ? order->data() : nullptr,
            order ? int64_t(order->size()) : 0,
            bounds.data(),
            steps,
            learning_rates ? learning_rates->data() : nullptr};
  }
};

// The steps first..last-1 of one program, and the State whose `step` is set at the end.
struct Job {
  const Program* program;
  nb::object state;
  StateArrays arrays;
  int64_t step;
  uint64_t seed;
  BatchArrays batches;
  int64_t first, last;
  Vector<double> totals;
};

// Returns what was not finite in each job, or "". All steps are set before anything is
// raised.
std::vector<std::string> train(const std::vector<Job*>& jobs) {
  std::vector<TrainingJob> running;
  for (const Job* job : jobs) {
    expect(job, "train needs jobs.");
    const Program& program = *job->program;
    State state = job->arrays.view(program, job->step, job->seed);
    job->arrays.check_slots(program);
    Batches batches = job->batches.view(program);
    expect(batches.learning_rates, "train needs batches.learning_rates.");
    expect(int64_t(job->totals.size()) == program.totals_size(),
           "totals must have the plan's size.");
    running.push_back({&program, state, std::move(batches), job->first, job->last,
                       job->totals.data(), "", nullptr});
  }
  bool interrupted = without_gil([&] { run_jobs(running); });
  {
    // Keep a pending KeyboardInterrupt away from setattr.
    nb::error_scope keep;
    for (size_t i = 0; i < jobs.size(); i++)
      jobs[i]->state.attr("step") = running[i].state.step;
  }
  if (interrupted) throw nb::python_error();
  std::vector<std::string> nonfinite;
  for (TrainingJob& job : running) {
    if (job.error) std::rethrow_exception(job.error);
    nonfinite.push_back(std::move(job.nonfinite));
  }
  return nonfinite;
}

// Runs the job's steps, whose rows this process shares with others. `add` and
// `add_gradient` get arrays and replace them by their sums over all processes.
std::string train_shared(const Job& job, int rank, int processes, const nb::object& add,
                         const nb::object& add_gradient) {
  expect(processes >= 1 && rank >= 0 && rank < processes,
         "the rank must be below the number of processes.");
  const Program& program = *job.program;
  State state = job.arrays.view(program, job.step, job.seed);
  job.arrays.check_slots(program);
  Batches batches = job.batches.view(program);
  expect(batches.learning_rates, "train needs batches.learning_rates.");
  expect(int64_t(job.totals.size()) == program.totals_size(),
         "totals must have the plan's size.");
  auto array = []<class T>(T* at, int64_t n) {  // not a copy
    nb::ndarray<nb::numpy, T, nb::ndim<1>> found(at, {size_t(n)});
    return nb::cast(found, nb::rv_policy::reference);
  };
  auto call = [](auto&& body) {
    FlushSubnormals flush(false);
    GilAcquire acquire;
    call_python(body);
  };
  Share share{rank, processes,
              [&](double* sums, int64_t n) { call([&] { add(array(sums, n)); }); },
              [&](double* sums, int64_t n, float* gradient, int64_t size) {
                call([&] { add_gradient(array(sums, n), array(gradient, size)); });
              }};
  std::string nonfinite;
  std::exception_ptr error;
  bool interrupted = without_gil([&] {
    try {
      nonfinite =
          program.train(state, batches, job.first, job.last, job.totals.data(), &share);
    } catch (...) {
      error = std::current_exception();
    }
  });
  {
    nb::error_scope keep;
    job.state.attr("step") = state.step;
  }
  if (interrupted) throw nb::python_error();
  if (error) std::rethrow_exception(error);
  return nonfinite;
}

// An update by given gradients; `owner` is the State whose `step` is set.
std::string update_by(const Program& program, nb::object owner,
                      const StateArrays& arrays, int64_t step,
                      const std::vector<std::optional<Data>>& gradients,
                      float learning_rate) {
  State state = arrays.view(program, step, 0);
  arrays.check_slots(program);
  std::vector<const float*> found;
  expect(gradients.size() == program.params().size(),
         "there must be a gradient or None for each variable.");
  for (size_t i = 0; i < gradients.size(); i++) {
    const VariableSpec& v = program.params()[i];
    expect(gradients[i] ? int64_t(gradients[i]->size()) == v.size() : !v.trainable,
           "the gradient of a trainable variable must have its size.");
    found.push_back(gradients[i] ? gradients[i]->data() : nullptr);
  }
  std::string nonfinite;
  {
    GilRelease release;
    nonfinite = program.update_by(state, found.data(), learning_rate);
  }
  owner.attr("step") = state.step;
  return nonfinite;
}

void test(const Program& program, const StateArrays& arrays, int64_t step,
          uint64_t seed, const BatchArrays& batches, Vector<double> totals) {
  State view = arrays.view(program, step, seed);
  expect(program.has_loss(), "test needs a plan with a loss.");
  Batches data = batches.view(program);
  expect(int64_t(totals.size()) == program.totals_size(),
         "totals must have the plan's size.");
  interruptible([&] { program.test(view, data, totals.data()); });
}

constexpr const char *wrong_shape = "x must have the shape (n, *input_shape).",
                     *only_trains = "a plan whose ops compute a loss cannot predict.";

// Takes no State, because creating one would cost as much as predicting a row.
void predict(const Program& program, const Vector<float>& params,
             const Vector<float>& buffers, const std::vector<Samples>& x,
             const std::vector<Array<float>>& y, int64_t step, uint64_t seed) {
  check_sizes(program, params, buffers);
  expect(program.predicts(), only_trains);
  State view{params.data(), buffers.data(), nullptr, nullptr, step, seed};
  int64_t n = 0;
  std::vector<Inputs> samples = inputs(x, program, wrong_shape, n);
  expect(y.size() == program.heads(), "there must be an array for each output.");
  std::vector<float*> outputs;
  for (size_t h = 0; h < y.size(); h++) {
    expect(int64_t(y[h].size()) == n * program.output_size(h),
           "y must have the shape (n, *output_shape).");
    outputs.push_back(y[h].data());
  }
  interruptible([&] { program.predict(view, samples.data(), n, outputs.data()); });
}

// The same for one input and one output, because every microsecond counts.
void predict_one(const Program& program, const Vector<float>& params,
                 const Vector<float>& buffers, const Samples& x,
                 const Array<float>& y) {
  check_sizes(program, params, buffers);
  expect(program.predicts(), only_trains);
  expect(program.inputs() == 1 && program.heads() == 1,
         "there must be an array for each input and output.");
  State view{params.data(), buffers.data(), nullptr, nullptr, 0, 0};
  int64_t n = 0;
  Inputs samples = std::visit(
      [&](const auto& a) -> Inputs {
        n = a.ndim() ? int64_t(a.shape(0)) : 0;
        expect(int64_t(a.size()) == n * program.input_size(), wrong_shape);
        return a.data();
      },
      x);
  expect(int64_t(y.size()) == n * program.output_size(),
         "y must have the shape (n, *output_shape).");
  float* output = y.data();
  interruptible([&] { program.predict(view, &samples, n, &output); });
}

void jacobian(const Program& program, const StateArrays& arrays,
              const std::vector<Samples>& x, Array<float> y, Matrix<float> out,
              int64_t step, uint64_t seed) {
  State view = arrays.view(program, step, seed);
  expect(program.predicts(), only_trains);
  expect(program.heads() == 1, "a jacobian needs a plan with one output.");
  int64_t n = 0, outputs = program.output_size();
  std::vector<Inputs> samples = inputs(x, program, wrong_shape, n);
  expect(int64_t(y.size()) == n * outputs, "y must have the shape (n, *output_shape).");
  expect(int64_t(out.shape(0)) == n * outputs &&
             int64_t(out.shape(1)) == program.params_size(),
         "the jacobian must have a row for each output and a column for each param.");
  interruptible(
      [&] { program.jacobian(view, samples.data(), n, y.data(), out.data()); });
}

double gradient(const Program& program, const StateArrays& arrays, int64_t step,
                uint64_t seed, const BatchArrays& batches, int64_t which,
                Vector<float> out) {
  State view = arrays.view(program, step, seed);
  expect(program.has_loss(), "gradient needs a plan with a loss.");
  expect(int64_t(out.size()) == program.params_size(),
         "the gradient must be as long as params.");
  Batches data = batches.view(program);
  double loss = 0;
  interruptible([&] { loss = program.gradient(view, data, which, out.data()); });
  return loss;
}

}  // namespace

void register_program(nb::module_& m) {
  nb::class_<StateArrays>(m, "State", "The arrays of a kurve.engines.base.State.")
      .def(nb::init<Vector<float>, Vector<float>, Matrix<float>, Vector<double>>(),
           nb::arg("params").noconvert(), nb::arg("buffers").noconvert(),
           nb::arg("slots").noconvert(), nb::arg("scalars").noconvert());
  nb::class_<BatchArrays>(m, "Batches", "The arrays of a kurve.engines.base.Batches.")
      .def(nb::init<std::vector<Samples>, std::vector<std::optional<Data>>,
                    std::vector<std::optional<Vector<const float>>>,
                    std::optional<Vector<const int64_t>>, Vector<const int64_t>,
                    std::optional<Vector<const float>>>(),
           nb::arg("x").noconvert(), nb::arg("y").noconvert(),
           nb::arg("weights").noconvert(), nb::arg("order").noconvert().none(),
           nb::arg("bounds").noconvert(), nb::arg("learning_rates").noconvert().none());

  nb::class_<Program>(m, "Program")
      .def(
          "__init__",
          [](Program* self, std::vector<Shape> inputs, std::vector<OpSpec> ops,
             std::vector<VariableSpec> params, std::vector<VariableSpec> buffers,
             std::vector<Head> heads, const Spec* optimizer, std::vector<Shape> targets,
             std::vector<UpdateSpec> updates, int slots, int64_t every,
             bool separable) {
            new (self) Program({std::move(inputs), std::move(ops), std::move(params),
                                std::move(buffers), std::move(heads), optimizer,
                                std::move(targets), std::move(updates), slots, every,
                                separable});
          },
          nb::arg("inputs"), nb::arg("ops"), nb::arg("params"), nb::arg("buffers"),
          nb::arg("heads"), nb::arg("optimizer").none(),
          nb::arg("targets") = std::vector<Shape>{},
          nb::arg("updates") = std::vector<UpdateSpec>(), nb::arg("slots") = 0,
          nb::arg("every") = 1, nb::arg("separable") = false)
      .def("update_by", &update_by, nb::arg("state"), nb::arg("arrays"),
           nb::arg("step"), nb::arg("gradients").noconvert(), nb::arg("learning_rate"),
           "One update by these gradients; return what was not finite, or ''.")
      .def("test", &test, nb::arg("arrays"), nb::arg("step"), nb::arg("seed"),
           nb::arg("batches"), nb::arg("totals").noconvert())
      .def("predict", &predict, nb::arg("params").noconvert(),
           nb::arg("buffers").noconvert(), nb::arg("x").noconvert(),
           nb::arg("y").noconvert(), nb::arg("step") = 0, nb::arg("seed") = 0,
           "Write the outputs for x to y; step and seed are those of random ops.")
      .def("predict_one", &predict_one, nb::arg("params").noconvert(),
           nb::arg("buffers").noconvert(), nb::arg("x").noconvert(),
           nb::arg("y").noconvert(), "The same for one input and one output.")
      .def("gradient", &gradient, nb::arg("arrays"), nb::arg("step"), nb::arg("seed"),
           nb::arg("batches"), nb::arg("which"), nb::arg("out").noconvert(),
           "Loss of one step's batch; its gradient is written to out.")
      .def("jacobian", &jacobian, nb::arg("arrays"), nb::arg("x").noconvert(),
           nb::arg("y").noconvert(), nb::arg("out").noconvert(), nb::arg("step") = 0,
           nb::arg("seed") = 0,
           "Write the outputs for x to y, their derivatives to out.");

  nb::class_<Job>(m, "Job", "The steps first..last-1 of a program's training.")
      .def(
          "__init__",
          [](Job* self, const Program& program, nb::object state,
             const StateArrays& arrays, int64_t step, uint64_t seed,
             const BatchArrays& batches, int64_t first, int64_t last,
             Vector<double> totals) {
            new (self) Job{&program, std::move(state), arrays, step,
                           seed,     batches,          first,  last,
                           totals};
          },
          nb::keep_alive<1, 2>(), nb::arg("program"), nb::arg("state"),
          nb::arg("arrays"), nb::arg("step"), nb::arg("seed"), nb::arg("batches"),
          nb::arg("first"), nb::arg("last"), nb::arg("totals").noconvert());
  m.def("train_shared", &train_shared, nb::arg("job"), nb::arg("rank"),
        nb::arg("processes"), nb::arg("add"), nb::arg("add_gradient"),
        "Run a job whose rows several processes divide; return what was not finite, or "
        "''.");
  m.def("train", &train, nb::arg("jobs"),
        "Run all jobs at once; return what was not finite in each, or ''.");
}
