#include "convolution.h"

namespace kurve {
namespace {

// y = f(convolution of x + b), and where a pooling follows, its maximum over windows:
// then nothing is kept of the convolution but where each maximum was.
class ConvOp : public Convolution {
 public:
  ConvOp(const OpSpec& spec, const OpSpec* pool,
         const std::vector<VariableSpec>& params)
      : Convolution(spec, params, false) {
    if (pool) {
      Pool p = pool_of(*pool);
      ph_ = p.ph, pw_ = p.pw;
      c_.OH = p.OH * ph_, c_.OW = p.OW * pw_;
      aux_per_sample =
          (product_of(pool->out_shape) + 3) / 4;  // a byte for each maximum
    }
    work = work_of({c_.OH, c_.OW, c_.O, taps_});
    const ImageKernels& k = *kernels().images;
    sparse_ = pool && k.sparse_fits(c_);
    sums_size_ = sparse_ ? k.sparse_sums_size(c_) : k.sums_size(c_);
  }

  int64_t scratch(const Kernels& kernels, int64_t batch, bool training) const override {
    const ImageKernels& k = *kernels.images;
    int64_t size = lines(k.packed_size(c_));
    if (!training) return size;
    return std::max(size, lines(k.turned_size(c_)) + blocks(batch) * apart());
  }

  void forward(const ExecContext& pass, const float* x, float* y,
               float* kept) const override {
    const ImageKernels& k = *pass.kernels.images;
    const float* copy = packed(pass);
    Epilogue f{bias_ < 0 ? nullptr : pass.params + bias_at_, activation_.kind,
               activation_.alpha};
    auto* index = reinterpret_cast<uint8_t*>(y + pass.batch * out);
    int64_t high = c_.OH / ph_, line = out / high;
    int64_t strips = std::clamp<int64_t>(balanced / pass.batch, 1, high);
    parallel(pass.batch * strips, pass.batch * work, [&](int64_t task) {
      int64_t b = task / strips, strip = task % strips;
      int64_t row = high * strip / strips, count = high * (strip + 1) / strips - row;
      int64_t at = b * out + row * line;
      float* derivative = kept ? kept + at : nullptr;
      if (pooled())
        k.forward_max(c_, f, ph_, pw_, copy, x + b * in, row, count, y + at, derivative,
                      pass.keeps ? index + at : nullptr);
      else
        k.forward(c_, f, copy, x + b * in, row, count, y + at, derivative);
    });
  }

  void backward(const ExecContext& pass, const float* x, const float* y,
                const float* dz, float* dx, const Derivative& before) const override {
    const ImageKernels& k = *pass.kernels.images;
    const float* copy = dx ? transposed(pass) : nullptr;
    float* sums = pass.scratch + turned_size(k);
    bool computes = pass.gradient && trainable;
    int64_t parts = blocks(pass.batch);
    int64_t pieces = sparse_ ? 1 : this->pieces(pass.kernels, parts);
    int64_t own = computes ? parts * pieces : 0;
    int64_t tasks = own + (dx ? pass.batch : 0);
    parallel(tasks, pass.batch * work * (computes + (dx != nullptr)), [&](int64_t i) {
      if (i < own) {
        int64_t part = i / pieces;
        add(pass, x, y, dz, pass.batch * part / parts, pass.batch * (part + 1) / parts,
            sums + part * apart(), i % pieces, pieces);
        return;
      }
      int64_t b = i - own;
      float* to = dx + b * in;
      if (sparse_) {
        k.sparse_dx(c_, ph_, pw_, copy, dz + b * out, index_of(pass, y, b), to);
        return differentiate_in_turn(pass.kernels, before, b * in, to, in);
      }
      kurve::clear(to, in);
      strips_of(pass, y, dz, b, [&](const float* d, int64_t row, int64_t count) {
        k.add_dx(c_, copy, d, row, count, to);
      });
      differentiate_in_turn(pass.kernels, before, b * in, to, in);
    });
    if (computes) finish(pass, sums, parts, pass.gradient, true);
  }

  void jacobian(const ExecContext& pass, const float* x, const float* y,
                const float* dz, float* to, int64_t stride) const override {
    float* sums = pass.scratch + turned_size(*pass.kernels.images);
    int64_t parts = blocks(pass.batch);
    parallel(parts, pass.batch * work, [&](int64_t part) {
      float* own = sums + part * apart();
      for (int64_t b = pass.batch * part / parts; b < pass.batch * (part + 1) / parts;
           b++) {
        add(pass, x, y, dz, b, b + 1, own, 0, 1);
        finish(pass, own, 1, to + b * stride, false);
      }
    });
  }

 private:
  bool pooled() const { return aux_per_sample > 0; }
  const uint8_t* index_of(const ExecContext& pass, const float* y, int64_t b) const {
    return reinterpret_cast<const uint8_t*>(y + pass.batch * out) + b * out;
  }

  int64_t turned_size(const ImageKernels& k) const {
    return lines(sparse_ ? k.sparse_turned_size(c_) : k.turned_size(c_));
  }
  const float* transposed(const ExecContext& pass) const {
    const ImageKernels& k = *pass.kernels.images;
    if (!sparse_) return Convolution::transposed(pass);
    return copied(pass, k.sparse_turn_tasks(c_), k.sparse_turn);
  }

  // Calls body(dz, row, rows) for the rows of image b, from the top.
  template <class Body>
  void strips_of(const ExecContext& pass, const float* y, const float* dz, int64_t b,
                 Body&& body) const {
    if (!pooled()) return body(dz + b * out, 0, c_.OH);
    alignas(64) float strip[most_strip];
    const uint8_t* index = index_of(pass, y, b);
    int64_t high = c_.OH / ph_, most = most_strip / (ph_ * c_.OW * c_.O);
    for (int64_t row = 0, count; row < high; row += count) {
      count = std::min(most, high - row);
      if (stop_requested(count * ph_ * c_.OW * c_.O * taps_)) return;
      pass.kernels.images->spread(c_, ph_, pw_, dz + b * out, index, row, count, strip);
      body(strip, row * ph_, count * ph_);
    }
  }

  // The sums of images first..last-1, the i-th of so many pieces.
  void add(const ExecContext& pass, const float* x, const float* y, const float* dz,
           int64_t first, int64_t last, float* sums, int64_t i, int64_t pieces) const {
    if (sparse_) return add_sparse(pass, x, y, dz, first, last, sums);
    clear(pass.kernels, sums, i, pieces);
    for (int64_t b = first; b < last; b++)
      strips_of(pass, y, dz, b, [&](const float* d, int64_t row, int64_t count) {
        add_kernel(pass.kernels, x + b * in, d, row, count, sums, i, pieces);
        add_bias(pass.kernels, d, count * c_.OW, sums, i);
      });
  }

  void add_sparse(const ExecContext& pass, const float* x, const float* y,
                  const float* dz, int64_t first, int64_t last, float* sums) const {
    std::fill_n(sums, sums_size_, 0.0f);
    std::fill_n(bias_sums(sums), c_.O, 0.0f);
    for (int64_t b = first; b < last; b++) {
      if (train_kernel_)
        pass.kernels.images->sparse_add_sums(c_, ph_, pw_, x + b * in, dz + b * out,
                                             index_of(pass, y, b), sums);
      add_bias(pass.kernels, dz + b * out, out / c_.O, sums, 0);
    }
  }

  void finish(const ExecContext& pass, float* sums, int64_t parts, float* gradient,
              bool check) const {
    if (!sparse_) return Convolution::finish(pass, sums, parts, gradient, check);
    int64_t size = std::max<int64_t>(16, (c_.O + balanced - 1) / balanced);
    if (train_kernel_)
      parallel((c_.O + size - 1) / size, taps_ * c_.O * (parts + 4), [&](int64_t task) {
        int64_t from = task * size, to = std::min(c_.O, from + size);
        bool in_safe_range = pass.kernels.images->sparse_finish(
            c_, sums, parts, apart(), from, to, gradient + kernel_at_);
        if (check && !in_safe_range) flag_overflow(pass, kernel_);
      });
    finish_bias(pass, sums, parts, gradient, check);
  }

  int64_t ph_ = 1, pw_ = 1;
  bool sparse_ = false;  // the way back leaves out zeros
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
         .kh = whole(spec.attrs, "kernel_h", 1),
         .kw = whole(spec.attrs, "kernel_w", 1),
         .sh = whole(spec.attrs, "stride_h", 1),
         .sw = whole(spec.attrs, "stride_w", 1),
         .dh = whole(spec.attrs, "dilation_h", 1),
         .dw = whole(spec.attrs, "dilation_w", 1),
         .top = whole(spec.attrs, "pad_top", 0),
         .left = whole(spec.attrs, "pad_left", 0),
         .groups = transposed ? 1 : whole(spec.attrs, "groups", 1)};
  // Where zeros are added to the output instead of a crop, no kernel reaches them.
  auto fits = [&](int64_t size, int64_t before, const char* after, int64_t kernel,
                  int64_t dilation, int64_t stride, int64_t n) {
    return transposed || (n >= 1 && (n - 1) * stride + (kernel - 1) * dilation <
                                        size + before + whole(spec.attrs, after, 0));
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
         p.OH * p.ph <= p.H && p.OW * p.pw <= p.W && p.ph * p.pw <= most_window &&
         p.ph * p.OW * p.pw * p.C <= most_strip;
}

std::unique_ptr<Op> make_conv(const OpSource& source) {
  const OpSpec& spec = source.spec;
  const VariableSpec& kernel = source.params[size_t(slot_of(spec.params, "kernel"))];
  auto bias = spec.params.find("bias");
  int64_t bias_size =
      bias == spec.params.end() ? -1 : source.params[size_t(bias->second)].size();
  Conv c = conv_of(spec, kernel.size(), bias_size, false);
  // Every pixel by itself is a dense layer.
  if (!source.pool && c.kh == 1 && c.kw == 1 && c.sh == 1 && c.sw == 1 &&
      c.groups == 1 && c.H == c.OH && c.W == c.OW && c.top == 0 && c.left == 0)
    return make_dense(source);
  return std::make_unique<ConvOp>(spec, source.pool, source.params);
}

}  // namespace kurve
