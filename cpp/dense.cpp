#include <algorithm>
#include <cmath>

#include "ops.h"
#include "pool.h"
#include "stop_token.h"

namespace kurve {
namespace {

// y = f(x W + b) on R = B x leading axes rows.
// dW = x^T dz, db = sum of dz over rows, dx = dz W^T.
// Transposed: y = f(x W^T + b), dW = dz^T x, dx = dz W.
class Dense : public Op {
 public:
  Dense(const OpSpec& spec, const std::vector<VariableSpec>& params)
      : activation_(spec.attrs) {
    kernel_ = variable_index(spec.params, "kernel");
    const VariableSpec& kernel = params[size_t(kernel_)];
    transposed_ =
        spec.attrs.count("transposed") && number(spec.attrs, "transposed") != 0;
    // The kernel may have several axes for I or for O, as in 1 x 1 convolutions.
    I_ = spec.in_shape.empty() ? 0 : spec.in_shape.back();
    int64_t leading = 1, first = transposed_ && I_ ? kernel.size() / I_ : I_;
    for (size_t k = 0; k < kernel.shape.size() && leading != first; k++)
      leading *= kernel.shape[k];
    if (leading != first) refuse_shapes(spec, "its kernel");
    O_ = kernel.size() / I_;
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
    saves = activation_.saves;
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    Product p{.a = x,
              .a_row = I_,
              .a_step = 1,
              .b = ctx.params + kernel_offset_,
              .b_row = transposed_ ? I_ : O_,
              .b_transposed = transposed_,
              .c = y,
              .M = ctx.batch * rows,
              .N = O_,
              .K = I_,
              .after = Product::activate,
              .bias = bias_ >= 0 ? ctx.params + bias_offset_ : nullptr,
              .activation = activation_.kind,
              .alpha = activation_.alpha,
              .saved = saved,
              .stop_requested = stop_requested};
    parallel(ctx.kernels.product_tasks(p), p.M * p.N * p.K,
             [&](int64_t task) { ctx.kernels.product(p, task); });
  }

  int64_t scratch(const Kernels&, int64_t batch, bool training) const override {
    bool sums = training && train_kernel_ && batch * rows > longest_product;
    return sums ? scratch_for_parts(I_ * O_) : 0;
  }

  Derivative derivative(const float* y, const float* saved) const override {
    return activation_.derivative(y, saved);
  }

  void backward(const ExecContext& ctx, const float* x, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    const Kernels& kernels = ctx.kernels;
    int64_t R = ctx.batch * rows;
    Product p{.a = dz,
              .a_row = O_,
              .a_step = 1,
              .b = ctx.params + kernel_offset_,
              .b_row = transposed_ ? I_ : O_,
              .b_transposed = !transposed_,
              .c = dx,
              .M = R,
              .N = I_,
              .K = O_,
              .after = Product::differentiate,
              .derivative = before,
              .stop_requested = stop_requested};
    bool checks_range = ctx.may_overflow && trainable,
         needs_gradient = ctx.gradient && !ctx.may_overflow && trainable;
    int64_t done =
        needs_gradient && train_kernel_ && R > longest_product ? kernel_tasks(ctx) : 0;
    if (done) {
      Product sum = kernel_product(ctx, x, dz, R);
      product_in_parts(ctx, sum, ctx.scratch);
      check_overflow(ctx, sum.c, I_ * O_, kernel_);
    }
    int64_t own_tasks = checks_range + (needs_gradient ? weight_tasks(ctx) - done : 0);
    int64_t tasks = own_tasks + (dx ? kernels.product_tasks(p) : 0);
    parallel(tasks, R * I_ * O_ * (needs_gradient + (dx != nullptr)),
             [&](int64_t task) {
               if (task >= own_tasks)
                 kernels.product(p, task - own_tasks);
               else if (needs_gradient)
                 weight_task(ctx, x, dz, done + task);
               else if (!kernels.in_safe_range(x, R * I_) ||
                        !kernels.in_safe_range(dz, R * O_))
                 ctx.may_overflow->store(true, std::memory_order_relaxed);
             });
  }

  int64_t weight_tasks(const ExecContext& ctx) const override {
    return kernel_tasks(ctx) + (train_bias_ ? (O_ + bias_piece - 1) / bias_piece : 0);
  }

  void weight_task(const ExecContext& ctx, const float* x, const float* dz,
                   int64_t task) const override {
    int64_t split = kernel_tasks(ctx);
    if (task >= split) return bias_task(ctx, dz, (task - split) * bias_piece);
    if (!ctx.kernels.product(kernel_product(ctx, x, dz, ctx.batch * rows), task))
      flag_overflow(ctx, kernel_);
  }

  void jacobian(const ExecContext& ctx, const float* x, const float*, const float* dz,
                float* to, int64_t stride) const override {
    constexpr int64_t size = 16;  // samples of a task
    int64_t work = ctx.batch * rows * (I_ + 1) * O_;
    parallel((ctx.batch + size - 1) / size, work, [&](int64_t task) {
      int64_t end = std::min(ctx.batch, (task + 1) * size);
      for (int64_t b = task * size; b < end; b++) {
        float* dkernel = train_kernel_ ? to + b * stride + kernel_offset_ : nullptr;
        float* dbias = train_bias_ ? to + b * stride + bias_offset_ : nullptr;
        for (int64_t r = b * rows; r < (b + 1) * rows; r++) {
          const float *from = x + r * I_, *slope = dz + r * O_;
          bool is_first = r == b * rows;
          if (transposed_)
            add_outer(slope, O_, from, I_, dkernel, is_first);
          else
            add_outer(from, I_, slope, O_, dkernel, is_first);
          for (int64_t o = 0; dbias && o < O_; o++)
            dbias[o] = is_first ? slope[o] : dbias[o] + slope[o];
        }
      }
    });
  }

 private:
  static constexpr int64_t bias_piece = 128;

  // dkernel = a^T b of one row; the first row sets it, the others add to it.
  static void add_outer(const float* a, int64_t na, const float* b, int64_t nb,
                        float* dkernel, bool first) {
    for (int64_t i = 0; dkernel && i < na; i++) {
      float *row = dkernel + i * nb, ai = a[i];
      if (first)
        for (int64_t o = 0; o < nb; o++) row[o] = ai * b[o];
      else
        for (int64_t o = 0; o < nb; o++) row[o] += ai * b[o];
    }
  }

  int64_t kernel_tasks(const ExecContext& ctx) const {
    if (!train_kernel_) return 0;
    int64_t R = ctx.batch * rows;
    return ctx.kernels.product_tasks(kernel_product(ctx, nullptr, nullptr, R));
  }

  // dW (I, O) = x^T dz. If O is 1, it is computed as dW^T = dz^T x, which has the same
  // memory layout; so is dW (O, I) = dz^T x if transposed.
  Product kernel_product(const ExecContext& ctx, const float* x, const float* dz,
                         int64_t R) const {
    bool swapped = transposed_ || O_ == 1;
    if (transposed_ && I_ == 1) swapped = false;
    int64_t M = swapped ? O_ : I_, N = swapped ? I_ : O_;
    Product p{.a = swapped ? dz : x,
              .a_row = 1,
              .a_step = M,
              .b = swapped ? x : dz,
              .b_row = N,
              .b_transposed = false,
              .c = (ctx.update ? ctx.update->params : ctx.gradient) + kernel_offset_,
              .M = M,
              .N = N,
              .K = R,
              .after = ctx.update ? Product::update : Product::check};
    if (ctx.update) {
      p.step = &ctx.update->settings;
      ctx.update->locate(kernel_offset_, p.slots);
    } else {
      p.stop_requested = stop_requested;
    }
    return p;
  }

  void bias_task(const ExecContext& ctx, const float* dz, int64_t first) const {
    int64_t n = std::min(bias_piece, O_ - first), at = bias_offset_ + first;
    float* db = ctx.gradient + at;
    ctx.kernels.sum_rows(dz, ctx.batch * rows, O_, first, n, db);
    if (ctx.update) {
      float* slots[3] = {};
      ctx.update->locate(at, slots);
      ctx.kernels.update(ctx.update->settings, ctx.update->params + at, db, slots, n);
    } else {
      check_overflow(ctx, db, n, bias_);
    }
  }

  OutputActivation activation_;
  int kernel_ = -1, bias_ = -1;
  int64_t I_, O_, kernel_offset_ = 0, bias_offset_ = 0;
  bool train_kernel_ = false, train_bias_ = false, transposed_ = false;
};

}  // namespace

std::unique_ptr<Op> make_dense(const OpSource& source) {
  return std::make_unique<Dense>(source.spec, source.params);
}

}  // namespace kurve
