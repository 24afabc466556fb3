#include "program.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdio>

#include "dispatch.h"
#include "float_mode.h"
#include "pool.h"
#include "stop_token.h"
#include "workspace.h"

namespace kurve {

int64_t vector_size(const std::vector<VariableSpec>& slots) {
  int64_t end = 0;
  for (const VariableSpec& s : slots) end = std::max(end, s.offset + s.size());
  return (end + 15) / 16 * 16;
}

NoMemory::NoMemory(int64_t batch, double bytes) {
  std::snprintf(text_, sizeof text_,
                "[native] no memory to work in for a batch of this size. Received: "
                "%lld rows, which take %.3g GiB. Try a smaller batch_size.",
                static_cast<long long>(batch), bytes / double(1 << 30));
}

// Up to so many rows, the trip of a gradient through memory costs more than a look at
// what it is made of.
constexpr int64_t fused_rows = 128;

Program::Program(const Description& d)
    : kernels_(kernels()),
      params_((check(d), d.params)),
      buffers_(d.buffers),
      input_size_(product_of(d.input_shape)),
      output_size_(product_of(d.output_shape)),
      params_size_(vector_size(d.params)),
      buffers_size_(vector_size(d.buffers)),
      widest_(input_size_),
      objective_(d.output_shape, d.loss, d.metrics, d.params) {
  int64_t width = input_size_;
  std::vector<const OpSpec*> specs;  // elements of a batch lie as before a reshape
  for (const OpSpec& spec : d.ops)
    if (spec.kind != "reshape") specs.push_back(&spec);
  if (specs.empty() && !d.ops.empty()) specs.push_back(&d.ops[0]);
  for (size_t i = 0; i < specs.size(); i++) {
    OpSource source{*specs[i], d.params, d.buffers};
    if (i + 1 < specs.size() && fuses_pool(*specs[i], *specs[i + 1]))
      source.pool = specs[++i];
    ops_.push_back(make_op(source));
    if (ops_.back()->in != width)
      throw std::invalid_argument("[native] the input of " + source.spec.layer +
                                  " does not fit the op before it.");
    width = ops_.back()->out;
    work_ += ops_.back()->work;
    widest_ = std::max(widest_, width);
  }
  if (ops_.empty() || width != output_size_)
    throw std::invalid_argument(
        "[native] the ops of a plan must lead from its input to its output.");
  while (first_trainable_ < ops_.size() && !ops_[first_trainable_]->trainable)
    first_trainable_++;
  if (d.optimizer) optimizer_ = std::make_unique<Optimizer>(*d.optimizer, d.params);
  int64_t rows = 1;
  for (const auto& op : ops_) rows = std::max(rows, op->rows);
  if (optimizer_ && optimizer_->can_fuse() && !objective_.has_penalties())
    fused_batch_ = fused_rows / rows;
}

Program::~Program() = default;

// A workspace that no other call uses, given back at the end of the scope.
class Program::WorkspaceLease {
 public:
  WorkspaceLease(const Program& program, int64_t batch, bool training)
      : program_(program) {
    {
      std::lock_guard lock(fork_safe_mutex());
      if (!program.free_.empty()) {
        workspace_ = std::move(program.free_.back());
        program.free_.pop_back();
      }
    }
    if (!workspace_) {
      {
        // A place to be given back to, while an error may still be thrown.
        std::lock_guard lock(fork_safe_mutex());
        program.free_.reserve(program.made_ + 1);
        program.made_++;
      }
      workspace_ = std::make_unique<Workspace>();
      workspace_->overflowing =
          std::make_unique<std::atomic<bool>[]>(program.params_.size());
      workspace_->totals.resize(size_t(program.totals_size()));
      if (program.optimizer_)
        workspace_->clipping.resize(size_t(program.optimizer_->scratch()));
    }
    try {
      workspace_->reserve(
          batch, training,
          {program.input_size_, program.target_size(), program.widest_,
           program.output_size_, program.objective_.rows(1), program.params_size_,
           program.fused_batch_, program.ops_, program.kernels_});
    } catch (const std::bad_alloc&) {
      throw NoMemory(batch, workspace_->wanted());
    }
  }
  ~WorkspaceLease() {
    std::lock_guard lock(fork_safe_mutex());
    program_.free_.push_back(std::move(workspace_));
  }
  Workspace& operator*() const { return *workspace_; }
  Workspace* operator->() const { return workspace_.get(); }

 private:
  const Program& program_;
  std::unique_ptr<Workspace> workspace_;
};

struct Program::Rows {
  const float *x, *y, *weights;
  int64_t batch;
};

namespace {

void check_bounds(const Batches& b, int64_t first, int64_t last) {
  int64_t size = b.order ? b.order_size : b.n;
  if (first < 0 || last > b.steps || first > last)
    throw std::invalid_argument("[native] steps must lie within the bounds.");
  for (int64_t s = first; s < last; s++)
    if (b.bounds[s] < 0 || b.bounds[s + 1] <= b.bounds[s] || b.bounds[s + 1] > size)
      throw std::invalid_argument(
          "[native] bounds must increase and stay within the rows.");
}

constexpr int64_t huge = 1 << 18;  // floats of a sample

template <class T>
void copy_rows(const T* from, const int64_t* order, int64_t n, int64_t width,
               float* to) {
  if (width == 1)
    for (int64_t i = 0; i < n; i++) to[i] = from[order[i]];
  else
    for (int64_t i = 0; i < n && (width < huge || !stop_requested(width)); i++)
      std::copy_n(from + order[i] * width, width, to + i * width);
}

bool all_finite(const float* x, int64_t n) {
  return std::all_of(x, x + n, [](float v) { return v - v == 0; });
}

int64_t largest_batch(const Batches& b, int64_t first, int64_t last) {
  int64_t most = 0;
  for (int64_t s = first; s < last; s++)
    most = std::max(most, b.bounds[s + 1] - b.bounds[s]);
  return most;
}

}  // namespace

const float* Program::floats(const Inputs& x, int64_t first, int64_t n,
                             Workspace& ws) const {
  if (x.floats) return x.floats + first * input_size_;
  const uint8_t* from = x.bytes + first * input_size_;
  constexpr int64_t size = 16384;  // of a task
  int64_t count = n * input_size_;
  parallel((count + size - 1) / size, count, [&](int64_t task) {
    int64_t begin = task * size;
    std::copy_n(from + begin, std::min(size, count - begin), ws.x + begin);
  });
  return ws.x;
}

// Contiguous floats are used where they lie; other rows are copied together.
Program::Rows Program::gather(const Batches& b, int64_t step, Workspace& ws) const {
  int64_t first = b.bounds[step], batch = b.bounds[step + 1] - first;
  int64_t targets = target_size();
  if (!b.order) {
    const float* x = floats(b.x, first, batch, ws);
    return {x, b.y + first * targets, b.weights ? b.weights + first : nullptr, batch};
  }
  const int64_t* order = b.order + first;
  if (!std::all_of(order, order + batch, [&](int64_t r) { return r >= 0 && r < b.n; }))
    throw std::invalid_argument("[native] order must hold row numbers only.");
  // Rows of a task.
  int64_t size = std::clamp<int64_t>(65536 / (input_size_ + targets), 1, 512);
  parallel((batch + size - 1) / size, batch * (input_size_ + targets) * 4,
           [&](int64_t task) {
             int64_t from = task * size, n = std::min(size, batch - from);
             float* x = ws.x + from * input_size_;
             if (b.x.bytes)
               copy_rows(b.x.bytes, order + from, n, input_size_, x);
             else
               copy_rows(b.x.floats, order + from, n, input_size_, x);
             copy_rows(b.y, order + from, n, targets, ws.y + from * targets);
             if (b.weights) copy_rows(b.weights, order + from, n, 1, ws.weights + from);
           });
  return {ws.x, ws.y, b.weights ? ws.weights : nullptr, batch};
}

int64_t Program::work_of(int64_t rows) const {
  return std::max<int64_t>(3 * rows * std::max(params_size_, work_), 100'000);
}

ExecContext Program::pass(const State& state, int64_t batch,
                          const Workspace& ws) const {
  ExecContext pass{kernels_, state.params, state.buffers};
  pass.batch = batch;
  pass.seed = state.seed;
  pass.step = uint64_t(state.step);
  pass.scratch = ws.scratch;
  return pass;
}

// The last op writes to `output` unless that is null.
const float* Program::forward(const ExecContext& pass, const float* x, Workspace& ws,
                              float* output) const {
  for (size_t i = 0; i < ops_.size(); i++) {
    bool last = output && i + 1 == ops_.size();
    if (ops_[i]->identity_at_inference && !pass.training && !pass.keeps && !last)
      continue;
    float* y = pass.keeps ? ws.out[i] : ws.turn[x == ws.turn[0]];
    if (last) y = output;
    ops_[i]->forward(pass, x, y, pass.keeps ? ws.kept[i] : nullptr);
    x = y;
  }
  return x;
}

// Loss with penalties; the gradient goes to pass.gradient.
double Program::forward_backward(const ExecContext& pass, const Rows& rows,
                                 Workspace& ws) const {
  const float* p = forward(pass, rows.x, ws, nullptr);
  if (stopped()) return 0;  // where maxima were is read below, and may not be there
  auto delta = [&](size_t i) {
    return pass.may_overflow ? ws.delta[i] : ws.turn[i % 2];
  };
  size_t last = ops_.size() - 1;
  float* dz = delta(last);
  double loss = objective_.loss(kernels_, {p, rows.y, rows.weights, rows.batch},
                                {ws.elements, ws.rows}, dz);
  differentiate(kernels_, ops_[last]->derivative(ws.out[last], ws.kept[last]), dz, dz,
                rows.batch * output_size_);
  for (size_t i = ops_.size(); i-- > first_trainable_;) {
    const float* x = i ? ws.out[i - 1] : rows.x;
    Derivative before = i ? ops_[i - 1]->derivative(x, ws.kept[i - 1]) : Derivative{};
    float* dx = i > first_trainable_ ? delta(i - 1) : nullptr;
    assert(dx || ops_[i]->trainable);
    ops_[i]->backward(pass, x, ws.out[i], delta(i), dx, before);
  }
  return loss +
         objective_.penalties(kernels_, pass.params, pass.gradient, pass.overflowing);
}

// Of all ops in one go, from the deltas that were kept.
void Program::run_weight_tasks(const ExecContext& pass, const Rows& rows,
                               Workspace& ws) const {
  int64_t tasks = 0;
  for (const auto& op : ops_) tasks += op->weight_tasks(pass);
  parallel(tasks, (rows.batch + 16) * params_size_, [&](int64_t task) {
    size_t i = 0;
    for (int64_t own; task >= (own = ops_[i]->weight_tasks(pass)); i++) task -= own;
    ops_[i]->weight_task(pass, i ? ws.out[i - 1] : rows.x, ws.delta[i], task);
  });
}

void Program::predict(const State& state, const Inputs& x, int64_t n, float* y) const {
  // Blocks of rows whose activations stay in the second cache. A thread takes a block
  // through all ops; a lone block is shared by the threads op by op.
  int64_t block = std::clamp<int64_t>(std::min(65536 / widest_, n / 8), 64, 1024);
  int64_t blocks = (n + block - 1) / block;
  parallel(blocks, n * std::max(params_size_ + 1, work_), [&](int64_t i) {
    int64_t first = i * block, rows = std::min(block, n - first);
    WorkspaceLease ws(*this, rows, false);
    forward(pass(state, rows, *ws), floats(x, first, rows, *ws), *ws,
            y + first * output_size_);
  });
}

void Program::test(const State& state, const Batches& batches, double* totals) const {
  check_bounds(batches, 0, batches.steps);
  WorkspaceLease ws(*this, largest_batch(batches, 0, batches.steps), false);
  double penalties = objective_.penalties(kernels_, state.params, nullptr, nullptr);
  for (int64_t s = 0; s < batches.steps; s++) {
    Rows rows = gather(batches, s, *ws);
    if (stop_requested(work_of(rows.batch))) return;
    const float* p = forward(pass(state, rows.batch, *ws), rows.x, *ws, nullptr);
    Outputs outputs{p, rows.y, rows.weights, rows.batch};
    Scratch scratch{ws->elements, ws->rows};
    double loss = objective_.loss(kernels_, outputs, scratch, nullptr) + penalties;
    totals[0] += loss * double(rows.batch);
    totals[1] += double(rows.batch);
    objective_.add_metrics(kernels_, outputs, scratch, totals + 2);
  }
}

double Program::gradient(const State& state, const Batches& batches, int64_t step,
                         float* gradient) const {
  check_bounds(batches, step, step + 1);
  WorkspaceLease ws(*this, largest_batch(batches, step, step + 1), true);
  Rows rows = gather(batches, step, *ws);
  ExecContext p = pass(state, rows.batch, *ws);
  p.training = p.keeps = true;
  p.gradient = gradient;
  p.overflowing = ws->overflowing.get();
  std::fill_n(gradient, params_size_, 0.0f);
  return forward_backward(p, rows, *ws);
}

// One way back for each output; each sample's gradient is its own.
void Program::jacobian(const State& state, const Inputs& x, int64_t n, float* y,
                       float* jacobian) const {
  int64_t block = std::clamp<int64_t>(65536 / widest_, 64, 1024);
  int64_t last = int64_t(ops_.size()) - 1, stride = output_size_ * params_size_;
  WorkspaceLease ws(*this, std::min(n, block), true);
  for (int64_t first = 0; first < n; first += block) {
    ExecContext p = pass(state, std::min(block, n - first), *ws);
    if (stop_requested(work_of(p.batch))) return;
    p.keeps = true;
    const float* in = floats(x, first, p.batch, *ws);
    const float* out = forward(p, in, *ws, nullptr);
    if (stopped()) return;
    std::copy_n(out, p.batch * output_size_, y + first * output_size_);
    float* rows = jacobian + first * stride;
    parallel(p.batch, p.batch * stride,
             [&](int64_t b) { std::fill_n(rows + b * stride, stride, 0.0f); });
    for (int64_t o = 0; o < output_size_; o++, rows += params_size_) {
      float* dz = ws->turn[last % 2];
      std::fill_n(dz, p.batch * output_size_, 0.0f);
      for (int64_t b = 0; b < p.batch; b++) dz[b * output_size_ + o] = 1.0f;
      differentiate(kernels_, ops_[last]->derivative(ws->out[last], ws->kept[last]), dz,
                    dz, p.batch * output_size_);
      for (int64_t i = last; i >= int64_t(first_trainable_); i--) {
        const float* from = i ? ws->out[i - 1] : in;
        Derivative before =
            i ? ops_[i - 1]->derivative(from, ws->kept[i - 1]) : Derivative{};
        ops_[i]->jacobian(p, from, ws->out[i], ws->turn[i % 2], rows, stride);
        float* dx = i > int64_t(first_trainable_) ? ws->turn[(i + 1) % 2] : nullptr;
        ops_[i]->backward(p, from, ws->out[i], ws->turn[i % 2], dx, before);
      }
    }
  }
}

// Whether some gradient exceeds safe_sum, and so may not be finite.
bool Program::any_suspicious(const Workspace& ws) const {
  return std::any_of(ws.overflowing.get(), ws.overflowing.get() + params_.size(),
                     [](const std::atomic<bool>& suspicious) {
                       return suspicious.load(std::memory_order_relaxed);
                     });
}

// The first trained variable that is not finite in `vector` (P,), or null.
const VariableSpec* Program::first_nonfinite(const float* vector) const {
  for (const VariableSpec& s : params_)
    if (s.trainable && !all_finite(vector + s.offset, s.size())) return &s;
  return nullptr;
}

std::string Program::train(State& state, const Batches& batches, int64_t first,
                           int64_t last, double* totals) const {
  check_bounds(batches, first, last);
  WorkspaceLease ws(*this, largest_batch(batches, first, last), true);
  FlushSubnormals flush(true);
  std::vector<double>& sums = ws->totals;
  ws->bounds = optimizer_->scan_bounds(kernels_, state.slots, params_size_);
  for (int64_t s = first; s < last; s++) {
    Rows rows = gather(batches, s, *ws);
    if (stop_requested(work_of(rows.batch))) return "";
    ExecContext p = pass(state, rows.batch, *ws);
    p.training = p.keeps = true;
    p.gradient = ws->gradient;
    p.overflowing = ws->overflowing.get();
    for (size_t i = 0; i < params_.size(); i++)
      ws->overflowing[i].store(false, std::memory_order_relaxed);
    std::atomic<bool> may_overflow{false};
    bool fuses = rows.batch <= fused_batch_ &&
                 optimizer_->cannot_overflow(batches.learning_rates[s], ws->bounds);
    if (fuses) p.may_overflow = &may_overflow;
    double loss = forward_backward(p, rows, *ws);
    if (stopped()) return "";
    if (!(loss - loss == 0)) return "the loss";
    // No variable changes before every gradient is known to be finite.
    if (fuses && may_overflow) {
      fuses = false;
      run_weight_tasks(p, rows, *ws);
    }

    std::copy_n(totals, sums.size(), sums.begin());
    sums[0] += loss * double(rows.batch);
    sums[1] += double(rows.batch);
    objective_.add_metrics(kernels_, {ws->out.back(), rows.y, rows.weights, rows.batch},
                           {ws->elements, ws->rows}, sums.data() + 2);
    if (stopped()) return "";
    ScopedStopToken until_applied(nullptr);
    std::string error = update(state, p, rows, fuses, batches.learning_rates[s], *ws);
    if (!error.empty()) return error;
    std::copy(sums.begin(), sums.end(), totals);
    state.step++;
  }
  return "";
}

void Program::commit_buffers(State& state, const ExecContext& pass,
                             const Workspace& ws) const {
  for (size_t i = 0; i < ops_.size(); i++)
    ops_[i]->commit_buffers(pass, ws.out[i], state.buffers);
}

namespace {

// How the gradients of a step reach the variables.
enum class UpdateMode {
  fused,     // each is used as it is computed; nothing can overflow
  separate,  // all are computed first; nothing can overflow
  checked,   // all are computed first; undone where a result is not finite
};

}  // namespace

// One update of all variables, or none: returns what would not be finite, or "".
std::string Program::update(State& state, const ExecContext& pass, const Rows& rows,
                            bool fuses, float learning_rate, Workspace& ws) const {
  bool suspicious = any_suspicious(ws);
  if (suspicious)
    if (const VariableSpec* variable = first_nonfinite(ws.gradient))
      return "the gradient of " + variable->name;
  for (size_t i = 0; i < ops_.size(); i++)
    if (int buffer = ops_[i]->nonfinite_buffer(pass, ws.out[i]); buffer >= 0)
      return "the new value of " + buffers_[size_t(buffer)].name;
  UpdateMode mode = fuses ? UpdateMode::fused : UpdateMode::separate;
  if (suspicious || !optimizer_->cannot_overflow(learning_rate, ws.bounds))
    mode = UpdateMode::checked;
  assert(!fuses || mode == UpdateMode::fused);

  int64_t slots = optimizer_->slots() * params_size_;
  std::array<double, Optimizer::most_scalars> scalars;
  std::copy_n(state.scalars, optimizer_->scalars(), scalars.begin());
  if (mode == UpdateMode::checked)
    ws.save_state(state.params, params_size_, state.slots, slots);
  UpdateTarget target{
      optimizer_->params_for_step(state.scalars, state.step, learning_rate),
      state.params, state.slots, params_size_, optimizer_->slots()};
  if (mode == UpdateMode::fused) {
    ExecContext p = pass;
    p.update = &target;
    run_weight_tasks(p, rows, ws);
  } else {
    optimizer_->apply(kernels_, target, ws.gradient, ws.clipping.data());
  }
  if (mode == UpdateMode::checked) {
    const VariableSpec* variable = first_nonfinite(state.params);
    for (int k = 0; k < optimizer_->slots() && !variable; k++)
      variable = first_nonfinite(state.slots + k * params_size_);
    if (variable) {
      ws.restore_state(state.params, state.slots);
      std::copy_n(scalars.begin(), optimizer_->scalars(), state.scalars);
      return "the update of " + variable->name;
    }
    ws.bounds = optimizer_->scan_bounds(kernels_, state.slots, params_size_);
  } else {
    ws.bounds = optimizer_->next_bounds(learning_rate, ws.bounds);
  }
  commit_buffers(state, pass, ws);
  return "";
}

}  // namespace kurve
