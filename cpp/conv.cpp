#include "convolution.h"

namespace kurve {
namespace {

// y = f(conv(x) + b) or, if max-pooling follows, its maximum over windows; only the
// position of each maximum is then saved for backward.
class ConvOp : public Convolution {
 public:
  ConvOp(const OpSpec& spec, const OpSpec* pool,
         const std::vector<VariableSpec>& params)
      : Convolution(spec, params, false) {
    if (pool) {
      Pool p = pool_of(*pool);
      ph_ = p.ph, pw_ = p.pw;
      c_.OH = p.OH * ph_, c_.OW = p.OW * pw_;
      aux_per_sample = (product_of(pool->out_shape) + 3) / 4;  // one byte per maximum
    }
    work = work_of({c_.OH, c_.OW, c_.O, taps_});
    const ImageKernels& k = *kernels().images;
    sparse_ = pool && k.sparse_fits(c_);
    sums_size_ = sparse_ ? k.sparse_sums_size(c_) : k.sums_size(c_);
  }

  int64_t scratch(const Kernels& kernels, int64_t batch, bool training) const override {
    const ImageKernels& k = *kernels.images;
    int64_t size = round_up_16(k.packed_size(c_));
    if (!training) return size;
    return std::max(
        size, round_up_16(k.transposed_size(c_)) + blocks(batch) * block_stride());
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    const ImageKernels& k = *ctx.kernels.images;
    const float* copy = packed(ctx);
    Epilogue f{bias_ < 0 ? nullptr : ctx.params + bias_offset_, activation_.kind,
               activation_.alpha};
    auto* index = reinterpret_cast<uint8_t*>(y + ctx.batch * out);
    int64_t window_rows = c_.OH / ph_, row_size = out / window_rows;
    int64_t strips = std::clamp<int64_t>(balanced_tasks / ctx.batch, 1, window_rows);
    parallel(ctx.batch * strips, ctx.batch * work, [&](int64_t task) {
      int64_t b = task / strips, strip = task % strips;
      int64_t row = window_rows * strip / strips,
              count = window_rows * (strip + 1) / strips - row;
      int64_t at = b * out + row * row_size;
      float* derivative = saved ? saved + at : nullptr;
      if (pooled())
        k.forward_max(c_, f, ph_, pw_, copy, x + b * in, row, count, y + at, derivative,
                      ctx.saves ? index + at : nullptr);
      else
        k.forward(c_, f, copy, x + b * in, row, count, y + at, derivative);
    });
  }

  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    const ImageKernels& k = *ctx.kernels.images;
    const float* copy = dx ? transposed(ctx) : nullptr;
    float* sums = ctx.scratch + transposed_size(k);
    bool needs_gradient = ctx.gradient && trainable;
    int64_t parts = blocks(ctx.batch);
    int64_t pieces = sparse_ ? 1 : this->pieces(ctx.kernels, parts);
    int64_t sum_tasks = needs_gradient ? parts * pieces : 0;
    int64_t tasks = sum_tasks + (dx ? ctx.batch : 0);
    parallel(
        tasks, ctx.batch * work * (needs_gradient + (dx != nullptr)), [&](int64_t i) {
          if (i < sum_tasks) {
            int64_t part = i / pieces;
            add(ctx, x, y, dz, ctx.batch * part / parts, ctx.batch * (part + 1) / parts,
                sums + part * block_stride(), i % pieces, pieces);
            return;
          }
          int64_t b = i - sum_tasks;
          float* to = dx + b * in;
          if (sparse_) {
            k.sparse_dx(c_, ph_, pw_, copy, dz + b * out, index_of(ctx, y, b), to);
            return differentiate_in_chunks(ctx.kernels, before, b * in, to, in);
          }
          kurve::clear(to, in);
          for_strips(ctx, y, dz, b, [&](const float* d, int64_t row, int64_t count) {
            k.add_dx(c_, copy, d, row, count, to);
          });
          differentiate_in_chunks(ctx.kernels, before, b * in, to, in);
        });
    if (needs_gradient) finish(ctx, sums, parts, ctx.gradient, true);
  }

  void jacobian(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* to, int64_t stride) const override {
    float* sums = ctx.scratch + transposed_size(*ctx.kernels.images);
    int64_t parts = blocks(ctx.batch);
    parallel(parts, ctx.batch * work, [&](int64_t part) {
      float* block = sums + part * block_stride();
      for (int64_t b = ctx.batch * part / parts; b < ctx.batch * (part + 1) / parts;
           b++) {
        add(ctx, x, y, dz, b, b + 1, block, 0, 1);
        finish(ctx, block, 1, to + b * stride, false);
      }
    });
  }

 private:
  bool pooled() const { return aux_per_sample > 0; }
  const uint8_t* index_of(const ExecContext& ctx, const float* y, int64_t b) const {
    return reinterpret_cast<const uint8_t*>(y + ctx.batch * out) + b * out;
  }

  int64_t transposed_size(const ImageKernels& k) const {
    return round_up_16(sparse_ ? k.sparse_transposed_size(c_) : k.transposed_size(c_));
  }
  const float* transposed(const ExecContext& ctx) const {
    const ImageKernels& k = *ctx.kernels.images;
    if (!sparse_) return Convolution::transposed(ctx);
    return copied(ctx, k.sparse_transpose_tasks(c_), k.sparse_transpose);
  }

  // Calls body(dz, row, rows) for the rows of image b, from the top.
  template <class Body>
  void for_strips(const ExecContext& ctx, const float* y, const float* dz, int64_t b,
                  Body&& body) const {
    if (!pooled()) return body(dz + b * out, 0, c_.OH);
    alignas(64) float strip[max_strip];
    const uint8_t* index = index_of(ctx, y, b);
    int64_t window_rows = c_.OH / ph_, rows_at_once = max_strip / (ph_ * c_.OW * c_.O);
    for (int64_t row = 0, count; row < window_rows; row += count) {
      count = std::min(rows_at_once, window_rows - row);
      if (stop_requested(count * ph_ * c_.OW * c_.O * taps_)) return;
      ctx.kernels.images->spread(c_, ph_, pw_, dz + b * out, index, row, count, strip);
      body(strip, row * ph_, count * ph_);
    }
  }

  // Adds the sums over images first..last-1, the i-th of `pieces` pieces.
  void add(const ExecContext& ctx, const float* x, const float* y, const float* dz,
           int64_t first, int64_t last, float* sums, int64_t i, int64_t pieces) const {
    if (sparse_) return add_sparse(ctx, x, y, dz, first, last, sums);
    clear(ctx.kernels, sums, i, pieces);
    for (int64_t b = first; b < last; b++)
      for_strips(ctx, y, dz, b, [&](const float* d, int64_t row, int64_t count) {
        add_kernel(ctx.kernels, x + b * in, d, row, count, sums, i, pieces);
        add_bias(ctx.kernels, d, count * c_.OW, sums, i);
      });
  }

  void add_sparse(const ExecContext& ctx, const float* x, const float* y,
                  const float* dz, int64_t first, int64_t last, float* sums) const {
    std::fill_n(sums, sums_size_, 0.0f);
    std::fill_n(bias_sums(sums), c_.O, 0.0f);
    for (int64_t b = first; b < last; b++) {
      if (train_kernel_)
        ctx.kernels.images->sparse_add_sums(c_, ph_, pw_, x + b * in, dz + b * out,
                                            index_of(ctx, y, b), sums);
      add_bias(ctx.kernels, dz + b * out, out / c_.O, sums, 0);
    }
  }

  void finish(const ExecContext& ctx, float* sums, int64_t parts, float* gradient,
              bool check) const {
    if (!sparse_) return Convolution::finish(ctx, sums, parts, gradient, check);
    int64_t size = std::max<int64_t>(16, (c_.O + balanced_tasks - 1) / balanced_tasks);
    if (train_kernel_)
      parallel((c_.O + size - 1) / size, taps_ * c_.O * (parts + 4), [&](int64_t task) {
        int64_t from = task * size, to = std::min(c_.O, from + size);
        bool in_safe_range = ctx.kernels.images->sparse_finish(
            c_, sums, parts, block_stride(), from, to, gradient + kernel_offset_);
        if (check && !in_safe_range) flag_overflow(ctx, kernel_);
      });
    finish_bias(ctx, sums, parts, gradient, check);
  }

  int64_t ph_ = 1, pw_ = 1;
  bool sparse_ = false;  // backward skips zeros
};

}  // namespace

Conv conv_of(const OpSpec& spec, int64_t kernel_size, int64_t bias_size,
             bool transposed) {
  Image in = image_of(spec.in_shape), to = image_of(spec.out_shape);
  if (transposed) std::swap(in, to);
  Conv c{.H = in.H,
         .W = in.W,
         .I = in.C,
         .OH = to.H,
         .OW = to.W,
         .O = to.C,
         .kh = integer(spec.attrs, "kernel_h", 1),
         .kw = integer(spec.attrs, "kernel_w", 1),
         .sh = integer(spec.attrs, "stride_h", 1),
         .sw = integer(spec.attrs, "stride_w", 1),
         .dh = integer(spec.attrs, "dilation_h", 1),
         .dw = integer(spec.attrs, "dilation_w", 1),
         .top = integer(spec.attrs, "pad_top", 0),
         .left = integer(spec.attrs, "pad_left", 0),
         .groups = transposed ? 1 : integer(spec.attrs, "groups", 1)};
  // The output of a transposed convolution may have padding that no kernel reaches.
  auto fits = [&](int64_t size, int64_t before, const char* after, int64_t kernel,
                  int64_t dilation, int64_t stride, int64_t n) {
    return transposed || (n >= 1 && (n - 1) * stride + (kernel - 1) * dilation <
                                        size + before + integer(spec.attrs, after, 0));
  };
  if (c.I % c.groups || c.O % c.groups ||
      double(kernel_size) !=
          double(c.kh) * double(c.kw) * double(c.I / c.groups) * double(c.O) ||
      (bias_size >= 0 && bias_size != (transposed ? c.I : c.O)) ||
      !fits(c.H, c.top, "pad_bottom", c.kh, c.dh, c.sh, c.OH) ||
      !fits(c.W, c.left, "pad_right", c.kw, c.dw, c.sw, c.OW))
    refuse_shapes(spec, "its kernel");
  return c;
}

bool fuses_pool(const OpSpec& spec, const OpSpec& next) {
  if (spec.kind != "conv" || next.kind != "pool" || next.in_shape != spec.out_shape)
    return false;
  Pool p = pool_of(next);
  return !p.average && p.sh == p.ph && p.sw == p.pw && p.top == 0 && p.left == 0 &&
         p.OH * p.ph <= p.H && p.OW * p.pw <= p.W && p.ph * p.pw <= max_window &&
         p.ph * p.OW * p.pw * p.C <= max_strip;
}

std::unique_ptr<Op> make_conv(const OpSource& source) {
  const OpSpec& spec = source.spec;
  const VariableSpec& kernel =
      source.params[size_t(variable_index(spec.params, "kernel"))];
  auto bias = spec.params.find("bias");
  int64_t bias_size =
      bias == spec.params.end() ? -1 : source.params[size_t(bias->second)].size();
  Conv c = conv_of(spec, kernel.size(), bias_size, false);
  // A 1 x 1 convolution is a dense layer on pixels.
  if (!source.pool && c.kh == 1 && c.kw == 1 && c.sh == 1 && c.sw == 1 &&
      c.groups == 1 && c.H == c.OH && c.W == c.OW && c.top == 0 && c.left == 0)
    return make_dense(source);
  return std::make_unique<ConvOp>(spec, source.pool, source.params);
}

}  // namespace kurve
