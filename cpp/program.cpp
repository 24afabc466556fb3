#include "program.h"

#include <algorithm>
#include <cassert>
#include <cstdio>

#include "dispatch.h"
#include "execution.h"
#include "pool.h"
#include "stop_token.h"

namespace kurve {

int64_t vector_size(const std::vector<VariableSpec>& variables) {
  int64_t end = 0;
  for (const VariableSpec& s : variables) end = std::max(end, s.offset + s.size());
  return (end + 15) / 16 * 16;
}

OutOfMemory::OutOfMemory(int64_t batch, double bytes) {
  std::snprintf(text_, sizeof text_,
                "[native] not enough memory for a batch of this size. Received: "
                "%lld rows, which need %.3g GiB. Try a smaller batch_size.",
                static_cast<long long>(batch), bytes / double(1 << 30));
}

// Up to this many rows, writing a gradient to memory and reading it back costs more
// than checking in advance that it cannot overflow.
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
  std::vector<const OpSpec*> specs;  // without reshapes, which leave a batch as it is
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

Program::WorkspaceLease::WorkspaceLease(const Program& program, int64_t batch,
                                        bool training)
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
      // Room to return it to, while an error may still be thrown.
      std::lock_guard lock(fork_safe_mutex());
      program.free_.reserve(program.workspaces_ + 1);
      program.workspaces_++;
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
    throw OutOfMemory(batch, workspace_->requested_bytes());
  }
}

Program::WorkspaceLease::~WorkspaceLease() {
  std::lock_guard lock(fork_safe_mutex());
  program_.free_.push_back(std::move(workspace_));
}

void check_bounds(const Batches& b, int64_t first, int64_t last) {
  int64_t size = b.order ? b.order_size : b.n;
  if (first < 0 || last > b.steps || first > last)
    throw std::invalid_argument("[native] steps must lie within the bounds.");
  for (int64_t s = first; s < last; s++)
    if (b.bounds[s] < 0 || b.bounds[s + 1] <= b.bounds[s] || b.bounds[s + 1] > size)
      throw std::invalid_argument(
          "[native] bounds must increase and stay within the rows.");
}

int64_t largest_batch(const Batches& b, int64_t first, int64_t last) {
  int64_t largest = 0;
  for (int64_t s = first; s < last; s++)
    largest = std::max(largest, b.bounds[s + 1] - b.bounds[s]);
  return largest;
}

namespace {

constexpr int64_t large_sample = 1 << 18;  // floats of a sample

template <class T>
void copy_rows(const T* from, const int64_t* order, int64_t n, int64_t width,
               float* to) {
  if (width == 1)
    for (int64_t i = 0; i < n; i++) to[i] = from[order[i]];
  else
    for (int64_t i = 0; i < n && (width < large_sample || !stop_requested(width)); i++)
      std::copy_n(from + order[i] * width, width, to + i * width);
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

// Contiguous floats are used in place; other rows are gathered into the workspace.
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

ExecContext Program::context(const State& state, int64_t batch,
                             const Workspace& ws) const {
  ExecContext ctx{kernels_, state.params, state.buffers};
  ctx.batch = batch;
  ctx.seed = state.seed;
  ctx.step = uint64_t(state.step);
  ctx.scratch = ws.scratch;
  return ctx;
}

// The last op writes to `output` unless that is null.
const float* Program::forward(const ExecContext& ctx, const float* x, Workspace& ws,
                              float* output) const {
  for (size_t i = 0; i < ops_.size(); i++) {
    bool last = output && i + 1 == ops_.size();
    if (ops_[i]->identity_at_inference && !ctx.training && !ctx.saves && !last)
      continue;
    float* y = ctx.saves ? ws.out[i] : ws.ping_pong[x == ws.ping_pong[0]];
    if (last) y = output;
    ops_[i]->forward(ctx, x, y, ctx.saves ? ws.saved[i] : nullptr);
    x = y;
  }
  return x;
}

// Loss with penalties; the gradient goes to ctx.gradient.
double Program::forward_backward(const ExecContext& ctx, const Rows& rows,
                                 Workspace& ws) const {
  const float* p = forward(ctx, rows.x, ws, nullptr);
  if (stopped()) return 0;  // the positions of maxima may not have been written
  auto delta = [&](size_t i) {
    return ctx.may_overflow ? ws.deltas[i] : ws.ping_pong[i % 2];
  };
  size_t last = ops_.size() - 1;
  float* dz = delta(last);
  double loss = objective_.loss(kernels_, {p, rows.y, rows.weights, rows.batch},
                                {ws.elements, ws.rows}, dz);
  differentiate(kernels_, ops_[last]->derivative(ws.out[last], ws.saved[last]), dz, dz,
                rows.batch * output_size_);
  for (size_t i = ops_.size(); i-- > first_trainable_;) {
    const float* x = i ? ws.out[i - 1] : rows.x;
    Derivative before = i ? ops_[i - 1]->derivative(x, ws.saved[i - 1]) : Derivative{};
    float* dx = i > first_trainable_ ? delta(i - 1) : nullptr;
    assert(dx || ops_[i]->trainable);
    ops_[i]->backward(ctx, x, ws.out[i], delta(i), dx, before);
  }
  return loss +
         objective_.penalties(kernels_, ctx.params, ctx.gradient, ctx.overflowing);
}

// The gradients, or the updates, of all ops at once, from the deltas that were kept.
void Program::run_weight_tasks(const ExecContext& ctx, const Rows& rows,
                               Workspace& ws) const {
  int64_t tasks = 0;
  for (const auto& op : ops_) tasks += op->weight_tasks(ctx);
  parallel(tasks, (rows.batch + 16) * params_size_, [&](int64_t task) {
    size_t i = 0;
    for (int64_t own; task >= (own = ops_[i]->weight_tasks(ctx)); i++) task -= own;
    ops_[i]->weight_task(ctx, i ? ws.out[i - 1] : rows.x, ws.deltas[i], task);
  });
}

void Program::predict(const State& state, const Inputs& x, int64_t n, float* y) const {
  // Blocks of rows whose activations stay in the L2 cache. A thread takes a block
  // through all ops; a single block is shared by the threads op by op.
  int64_t block = std::clamp<int64_t>(std::min(65536 / widest_, n / 8), 64, 1024);
  int64_t blocks = (n + block - 1) / block;
  parallel(blocks, n * std::max(params_size_ + 1, work_), [&](int64_t i) {
    int64_t first = i * block, rows = std::min(block, n - first);
    WorkspaceLease ws(*this, rows, false);
    forward(context(state, rows, *ws), floats(x, first, rows, *ws), *ws,
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
    const float* p = forward(context(state, rows.batch, *ws), rows.x, *ws, nullptr);
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
  ExecContext ctx = context(state, rows.batch, *ws);
  ctx.training = ctx.saves = true;
  ctx.gradient = gradient;
  ctx.overflowing = ws->overflowing.get();
  std::fill_n(gradient, params_size_, 0.0f);
  return forward_backward(ctx, rows, *ws);
}

// One backward pass per output; each sample has its own gradient.
void Program::jacobian(const State& state, const Inputs& x, int64_t n, float* y,
                       float* jacobian) const {
  int64_t block = std::clamp<int64_t>(65536 / widest_, 64, 1024);
  int64_t last = int64_t(ops_.size()) - 1, stride = output_size_ * params_size_;
  WorkspaceLease ws(*this, std::min(n, block), true);
  for (int64_t first = 0; first < n; first += block) {
    ExecContext ctx = context(state, std::min(block, n - first), *ws);
    if (stop_requested(work_of(ctx.batch))) return;
    ctx.saves = true;
    const float* in = floats(x, first, ctx.batch, *ws);
    const float* out = forward(ctx, in, *ws, nullptr);
    if (stopped()) return;
    std::copy_n(out, ctx.batch * output_size_, y + first * output_size_);
    float* rows = jacobian + first * stride;
    parallel(ctx.batch, ctx.batch * stride,
             [&](int64_t b) { std::fill_n(rows + b * stride, stride, 0.0f); });
    for (int64_t o = 0; o < output_size_; o++, rows += params_size_) {
      float* dz = ws->ping_pong[last % 2];
      std::fill_n(dz, ctx.batch * output_size_, 0.0f);
      for (int64_t b = 0; b < ctx.batch; b++) dz[b * output_size_ + o] = 1.0f;
      differentiate(kernels_, ops_[last]->derivative(ws->out[last], ws->saved[last]),
                    dz, dz, ctx.batch * output_size_);
      for (int64_t i = last; i >= int64_t(first_trainable_); i--) {
        const float* from = i ? ws->out[i - 1] : in;
        Derivative before =
            i ? ops_[i - 1]->derivative(from, ws->saved[i - 1]) : Derivative{};
        ops_[i]->jacobian(ctx, from, ws->out[i], ws->ping_pong[i % 2], rows, stride);
        float* dx =
            i > int64_t(first_trainable_) ? ws->ping_pong[(i + 1) % 2] : nullptr;
        ops_[i]->backward(ctx, from, ws->out[i], ws->ping_pong[i % 2], dx, before);
      }
    }
  }
}

}  // namespace kurve
