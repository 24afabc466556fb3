#include "program.h"

#include <algorithm>
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

// A large batch is computed in parts, so that all values of a part stay in the L2 cache
// and a thread takes a part through all ops. Each part has its own gradient, so
// only models with few parameters gain. Where a few samples fill the cache (attention
// over many steps), parts have as few as a Share can have.
constexpr int64_t part_floats = 1 << 17, smallest_part = 4, max_part = 1024;
constexpr int64_t max_part_params = 1 << 16;
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
  if (d.inputs.empty() || d.heads.empty() || d.heads.size() > max_heads)
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
  if (d.separable && !fixed_rows_ && params_size_ <= max_part_params) {
    int64_t floats = graph_->slots * widest_, least = max_part;  // floats: per row
    for (const Node& node : graph_->nodes) {
      floats += node.op->out * (node.op->saves ? 2 : 1) + node.op->aux_per_sample;
      least = std::min(least, node.op->min_part);
    }
    if (2 * floats > part_floats) least = smallest_part;
    int64_t size = std::clamp(part_floats / floats, least, max_part);
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
    task_memory_.emplace();
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(batch, workspace_->requested_bytes());
  }
}

Program::WorkspaceLease::~WorkspaceLease() {
  std::lock_guard lock(fork_safe_mutex());
  program_.free_.push_back(std::move(workspace_));
}

bool Program::has_loss() const {
  return std::any_of(objectives_.begin(), objectives_.end(),
                     [](const Objective& o) { return o.has_loss(); });
}

bool Program::uses_target(size_t h) const {
  return objectives_[h].uses_target() || graph_->reads_target[h];
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
    float* outputs[max_heads];
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
