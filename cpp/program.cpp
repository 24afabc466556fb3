#include "program.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <limits>

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

// A large batch is computed in parts, so that all values of a part stay in the L2 cache
// and a thread takes a part through all ops. Each part has a gradient of its own, so
// only models with few parameters gain. Where a few samples fill the cache (attention
// over many steps), parts have as few as a Share can have.
constexpr int64_t part_floats = 1 << 17, smallest_part = 4, most_part = 1024;
constexpr int64_t most_part_params = 1 << 16;
// How many gradients are kept before they are added.
constexpr int64_t parts_at_once = 16;

Program::Program(const Description& d)
    : kernels_(kernels()),
      params_((check(d), d.params)),
      buffers_(d.buffers),
      graph_(std::make_unique<const Graph>(graph_of(d))),
      params_size_(vector_size(d.params)),
      buffers_size_(vector_size(d.buffers)),
      predicts_(d.targets.empty() && graph_->losses == graph_->heads) {
  if (d.inputs.empty() || d.heads.empty() || d.heads.size() > most_heads)
    throw std::invalid_argument(
        "[native] a plan must have inputs and up to 64 outputs.");
  for (const Shape& shape : d.inputs) {
    input_sizes_.push_back(product_of(shape));
    widest_ = std::max(widest_, input_sizes_.back());
  }
  int64_t rows = 1;
  for (const Node& node : graph_->nodes) {
    work_ += node.op->work;
    widest_ = std::max(widest_, node.op->out);
    for (int64_t width : node.widths) widest_ = std::max(widest_, width);
    rows = std::max(rows, node.op->rows);
    if (int64_t fixed = node.op->fixed_rows) {
      if (fixed_rows_ && fixed != fixed_rows_)
        throw std::invalid_argument("[native] all states must have as many rows.");
      fixed_rows_ = fixed;
    }
  }
  bool penalties = false;
  for (const Head& head : d.heads) {
    // The penalties are counted once, whatever the number of heads.
    static const std::vector<VariableSpec> none;
    bool first = objectives_.empty();
    size_t h = objectives_.size();
    const Objective& o = objectives_.emplace_back(
        head.shape, head.loss, head.metrics, first ? d.params : none,
        graph_->nodes[size_t(graph_->losses[h])].op->out, head.reduction);
    target_sizes_.push_back(d.targets.empty() ? o.target_size()
                                              : product_of(d.targets[h]));
    if (o.uses_target() && target_sizes_.back() != o.target_size())
      throw std::invalid_argument(
          "[native] a target must have the size that its loss and metrics read.");
    penalties = penalties || objectives_.back().has_penalties();
    output_sizes_.push_back(product_of(head.shape));
    loss_weights_.push_back(float(head.weight));
    head_names_.push_back(head.name);
    totals_size_ += objectives_.back().totals_size() - 2;
  }
  if (heads() > 1) totals_size_ += int64_t(heads());
  if (d.optimizer)
    optimizer_ = std::make_unique<Optimizer>(*d.optimizer, d.params, d.updates, d.slots,
                                             d.every);
  if (d.separable && !fixed_rows_ && params_size_ <= most_part_params) {
    int64_t floats = graph_->slots * widest_, least = most_part;  // floats: per row
    for (const Node& node : graph_->nodes) {
      floats += node.op->out * (node.op->saves ? 2 : 1) + node.op->aux_per_sample;
      least = std::min(least, node.op->least_part);
    }
    if (2 * floats > part_floats) least = smallest_part;
    int64_t size = std::clamp(part_floats / floats, least, most_part);
    part_rows_ = size / smallest_part * smallest_part;
  }
  if (optimizer_ && optimizer_->can_fuse() && !penalties && !graph_->shares &&
      graph_->unreached.empty())
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
      // Reserve the capacity to return it while an error may still be thrown.
      std::lock_guard lock(fork_safe_mutex());
      program.free_.reserve(program.workspaces_ + 1);
      program.workspaces_++;
    }
    workspace_ = std::make_unique<Workspace>();
    workspace_->overflowing =
        std::make_unique<std::atomic<bool>[]>(program.params_.size());
    workspace_->totals.resize(size_t(program.totals_size()));
    if (program.optimizer_) workspace_->reserve_for(*program.optimizer_);
  }
  try {
    std::vector<int64_t> targets;
    int64_t outputs = 0, rows = 0;
    for (size_t h = 0; h < program.heads(); h++) {
      targets.push_back(program.target_size(h));
      outputs = std::max(outputs, program.output_size(h));
      rows = std::max(rows, program.objectives_[h].rows(1));
    }
    workspace_->reserve(batch, training,
                        {program.input_sizes_, targets, program.widest_, outputs, rows,
                         program.params_size_, program.fused_batch_, *program.graph_,
                         program.kernels_});
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

void Program::check_rows(int64_t rows) const {
  if (!fixed_rows_ || rows == fixed_rows_) return;
  std::string n = std::to_string(fixed_rows_);
  throw std::invalid_argument(
      "[states] a batch must have as many rows as the states that go from one batch to "
      "the next. Received: " +
      std::to_string(rows) + " rows, and states of " + n + ". Try batch_size=" + n +
      ", and rows that it divides.");
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

bool Program::has_loss() const {
  return std::any_of(objectives_.begin(), objectives_.end(),
                     [](const Objective& o) { return o.has_loss(); });
}

bool Program::uses_target(size_t h) const {
  return objectives_[h].uses_target() || graph_->reads_target[h];
}

// Samples first..first+n-1: floats are used in place, bytes are converted.
void Program::use_inputs(const Inputs* x, int64_t first, int64_t n,
                         Workspace& ws) const {
  for (size_t k = 0; k < inputs(); k++) {
    int64_t width = input_sizes_[k];
    if (x[k].floats) {
      ws.x_at[k] = x[k].floats + first * width;
      continue;
    }
    const uint8_t* from = x[k].bytes + first * width;
    constexpr int64_t size = 16384;  // of a task
    int64_t count = n * width;
    float* to = ws.x[k];
    parallel((count + size - 1) / size, count, [&](int64_t task) {
      int64_t begin = task * size;
      std::copy_n(from + begin, std::min(size, count - begin), to + begin);
    });
    ws.x_at[k] = to;
  }
}

// Returns the number of rows of a step, and sets the pointers to them in `ws`.
// Contiguous floats are used in place; other rows are gathered.
int64_t Program::gather(const Batches& b, int64_t step, Workspace& ws) const {
  int64_t first = b.bounds[step], batch = b.bounds[step + 1] - first;
  gather_rows(b, first, batch, ws);
  return batch;
}

void Program::gather_rows(const Batches& b, int64_t first, int64_t batch,
                          Workspace& ws) const {
  check_rows(batch);
  if (!b.order) {
    use_inputs(b.x.data(), first, batch, ws);
    for (size_t h = 0; h < heads(); h++) {
      const Targets& t = b.targets[h];
      ws.targets[h] = {t.y ? t.y + first * target_size(h) : nullptr,
                       t.weights ? t.weights + first : nullptr};
      ws.x_at[inputs() + h] = ws.targets[h].y;
    }
    return;
  }
  const int64_t* order = b.order + first;
  if (!std::all_of(order, order + batch, [&](int64_t r) { return r >= 0 && r < b.n; }))
    throw std::invalid_argument("[native] order must hold row numbers only.");
  int64_t width = 0;
  for (size_t k = 0; k < inputs(); k++) width += input_sizes_[k];
  for (size_t h = 0; h < heads(); h++) width += b.targets[h].y ? target_size(h) : 0;
  // Rows of a task.
  int64_t size = std::clamp<int64_t>(65536 / width, 1, 512);
  parallel((batch + size - 1) / size, batch * width * 4, [&](int64_t task) {
    int64_t from = task * size, n = std::min(size, batch - from);
    for (size_t k = 0; k < inputs(); k++) {
      float* x = ws.x[k] + from * input_sizes_[k];
      if (b.x[k].bytes)
        copy_rows(b.x[k].bytes, order + from, n, input_sizes_[k], x);
      else
        copy_rows(b.x[k].floats, order + from, n, input_sizes_[k], x);
    }
    for (size_t h = 0; h < heads(); h++) {
      int64_t targets = target_size(h);
      const Targets& t = b.targets[h];
      if (t.y) copy_rows(t.y, order + from, n, targets, ws.y[h] + from * targets);
      if (t.weights) copy_rows(t.weights, order + from, n, 1, ws.weights[h] + from);
    }
  });
  for (size_t k = 0; k < inputs(); k++) ws.x_at[k] = ws.x[k];
  for (size_t h = 0; h < heads(); h++) {
    ws.targets[h] = {b.targets[h].y ? ws.y[h] : nullptr,
                     b.targets[h].weights ? ws.weights[h] : nullptr};
    ws.x_at[inputs() + h] = ws.targets[h].y;
  }
}

// Sum of the weights of some rows, in batch order.
double Program::weights_sum(const Targets& t, const Batches& b, int64_t first,
                            int64_t batch) const {
  double total = 0;
  for (int64_t i = first; t.weights && i < first + batch; i++)
    total += double(t.weights[b.order ? b.order[i] : i]);
  return total;
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

namespace {

// Whether to stop before a node. This is checked before large nodes only, because an op
// on a single row has no tasks between which it could check.
bool stops_before(const Node& node, int64_t batch) {
  int64_t elements = batch * std::max(node.op->in, node.op->out);
  return elements >= large_sample ? stop_requested(4 * elements) : false;
}

// What a node reads.
const float* value_at(const Workspace& ws, int input) {
  return input >= 0 ? ws.value[size_t(input)] : ws.x_at[size_t(-1 - input)];
}

}  // namespace

// With KURVE_POISON, memory is set to NaN after its last read, so a buffer that is
// released too early or read before it is written shows in the results.
namespace {

#ifdef KURVE_POISON
void poison(float* at, int64_t n) {
  if (at) std::fill_n(at, n, std::numeric_limits<float>::quiet_NaN());
}
#else
void poison(float*, int64_t) {}
#endif

}  // namespace

// Heads write to `outputs` unless that is null. Sets ws.value to where outputs are.
// Returns early if the call is to stop.
void Program::forward(const ExecContext& ctx, Workspace& ws,
                      float* const* outputs) const {
  for (size_t i = 0; i < graph_->nodes.size(); i++) {
    const Node& node = graph_->nodes[i];
    if (stops_before(node, ctx.batch)) return;
    const float* x = value_at(ws, node.inputs[0]);
    if (node.op->identity_at_inference && !ctx.training && !ctx.saves &&
        node.is_inner()) {
      ws.value[i] = x;
      continue;
    }
    float* y = ctx.saves ? ws.out[i] : ws.slots[size_t(std::max(node.slot, 0))];
    if (outputs && node.head >= 0) y = outputs[node.head];
    for (int slot : node.released)
      if (!ctx.saves) poison(ws.slots[size_t(slot)], ctx.batch * widest_);
    poison(y, ctx.batch * node.op->out);
    poison(ws.scratch, ws.scratch_size);
    float* saved = ctx.saves ? ws.saved[i] : nullptr;
    if (node.inputs.size() == 1) {
      node.op->forward(ctx, x, y, saved);
    } else {
      const float* xs[most_inputs];
      for (size_t k = 0; k < node.inputs.size(); k++)
        xs[k] = value_at(ws, node.inputs[k]);
      node.op->forward_many(ctx, xs, y, saved);
    }
    ws.value[i] = y;
  }
}

// Where the gradient of a node's output is stored.
float* Program::gradient_at(const ExecContext& ctx, const Workspace& ws,
                            size_t i) const {
  return ctx.may_overflow ? ws.gradient_of[i]
                          : ws.slots[size_t(graph_->nodes[i].gradient_slot)];
}

// The chain rule, from the gradients of the heads' outputs to those of the variables in
// ctx.gradient, or to each sample's own, (batch, stride) floats in `jacobian`.
void Program::backward(const ExecContext& ctx, Workspace& ws, float* jacobian,
                       int64_t stride) const {
  const std::vector<Node>& nodes = graph_->nodes;
  for (size_t i = nodes.size(); i-- > 0;) {
    const Node& node = nodes[i];
    if (!node.needed) continue;
    if (stops_before(node, ctx.batch)) return;
    float* dz = gradient_at(ctx, ws, i);
    if (!node.defers_derivative)
      differentiate(kernels_, node.op->derivative(ws.out[i], ws.saved[i]), dz, dz,
                    ctx.batch * node.op->out);
    size_t count = node.inputs.size(), spare = ws.slots.size();
    const float* xs[most_inputs];
    float* dx[most_inputs];
    for (size_t k = 0; k < count; k++) {
      int v = node.inputs[k];
      xs[k] = value_at(ws, v);
      bool wanted = v >= 0 && nodes[size_t(v)].needed;
      dx[k] = !wanted        ? nullptr
              : node.adds[k] ? ws.slots[--spare]
                             : gradient_at(ctx, ws, size_t(v));
    }
    bool shares = !node.uses.empty() && ctx.gradient;
    ExecContext own = ctx;
    if (shares) own.gradient = ws.more_gradient;
    if (shares) poison(ws.more_gradient, params_size_);
    poison(ws.scratch, ws.scratch_size);
    for (size_t k = 0; k < count; k++)
      if (dx[k]) poison(dx[k], ctx.batch * node.widths[k]);
    const ExecContext& p = shares ? own : ctx;
    if (jacobian) add_jacobian(p, node, xs, ws.out[i], dz, jacobian, stride);
    if (count == 1) {
      int v = node.inputs[0];
      Derivative before;
      if (v >= 0 && nodes[size_t(v)].defers_derivative)
        before = nodes[size_t(v)].op->derivative(xs[0], ws.saved[size_t(v)]);
      assert(dx[0] || node.op->trainable);
      node.op->backward(p, xs[0], ws.out[i], dz, dx[0], before);
    } else {
      node.op->backward_many(p, xs, ws.out[i], dz, dx);
    }
    for (size_t k = 0; k < count; k++)
      if (dx[k] && node.adds[k])
        add_to(kernels_, dx[k], gradient_at(ctx, ws, size_t(node.inputs[k])),
               ctx.batch * node.widths[k]);
    if (shares) add_shared(ctx, node, ws.more_gradient);
    // With may_overflow, run_weight_tasks still reads the gradients of all nodes.
    if (!ctx.may_overflow) poison(dz, ctx.batch * node.op->out);
  }
}

// Copies the gradients of a node's variables to ctx.gradient, or adds them to what
// another node wrote there.
void Program::add_shared(const ExecContext& ctx, const Node& node,
                         const float* from) const {
  for (const Node::Use& use : node.uses) {
    const VariableSpec& s = params_[size_t(use.slot)];
    float* to = ctx.gradient + s.offset;
    if (!use.adds) {
      std::copy_n(from + s.offset, s.size(), to);
      continue;
    }
    add_to(kernels_, from + s.offset, to, s.size());
    check_overflow(ctx, to, s.size(), use.slot);
  }
}

// Writes or adds each sample's gradient of a node's variables.
void Program::add_jacobian(const ExecContext& ctx, const Node& node,
                           const float* const* x, const float* y, const float* dz,
                           float* to, int64_t stride) const {
  if (node.uses.empty()) return node.op->jacobian_many(ctx, x, y, dz, to, stride);
  std::unique_ptr<float[]> own(new float[size_t(ctx.batch * params_size_)]);
  node.op->jacobian_many(ctx, x, y, dz, own.get(), params_size_);
  for (const Node::Use& use : node.uses) {
    const VariableSpec& s = params_[size_t(use.slot)];
    for (int64_t b = 0; b < ctx.batch; b++)
      for (int64_t k = s.offset; k < s.offset + s.size(); k++)
        to[b * stride + k] += own[size_t(b * params_size_ + k)];
  }
}

// The weighted sum of the heads' losses, which are stored in ws.losses; with
// `training`, computes their gradients too.
double Program::losses(const ExecContext& ctx, Workspace& ws, bool training) const {
  double total = 0;
  for (size_t h = 0; h < heads(); h++) {
    if (!objectives_[h].has_loss()) continue;
    size_t i = size_t(graph_->losses[h]);
    const Targets& t = ws.targets[h];
    float* dz = nullptr;
    if (training && graph_->nodes[i].needed) dz = gradient_at(ctx, ws, i);
    double loss = objectives_[h].loss(
        kernels_, {ws.value[i], t.y, t.weights, ctx.batch}, {ws.elements, ws.rows}, dz);
    double sum = 0;
    if (ctx.share)
      sum = ctx.share->weights[h];
    else
      for (int64_t b = 0; t.weights && b < ctx.batch; b++) sum += double(t.weights[b]);
    double scale = objectives_[h].scale(ctx.batch, ctx.all_rows(), t.weights, sum);
    if (scale != 1) loss *= scale;
    ws.losses[h] = loss;
    total += double(loss_weights_[h]) * loss;
    float factor = scale == 1 ? loss_weights_[h] : float(loss_weights_[h] * scale);
    if (dz && factor != 1)
      kernels_.scale(dz, factor, ctx.batch * graph_->nodes[i].op->out);
  }
  return total;
}

// Adds a batch to the totals.
void Program::add_totals(const ExecContext& ctx, const Workspace& ws, double loss,
                         double* totals) const {
  add_losses(ctx.batch, ws, loss, totals);
  add_metrics(ctx, ws, totals);
}

void Program::add_losses(int64_t batch, const Workspace& ws, double loss,
                         double* totals) const {
  totals[0] += loss * double(batch);
  totals[1] += double(batch);
  for (size_t h = 0; heads() > 1 && h < heads(); h++)
    totals[2 + h] += ws.losses[h] * double(batch);
}

void Program::add_metrics(const ExecContext& ctx, const Workspace& ws,
                          double* totals) const {
  double* to = totals + 2 + (heads() > 1 ? heads() : 0);
  for (size_t h = 0; h < heads(); h++) {
    const Targets& t = ws.targets[h];
    const float* p = ws.value[size_t(graph_->heads[h])];
    objectives_[h].add_metrics(kernels_, {p, t.y, t.weights, ctx.batch},
                               {ws.elements, ws.rows}, graph_->metrics[h], ws.value,
                               graph_->widths, to);
    to += objectives_[h].totals_size() - 2;
  }
}

// The loss with penalties; the gradient is written to ctx.gradient.
double Program::forward_backward(const ExecContext& ctx, Workspace& ws) const {
  forward(ctx, ws, nullptr);
  if (stopped()) return 0;  // the positions of maxima, read below, may not be written
  double loss = losses(ctx, ws, true);
  backward(ctx, ws, nullptr, 0);
  return loss +
         objectives_[0].penalties(kernels_, ctx.params, ctx.gradient, ctx.overflowing);
}

// The same for a share: the gradient, the losses and the metrics in `totals` are summed
// over all shares.
double Program::shared_forward_backward(const ExecContext& ctx, Workspace& ws,
                                        double* totals) const {
  forward(ctx, ws, nullptr);
  std::vector<double> sums(size_t(totals_size_), 0.0);
  sums[0] = losses(ctx, ws, true);
  backward(ctx, ws, nullptr, 0);
  add_metrics(ctx, ws, sums.data());
  for (size_t h = 0; heads() > 1 && h < heads(); h++) sums[2 + h] = ws.losses[h];
  ctx.share->add_gradient(sums.data(), totals_size_, ctx.gradient, params_size_);
  size_t start = 2;
  for (size_t h = 0; heads() > 1 && h < heads(); h++) ws.losses[h] = sums[start++];
  for (size_t i = start; i < sums.size(); i++) totals[i] += sums[i];
  return sums[0] +
         objectives_[0].penalties(kernels_, ctx.params, ctx.gradient, ctx.overflowing);
}

// The number of parts of a batch: 1, or two and more.
int64_t Program::parts_of(int64_t batch) const {
  return part_rows_ && batch >= 2 * part_rows_ ? (batch + part_rows_ - 1) / part_rows_
                                               : 1;
}

// Of the step's own workspace: parts have theirs.
int64_t Program::rows_to_reserve(const Batches& b, int64_t first, int64_t last) const {
  int64_t largest = 1;
  for (int64_t s = first; s < last; s++) {
    int64_t batch = b.bounds[s + 1] - b.bounds[s];
    if (parts_of(batch) == 1) largest = std::max(largest, batch);
  }
  return largest;
}

// forward_backward of the ctx.batch rows from `first`, part by part; adds to the
// metrics' totals unless they are null. The sums over parts are added in their order,
// whatever thread computes them.
double Program::in_parts(const Batches& batches, int64_t first, const ExecContext& ctx,
                         Workspace& ws, double* totals) const {
  Share whole{0, int(parts_of(ctx.batch)), nullptr, nullptr};
  whole.batch = ctx.batch;
  for (const Targets& t : batches.targets)
    whole.weights.push_back(weights_sum(t, batches, first, ctx.batch));
  std::vector<double> gradient(size_t(params_size_), 0.0);
  std::vector<double> sums(size_t(totals_size_), 0.0);
  int64_t most = std::min<int64_t>(whole.processes, parts_at_once);
  std::vector<float> own(size_t(most * params_size_));
  std::vector<double> own_sums(size_t(most * totals_size_));
  for (int done = 0; done < whole.processes; done += int(most)) {
    int64_t count = std::min<int64_t>(most, whole.processes - done);
    std::fill(own.begin(), own.end(), 0.0f);
    std::fill(own_sums.begin(), own_sums.end(), 0.0);
    parallel(count, work_of(ctx.batch) * count / whole.processes, [&](int64_t i) {
      Share part = whole;
      part.rank = done + int(i);
      part.begin(ctx.batch);
      WorkspaceLease lease(*this, part_rows_ + 4, true);
      Workspace& mine = *lease;
      gather_rows(batches, first + part.first, part.rows, mine);
      ExecContext p = ctx;
      p.batch = part.rows, p.first = part.first, p.share = &part;
      p.scratch = mine.scratch;
      p.gradient = own.data() + i * params_size_;
      forward(p, mine, nullptr);
      if (stopped()) return;
      double* to = own_sums.data() + i * totals_size_;
      to[0] = losses(p, mine, true);
      backward(p, mine, nullptr, 0);
      if (totals) add_metrics(p, mine, to);
      for (size_t h = 0; heads() > 1 && h < heads(); h++) to[2 + h] = mine.losses[h];
    });
    if (stopped()) return 0;
    constexpr int64_t piece = 4096;
    parallel((params_size_ + piece - 1) / piece, count * params_size_, [&](int64_t k) {
      int64_t from = k * piece, n = std::min(piece, params_size_ - from);
      for (int64_t i = 0; i < count; i++)
        kernels_.add_row(gradient.data() + from, 1.0,
                         own.data() + i * params_size_ + from, n);
    });
    for (int64_t i = 0; i < count; i++)
      for (int64_t k = 0; k < totals_size_; k++)
        sums[size_t(k)] += own_sums[size_t(i * totals_size_ + k)];
  }
  for (int64_t k = 0; k < params_size_; k++)
    ctx.gradient[k] = float(gradient[size_t(k)]);
  for (size_t i = 0; i < params_.size(); i++)
    check_overflow(ctx, ctx.gradient + params_[i].offset, params_[i].size(), int(i));
  size_t start = 2;
  for (size_t h = 0; heads() > 1 && h < heads(); h++) ws.losses[h] = sums[start++];
  for (size_t i = start; totals && i < sums.size(); i++) totals[i] += sums[i];
  return sums[0] +
         objectives_[0].penalties(kernels_, ctx.params, ctx.gradient, ctx.overflowing);
}

// Runs the weight tasks of all ops at once, from the saved gradients of outputs.
void Program::run_weight_tasks(const ExecContext& ctx, Workspace& ws) const {
  const std::vector<Node>& nodes = graph_->nodes;
  int64_t tasks = 0;
  for (const Node& node : nodes) tasks += node.op->weight_tasks(ctx);
  parallel(tasks, (ctx.batch + 16) * params_size_, [&](int64_t task) {
    size_t i = 0;
    for (int64_t own; task >= (own = nodes[i].op->weight_tasks(ctx)); i++) task -= own;
    nodes[i].op->weight_task(ctx, value_at(ws, nodes[i].inputs[0]), ws.gradient_of[i],
                             task);
  });
}

void Program::predict(const State& state, const Inputs* x, int64_t n,
                      float* const* y) const {
  check_rows(n);
  // Blocks of rows whose activations stay in the L2 cache. A thread takes a block
  // through all ops; if there is only one block, the threads share each op.
  int64_t block = std::clamp<int64_t>(std::min(65536 / widest_, n / 8), 64, 1024);
  int64_t blocks = (n + block - 1) / block;
  parallel(blocks, n * std::max(params_size_ + 1, work_), [&](int64_t i) {
    int64_t first = i * block, rows = std::min(block, n - first);
    WorkspaceLease ws(*this, rows, false);
    use_inputs(x, first, rows, *ws);
    float* outputs[most_heads];
    for (size_t h = 0; h < heads(); h++) outputs[h] = y[h] + first * output_size(h);
    ExecContext p = context(state, rows, *ws);
    p.first = first;
    p.states = state.buffers;
    forward(p, *ws, outputs);
  });
}

void Program::test(const State& state, const Batches& batches, double* totals) const {
  check_bounds(batches, 0, batches.steps);
  WorkspaceLease ws(*this, largest_batch(batches, 0, batches.steps), false);
  double penalties = objectives_[0].penalties(kernels_, state.params, nullptr, nullptr);
  for (int64_t s = 0; s < batches.steps; s++) {
    ExecContext p = context(state, gather(batches, s, *ws), *ws);
    if (stop_requested(work_of(p.batch))) return;
    p.states = state.buffers;
    forward(p, *ws, nullptr);
    if (stopped()) return;
    add_totals(p, *ws, losses(p, *ws, false) + penalties, totals);
  }
}

double Program::gradient(const State& state, const Batches& batches, int64_t step,
                         float* gradient) const {
  check_bounds(batches, step, step + 1);
  int64_t first = batches.bounds[step], batch = batches.bounds[step + 1] - first;
  bool parts = parts_of(batch) > 1;
  WorkspaceLease ws(*this, rows_to_reserve(batches, step, step + 1), true);
  if (!parts) gather(batches, step, *ws);
  ExecContext p = context(state, batch, *ws);
  p.training = p.saves = true;
  p.gradient = gradient;
  p.overflowing = ws->overflowing.get();
  std::fill_n(gradient, params_size_, 0.0f);
  return parts ? in_parts(batches, first, p, *ws, nullptr) : forward_backward(p, *ws);
}

// One backward pass per output, with a separate gradient for each sample.
void Program::jacobian(const State& state, const Inputs* x, int64_t n, float* y,
                       float* jacobian) const {
  int64_t block = std::clamp<int64_t>(65536 / widest_, 64, 1024);
  int64_t outputs = output_size(), stride = outputs * params_size_;
  size_t head = size_t(graph_->heads[0]);
  check_rows(n);
  WorkspaceLease ws(*this, std::min(n, block), true);
  for (int64_t first = 0; first < n; first += block) {
    ExecContext p = context(state, std::min(block, n - first), *ws);
    if (stop_requested(work_of(p.batch))) return;
    p.saves = true;
    p.first = first;
    use_inputs(x, first, p.batch, *ws);
    forward(p, *ws, nullptr);
    if (stopped()) return;
    std::copy_n(ws->out[head], p.batch * outputs, y + first * outputs);
    float* rows = jacobian + first * stride;
    parallel(p.batch, p.batch * stride,
             [&](int64_t b) { std::fill_n(rows + b * stride, stride, 0.0f); });
    for (int64_t o = 0; o < outputs; o++, rows += params_size_) {
      if (!graph_->nodes[head].needed) break;
      float* dz = gradient_at(p, *ws, head);
      std::fill_n(dz, p.batch * outputs, 0.0f);
      for (int64_t b = 0; b < p.batch; b++) dz[b * outputs + o] = 1.0f;
      backward(p, *ws, rows, stride);
    }
  }
}

}  // namespace kurve
