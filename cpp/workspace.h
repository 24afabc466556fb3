// The memory of one call: it grows to the largest batch seen; after that, nothing is
// allocated.
#pragma once

#include <algorithm>
#include <new>

#include "graph.h"
#include "platform.h"

namespace kurve {

// Products step through a large matrix by rows, each row in a different page, so huge
// pages save most page-table lookups. Null if memory runs out.
inline float* allocate(size_t bytes) {
  constexpr size_t large = 2 << 20;
  size_t page = bytes < 2 * large ? 64 : large;
  void* memory = allocate_aligned(page, bytes);
  if (memory && page == large) prefer_large_pages(memory, bytes);
  return static_cast<float*>(memory);
}

struct Workspace {
  // The current batch: pointers to its rows, and memory for rows that are gathered.
  std::vector<const float*> x_at;  // of each input, then of each target
  std::vector<Targets> targets;
  std::vector<float*> x, y, weights;

  std::vector<float*> out, saved;   // of each node
  std::vector<const float*> value;  // pointers to the nodes' outputs
  std::vector<float*> gradient_of;  // of each node's output, if all are saved
  std::vector<float*> slots;        // see Node
  float *gradient = nullptr, *elements = nullptr;
  float* more_gradient = nullptr;  // of a node that shares variables
  double* rows = nullptr;
  float* scratch = nullptr;  // of the current op
  int64_t scratch_size = 0;
  std::unique_ptr<std::atomic<bool>[]> overflowing;  // per variable
  std::vector<double> totals;                        // after the current step
  std::vector<double> losses;                        // of each head, for a batch
  std::vector<double> clipping;                      // the optimizer's scratch
  std::vector<float> formulas;                       // scratch of its formulas
  Bounds bounds;                                     // of the trained state

  struct Sizes {  // floats per sample, except `params`
    const std::vector<int64_t>& inputs;
    std::vector<int64_t> targets;
    int64_t widest, output, rows, params;
    int64_t fused;  // batches up to this size save the gradient of every output
    const Graph& graph;
    const Kernels& kernels;
  };

  void reserve_for(const Optimizer& optimizer) {
    clipping.resize(size_t(optimizer.scratch()));
    formulas.resize(size_t(optimizer.formula_scratch()));
  }

  void reserve(int64_t batch, bool training, const Sizes& sizes) {
    if (batch <= batch_ && (training_ || !training)) return;
    batch = std::max(batch, batch_);
    training = training || training_;
    batch_ = 0;  // leave the workspace empty if the allocation throws
    size_t nodes = sizes.graph.nodes.size();
    out.assign(nodes, nullptr);
    saved.assign(nodes, nullptr);
    gradient_of.assign(nodes, nullptr);
    value.assign(nodes, nullptr);
    slots.assign(size_t(sizes.graph.slots), nullptr);
    x.assign(sizes.inputs.size(), nullptr);
    x_at.assign(sizes.inputs.size() + sizes.targets.size(), nullptr);
    y.assign(sizes.targets.size(), nullptr);
    weights.assign(sizes.targets.size(), nullptr);
    targets.assign(sizes.targets.size(), {nullptr, nullptr});
    losses.assign(sizes.targets.size(), 0);
    double most = double(sizes.graph.slots + 1) * double(sizes.widest) + 1;
    for (int64_t size : sizes.inputs) most += double(size);
    for (int64_t size : sizes.targets) most += double(size);
    for (const Node& node : sizes.graph.nodes)
      most += 6 * double(node.op->in + node.op->out + node.op->aux_per_sample);
    if (most * double(batch) > 1e17) throw std::bad_alloc();  // sizes would overflow
    lay_out(batch, training, sizes, nullptr);
    memory_.reset();  // never both at once
    memory_.reset(allocate(size_t(used_) * 4));
    if (!memory_) throw std::bad_alloc();
    lay_out(batch, training, sizes, memory_.get());
    batch_ = batch;
    training_ = training;
  }

  // Bytes that the last `reserve` asked for.
  double requested_bytes() const { return 4.0 * double(used_); }

  // Saves a state's vectors, and restores them.
  void save_state(const float* params, int64_t size, const float* slots, int64_t more) {
    saved_params_.assign(params, params + size);
    saved_slots_.assign(slots, slots + more);
  }
  void restore_state(float* params, float* slots) const {
    std::copy(saved_params_.begin(), saved_params_.end(), params);
    std::copy(saved_slots_.begin(), saved_slots_.end(), slots);
  }

 private:
  // Assigns the memory at `base`; with null, only counts.
  void lay_out(int64_t batch, bool training, const Sizes& sizes, float* base) {
    used_ = 0;
    auto allot = [&](int64_t n) {
      float* place = base ? base + used_ : nullptr;
      used_ += (n + 31) / 16 * 16;
      return place;
    };
    for (size_t k = 0; k < x.size(); k++) x[k] = allot(batch * sizes.inputs[k]);
    for (size_t h = 0; h < y.size(); h++) {
      y[h] = allot(batch * sizes.targets[h]);
      weights[h] = allot(batch);
    }
    for (float*& slot : slots) slot = allot(batch * sizes.widest);
    elements = allot(batch * sizes.output);
    rows = reinterpret_cast<double*>(allot(2 * batch * sizes.rows));
    for (size_t i = 0; training && i < out.size(); i++) {
      const Op& op = *sizes.graph.nodes[i].op;
      out[i] = allot(batch * (op.out + op.aux_per_sample) + op.aux_per_batch);
      if (op.saves) saved[i] = allot(batch * op.out);
      gradient_of[i] = allot(std::min(batch, sizes.fused) * op.out);
    }
    if (training) gradient = allot(sizes.params);
    if (training && sizes.graph.shares) more_gradient = allot(sizes.params);
    int64_t most = 0;
    for (const Node& node : sizes.graph.nodes)
      most = std::max(most, node.op->scratch(sizes.kernels, batch, training));
    scratch = allot(most), scratch_size = most;
  }

  std::unique_ptr<float, Release> memory_;
  std::vector<float> saved_params_, saved_slots_;
  int64_t batch_ = 0, used_ = 0;
  bool training_ = false;
};

}  // namespace kurve
