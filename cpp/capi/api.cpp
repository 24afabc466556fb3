// The functions of kurve.h.
#include "kurve.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <system_error>

#include "dispatch.h"
#include "float_mode.h"
#include "plan.h"
#include "pool.h"

using namespace kurve;

namespace {

// 16 floats, the alignment of variables.
struct alignas(64) Line {
  float floats[16] = {};
};
using Vector = std::vector<Line>;

Vector vector_of(const std::vector<VariableSpec>& variables) {
  return Vector(size_t(vector_size(variables) / 16));
}
float* floats_of(const Vector& vector) {
  return const_cast<float*>(reinterpret_cast<const float*>(vector.data()));
}

kurve_status report(kurve_error* error, kurve_status status, const char* text) {
  if (!error) return status;
  error->status = status;
  size_t size = std::min(std::strlen(text), sizeof error->text - 1);
  // Not in the middle of a character.
  while (size && text[size] && (text[size] & 0xc0) == 0x80) size--;
  std::memcpy(error->text, text, size);
  error->text[size] = 0;
  return status;
}

// Runs body, which may throw.
template <class Body>
kurve_status guarded(kurve_error* error, Body&& body) noexcept {
  try {
    body();
    return report(error, KURVE_OK, "");
  } catch (const std::invalid_argument& e) {
    return report(error, KURVE_ERROR_ARGUMENT, e.what());
  } catch (const Malformed& e) {
    return report(error, KURVE_ERROR_FILE, e.what());
  } catch (const std::system_error& e) {
    return report(error, KURVE_ERROR_SYSTEM, e.what());
  } catch (const OtherFile& e) {
    return report(error, KURVE_ERROR_UNSUPPORTED, e.what());
  } catch (const Unsupported& e) {
    return report(error, KURVE_ERROR_UNSUPPORTED, e.what());
  } catch (const std::bad_alloc& e) {
    return report(error, KURVE_ERROR_MEMORY, "there is not enough memory");
  } catch (const std::length_error& e) {
    return report(error, KURVE_ERROR_MEMORY, "there is not enough memory");
  } catch (const std::exception& e) {
    return report(error, KURVE_ERROR_INTERNAL, e.what());
  } catch (...) {
    return report(error, KURVE_ERROR_INTERNAL, "an unknown exception");
  }
}

const Port* port(const std::vector<Port>& ports, size_t index) {
  return index < ports.size() ? &ports[index] : nullptr;
}

}  // namespace

struct kurve_model {
  explicit kurve_model(std::unique_ptr<Source> source) {
    try {
      kernels();
    } catch (const std::exception& e) {
      throw OtherFile(e.what());
    }
    Container file(std::move(source));
    plan = read_plan(file.description());
    read_arrays(file);
    try {
      program = std::make_unique<const Program>(plan.description);
    } catch (const std::invalid_argument& e) {
      throw Malformed(e.what());
    }
    if (!program->predicts()) throw Malformed("kurve: the plan cannot predict");
    // Only what a prediction needs stays in memory.
    plan.description = {};
    plan.arrays = {};
  }

  Plan plan;
  Vector params, buffers;
  std::unique_ptr<const Program> program;

 private:
  void read_arrays(Container& file) {
    std::vector<const VariableSpec*> variables;
    for (const VariableSpec& v : plan.description.params) variables.push_back(&v);
    size_t count = variables.size();
    for (const VariableSpec& v : plan.description.buffers) variables.push_back(&v);
    const auto& entries = file.entries();
    bool fits = entries.size() == variables.size();
    for (size_t i = 0; fits && i < entries.size(); i++)
      fits = entries[i].name == plan.arrays[i] && entries[i].dtype == "F32" &&
             entries[i].shape == variables[i]->shape;
    if (!fits) throw Malformed("tensors: they are not those of the plan");
    params = vector_of(plan.description.params);
    buffers = vector_of(plan.description.buffers);
    for (size_t i = 0; i < entries.size(); i++)
      file.read(entries[i],
                floats_of(i < count ? params : buffers) + variables[i]->offset);
  }
};

namespace {

kurve_status load(kurve_model** model, kurve_error* error, auto&& open) {
  if (model) *model = nullptr;
  return guarded(error, [&] {
    if (!model) throw std::invalid_argument("model must not be NULL");
    *model = new kurve_model(open());
  });
}

void predict(const kurve_model* model, int64_t rows, const float* const* inputs,
             float* const* outputs) {
  if (!model) throw std::invalid_argument("model must not be NULL");
  const Program& program = *model->program;
  constexpr int64_t most = int64_t(1) << 40;
  if (rows < 0 || rows > most) throw std::invalid_argument("rows must be at least 0");
  if (rows == 0) return;
  if (!inputs || !outputs)
    throw std::invalid_argument("inputs and outputs must not be NULL");
  std::vector<Inputs> x;
  for (size_t k = 0; k < program.inputs(); k++) {
    if (!inputs[k])
      throw std::invalid_argument("inputs[" + std::to_string(k) + "] must not be NULL");
    x.emplace_back(inputs[k]);
  }
  for (size_t h = 0; h < program.heads(); h++)
    if (!outputs[h])
      throw std::invalid_argument("outputs[" + std::to_string(h) +
                                  "] must not be NULL");
  State state{floats_of(model->params), floats_of(model->buffers), nullptr, nullptr,
              model->plan.step,         model->plan.seed};
  FlushSubnormals flush(false);  // whatever the caller's mode is
  program.predict(state, x.data(), rows, outputs);
}

}  // namespace

int kurve_api_version(void) { return KURVE_API_VERSION; }
const char* kurve_version(void) { return KURVE_VERSION; }

kurve_status kurve_load(const char* path, kurve_model** model, kurve_error* error) {
  return load(model, error, [&] {
    if (!path) throw std::invalid_argument("path must not be NULL");
    return open_file(path);
  });
}

kurve_status kurve_load_memory(const void* bytes, size_t size, kurve_model** model,
                               kurve_error* error) {
  return load(model, error, [&] {
    if (!bytes) throw std::invalid_argument("bytes must not be NULL");
    return open_memory(bytes, size);
  });
}

void kurve_free(kurve_model* model) { delete model; }

#define KURVE_PORTS(which)                                                       \
  size_t kurve_##which##s(const kurve_model* model) {                            \
    return model ? model->plan.which##s.size() : 0;                              \
  }                                                                              \
  const char* kurve_##which##_name(const kurve_model* model, size_t index) {     \
    const Port* found = model ? port(model->plan.which##s, index) : nullptr;     \
    return found ? found->name.c_str() : nullptr;                                \
  }                                                                              \
  size_t kurve_##which##_rank(const kurve_model* model, size_t index) {          \
    const Port* found = model ? port(model->plan.which##s, index) : nullptr;     \
    return found ? found->shape.size() : 0;                                      \
  }                                                                              \
  const int64_t* kurve_##which##_shape(const kurve_model* model, size_t index) { \
    const Port* found = model ? port(model->plan.which##s, index) : nullptr;     \
    return found ? found->shape.data() : nullptr;                                \
  }                                                                              \
  int64_t kurve_##which##_size(const kurve_model* model, size_t index) {         \
    const Port* found = model ? port(model->plan.which##s, index) : nullptr;     \
    return found ? product_of(found->shape) : 0;                                 \
  }
KURVE_PORTS(input)
KURVE_PORTS(output)
#undef KURVE_PORTS

kurve_status kurve_predict(const kurve_model* model, int64_t rows,
                           const float* const* inputs, float* const* outputs,
                           kurve_error* error) {
  return guarded(error, [&] { predict(model, rows, inputs, outputs); });
}

int kurve_threads(void) {
  int threads = 1;
  guarded(nullptr, [&] { threads = get_threads(); });
  return threads;
}

kurve_status kurve_set_threads(int threads, kurve_error* error) {
  return guarded(error, [&] {
    if (threads < 1) throw std::invalid_argument("threads must be at least 1");
    set_threads(threads);
  });
}

const char* kurve_instruction_set(void) {
  static const std::string name = [] {
    try {
      return isa();
    } catch (...) {
      return std::string();
    }
  }();
  return name.c_str();
}
