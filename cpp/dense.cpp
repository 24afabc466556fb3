#include <algorithm>

#include "ops.h"
#include "pool.h"

namespace kurve {
namespace {

// y = f(x W + b) on R = B x leading axes rows.
// dW = x^T dz, db = sum of dz over rows, dx = dz W^T.
class Dense : public Op {
 public:
  Dense(const OpSpec& spec, const std::vector<Slot>& params)
      : activation_(activation_of(spec.attrs)),
        alpha_(float(number(spec.attrs, "alpha"))) {
    kernel_ = spec.params.at("kernel");
    const Slot& kernel = params[kernel_];
    I_ = kernel.shape.at(0);
    O_ = kernel.shape.at(1);
    kernel_offset_ = kernel.offset;
    train_kernel_ = kernel.trainable;
    if (auto found = spec.params.find("bias"); found != spec.params.end()) {
      bias_ = found->second;
      bias_offset_ = params[bias_].offset;
      train_bias_ = params[bias_].trainable;
    }
    rows_ = product_of(spec.in_shape) / I_;
    if (rows_ * I_ != product_of(spec.in_shape) ||
        rows_ * O_ != product_of(spec.out_shape) ||
        (bias_ >= 0 && params[bias_].size() != O_))
      throw std::invalid_argument("[native] shapes of " + spec.layer +
                                  " do not fit its kernel.");
    trainable = train_kernel_ || train_bias_;
    keeps = keeps_derivative(activation_, alpha_);
  }

  void forward(const Pass& pass, const float* x, float* y, float* kept) const override {
    Product p{x,  I_, 1, pass.params + kernel_offset_, O_, false, y, pass.batch * rows_,
              O_, I_};
    p.after = Product::activate;
    p.bias = bias_ >= 0 ? pass.params + bias_offset_ : nullptr;
    p.activation = activation_;
    p.alpha = alpha_;
    p.kept = kept;
    parallel(pass.kernels.product_tasks(p), p.M * p.N * p.K,
             [&](int64_t task) { pass.kernels.product(p, task); });
  }

  Derivative derivative(const float* y, const float* kept) const override {
    if (activation_ == Activation::linear) return {};
    return {keeps ? Derivative::kept : Derivative::from_output, activation_, alpha_,
            keeps ? kept : y};
  }

  void backward(const Pass& pass, const float* x, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    const Kernels& kernels = pass.kernels;
    int64_t R = pass.batch * rows_;
    Product dkernel{x, 1, I_, dz, O_, false, pass.gradient + kernel_offset_, I_, O_, R};
    dkernel.after = Product::check;
    dkernel.column_sums = train_bias_ ? pass.gradient + bias_offset_ : nullptr;
    Product dinput{dz, O_, 1, pass.params + kernel_offset_, O_, true, dx, R, I_, O_};
    dinput.after = Product::differentiate;
    dinput.derivative = before;
    int64_t split = trainable ? kernels.product_tasks(dkernel) : 0;
    int64_t tasks = split + (dx ? kernels.product_tasks(dinput) : 0);
    int64_t work = R * I_ * O_ * ((split > 0) + (dx != nullptr));
    parallel(tasks, work, [&](int64_t task) {
      if (task >= split)
        kernels.product(dinput, task - split);
      else if (!kernels.product(dkernel, task) && train_kernel_)
        pass.infinite[kernel_].store(true, std::memory_order_relaxed);
    });
    if (trainable && !train_kernel_)
      std::fill_n(pass.gradient + kernel_offset_, I_ * O_, 0.0f);
    if (train_bias_) {
      const float* db = pass.gradient + bias_offset_;
      for (int64_t j = 0; j < O_; j++)
        if (!(db[j] - db[j] == 0.0f)) pass.infinite[bias_].store(true);
    }
  }

 private:
  Activation activation_;
  float alpha_;
  int kernel_ = -1, bias_ = -1;
  int64_t I_, O_, rows_, kernel_offset_ = 0, bias_offset_ = 0;
  bool train_kernel_ = false, train_bias_ = false;
};

}  // namespace

std::unique_ptr<Op> make_dense(const OpSpec& spec, const std::vector<Slot>& params) {
  return std::make_unique<Dense>(spec, params);
}

}  // namespace kurve
