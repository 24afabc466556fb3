// The engine for JavaScript: plain functions, pointers and numbers. A function that
// fails returns null or -1, and kurve_error says why.
#include <cstdlib>
#include <cstring>
#include <memory>

#include "dispatch.h"
#include "permutation.h"
#include "philox.h"
#include "platform.h"
#include "wasm/plan.h"

#define EXPORT(name) __attribute__((export_name(#name))) extern "C"

using namespace kurve;

namespace {

constexpr uint32_t permutation_purpose = 1;  // kurve.core.rng.PERMUTATION

using Floats = std::unique_ptr<float, Release>;

Floats zeros(int64_t n) {
  size_t bytes = size_t(n + 16) * sizeof(float);
  Floats memory(static_cast<float*>(allocate_aligned(64, bytes)));
  if (!memory) throw std::bad_alloc();
  std::memset(memory.get(), 0, bytes);
  return memory;
}

struct Model {
  Model(const char* json, uint64_t seed)
      : plan(json),
        program(plan.description),
        params(zeros(program.params_size())),
        buffers(zeros(program.buffers_size())),
        slots(zeros(program.params_size() * slots_count())),
        scalars(Optimizer::max_scalars, 1.0),
        totals(size_t(program.totals_size())),
        state{params.get(), buffers.get(), slots.get(), scalars.data(), 0, seed} {}

  int slots_count() const {
    return program.optimizer() ? program.optimizer()->slots() : 0;
  }

  ParsedPlan plan;
  Program program;
  Floats params, buffers, slots;
  std::vector<double> scalars, totals;
  State state;
};

// Rows of data, divided into the steps of a pass.
struct Data {
  Data(const Program& program, int64_t rows) : rows(rows) {
    for (size_t k = 0; k < program.inputs(); k++)
      x.push_back(zeros(rows * program.input_size(k)));
    for (size_t h = 0; h < program.heads(); h++)
      y.push_back(zeros(rows * program.target_size(h)));
    bounds = {0, rows};
  }

  int64_t steps() const { return int64_t(bounds.size()) - 1; }

  Batches batches(const float* learning_rates) const {
    std::vector<Inputs> inputs;
    for (const Floats& values : x) inputs.emplace_back(values.get());
    std::vector<Targets> targets;
    for (const Floats& values : y) targets.push_back({values.get(), nullptr});
    bool shuffled = !order.empty();
    return {std::move(inputs),
            std::move(targets),
            rows,
            shuffled ? order.data() : nullptr,
            shuffled ? rows : 0,
            bounds.data(),
            steps(),
            learning_rates};
  }

  int64_t rows;
  std::vector<Floats> x, y;
  std::vector<int64_t> bounds, order;
  bool shuffle = false;
  int64_t first_step = 0;  // at which the first pass began
  int64_t pass = -1;       // whose order it is
};

std::string error;

template <class T, class Body>
T guarded(T failed, Body&& body) {
  try {
    error.clear();
    return body();
  } catch (const std::exception& e) {
    error = e.what();
    if (error.empty()) error = "the engine failed without a message";
    return failed;
  }
}

}  // namespace

EXPORT(kurve_error) const char* kurve_error() { return error.c_str(); }

EXPORT(kurve_alloc) void* kurve_alloc(int bytes) {
  return allocate_aligned(64, size_t(bytes) + 1);
}
EXPORT(kurve_free) void kurve_free(void* memory) { release(memory); }

// The model of a plan (kurve.engines.plan_json), all of whose numbers are 0.
EXPORT(kurve_create) Model* kurve_create(const char* plan, uint64_t seed) {
  return guarded<Model*>(nullptr, [&] { return new Model(plan, seed); });
}
EXPORT(kurve_destroy) void kurve_destroy(Model* m) { delete m; }

EXPORT(kurve_params) float* kurve_params(Model* m) { return m->params.get(); }
EXPORT(kurve_buffers) float* kurve_buffers(Model* m) { return m->buffers.get(); }
EXPORT(kurve_slots) float* kurve_slots(Model* m) { return m->slots.get(); }
EXPORT(kurve_scalars) double* kurve_scalars(Model* m) { return m->scalars.data(); }
EXPORT(kurve_totals) double* kurve_totals(Model* m) { return m->totals.data(); }
EXPORT(kurve_params_size) int kurve_params_size(Model* m) {
  return int(m->program.params_size());
}
EXPORT(kurve_buffers_size) int kurve_buffers_size(Model* m) {
  return int(m->program.buffers_size());
}
EXPORT(kurve_slots_count) int kurve_slots_count(Model* m) { return m->slots_count(); }
EXPORT(kurve_totals_size) int kurve_totals_size(Model* m) {
  return int(m->program.totals_size());
}
EXPORT(kurve_input_size) int kurve_input_size(Model* m, int k) {
  return int(m->program.input_size(size_t(k)));
}
EXPORT(kurve_output_size) int kurve_output_size(Model* m, int h) {
  return int(m->program.output_size(size_t(h)));
}
EXPORT(kurve_target_size) int kurve_target_size(Model* m, int h) {
  return int(m->program.target_size(size_t(h)));
}

// The number of updates so far; with the vectors above, all that training changes.
EXPORT(kurve_step) int kurve_step(Model* m) { return int(m->state.step); }
EXPORT(kurve_set_step) void kurve_set_step(Model* m, int step) { m->state.step = step; }

EXPORT(kurve_data) Data* kurve_data(Model* m, int rows) {
  return guarded<Data*>(nullptr, [&] {
    if (rows < 1) throw std::invalid_argument("[data] there must be rows.");
    return new Data(m->program, rows);
  });
}
EXPORT(kurve_data_destroy) void kurve_data_destroy(Data* d) { delete d; }
EXPORT(kurve_x) float* kurve_x(Data* d, int k) { return d->x[size_t(k)].get(); }
EXPORT(kurve_y) float* kurve_y(Data* d, int h) { return d->y[size_t(h)].get(); }

// Batches of `size` rows, the last one smaller, from the model's current step on; with
// steps > 0, that many nearly equal batches. The same as those of `fit`.
EXPORT(kurve_batches)
int kurve_batches(Model* m, Data* d, int size, int steps, int shuffle) {
  return guarded(-1, [&] {
    if (steps > d->rows || (steps < 1 && size < 1))
      throw std::invalid_argument(
          "[data] a batch must have at least one row, and no more steps than rows.");
    d->bounds = {0};
    for (int64_t end = 0; end < d->rows;) {
      int64_t i = d->steps();
      end = steps < 1 ? end + size : end + d->rows / steps + (i < d->rows % steps);
      end = std::min(end, d->rows);
      d->bounds.push_back(end);
    }
    d->shuffle = shuffle != 0;
    d->order.clear();
    d->first_step = m->state.step;
    d->pass = -1;
    return int(d->steps());
  });
}

// Trains for `steps` steps and writes the loss of each. Returns how many were applied:
// fewer if something is not finite, which kurve_error names.
EXPORT(kurve_train)
int kurve_train(Model* m, Data* d, int steps, const float* learning_rates,
                double* losses) {
  return guarded(-1, [&] {
    if (!m->program.optimizer() || !m->program.has_loss())
      throw std::invalid_argument("[train] the plan has no loss or no optimizer.");
    std::vector<float> rates(size_t(d->steps()));
    for (int i = 0; i < steps; i++) {
      int64_t done = m->state.step - d->first_step;
      if (done < 0) throw std::invalid_argument("[train] a step before the first.");
      int64_t pass = done / d->steps(), step = done % d->steps();
      if (d->shuffle && pass != d->pass) {
        d->order.resize(size_t(d->rows));
        permute(m->state.seed, permutation_purpose,
                uint64_t(d->first_step + pass * d->steps()), d->order.data(),
                d->order.size());
        d->pass = pass;
      }
      rates[size_t(step)] = learning_rates[i];
      std::fill(m->totals.begin(), m->totals.end(), 0.0);
      error = m->program.train(m->state, d->batches(rates.data()), step, step + 1,
                               m->totals.data());
      if (!error.empty()) return i;
      losses[i] = m->totals[0] / m->totals[1];
    }
    return steps;
  });
}

// Writes the losses and metrics of all rows to kurve_totals.
EXPORT(kurve_test) int kurve_test(Model* m, Data* d) {
  return guarded(-1, [&] {
    std::fill(m->totals.begin(), m->totals.end(), 0.0);
    m->program.test(m->state, d->batches(nullptr), m->totals.data());
    return 0;
  });
}

// The outputs for x, one after the other: rows of the first head, of the second, ...
EXPORT(kurve_predict) int kurve_predict(Model* m, Data* d, float* y) {
  return guarded(-1, [&] {
    if (!m->program.predicts())
      throw std::invalid_argument("[predict] a plan whose ops compute a loss.");
    std::vector<float*> outputs;
    for (size_t h = 0; h < m->program.heads(); h++) {
      outputs.push_back(y);
      y += d->rows * m->program.output_size(h);
    }
    m->program.predict(m->state, d->batches(nullptr).x.data(), d->rows, outputs.data());
    return 0;
  });
}

// `count` uniform numbers in (0, 1), as kurve.core.rng.uniform draws them.
EXPORT(kurve_uniform)
void kurve_uniform(uint64_t seed, uint32_t purpose, uint64_t stream, int count,
                   double* out) {
  uint32_t words[4];
  for (int i = 0; i < count; i++) {
    if (i % 4 == 0) philox(seed, purpose, stream, uint32_t(i / 4), words);
    out[i] = (double(words[i % 4]) + 0.5) / 4294967296.0;
  }
}

// The seed of the n-th model (from 1) after kurve.utils.set_random_seed(seed).
EXPORT(kurve_model_seed) uint64_t kurve_model_seed(uint64_t seed, int n) {
  uint32_t words[4];
  philox(seed, 0, uint64_t(n), 0, words);
  return uint64_t(words[0]) | uint64_t(words[1]) << 32;
}
