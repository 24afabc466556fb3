#include <algorithm>
#include <cmath>

#include "pool.h"
#include "shapes.h"

namespace kurve {
namespace {

// Sums are computed in blocks of rows and added in order; the number of blocks depends
// on the number of rows only.
constexpr int64_t max_blocks = 16, rows_of_block = 64;

int64_t blocks_of(int64_t rows) {
  return std::clamp<int64_t>(rows / rows_of_block, 1, max_blocks);
}

// Calls body(first, rows, block) for blocks of rows of C elements.
template <class Body>
void parallel_blocks(int64_t R, int64_t blocks, int64_t C, Body&& body) {
  parallel(blocks, R * C * element_cost, [&](int64_t i) {
    int64_t first = R * i / blocks;
    body(first, R * (i + 1) / blocks - first, i);
  });
}

// gamma and beta, if the layer has them.
class ScaleAndShift : public Op {
 public:
  ScaleAndShift(const OpSpec& spec, const std::vector<VariableSpec>& params, int64_t C)
      : C_(C) {
    check_same_shape(spec);
    gamma_ = variable(spec, params, "gamma");
    beta_ = variable(spec, params, "beta");
    trainable = gamma_.trained || beta_.trained;
    rows = never_fused;
    work = product_of(spec.in_shape);
  }

 protected:
  struct Variable {
    int index = -1;
    int64_t offset = 0;
    bool trained = false;
  };
  Variable variable(const OpSpec& spec, const std::vector<VariableSpec>& params,
                    const char* role) const {
    auto found = spec.params.find(role);
    if (found == spec.params.end()) return {};
    const VariableSpec& v = params[size_t(found->second)];
    if (v.size() != C_) refuse_shapes(spec, "its input");
    return {found->second, v.offset, v.trainable};
  }
  NormParams norm_params(const ExecContext& ctx, const float* mean,
                         const float* inv_std) const {
    return {C_, mean, inv_std, gamma_.index < 0 ? nullptr : ctx.params + gamma_.offset,
            beta_.index < 0 ? nullptr : ctx.params + beta_.offset};
  }
  // Writes the gradients (2, C) of gamma and beta.
  void write(const ExecContext& ctx, const double* sums, float* gradient,
             bool check) const {
    const Variable* variables[] = {&gamma_, &beta_};
    for (int k = 0; k < 2; k++) {
      if (!variables[k]->trained) continue;
      float* to = gradient + variables[k]->offset;
      for (int64_t c = 0; c < C_; c++) to[c] = float(sums[k * C_ + c]);
      if (check) check_overflow(ctx, to, C_, variables[k]->index);
    }
  }
  // Adds the (2, C) numbers of all blocks into the first.
  void add_blocks(double* sums, int64_t blocks) const {
    for (int64_t i = 1; i < blocks; i++)
      for (int64_t c = 0; c < 2 * C_; c++) sums[c] += sums[2 * C_ * i + c];
  }

  int64_t C_;
  Variable gamma_, beta_;
};

// Stores after y: mean (C,), inv_std (C,), and in training mean and variance of the
// batch, towards which the step moves the moving ones: once for each operation of a
// shared layer, in turn.
class BatchNormalization : public ScaleAndShift {
 public:
  BatchNormalization(const OpSpec& spec, const std::vector<VariableSpec>& params,
                     const std::vector<VariableSpec>& buffers)
      : ScaleAndShift(spec, params, last_axis(spec, spec.in_shape)),
        momentum_(number(spec.attrs, "momentum")),
        epsilon_(float(number(spec.attrs, "epsilon"))),
        frozen_(number(spec.attrs, "frozen") != 0) {
    for (int k = 0; k < 2; k++) {
      moving_[k] = variable_index(spec.buffers, k ? "moving_variance" : "moving_mean");
      offset_[k] = buffers[size_t(moving_[k])].offset;
      if (buffers[size_t(moving_[k])].size() != C_) refuse_shapes(spec, "its input");
    }
    aux_per_batch = 4 * C_;
  }

  int64_t scratch(const Kernels&, int64_t, bool) const override {
    return floats_for_doubles((2 * max_blocks + 2) * C_) + 2 * C_ + 16;
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    normalize(ctx, x, ctx.batch * out / C_, double(ctx.all_rows() * out / C_), x, y);
  }

  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    propagate(ctx, x, y, dz, dx, before, nullptr, double(ctx.all_rows() * out / C_));
  }

  void jacobian(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* to, int64_t stride) const override {
    const float* mean = y + ctx.batch * out;
    NormParams p = norm_params(ctx, mean, mean + C_);
    auto* sums = reinterpret_cast<double*>(ctx.scratch);
    for (int64_t b = 0; b < ctx.batch; b++) {
      ctx.kernels.images->column_gradients(p, x + b * in, dz + b * in, in / C_, sums);
      write(ctx, sums, to + b * stride, false);
    }
  }

  int nonfinite_buffer(const ExecContext& ctx, const float* y) const override {
    if (!uses_batch_statistics(ctx)) return -1;
    const float* learned = y + ctx.batch * out + 2 * C_;
    for (int k = 0; k < 2; k++)
      for (int64_t c = 0; c < C_; c++)
        if (!std::isfinite(learned[k * C_ + c])) return moving_[k];
    return -1;
  }
  void commit_buffers(const ExecContext& ctx, const float* y,
                      float* buffers) const override {
    if (!uses_batch_statistics(ctx)) return;
    const float* learned = y + ctx.batch * out + 2 * C_;
    float decay = float(momentum_), rest = float(1 - momentum_);
    for (int k = 0; k < 2; k++)
      for (int64_t c = 0; c < C_; c++) {
        float& moving = buffers[offset_[k] + c];
        moving = moving * decay + learned[k * C_ + c] * rest;
      }
  }

 protected:
  // y from x (R, C), standardized by the statistics of the rows `counted`, whose sums
  // are divided by `count`.
  void normalize(const ExecContext& ctx, const float* counted, int64_t rows_counted,
                 double count, const float* x, float* y) const {
    const ImageKernels& k = *ctx.kernels.images;
    int64_t R = ctx.batch * out / C_;
    auto* sums = reinterpret_cast<double*>(ctx.scratch);
    // In inference there is no extra memory after y.
    float* mean = ctx.saves
                      ? y + ctx.batch * out
                      : ctx.scratch + floats_for_doubles((2 * max_blocks + 2) * C_);
    float* inv_std = mean + C_;
    if (uses_batch_statistics(ctx)) {
      double* means = sums + 2 * max_blocks * C_;
      double* variances = means + C_;
      moments(ctx, counted, rows_counted, count, nullptr, sums, means);
      moments(ctx, counted, rows_counted, count, means, sums, variances);
      float* learned = inv_std + C_;
      for (int64_t c = 0; c < C_; c++) {
        mean[c] = float(means[c]);
        float variance = float(variances[c]);
        inv_std[c] = 1 / std::sqrt(variance + epsilon_);
        learned[c] = mean[c];
        learned[C_ + c] = variance;
      }
    } else {
      for (int64_t c = 0; c < C_; c++) {
        mean[c] = ctx.buffers[offset_[0] + c];
        inv_std[c] = 1 / std::sqrt(ctx.buffers[offset_[1] + c] + epsilon_);
      }
    }
    NormParams p = norm_params(ctx, mean, inv_std);
    parallel_blocks(R, blocks_of(R), C_, [&](int64_t first, int64_t rows, int64_t) {
      k.standardize_columns(p, x + first * C_, y + first * C_, rows);
    });
  }

  // The backward pass of that. Rows with mask 0 did not contribute to the statistics.
  void propagate(const ExecContext& ctx, const float* x, const float* y,
                 const float* dz, float* dx, const Derivative& before,
                 const float* mask, double count) const {
    const ImageKernels& k = *ctx.kernels.images;
    int64_t R = ctx.batch * out / C_;
    const float* mean = y + ctx.batch * out;
    NormParams p = norm_params(ctx, mean, mean + C_);
    auto* sums = reinterpret_cast<double*>(ctx.scratch);
    float* means = ctx.scratch + floats_for_doubles((2 * max_blocks + 2) * C_);
    if (uses_batch_statistics(ctx) || (ctx.gradient && trainable)) {
      parallel_blocks(R, blocks_of(R), C_, [&](int64_t first, int64_t rows, int64_t i) {
        k.column_gradients(p, x + first * C_, dz + first * C_, rows, sums + 2 * C_ * i);
      });
      add_blocks(sums, blocks_of(R));
      if (ctx.gradient) write(ctx, sums, ctx.gradient, true);
      if (uses_batch_statistics(ctx)) ctx.add(sums, 2 * C_);
      for (int64_t c = 0; c < 2 * C_; c++) means[c] = float(sums[c] / count);
    }
    if (!dx) return;
    parallel_blocks(R, blocks_of(R), C_, [&](int64_t first, int64_t rows, int64_t) {
      float* to = dx + first * C_;
      const float* own = uses_batch_statistics(ctx) ? means : nullptr;
      for (int64_t r = first, last; r < first + rows; r = last) {
        for (last = mask ? r + 1 : first + rows; last < first + rows; last++)
          if ((mask[last] != 0) != (mask[r] != 0)) break;
        k.columns_backward(p, mask && mask[r] == 0 ? nullptr : own, x + r * C_,
                           dz + r * C_, dx + r * C_, last - r);
      }
      ctx.kernels.differentiate(before, first * C_, to, to, rows * C_);
    });
  }

  bool uses_batch_statistics(const ExecContext& ctx) const {
    return ctx.training && !frozen_;
  }

 private:
  void moments(const ExecContext& ctx, const float* x, int64_t R, double count,
               const double* mean, double* sums, double* to) const {
    parallel_blocks(R, blocks_of(R), C_, [&](int64_t first, int64_t rows, int64_t i) {
      ctx.kernels.images->column_moments(x + first * C_, rows, C_, mean,
                                         sums + 2 * C_ * i);
    });
    add_blocks(sums, blocks_of(R));
    ctx.add(sums, C_);
    for (int64_t c = 0; c < C_; c++) to[c] = sums[c] / count;
  }

  double momentum_;
  float epsilon_;
  bool frozen_;
  int moving_[2];
  int64_t offset_[2];
};

// The same, with a mask as second input: only unmasked rows contribute to the
// statistics.
class MaskedBatchNormalization : public BatchNormalization {
 public:
  MaskedBatchNormalization(const OpSpec& spec, const std::vector<VariableSpec>& params,
                           const std::vector<VariableSpec>& buffers)
      : BatchNormalization(spec, params, buffers) {
    if (spec.more_shapes.size() != 1 ||
        product_of(spec.more_shapes[0]) * C_ != product_of(spec.in_shape))
      refuse_shapes(spec, "its mask");
  }

  int64_t scratch(const Kernels& k, int64_t batch, bool training) const override {
    return BatchNormalization::scratch(k, batch, training) + batch * out + 16;
  }

  void forward_many(const ExecContext& ctx, const float* const* x, float* y,
                    float*) const override {
    if (!uses_batch_statistics(ctx)) {
      forward(ctx, x[0], y, nullptr);
      return;
    }
    int64_t R = ctx.batch * out / C_, counted = 0;
    float* packed = ctx.scratch + BatchNormalization::scratch(ctx.kernels, 0, true);
    for (int64_t r = 0; r < R; r++)
      if (x[1][r] != 0) std::copy_n(x[0] + r * C_, C_, packed + counted++ * C_);
    double all = double(counted);
    ctx.add(&all, 1);
    normalize(ctx, packed, counted, all + fuzz, x[0], y);
  }

  void backward_many(const ExecContext& ctx, const float* const* x, const float* y,
                     const float* dz, float* const* dx) const override {
    if (dx[1]) std::fill_n(dx[1], ctx.batch * out / C_, 0.0f);
    const float* mask = uses_batch_statistics(ctx) ? x[1] : nullptr;
    double counted = 0;
    for (int64_t r = 0; mask && r < ctx.batch * out / C_; r++) counted += mask[r] != 0;
    if (mask) ctx.add(&counted, 1);
    propagate(ctx, x[0], y, dz, dx[0], {}, mask, counted + fuzz);
  }

 private:
  static constexpr double fuzz = 1e-7;  // Keras adds it to the number of rows
};

// Stores after y: mean and inv_std of each row.
class LayerNormalization : public ScaleAndShift {
 public:
  LayerNormalization(const OpSpec& spec, const std::vector<VariableSpec>& params)
      : ScaleAndShift(spec, params, integer(spec.attrs, "size", 1)),
        epsilon_(float(number(spec.attrs, "epsilon"))) {
    rows_per_sample_ = product_of(spec.in_shape) / C_;
    if (rows_per_sample_ * C_ != product_of(spec.in_shape))
      refuse_shapes(spec, "its input");
    aux_per_sample = 2 * rows_per_sample_;
  }

  int64_t scratch(const Kernels&, int64_t batch, bool) const override {
    return floats_for_doubles(2 * max_blocks * C_) + 2 * rows_per_sample_ * batch;
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    int64_t R = ctx.batch * rows_per_sample_;
    float* means = ctx.saves ? y + ctx.batch * out : ctx.scratch;
    NormParams p = norm_params(ctx, nullptr, nullptr);
    parallel_blocks(R, blocks_of(R), C_, [&](int64_t first, int64_t rows, int64_t) {
      ctx.kernels.images->standardize_rows(p, epsilon_, x + first * C_, y + first * C_,
                                           rows, means + first, means + R + first);
    });
  }

  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    int64_t R = ctx.batch * rows_per_sample_;
    const float* means = y + ctx.batch * out;
    bool needs_gradient = ctx.gradient && trainable;
    NormParams p = norm_params(ctx, nullptr, nullptr);
    auto* sums = reinterpret_cast<double*>(ctx.scratch);
    parallel_blocks(R, blocks_of(R), C_, [&](int64_t first, int64_t rows, int64_t i) {
      double* block_sums = needs_gradient ? sums + 2 * C_ * i : nullptr;
      if (block_sums) std::fill_n(block_sums, 2 * C_, 0.0);
      float* to = dx ? dx + first * C_ : nullptr;
      ctx.kernels.images->rows_backward(p, x + first * C_, dz + first * C_, to, rows,
                                        means + first, means + R + first, block_sums);
      if (to) ctx.kernels.differentiate(before, first * C_, to, to, rows * C_);
    });
    if (!needs_gradient) return;
    add_blocks(sums, blocks_of(R));
    write(ctx, sums, ctx.gradient, true);
  }

  void jacobian(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* to, int64_t stride) const override {
    int64_t R = ctx.batch * rows_per_sample_;
    const float* means = y + ctx.batch * out;
    auto* sums = reinterpret_cast<double*>(ctx.scratch);
    for (int64_t b = 0; b < ctx.batch; b++) {
      std::fill_n(sums, 2 * C_, 0.0);
      ctx.kernels.images->rows_backward(norm_params(ctx, nullptr, nullptr), x + b * in,
                                        dz + b * in, nullptr, rows_per_sample_,
                                        means + b * rows_per_sample_,
                                        means + R + b * rows_per_sample_, sums);
      write(ctx, sums, to + b * stride, false);
    }
  }

 private:
  // Rows are long, so a single row may be a block.
  static int64_t blocks_of(int64_t R) { return std::min(R, max_blocks); }

  int64_t rows_per_sample_;
  float epsilon_;
};

// y = x scale + offset, each a number or a row (C,) from the buffers.
class Scale : public Op {
 public:
  Scale(const OpSpec& spec, const std::vector<VariableSpec>& buffers)
      : C_(last_axis(spec, spec.in_shape)) {
    for (int k = 0; k < 2; k++) {
      const char* role = k ? "offset" : "scale";
      if (auto found = spec.buffers.find(role); found != spec.buffers.end()) {
        offset_[k] = buffers[size_t(found->second)].offset;
        if (buffers[size_t(found->second)].size() != C_)
          refuse_shapes(spec, "its input");
      } else {
        number_[k] = float(number(spec.attrs, role));
      }
    }
    check_same_shape(spec);
    period_ = C_ * std::max<int64_t>(1, 512 / C_);  // few channels are repeated
    rows = never_fused;
    work = product_of(spec.in_shape);
  }
  int64_t scratch(const Kernels&, int64_t, bool) const override { return 2 * period_; }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    run(ctx, true, x, y);
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    run(ctx, false, dz, dx);
    differentiate(ctx.kernels, before, dx, dx, ctx.batch * out);
  }

 private:
  void run(const ExecContext& ctx, bool shifts, const float* x, float* y) const {
    float *scale = ctx.scratch, *offset = scale + period_;
    for (int k = 0; k < 2; k++)
      for (int64_t i = 0; i < period_; i++)
        ctx.scratch[k * period_ + i] =
            offset_[k] < 0 ? number_[k] : ctx.buffers[offset_[k] + i % C_];
    int64_t n = ctx.batch * out, size = std::max<int64_t>(1, 16384 / period_) * period_;
    parallel((n + size - 1) / size, n * element_cost / 4, [&](int64_t i) {
      int64_t first = i * size;
      ctx.kernels.images->affine(scale, shifts ? offset : nullptr, period_, x + first,
                                 y + first, std::min(size, n - first));
    });
  }
  int64_t C_, period_, offset_[2] = {-1, -1};
  float number_[2] = {};
};

}  // namespace

std::unique_ptr<Op> make_batch_normalization(const OpSource& source) {
  return std::make_unique<BatchNormalization>(source.spec, source.params,
                                              source.buffers);
}
std::unique_ptr<Op> make_masked_batch_normalization(const OpSource& source) {
  return std::make_unique<MaskedBatchNormalization>(source.spec, source.params,
                                                    source.buffers);
}
std::unique_ptr<Op> make_layer_normalization(const OpSource& source) {
  return std::make_unique<LayerNormalization>(source.spec, source.params);
}
std::unique_ptr<Op> make_scale(const OpSource& source) {
  return std::make_unique<Scale>(source.spec, source.buffers);
}

}  // namespace kurve
