#include "ops.h"

#include <algorithm>

#include "pool.h"

namespace kurve {

int64_t product_of(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

double number(const Attrs& attrs, const char* name) {
  auto found = attrs.find(name);
  if (found == attrs.end() || !std::holds_alternative<double>(found->second))
    throw std::invalid_argument("[native] the plan lacks the number '" +
                                std::string(name) + "'.");
  return std::get<double>(found->second);
}

int64_t integer(const Attrs& attrs, const char* name, int64_t min, double max) {
  double value = number(attrs, name);
  if (!(value >= double(min) && value <= max) || value != double(int64_t(value)))
    throw std::invalid_argument("[native] the plan's '" + std::string(name) +
                                "' must be an integer within its range.");
  return int64_t(value);
}

const std::string& text(const Attrs& attrs, const char* name) {
  auto found = attrs.find(name);
  if (found == attrs.end() || !std::holds_alternative<std::string>(found->second))
    throw std::invalid_argument("[native] the plan lacks the text '" +
                                std::string(name) + "'.");
  return std::get<std::string>(found->second);
}

const Shape& integers(const Attrs& attrs, const char* name, size_t count) {
  auto found = attrs.find(name);
  if (found == attrs.end() || !std::holds_alternative<Shape>(found->second))
    throw std::invalid_argument("[native] the plan lacks the integers '" +
                                std::string(name) + "'.");
  const Shape& value = std::get<Shape>(found->second);
  if (value.size() != count || !std::all_of(value.begin(), value.end(), [](int64_t v) {
        return v >= INT32_MIN && v <= INT32_MAX;
      }))
    throw std::invalid_argument("[native] the plan's '" + std::string(name) +
                                "' must be an integer for each axis.");
  return value;
}

int variable_index(const std::map<std::string, int>& roles, const char* role) {
  auto found = roles.find(role);
  if (found == roles.end())
    throw std::invalid_argument("[native] the plan lacks the variable '" +
                                std::string(role) + "'.");
  return found->second;
}

int64_t last_axis(const OpSpec& spec, const Shape& shape) {
  if (shape.empty()) refuse_shapes(spec, "its last axis");
  return shape.back();
}

void check_same_shape(const OpSpec& spec) {
  if (product_of(spec.in_shape) != product_of(spec.out_shape))
    throw std::invalid_argument("[native] the output of " + spec.layer +
                                " must have the shape of its input.");
}

Unsupported::Unsupported(const std::string& what, const std::string& kind)
    : std::runtime_error("[native] the native engine does not support the " + what +
                         " '" + kind + "'. Try the reference engine.") {}

void refuse_shapes(const OpSpec& spec, const char* what) {
  throw std::invalid_argument("[native] shapes of " + spec.layer + " do not fit " +
                              what + ".");
}

OutputActivation::OutputActivation(const Attrs& attrs) {
  const std::string& name = text(attrs, "activation");
  std::optional<Activation> found = kind_named<Activation>(name);
  if (!found) throw Unsupported("activation", name);
  kind = *found;
  alpha = float(number(attrs, "alpha"));
  saves = saves_derivative(kind, alpha);
}

Derivative OutputActivation::derivative(const float* y, const float* saved) const {
  if (kind == Activation::linear) return {};
  return {saves ? Derivative::saved : Derivative::from_output, kind, alpha,
          saves ? saved : y};
}

Derivative Op::derivative(const float*, const float*) const { return {}; }

void Op::jacobian(const ExecContext&, const float*, const float*, const float*, float*,
                  int64_t) const {}

namespace {

template <class Body>
void parallel_elements(int64_t n, Body&& body) {
  parallel((n + task_size - 1) / task_size, n * element_cost, [&](int64_t task) {
    int64_t first = task * task_size;
    body(first, std::min(task_size, n - first));
  });
}

// Like parallel_elements, but by whole rows of `width` elements.
template <class Body>
void parallel_rows(int64_t rows, int64_t width, Body&& body) {
  int64_t size = std::max<int64_t>(1, task_size / width);
  parallel((rows + size - 1) / size, rows * width * element_cost, [&](int64_t task) {
    int64_t first = task * size;
    body(first, std::min(size, rows - first));
  });
}

class Elementwise : public Op {
 public:
  explicit Elementwise(const OpSpec& spec) : activation_(spec.attrs) {
    check_same_shape(spec);
    saves = activation_.saves;
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    parallel_elements(ctx.batch * out, [&](int64_t first, int64_t n) {
      ctx.kernels.activate(activation_.kind, activation_.alpha, x + first, y + first,
                           saved ? saved + first : nullptr, n);
    });
  }
  Derivative derivative(const float* y, const float* saved) const override {
    return activation_.derivative(y, saved);
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    differentiate(ctx.kernels, before, dz, dx, ctx.batch * out);
  }

 private:
  OutputActivation activation_;
};

class Softmax : public Op {
 public:
  explicit Softmax(const OpSpec& spec) : O_(last_axis(spec, spec.out_shape)) {
    check_same_shape(spec);
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    parallel_rows(ctx.batch * out / O_, O_, [&](int64_t first, int64_t rows) {
      ctx.kernels.softmax_forward(x + first * O_, y + first * O_, rows, O_);
    });
  }
  void backward(const ExecContext& ctx, const float*, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    parallel_rows(ctx.batch * out / O_, O_, [&](int64_t row, int64_t rows) {
      int64_t first = row * O_;
      ctx.kernels.softmax_backward(y + first, dz + first, dx + first, rows, O_);
    });
    differentiate(ctx.kernels, before, dx, dx, ctx.batch * out);
  }

 private:
  int64_t O_;
};

class NormalizationOp : public Op {
 public:
  NormalizationOp(const OpSpec& spec, const std::vector<VariableSpec>& buffers)
      : epsilon_(float(number(spec.attrs, "epsilon"))),
        invert_(number(spec.attrs, "invert") != 0) {
    const VariableSpec& mean = buffers[size_t(variable_index(spec.buffers, "mean"))];
    const VariableSpec& variance =
        buffers[size_t(variable_index(spec.buffers, "variance"))];
    mean_ = mean.offset, variance_ = variance.offset, C_ = mean.size();
    check_same_shape(spec);
    if (variance.size() != C_ || product_of(spec.in_shape) % C_)
      refuse_shapes(spec, "its input");
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    parallel_rows(ctx.batch * out / C_, C_, [&](int64_t row, int64_t rows) {
      ctx.kernels.normalize(parameters(ctx), x + row * C_, y + row * C_, rows);
    });
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    parallel_rows(ctx.batch * out / C_, C_, [&](int64_t row, int64_t rows) {
      int64_t first = row * C_;
      ctx.kernels.normalize_backward(parameters(ctx), dz + first, dx + first, rows);
    });
    differentiate(ctx.kernels, before, dx, dx, ctx.batch * out);
  }

 private:
  Normalization parameters(const ExecContext& ctx) const {
    return {ctx.buffers + mean_, ctx.buffers + variance_, C_, epsilon_, invert_};
  }
  int64_t mean_, variance_, C_;
  float epsilon_;
  bool invert_;
};

// Used only if an output needs its own buffer; programs drop other reshapes.
class Reshape : public Op {
 public:
  explicit Reshape(const OpSpec& spec) { check_same_shape(spec); }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    copy(x, ctx.batch * in, y);
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    differentiate(ctx.kernels, before, dz, dx, ctx.batch * in);
  }
};

}  // namespace

void differentiate(const Kernels& kernels, const Derivative& derivative,
                   const float* dy, float* dx, int64_t n) {
  if (dy == dx && derivative.source == Derivative::one) return;
  parallel_elements(n, [&](int64_t first, int64_t count) {
    kernels.differentiate(derivative, first, dy + first, dx + first, count);
  });
}

void add_to(const Kernels& kernels, const float* from, float* to, int64_t n) {
  static const Instruction add{Micro::add,         0,
                               {Place::output, 0}, {Place::input, 0},
                               {Place::input, 1},  {Place::input, 0}};
  const Tape tape{&add, 1, 2, 1};
  const Operand inputs[] = {{.data = to}, {.data = from}};
  constexpr int64_t size = 8 * Tape::block;
  parallel((n + size - 1) / size, n * 2, [&](int64_t task) {
    int64_t first = task * size;
    kernels.run_tape(tape, inputs, &to, first, std::min(size, n - first));
  });
}

std::unique_ptr<Op> make_activation(const OpSource& source) {
  return std::make_unique<Elementwise>(source.spec);
}
std::unique_ptr<Op> make_softmax(const OpSource& source) {
  return std::make_unique<Softmax>(source.spec);
}
std::unique_ptr<Op> make_normalization(const OpSource& source) {
  return std::make_unique<NormalizationOp>(source.spec, source.buffers);
}
std::unique_ptr<Op> make_reshape(const OpSource& source) {
  return std::make_unique<Reshape>(source.spec);
}

std::unique_ptr<Op> make_op(const OpSource& source) {
  struct Factory {
    const char* kind;
    std::unique_ptr<Op> (*make)(const OpSource&);
  };
#define KURVE_FACTORY(kind) {#kind, make_##kind},
  static const Factory factories[] = {KURVE_OPS(KURVE_FACTORY)};
#undef KURVE_FACTORY
  const OpSpec& spec = source.spec;
  auto factory = std::find_if(std::begin(factories), std::end(factories),
                              [&](const Factory& f) { return f.kind == spec.kind; });
  if (factory == std::end(factories)) throw Unsupported("op", spec.kind);
  std::unique_ptr<Op> op = factory->make(source);
  op->in = product_of(spec.in_shape);
  op->out = product_of(source.pool ? source.pool->out_shape : spec.out_shape);
  return op;
}

}  // namespace kurve
