#include <algorithm>
#include <cmath>

#include "pool.h"
#include "shapes.h"

namespace kurve {
namespace {

// Sums are made by blocks of rows, as many as the rows say, and added in their order.
constexpr int64_t most_blocks = 16, rows_of_block = 64;

int64_t blocks_of(int64_t rows) {
  return std::clamp<int64_t>(rows / rows_of_block, 1, most_blocks);
}

// Rows of C elements, cut into blocks: body(first, rows, block).
template <class Body>
void by_blocks(int64_t all, int64_t blocks, int64_t C, Body&& body) {
  parallel(blocks, all * C * element_cost, [&](int64_t i) {
    int64_t first = all * i / blocks;
    body(first, all * (i + 1) / blocks - first, i);
  });
}

// gamma and beta, each where the layer has it.
class Scaled : public Op {
 public:
  Scaled(const OpSpec& spec, const std::vector<VariableSpec>& params, int64_t C)
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
    int slot = -1;
    int64_t at = 0;
    bool trained = false;
  };
  Variable variable(const OpSpec& spec, const std::vector<VariableSpec>& params,
                    const char* role) const {
    auto found = spec.params.find(role);
    if (found == spec.params.end()) return {};
    const VariableSpec& slot = params[size_t(found->second)];
    if (slot.size() != C_) refuse_shapes(spec, "its input");
    return {found->second, slot.offset, slot.trainable};
  }
  NormParams standard(const ExecContext& pass, const float* mean,
                      const float* slope) const {
    return {C_, mean, slope, gamma_.slot < 0 ? nullptr : pass.params + gamma_.at,
            beta_.slot < 0 ? nullptr : pass.params + beta_.at};
  }
  // Gradients (2, C) to their places.
  void write(const ExecContext& pass, const double* sums, float* gradient,
             bool check) const {
    const Variable* own[] = {&gamma_, &beta_};
    for (int k = 0; k < 2; k++) {
      if (!own[k]->trained) continue;
      float* to = gradient + own[k]->at;
      for (int64_t c = 0; c < C_; c++) to[c] = float(sums[k * C_ + c]);
      if (check) check_overflow(pass, to, C_, own[k]->slot);
    }
  }
  // (2, C) numbers of each of `blocks` blocks to their sum, in the first.
  void add_blocks(double* sums, int64_t blocks) const {
    for (int64_t i = 1; i < blocks; i++)
      for (int64_t c = 0; c < 2 * C_; c++) sums[c] += sums[2 * C_ * i + c];
  }
  int64_t doubles(int64_t n) const { return 2 * ((n + 7) / 8 * 8); }  // in floats

  int64_t C_;
  Variable gamma_, beta_;
};

// Behind y: mean (C,), slope (C,), and in training the next moving mean and variance.
class BatchNormalization : public Scaled {
 public:
  BatchNormalization(const OpSpec& spec, const std::vector<VariableSpec>& params,
                     const std::vector<VariableSpec>& buffers)
      : Scaled(spec, params, spec.in_shape.back()),
        momentum_(number(spec.attrs, "momentum")),
        epsilon_(float(number(spec.attrs, "epsilon"))),
        frozen_(number(spec.attrs, "frozen") != 0) {
    for (int k = 0; k < 2; k++) {
      moving_[k] = slot_of(spec.buffers, k ? "moving_variance" : "moving_mean");
      at_[k] = buffers[size_t(moving_[k])].offset;
      if (buffers[size_t(moving_[k])].size() != C_) refuse_shapes(spec, "its input");
    }
    aux_per_batch = 4 * C_;
  }

  int64_t scratch(const Kernels&, int64_t, bool) const override {
    return doubles((2 * most_blocks + 2) * C_) + 2 * C_ + 16;
  }

  void forward(const ExecContext& pass, const float* x, float* y,
               float*) const override {
    const ImageKernels& k = *pass.kernels.images;
    int64_t all = pass.batch * out / C_;
    auto* sums = reinterpret_cast<double*>(pass.scratch);
    // In inference there is no room behind y.
    float* mean = pass.keeps ? y + pass.batch * out
                             : pass.scratch + doubles((2 * most_blocks + 2) * C_);
    float* slope = mean + C_;
    if (learns(pass)) {
      double* means = sums + 2 * most_blocks * C_;
      double* variances = means + C_;
      moments(pass, x, all, nullptr, sums, means);
      moments(pass, x, all, means, sums, variances);
      float* next = slope + C_;
      float keep = float(momentum_), take = float(1 - momentum_);
      for (int64_t c = 0; c < C_; c++) {
        mean[c] = float(means[c]);
        float variance = float(variances[c]);
        slope[c] = 1 / std::sqrt(variance + epsilon_);
        next[c] = pass.buffers[at_[0] + c] * keep + mean[c] * take;
        next[C_ + c] = pass.buffers[at_[1] + c] * keep + variance * take;
      }
    } else {
      for (int64_t c = 0; c < C_; c++) {
        mean[c] = pass.buffers[at_[0] + c];
        slope[c] = 1 / std::sqrt(pass.buffers[at_[1] + c] + epsilon_);
      }
    }
    NormParams p = standard(pass, mean, slope);
    by_blocks(all, blocks_of(all), C_, [&](int64_t first, int64_t rows, int64_t) {
      k.standardize_columns(p, x + first * C_, y + first * C_, rows);
    });
  }

  void backward(const ExecContext& pass, const float* x, const float* y,
                const float* dz, float* dx, const Derivative& before) const override {
    const ImageKernels& k = *pass.kernels.images;
    int64_t all = pass.batch * out / C_;
    const float* mean = y + pass.batch * out;
    NormParams p = standard(pass, mean, mean + C_);
    auto* sums = reinterpret_cast<double*>(pass.scratch);
    float* means = pass.scratch + doubles((2 * most_blocks + 2) * C_);
    if (learns(pass) || (pass.gradient && trainable)) {
      by_blocks(all, blocks_of(all), C_, [&](int64_t first, int64_t rows, int64_t i) {
        k.column_gradients(p, x + first * C_, dz + first * C_, rows, sums + 2 * C_ * i);
      });
      add_blocks(sums, blocks_of(all));
      for (int64_t c = 0; c < 2 * C_; c++) means[c] = float(sums[c] / double(all));
      if (pass.gradient) write(pass, sums, pass.gradient, true);
    }
    if (!dx) return;
    by_blocks(all, blocks_of(all), C_, [&](int64_t first, int64_t rows, int64_t) {
      float* to = dx + first * C_;
      k.columns_backward(p, learns(pass) ? means : nullptr, x + first * C_,
                         dz + first * C_, to, rows);
      pass.kernels.differentiate(before, first * C_, to, to, rows * C_);
    });
  }

  void jacobian(const ExecContext& pass, const float* x, const float* y,
                const float* dz, float* to, int64_t stride) const override {
    const float* mean = y + pass.batch * out;
    NormParams p = standard(pass, mean, mean + C_);
    auto* sums = reinterpret_cast<double*>(pass.scratch);
    for (int64_t b = 0; b < pass.batch; b++) {
      pass.kernels.images->column_gradients(p, x + b * in, dz + b * in, in / C_, sums);
      write(pass, sums, to + b * stride, false);
    }
  }

  int nonfinite_buffer(const ExecContext& pass, const float* y) const override {
    if (!learns(pass)) return -1;
    const float* next = y + pass.batch * out + 2 * C_;
    for (int k = 0; k < 2; k++)
      for (int64_t c = 0; c < C_; c++)
        if (!std::isfinite(next[k * C_ + c])) return moving_[k];
    return -1;
  }
  void commit_buffers(const ExecContext& pass, const float* y,
                      float* buffers) const override {
    if (!learns(pass)) return;
    const float* next = y + pass.batch * out + 2 * C_;
    for (int k = 0; k < 2; k++) std::copy_n(next + k * C_, C_, buffers + at_[k]);
  }

 private:
  bool learns(const ExecContext& pass) const { return pass.training && !frozen_; }

  void moments(const ExecContext& pass, const float* x, int64_t all, const double* mean,
               double* sums, double* to) const {
    by_blocks(all, blocks_of(all), C_, [&](int64_t first, int64_t rows, int64_t i) {
      pass.kernels.images->column_moments(x + first * C_, rows, C_, mean,
                                          sums + 2 * C_ * i);
    });
    add_blocks(sums, blocks_of(all));
    for (int64_t c = 0; c < C_; c++) to[c] = sums[c] / double(all);
  }

  double momentum_;
  float epsilon_;
  bool frozen_;
  int moving_[2];
  int64_t at_[2];
};

// Behind y: mean and slope of each row.
class LayerNormalization : public Scaled {
 public:
  LayerNormalization(const OpSpec& spec, const std::vector<VariableSpec>& params)
      : Scaled(spec, params, whole(spec.attrs, "size", 1)),
        epsilon_(float(number(spec.attrs, "epsilon"))) {
    high_ = product_of(spec.in_shape) / C_;
    if (high_ * C_ != product_of(spec.in_shape)) refuse_shapes(spec, "its input");
    aux_per_sample = 2 * high_;
  }

  int64_t scratch(const Kernels&, int64_t batch, bool) const override {
    return doubles(2 * most_blocks * C_) + 2 * high_ * batch;
  }

  void forward(const ExecContext& pass, const float* x, float* y,
               float*) const override {
    int64_t all = pass.batch * high_;
    float* means = pass.keeps ? y + pass.batch * out : pass.scratch;
    NormParams p = standard(pass, nullptr, nullptr);
    by_blocks(all, blocks_of(all), C_, [&](int64_t first, int64_t rows, int64_t) {
      pass.kernels.images->standardize_rows(p, epsilon_, x + first * C_, y + first * C_,
                                            rows, means + first, means + all + first);
    });
  }

  void backward(const ExecContext& pass, const float* x, const float* y,
                const float* dz, float* dx, const Derivative& before) const override {
    int64_t all = pass.batch * high_;
    const float* means = y + pass.batch * out;
    bool computes = pass.gradient && trainable;
    NormParams p = standard(pass, nullptr, nullptr);
    auto* sums = reinterpret_cast<double*>(pass.scratch);
    by_blocks(all, blocks_of(all), C_, [&](int64_t first, int64_t rows, int64_t i) {
      double* own = computes ? sums + 2 * C_ * i : nullptr;
      if (own) std::fill_n(own, 2 * C_, 0.0);
      float* to = dx ? dx + first * C_ : nullptr;
      pass.kernels.images->rows_backward(p, x + first * C_, dz + first * C_, to, rows,
                                         means + first, means + all + first, own);
      if (to) pass.kernels.differentiate(before, first * C_, to, to, rows * C_);
    });
    if (!computes) return;
    add_blocks(sums, blocks_of(all));
    write(pass, sums, pass.gradient, true);
  }

  void jacobian(const ExecContext& pass, const float* x, const float* y,
                const float* dz, float* to, int64_t stride) const override {
    int64_t all = pass.batch * high_;
    const float* means = y + pass.batch * out;
    auto* sums = reinterpret_cast<double*>(pass.scratch);
    for (int64_t b = 0; b < pass.batch; b++) {
      std::fill_n(sums, 2 * C_, 0.0);
      pass.kernels.images->rows_backward(standard(pass, nullptr, nullptr), x + b * in,
                                         dz + b * in, nullptr, high_, means + b * high_,
                                         means + all + b * high_, sums);
      write(pass, sums, to + b * stride, false);
    }
  }

 private:
  // Rows are long.
  static int64_t blocks_of(int64_t all) { return std::min(all, most_blocks); }

  int64_t high_;  // rows per sample
  float epsilon_;
};

// y = x scale + offset, numbers or rows (C,) of buffers.
class Scale : public Op {
 public:
  Scale(const OpSpec& spec, const std::vector<VariableSpec>& buffers)
      : C_(spec.in_shape.back()) {
    for (int k = 0; k < 2; k++) {
      const char* role = k ? "offset" : "scale";
      if (auto found = spec.buffers.find(role); found != spec.buffers.end()) {
        at_[k] = buffers[size_t(found->second)].offset;
        if (buffers[size_t(found->second)].size() != C_)
          refuse_shapes(spec, "its input");
      } else {
        number_[k] = float(number(spec.attrs, role));
      }
    }
    check_same_shape(spec);
    wide_ = C_ * std::max<int64_t>(1, 512 / C_);  // few channels, repeated
    rows = never_fused;
    work = product_of(spec.in_shape);
  }
  int64_t scratch(const Kernels&, int64_t, bool) const override { return 2 * wide_; }

  void forward(const ExecContext& pass, const float* x, float* y,
               float*) const override {
    run(pass, true, x, y);
  }
  void backward(const ExecContext& pass, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    run(pass, false, dz, dx);
    differentiate(pass.kernels, before, dx, dx, pass.batch * out);
  }

 private:
  void run(const ExecContext& pass, bool shifts, const float* x, float* y) const {
    float *scale = pass.scratch, *offset = scale + wide_;
    for (int k = 0; k < 2; k++)
      for (int64_t i = 0; i < wide_; i++)
        pass.scratch[k * wide_ + i] =
            at_[k] < 0 ? number_[k] : pass.buffers[at_[k] + i % C_];
    int64_t n = pass.batch * out, size = std::max<int64_t>(1, 16384 / wide_) * wide_;
    parallel((n + size - 1) / size, n * element_cost / 4, [&](int64_t i) {
      int64_t first = i * size;
      pass.kernels.images->affine(scale, shifts ? offset : nullptr, wide_, x + first,
                                  y + first, std::min(size, n - first));
    });
  }
  int64_t C_, wide_, at_[2] = {-1, -1};
  float number_[2] = {};
};

}  // namespace

std::unique_ptr<Op> make_batch_normalization(const OpSource& source) {
  return std::make_unique<BatchNormalization>(source.spec, source.params,
                                              source.buffers);
}
std::unique_ptr<Op> make_layer_normalization(const OpSource& source) {
  return std::make_unique<LayerNormalization>(source.spec, source.params);
}
std::unique_ptr<Op> make_scale(const OpSource& source) {
  return std::make_unique<Scale>(source.spec, source.buffers);
}

}  // namespace kurve
