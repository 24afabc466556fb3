// Memory of one call: grows to the largest batch seen, then nothing is allocated.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "optimizer.h"

namespace kurve {

// Products step through a large matrix by rows, each row in another page: huge pages
// save most of the page-table lookups. Null where memory runs out.
inline float* allocate(size_t bytes) {
  constexpr size_t large = 2 << 20;
  size_t page = bytes < 2 * large ? 64 : large;
  bytes = (bytes + page - 1) / page * page;
  void* memory = std::aligned_alloc(page, bytes);
#ifdef MADV_HUGEPAGE
  if (memory && page == large) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return static_cast<float*>(memory);
}

struct Workspace {
  float *x = nullptr, *y = nullptr, *weights = nullptr;  // a gathered batch
  std::vector<float*> out, saved;                        // of each op
  std::vector<float*> deltas;  // gradients of each op's output, where all are kept
  float* ping_pong[2] = {};    // gradients (training) or outputs (inference)
  float *gradient = nullptr, *elements = nullptr;
  double* rows = nullptr;
  float* scratch = nullptr;                          // of the current op
  std::unique_ptr<std::atomic<bool>[]> overflowing;  // per variable
  std::vector<double> totals;                        // after the current step
  std::vector<double> clipping;                      // the optimizer's scratch
  Bounds bounds;                                     // of the state that is trained

  struct Sizes {  // floats per sample, except `fixed`
    int64_t x, y, widest, output, rows, fixed;
    int64_t fused;  // largest batch for which all deltas are kept
    const std::vector<std::unique_ptr<Op>>& ops;
    const Kernels& kernels;
  };

  void reserve(int64_t batch, bool training, const Sizes& sizes) {
    if (batch <= batch_ && (training_ || !training)) return;
    batch = std::max(batch, batch_);
    training = training || training_;
    batch_ = 0;  // empty if the allocation throws
    out.assign(sizes.ops.size(), nullptr);
    saved.assign(sizes.ops.size(), nullptr);
    deltas.assign(sizes.ops.size(), nullptr);
    double floats = double(sizes.x) + double(sizes.y) + 3 * double(sizes.widest) + 1;
    for (const auto& op : sizes.ops)
      floats += 6 * double(op->in + op->out + op->aux_per_sample);
    if (floats * double(batch) > 1e17) throw std::bad_alloc();  // sizes would overflow
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
  // Assigns places in the memory at `base`; with null, only counts.
  void lay_out(int64_t batch, bool training, const Sizes& sizes, float* base) {
    used_ = 0;
    auto allot = [&](int64_t n) {
      float* place = base ? base + used_ : nullptr;
      used_ += (n + 31) / 16 * 16;
      return place;
    };
    x = allot(batch * sizes.x);
    y = allot(batch * sizes.y);
    weights = allot(batch);
    for (float*& t : ping_pong) t = allot(batch * sizes.widest);
    elements = allot(batch * sizes.output);
    rows = reinterpret_cast<double*>(allot(2 * batch * sizes.rows));
    for (size_t i = 0; training && i < sizes.ops.size(); i++) {
      const Op& op = *sizes.ops[i];
      out[i] = allot(batch * (op.out + op.aux_per_sample) + op.aux_per_batch);
      if (sizes.ops[i]->saves) saved[i] = allot(batch * sizes.ops[i]->out);
      deltas[i] = allot(std::min(batch, sizes.fused) * sizes.ops[i]->out);
    }
    if (training) gradient = allot(sizes.fixed);
    int64_t largest = 0;
    for (const auto& op : sizes.ops)
      largest = std::max(largest, op->scratch(sizes.kernels, batch, training));
    scratch = allot(largest);
  }

  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> memory_;
  std::vector<float> saved_params_, saved_slots_;
  int64_t batch_ = 0, used_ = 0;
  bool training_ = false;
};

}  // namespace kurve
