// The training loop of a Program.
#include <algorithm>
#include <array>

#include "execution.h"
#include "float_mode.h"
#include "pool.h"
#include "stop_token.h"

namespace kurve {

// How the gradients of a step reach the variables.
enum class Program::UpdateMode : int {
  fused,     // each is used as it is computed; nothing can overflow
  separate,  // all are computed first; nothing can overflow
  checked,   // all are computed first; undone if a result is not finite
};

namespace {

bool all_finite(const float* x, int64_t n) {
  int infinite = 0;  // without a way out of the loop, so that it is vectorised
  for (int64_t i = 0; i < n; i++) infinite |= !(x[i] - x[i] == 0);
  return !infinite;
}

}  // namespace

// Whether some gradient exceeds safe_sum, and so may not be finite.
bool Program::any_suspicious(const Workspace& ws) const {
  return std::any_of(ws.overflowing.get(), ws.overflowing.get() + params_.size(),
                     [](const std::atomic<bool>& suspicious) {
                       return suspicious.load(std::memory_order_relaxed);
                     });
}

// The first trainable variable whose part of `vector` (P,) is not finite, or null.
const VariableSpec* Program::first_nonfinite(const float* vector) const {
  for (const VariableSpec& s : params_)
    if (s.trainable && !all_finite(vector + s.offset, s.size())) return &s;
  return nullptr;
}

// The first output of several whose loss is not finite, and has a name.
std::string Program::nonfinite_loss(const Workspace& ws) const {
  for (size_t h = 0; h < heads() && heads() > 1; h++)
    if (ws.losses[h] - ws.losses[h] != 0 && !head_names_[h].empty())
      return "the loss of " + head_names_[h];
  return "the loss";
}

std::string Program::train(State& state, const Batches& batches, int64_t first,
                           int64_t last, double* totals, Share* share) const {
  check_bounds(batches, first, last);
  int64_t reserved = share ? largest_batch(batches, first, last)
                           : rows_to_reserve(batches, first, last);
  WorkspaceLease ws(*this, reserved, true);
  FlushSubnormals flush(true);
  std::vector<double>& sums = ws->totals;
  ws->bounds = optimizer_->scan_bounds(kernels_, state.slots, params_size_);
  for (int64_t s = first; s < last; s++) {
    int64_t start = batches.bounds[s], batch = batches.bounds[s + 1] - start;
    if (share) share->begin(batch);
    bool divided = share && share->divides();
    bool parts = !share && parts_of(batch) > 1;
    if (divided) {
      share->weights.clear();
      for (const Targets& t : batches.targets)
        share->weights.push_back(weights_sum(t, batches, start, batch));
      gather_rows(batches, start + share->first, share->rows, *ws);
    } else if (!parts) {
      gather(batches, s, *ws);
    }
    ExecContext ctx = context(state, divided ? share->rows : batch, *ws);
    if (stop_requested(work_of(ctx.batch))) return "";
    ctx.training = ctx.saves = true;
    if (divided) ctx.share = share, ctx.first = share->first;
    ctx.gradient = ws->gradient;
    for (int slot : graph_->unreached)
      std::fill_n(ctx.gradient + params_[size_t(slot)].offset,
                  params_[size_t(slot)].size(), 0.0f);
    ctx.overflowing = ws->overflowing.get();
    for (size_t i = 0; i < params_.size(); i++)
      ws->overflowing[i].store(false, std::memory_order_relaxed);
    std::atomic<bool> may_overflow{false};
    float learning_rate = batches.learning_rates[s];
    bool bounded = optimizer_->cannot_overflow(learning_rate, ws->bounds);
    bool separate = divided || parts || ctx.batch > fused_batch_;
    UpdateMode mode = !bounded   ? UpdateMode::checked
                      : separate ? UpdateMode::separate
                                 : UpdateMode::fused;
    if (mode == UpdateMode::fused) ctx.may_overflow = &may_overflow;
    std::copy_n(totals, sums.size(), sums.begin());
    double loss = divided ? shared_forward_backward(ctx, *ws, sums.data())
                  : parts ? in_parts(batches, start, ctx, *ws, sums.data())
                          : forward_backward(ctx, *ws);
    if (stopped()) return "";
    if (!(loss - loss == 0)) return nonfinite_loss(*ws);
    // No variable changes before every gradient is known to be finite.
    if (may_overflow) {
      mode = UpdateMode::separate;
      run_weight_tasks(ctx, *ws);
    }
    if (divided) check_overflow(ctx, ctx.gradient, params_size_, 0);
    if (any_suspicious(*ws)) mode = UpdateMode::checked;

    add_losses(batch, *ws, loss, sums.data());
    if (!divided && !parts) add_metrics(ctx, *ws, sums.data());
    if (stopped()) return "";
    ScopedStopToken until_applied(nullptr);
    std::string error = update(state, ctx, mode, learning_rate, *ws);
    if (!error.empty()) return error;
    std::copy(sums.begin(), sums.end(), totals);
    state.step++;
  }
  return "";
}

std::string Program::update_by(State& state, const float* const* gradients,
                               float learning_rate) const {
  ScopedStopToken until_applied(nullptr);
  WorkspaceLease ws(*this, 1, true);
  FlushSubnormals flush(true);
  constexpr int64_t piece = 8192;
  for (size_t i = 0; i < params_.size(); i++) {
    const VariableSpec& v = params_[i];
    ws->overflowing[i].store(false, std::memory_order_relaxed);
    if (!v.trainable) continue;
    parallel((v.size() + piece - 1) / piece, v.size() * 4, [&](int64_t k) {
      int64_t first = k * piece, n = std::min(piece, v.size() - first);
      const float* from = gradients[i] + first;
      std::copy_n(from, n, ws->gradient + v.offset + first);
      if (!kernels_.in_safe_range(from, n))
        ws->overflowing[i].store(true, std::memory_order_relaxed);
    });
  }
  ws->bounds = optimizer_->scan_bounds(kernels_, state.slots, params_size_);
  bool bounded = optimizer_->cannot_overflow(learning_rate, ws->bounds);
  UpdateMode mode =
      bounded && !any_suspicious(*ws) ? UpdateMode::separate : UpdateMode::checked;
  std::string error = update(state, context(state, 1, *ws), mode, learning_rate, *ws);
  if (error.empty()) state.step++;
  return error;
}

void Program::commit_buffers(State& state, const ExecContext& ctx,
                             const Workspace& ws) const {
  for (size_t i = 0; i < graph_->nodes.size(); i++)
    graph_->nodes[i].op->commit_buffers(ctx, ws.out[i], state.buffers);
}

// One update of all variables, or none: returns what would not be finite, or "".
std::string Program::update(State& state, const ExecContext& ctx, UpdateMode mode,
                            float learning_rate, Workspace& ws) const {
  if (mode == UpdateMode::checked && any_suspicious(ws))
    if (const VariableSpec* variable = first_nonfinite(ws.gradient))
      return "the gradient of " + variable->name;
  for (size_t i = 0; i < graph_->nodes.size(); i++)
    if (int buffer = graph_->nodes[i].op->nonfinite_buffer(ctx, ws.out[i]); buffer >= 0)
      return "the new value of " + buffers_[size_t(buffer)].name;
  int64_t slots = optimizer_->slots() * params_size_;
  std::array<double, Optimizer::max_scalars> scalars;
  std::copy_n(state.scalars, optimizer_->scalars(), scalars.begin());
  if (mode == UpdateMode::checked)
    ws.save_state(state.params, params_size_, state.slots, slots);
  UpdateTarget target{
      optimizer_->params_for_step(state.scalars, state.step, learning_rate),
      state.params, state.slots, params_size_, optimizer_->slots()};
  if (mode == UpdateMode::fused) {
    ExecContext fused = ctx;
    fused.update = &target;
    run_weight_tasks(fused, ws);
  } else {
    optimizer_->apply(kernels_, target, ws.gradient, ws.clipping.data(),
                      ws.formulas.data(), state.step, learning_rate);
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
  commit_buffers(state, ctx, ws);
  return "";
}

}  // namespace kurve
