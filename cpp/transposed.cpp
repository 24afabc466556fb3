#include "convolution.h"

namespace kurve {
namespace {

// y = f(b + dx of a convolution whose dz is x). `c_` is that convolution, y its image
// and x its output, so forward and backward swap roles.
class Transposed : public Convolution {
 public:
  Transposed(const OpSpec& spec, const std::vector<VariableSpec>& params)
      : Convolution(spec, params, true) {
    work = work_of({c_.OH, c_.OW, c_.O, taps_});
  }

  int64_t scratch(const Kernels& kernels, int64_t batch, bool training) const override {
    const ImageKernels& k = *kernels.images;
    int64_t size = round_up_16(k.transposed_size(c_));
    if (!training) return size;
    return std::max(size,
                    round_up_16(k.packed_size(c_)) + blocks(batch) * block_stride());
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    const float *copy = transposed(ctx), *bias = ctx.params + bias_offset_;
    parallel(ctx.batch, ctx.batch * work, [&](int64_t b) {
      float* to = y + b * out;
      in_chunks(out / outputs_, [&](int64_t first, int64_t count) {
        for (int64_t i = first * outputs_; i < (first + count) * outputs_;
             i += outputs_)
          for (int64_t o = 0; o < outputs_; o++) to[i + o] = bias_ < 0 ? 0.0f : bias[o];
      });
      ctx.kernels.images->add_dx(c_, copy, x + b * in, 0, c_.OH, to);
      in_chunks(out, [&](int64_t first, int64_t count) {
        ctx.kernels.activate(activation_.kind, activation_.alpha, to + first,
                             to + first, saved ? saved + b * out + first : nullptr,
                             count);
      });
    });
  }

  void backward(const ExecContext& ctx, const float* x, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    const ImageKernels& k = *ctx.kernels.images;
    const float* copy = dx ? packed(ctx) : nullptr;
    float* sums = ctx.scratch + round_up_16(k.packed_size(c_));
    bool needs_gradient = ctx.gradient && trainable;
    int64_t parts = blocks(ctx.batch);
    int64_t pieces = this->pieces(ctx.kernels, parts);
    int64_t sum_tasks = needs_gradient ? parts * pieces : 0;
    int64_t tasks = sum_tasks + (dx ? ctx.batch : 0);
    parallel(
        tasks, ctx.batch * work * (needs_gradient + (dx != nullptr)), [&](int64_t i) {
          if (i < sum_tasks) {
            int64_t part = i / pieces;
            add(ctx, x, dz, ctx.batch * part / parts, ctx.batch * (part + 1) / parts,
                sums + part * block_stride(), i % pieces, pieces);
            return;
          }
          int64_t b = i - sum_tasks;
          float* to = dx + b * in;
          k.forward(c_, Epilogue{}, copy, dz + b * out, 0, c_.OH, to, nullptr);
          differentiate_in_chunks(ctx.kernels, before, b * in, to, in);
        });
    if (needs_gradient) finish(ctx, sums, parts, ctx.gradient, true);
  }

  void jacobian(const ExecContext& ctx, const float* x, const float*, const float* dz,
                float* to, int64_t stride) const override {
    float* sums = ctx.scratch + round_up_16(ctx.kernels.images->packed_size(c_));
    int64_t parts = blocks(ctx.batch);
    parallel(parts, ctx.batch * work, [&](int64_t part) {
      float* block = sums + part * block_stride();
      for (int64_t b = ctx.batch * part / parts; b < ctx.batch * (part + 1) / parts;
           b++) {
        add(ctx, x, dz, b, b + 1, block, 0, 1);
        finish(ctx, block, 1, to + b * stride, false);
      }
    });
  }

 private:
  void add(const ExecContext& ctx, const float* x, const float* dz, int64_t first,
           int64_t last, float* sums, int64_t i, int64_t pieces) const {
    clear(ctx.kernels, sums, i, pieces);
    for (int64_t b = first; b < last; b++) {
      add_kernel(ctx.kernels, dz + b * out, x + b * in, 0, c_.OH, sums, i, pieces);
      add_bias(ctx.kernels, dz + b * out, c_.H * c_.W, sums, i);
    }
  }
};

}  // namespace

std::unique_ptr<Op> make_conv_transpose(const OpSource& source) {
  return std::make_unique<Transposed>(source.spec, source.params);
}

}  // namespace kurve
