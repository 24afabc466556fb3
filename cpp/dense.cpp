#include <algorithm>
#include <cmath>

#include "ops.h"
#include "pool.h"
#include "stop_token.h"

namespace kurve {
namespace {

// y = f(x W + b) on R = B x leading axes rows.
// dW = x^T dz, db = sum of dz over rows, dx = dz W^T.
class Dense : public Op {
 public:
  Dense(const OpSpec& spec, const std::vector<VariableSpec>& params)
      : activation_(spec.attrs) {
    kernel_ = slot_of(spec.params, "kernel");
    const VariableSpec& kernel = params[size_t(kernel_)];
    O_ = kernel.shape.empty() ? 1 : kernel.shape.back();
    I_ = kernel.size() / O_;  // 1 x 1 convolutions too
    kernel_offset_ = kernel.offset;
    train_kernel_ = kernel.trainable;
    if (auto found = spec.params.find("bias"); found != spec.params.end()) {
      bias_ = found->second;
      bias_offset_ = params[bias_].offset;
      train_bias_ = params[bias_].trainable;
    }
    rows = product_of(spec.in_shape) / I_;
    if (rows < 1 || rows * I_ != product_of(spec.in_shape) ||
        product_of(spec.out_shape) / O_ != rows || product_of(spec.out_shape) % O_ ||
        (bias_ >= 0 && params[bias_].size() != O_))
      refuse_shapes(spec, "its kernel");
    trainable = train_kernel_ || train_bias_;
    work = work_of({rows, I_, O_});
    keeps = activation_.keeps;
  }

  void forward(const ExecContext& pass, const float* x, float* y,
               float* kept) const override {
    Product p{.a = x,
              .a_row = I_,
              .a_step = 1,
              .b = pass.params + kernel_offset_,
              .b_row = O_,
              .b_transposed = false,
              .c = y,
              .M = pass.batch * rows,
              .N = O_,
              .K = I_,
              .after = Product::activate,
              .bias = bias_ >= 0 ? pass.params + bias_offset_ : nullptr,
              .activation = activation_.kind,
              .alpha = activation_.alpha,
              .kept = kept,
              .stop_requested = stop_requested};
    parallel(pass.kernels.product_tasks(p), p.M * p.N * p.K,
             [&](int64_t task) { pass.kernels.product(p, task); });
  }

  int64_t scratch(const Kernels&, int64_t batch, bool training) const override {
    bool sums = training && train_kernel_ && batch * rows > most_rows;
    return sums ? room_for_sums(I_ * O_) + I_ * O_ : 0;
  }

  Derivative derivative(const float* y, const float* kept) const override {
    return activation_.derivative(y, kept);
  }

  void backward(const ExecContext& pass, const float* x, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    const Kernels& kernels = pass.kernels;
    int64_t R = pass.batch * rows;
    Product p{.a = dz,
              .a_row = O_,
              .a_step = 1,
              .b = pass.params + kernel_offset_,
              .b_row = O_,
              .b_transposed = true,
              .c = dx,
              .M = R,
              .N = I_,
              .K = O_,
              .after = Product::differentiate,
              .derivative = before,
              .stop_requested = stop_requested};
    bool checks = pass.may_overflow && trainable,
         computes = pass.gradient && !pass.may_overflow && trainable;
    int64_t done = computes && train_kernel_ && R > most_rows ? kernel_tasks(pass) : 0;
    if (done) sum_parts(pass, x, dz);
    int64_t own = checks + (computes ? weight_tasks(pass) - done : 0);
    int64_t tasks = own + (dx ? kernels.product_tasks(p) : 0);
    parallel(tasks, R * I_ * O_ * (computes + (dx != nullptr)), [&](int64_t task) {
      if (task >= own)
        kernels.product(p, task - own);
      else if (computes)
        weight_task(pass, x, dz, done + task);
      else if (!kernels.in_safe_range(x, R * I_) || !kernels.in_safe_range(dz, R * O_))
        pass.may_overflow->store(true, std::memory_order_relaxed);
    });
  }

  int64_t weight_tasks(const ExecContext& pass) const override {
    return kernel_tasks(pass) + (train_bias_ ? (O_ + bias_piece - 1) / bias_piece : 0);
  }

  void weight_task(const ExecContext& pass, const float* x, const float* dz,
                   int64_t task) const override {
    int64_t split = kernel_tasks(pass);
    if (task >= split) return bias_task(pass, dz, (task - split) * bias_piece);
    if (!pass.kernels.product(kernel_product(pass, x, dz, pass.batch * rows), task))
      flag_overflow(pass, kernel_);
  }

  void jacobian(const ExecContext& pass, const float* x, const float*, const float* dz,
                float* to, int64_t stride) const override {
    constexpr int64_t size = 16;  // samples of a task
    int64_t work = pass.batch * rows * (I_ + 1) * O_;
    parallel((pass.batch + size - 1) / size, work, [&](int64_t task) {
      int64_t end = std::min(pass.batch, (task + 1) * size);
      for (int64_t b = task * size; b < end; b++) {
        float* dkernel = train_kernel_ ? to + b * stride + kernel_offset_ : nullptr;
        float* dbias = train_bias_ ? to + b * stride + bias_offset_ : nullptr;
        for (int64_t r = b * rows; r < (b + 1) * rows; r++)
          add_row(x + r * I_, dz + r * O_, dkernel, dbias, r == b * rows);
      }
    });
  }

 private:
  static constexpr int64_t bias_piece = 128;
  static constexpr int64_t most_rows = 16384;  // of a sum in float32

  // dW of parts of the rows, added in float64.
  void sum_parts(const ExecContext& pass, const float* x, const float* dz) const {
    constexpr int64_t piece = 8192;
    int64_t n = I_ * O_, R = pass.batch * rows;
    auto* sums = reinterpret_cast<double*>(pass.scratch);
    float *part = pass.scratch + room_for_sums(n), *to = pass.gradient + kernel_offset_;
    for (int64_t first = 0; first < R; first += most_rows) {
      int64_t count = std::min(most_rows, R - first);
      Product p = kernel_product(pass, x + first * I_, dz + first * O_, count);
      p.c = part;
      parallel(pass.kernels.product_tasks(p), count * n,
               [&](int64_t task) { pass.kernels.product(p, task); });
      parallel((n + piece - 1) / piece, n * 8, [&](int64_t task) {
        for (int64_t i = task * piece; i < std::min(n, (task + 1) * piece); i++) {
          sums[i] = (first ? sums[i] : 0) + double(part[i]);
          to[i] = float(sums[i]);
        }
      });
    }
    check_overflow(pass, to, n, kernel_);
  }

  // dkernel (I, O) = or += x dz^T, dbias (O,) = or += dz, of one row.
  void add_row(const float* x, const float* dz, float* dkernel, float* dbias,
               bool first) const {
    for (int64_t i = 0; dkernel && i < I_; i++) {
      float *row = dkernel + i * O_, xi = x[i];
      if (first)
        for (int64_t o = 0; o < O_; o++) row[o] = xi * dz[o];
      else
        for (int64_t o = 0; o < O_; o++) row[o] += xi * dz[o];
    }
    for (int64_t o = 0; dbias && o < O_; o++)
      dbias[o] = first ? dz[o] : dbias[o] + dz[o];
  }

  int64_t kernel_tasks(const ExecContext& pass) const {
    if (!train_kernel_) return 0;
    int64_t R = pass.batch * rows;
    return pass.kernels.product_tasks(kernel_product(pass, nullptr, nullptr, R));
  }

  // dW (I, O) = x^T dz; where O is 1, dW^T = dz^T x, which is the same in memory.
  Product kernel_product(const ExecContext& pass, const float* x, const float* dz,
                         int64_t R) const {
    bool is_row = O_ == 1;
    Product p{.a = is_row ? dz : x,
              .a_row = 1,
              .a_step = is_row ? 1 : I_,
              .b = is_row ? x : dz,
              .b_row = is_row ? I_ : O_,
              .b_transposed = false,
              .c = (pass.update ? pass.update->params : pass.gradient) + kernel_offset_,
              .M = is_row ? 1 : I_,
              .N = is_row ? I_ : O_,
              .K = R,
              .after = pass.update ? Product::update : Product::check};
    if (pass.update) {
      p.step = &pass.update->settings;
      pass.update->locate(kernel_offset_, p.slots);
    } else {
      p.stop_requested = stop_requested;
    }
    return p;
  }

  void bias_task(const ExecContext& pass, const float* dz, int64_t first) const {
    int64_t n = std::min(bias_piece, O_ - first), at = bias_offset_ + first;
    float* db = pass.gradient + at;
    pass.kernels.sum_rows(dz, pass.batch * rows, O_, first, n, db);
    if (pass.update) {
      float* slots[3] = {};
      pass.update->locate(at, slots);
      pass.kernels.update(pass.update->settings, pass.update->params + at, db, slots,
                          n);
    } else {
      check_overflow(pass, db, n, bias_);
    }
  }

  OutputActivation activation_;
  int kernel_ = -1, bias_ = -1;
  int64_t I_, O_, kernel_offset_ = 0, bias_offset_ = 0;
  bool train_kernel_ = false, train_bias_ = false;
};

}  // namespace

std::unique_ptr<Op> make_dense(const OpSource& source) {
  return std::make_unique<Dense>(source.spec, source.params);
}

}  // namespace kurve
