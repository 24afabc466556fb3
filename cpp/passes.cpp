// The forward and the backward pass through the nodes of a graph.
#include <algorithm>
#include <cassert>
#include <limits>

#include "dispatch.h"
#include "execution.h"
#include "pool.h"
#include "stop_token.h"

namespace kurve {

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
      const float* xs[max_inputs];
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
    const float* xs[max_inputs];
    float* dx[max_inputs];
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

}  // namespace kurve
