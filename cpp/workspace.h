// Memory of one call: grows to the largest batch seen, then nothing is allocated.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "optimizer.h"

namespace kurve {

// Products walk over a large matrix in pieces of rows, each of them in another page:
// with large pages they wait less for the tables of pages. Null where there is none.
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
  std::vector<float*> out, kept;                         // of each op
  std::vector<float*> delta;  // gradients of each op's output, where all are kept
  float* turn[2] = {};  // gradients (training) or outputs (inference) take turns here
  float *gradient = nullptr, *elements = nullptr;
  double* rows = nullptr;
  float* scratch = nullptr;                          // of the op at work
  std::unique_ptr<std::atomic<bool>[]> overflowing;  // per variable
  std::vector<double> totals;                        // after the step under way
  std::vector<double> clipping;                      // the optimizer's scratch
  Bounds bounds;                                     // of the state that is trained

  struct Sizes {  // floats per sample but for `fixed`
    int64_t x, y, widest, output, rows, fixed;
    int64_t fused;  // batches up to this size keep every op's delta
    const std::vector<std::unique_ptr<Op>>& ops;
    const Kernels& kernels;
  };

  void reserve(int64_t batch, bool training, const Sizes& sizes) {
    if (batch <= batch_ && (training_ || !training)) return;
    batch = std::max(batch, batch_);
    training = training || training_;
    batch_ = 0;  // nothing is to be had if an allocation throws
    out.assign(sizes.ops.size(), nullptr);
    kept.assign(sizes.ops.size(), nullptr);
    delta.assign(sizes.ops.size(), nullptr);
    double most = double(sizes.x) + double(sizes.y) + 3 * double(sizes.widest) + 1;
    for (const auto& op : sizes.ops)
      most += 6 * double(op->in + op->out + op->aux_per_sample);
    if (most * double(batch) > 1e17) throw std::bad_alloc();  // sizes would overflow
    lay(batch, training, sizes, nullptr);
    memory_.reset();  // never both at once
    memory_.reset(allocate(size_t(used_) * 4));
    if (!memory_) throw std::bad_alloc();
    lay(batch, training, sizes, memory_.get());
    batch_ = batch;
    training_ = training;
  }

  // Bytes that the last `reserve` asked for.
  double wanted() const { return 4.0 * double(used_); }

  // A copy of a state's vectors, and back.
  void save_state(const float* params, int64_t size, const float* slots, int64_t more) {
    kept_params_.assign(params, params + size);
    kept_slots_.assign(slots, slots + more);
  }
  void restore_state(float* params, float* slots) const {
    std::copy(kept_params_.begin(), kept_params_.end(), params);
    std::copy(kept_slots_.begin(), kept_slots_.end(), slots);
  }

 private:
  // Cuts memory that begins at `base`; with null, only adds up.
  void lay(int64_t batch, bool training, const Sizes& sizes, float* base) {
    used_ = 0;
    auto take = [&](int64_t n) {
      float* place = base ? base + used_ : nullptr;
      used_ += (n + 31) / 16 * 16;
      return place;
    };
    x = take(batch * sizes.x);
    y = take(batch * sizes.y);
    weights = take(batch);
    for (float*& t : turn) t = take(batch * sizes.widest);
    elements = take(batch * sizes.output);
    rows = reinterpret_cast<double*>(take(2 * batch * sizes.rows));
    for (size_t i = 0; training && i < sizes.ops.size(); i++) {
      const Op& op = *sizes.ops[i];
      out[i] = take(batch * (op.out + op.aux_per_sample) + op.aux_per_batch);
      if (sizes.ops[i]->keeps) kept[i] = take(batch * sizes.ops[i]->out);
      delta[i] = take(std::min(batch, sizes.fused) * sizes.ops[i]->out);
    }
    if (training) gradient = take(sizes.fixed);
    int64_t most = 0;
    for (const auto& op : sizes.ops)
      most = std::max(most, op->scratch(sizes.kernels, batch, training));
    scratch = take(most);
  }

  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> memory_;
  std::vector<float> kept_params_, kept_slots_;
  int64_t batch_ = 0, used_ = 0;
  bool training_ = false;
};

}  // namespace kurve
