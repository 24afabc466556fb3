// Ops that reduce over the whole batch.
#include "ops.h"
#include "pool.h"

namespace kurve {

void sum_batch(const ExecContext& ctx, const float* x, int64_t n, float* to) {
  constexpr int64_t piece = 128;
  parallel((n + piece - 1) / piece, ctx.batch * n, [&](int64_t task) {
    int64_t first = task * piece;
    ctx.kernels.sum_rows(x, ctx.batch, n, first, std::min(piece, n - first),
                         to + first);
  });
}

namespace {

// Every sample of y holds the sum, mean or maximum over the batch: y_b = sum over c of
// x_c, dx_b = sum over c of dy_c. The gradient of a maximum goes to the first sample
// that attains it.
class BatchReduce : public Op {
 public:
  explicit BatchReduce(const OpSpec& spec) {
    check_same_shape(spec);
    const std::string& mode = text(spec.attrs, "mode");
    if (mode != "mean" && mode != "sum" && mode != "max")
      throw Unsupported("mode of batch_reduce", mode);
    is_mean_ = mode == "mean", is_max_ = mode == "max";
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    if (is_max_) {
      copy(x, out, y);
      each_row(ctx, [&](int64_t b, int64_t first, int64_t last) {
        const float* row = x + b * out;
        for (int64_t i = first; i < last; i++)
          if (row[i] > y[i] || (row[i] != row[i] && y[i] == y[i])) y[i] = row[i];
      });
    } else {
      reduce(ctx, x, y);
    }
    each_row(ctx, [&](int64_t b, int64_t first, int64_t last) {
      if (b) std::copy(y + first, y + last, y + b * out + first);
    });
  }

  int64_t scratch(const Kernels&, int64_t, bool training) const override {
    return training ? out : 0;
  }

  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    float* total = ctx.scratch;
    reduce(ctx, dz, total);
    each_row(ctx, [&](int64_t b, int64_t first, int64_t last) {
      float* to = dx + b * out;
      if (!is_max_) return void(std::copy(total + first, total + last, to + first));
      for (int64_t i = first; i < last; i++) {
        float v = x[b * out + i];
        bool here = v == y[i] || (v != v && y[i] != y[i]);
        to[i] = here ? total[i] : 0.0f;
        if (here) total[i] = 0;
      }
    });
    differentiate(ctx.kernels, before, dx, dx, ctx.batch * out);
  }

 private:
  void reduce(const ExecContext& ctx, const float* x, float* to) const {
    sum_batch(ctx, x, out, to);
    if (is_mean_)
      for (int64_t i = 0; i < out; i++) to[i] /= float(ctx.batch);
  }

  // Calls body(row, first element, last) for all rows in order; each task covers a
  // range of elements.
  template <class Body>
  void each_row(const ExecContext& ctx, Body&& body) const {
    constexpr int64_t piece = 1024;
    parallel((out + piece - 1) / piece, ctx.batch * out * 4, [&](int64_t task) {
      int64_t first = task * piece, last = std::min(out, first + piece);
      for (int64_t b = 0; b < ctx.batch; b++) body(b, first, last);
    });
  }

  bool is_mean_, is_max_;
};

}  // namespace

std::unique_ptr<Op> make_batch_reduce(const OpSource& source) {
  return std::make_unique<BatchReduce>(source.spec);
}

}  // namespace kurve
