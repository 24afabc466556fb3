// Common to convolutions and transposed convolutions: their variables, and the sums for
// dW.
#pragma once

#include <algorithm>
#include <cmath>

#include "dispatch.h"
#include "pool.h"
#include "shapes.h"

namespace kurve {

// dW is the sum of partial sums over blocks of images, added in order. There are as
// many blocks as fit into `max_sums` floats; their number depends on the batch size and
// the shapes only.
class Convolution : public Op {
 public:
  Convolution(const OpSpec& spec, const std::vector<VariableSpec>& params,
              bool transposed)
      : activation_(spec.attrs) {
    kernel_ = variable_index(spec.params, "kernel");
    const VariableSpec& kernel = params[size_t(kernel_)];
    kernel_offset_ = kernel.offset;
    train_kernel_ = kernel.trainable;
    int64_t bias_size = -1;
    if (auto found = spec.params.find("bias"); found != spec.params.end()) {
      bias_ = found->second;
      const VariableSpec& bias = params[size_t(bias_)];
      bias_offset_ = bias.offset;
      train_bias_ = bias.trainable;
      bias_size = bias.size();
    }
    c_ = conv_of(spec, kernel.size(), bias_size, transposed);
    taps_ = c_.kh * c_.kw * (c_.I / c_.groups);
    outputs_ = transposed ? c_.I : c_.O;
    sums_size_ = kernels().images->sums_size(c_);
    trainable = train_kernel_ || train_bias_;
    saves = activation_.saves;
    rows = never_fused;
  }

  Derivative derivative(const float* y, const float* saved) const override {
    return activation_.derivative(y, saved);
  }

 protected:
  static constexpr int64_t balanced_tasks = 16;  // enough to keep the threads busy
  static constexpr int64_t max_blocks = 16, max_sums = 1 << 20;

  static int64_t round_up_16(int64_t n) { return (n + 15) / 16 * 16; }

  // Copies of the kernel in the order in which forward or add_dx reads it, or the
  // kernel itself if it is read in place.
  const float* packed(const ExecContext& ctx) const {
    const ImageKernels& k = *ctx.kernels.images;
    return copied(ctx, k.pack_tasks(c_), k.pack);
  }
  const float* transposed(const ExecContext& ctx) const {
    const ImageKernels& k = *ctx.kernels.images;
    return copied(ctx, k.transpose_tasks(c_), k.transpose);
  }

  int64_t blocks(int64_t batch) const {
    int64_t limit = std::clamp(max_sums / block_stride(), int64_t(1), max_blocks);
    return std::min(batch, limit);
  }
  // If there are few blocks, they are divided further, by rows of taps.
  int64_t pieces(const Kernels& kernels, int64_t parts) const {
    return parts >= balanced_tasks / 2 ? 1 : kernels.images->sums_pieces(c_);
  }
  // Floats per block: sums for the kernel, sums for the bias, and the bias sums of one
  // image.
  int64_t block_stride() const {
    return round_up_16(sums_size_) + 2 * round_up_16(outputs_);
  }
  float* bias_sums(float* sums) const { return sums + round_up_16(sums_size_); }

  // Clears the i-th of `pieces` pieces; the bias belongs to the first.
  void clear(const Kernels& kernels, float* sums, int64_t i, int64_t pieces) const {
    int64_t all = kernels.images->sums_pieces(c_);
    int64_t size = sums_size_ / all;
    if (train_kernel_)
      std::fill(sums + size * (all * i / pieces),
                sums + size * (all * (i + 1) / pieces), 0.0f);
    if (i == 0) std::fill_n(bias_sums(sums), outputs_, 0.0f);
  }
  // Adds the contribution of rows of dz (of the convolution c_) to the i-th of `pieces`
  // pieces.
  void add_kernel(const Kernels& kernels, const float* x, const float* dz, int64_t row,
                  int64_t count, float* sums, int64_t i, int64_t pieces) const {
    if (!train_kernel_) return;
    int64_t all = kernels.images->sums_pieces(c_);
    for (int64_t piece = all * i / pieces; piece < all * (i + 1) / pieces; piece++)
      kernels.images->add_sums(c_, x, dz, row, count, sums, piece);
  }
  // Adds the bias gradient over `pixels` pixels of the op's own dz.
  void add_bias(const Kernels& kernels, const float* dz, int64_t pixels, float* sums,
                int64_t i) const {
    if (i > 0 || !train_bias_) return;
    float *bias = bias_sums(sums), *part = bias + round_up_16(outputs_);
    kernels.sum_rows(dz, pixels, outputs_, 0, outputs_, part);
    for (int64_t o = 0; o < outputs_; o++) bias[o] += part[o];
  }

  // Adds up blocks of sums, `block_stride` apart, and writes the gradient.
  void finish(const ExecContext& ctx, float* sums, int64_t parts, float* gradient,
              bool check) const {
    finish_kernel(ctx, sums, parts, gradient, check);
    finish_bias(ctx, sums, parts, gradient, check);
  }
  void finish_kernel(const ExecContext& ctx, const float* sums, int64_t parts,
                     float* gradient, bool check) const {
    if (!train_kernel_) return;
    int64_t size = std::max<int64_t>(1, 4096 / c_.O);  // rows of a task
    parallel((taps_ + size - 1) / size, taps_ * c_.O * parts, [&](int64_t task) {
      int64_t row = task * size, end = std::min(taps_, row + size);
      float* to = gradient + kernel_offset_;
      for (int64_t r = row; r < end; r++)
        ctx.kernels.images->sums_row(c_, sums, parts, block_stride(), r, to + r * c_.O);
      if (check) check_overflow(ctx, to + row * c_.O, (end - row) * c_.O, kernel_);
    });
  }
  void finish_bias(const ExecContext& ctx, float* sums, int64_t parts, float* gradient,
                   bool check) const {
    if (!train_bias_) return;
    float* to = gradient + bias_offset_;
    const float* from = bias_sums(sums);
    std::copy_n(from, outputs_, to);
    for (int64_t i = 1; i < parts; i++)
      for (int64_t o = 0; o < outputs_; o++) to[o] += from[i * block_stride() + o];
    if (check) check_overflow(ctx, to, outputs_, bias_);
  }

  Conv c_;
  OutputActivation activation_;
  int kernel_ = -1, bias_ = -1;
  int64_t kernel_offset_ = 0, bias_offset_ = 0, taps_, outputs_, sums_size_;
  bool train_kernel_ = false, train_bias_ = false;

  template <class Copy>
  const float* copied(const ExecContext& ctx, int64_t tasks, Copy copy) const {
    const float* kernel = ctx.params + kernel_offset_;
    if (tasks == 0) return kernel;
    parallel(tasks, taps_ * c_.O * 4,
             [&](int64_t task) { copy(c_, kernel, ctx.scratch, task); });
    return ctx.scratch;
  }
};

}  // namespace kurve
