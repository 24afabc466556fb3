#include "convolution.h"

namespace kurve {
namespace {

// y = f(b + what a convolution's way back makes of x): `c_` is that convolution, its
// image y's, its output x's, and the ways change places.
class Transposed : public Convolution {
 public:
  Transposed(const OpSpec& spec, const std::vector<VariableSpec>& params)
      : Convolution(spec, params, true) {
    work = work_of({c_.OH, c_.OW, c_.O, taps_});
  }

  int64_t scratch(const Kernels& kernels, int64_t batch, bool training) const override {
    const ImageKernels& k = *kernels.images;
    int64_t size = lines(k.turned_size(c_));
    if (!training) return size;
    return std::max(size, lines(k.packed_size(c_)) + blocks(batch) * apart());
  }

  void forward(const ExecContext& pass, const float* x, float* y,
               float* kept) const override {
    const float *copy = transposed(pass), *bias = pass.params + bias_at_;
    parallel(pass.batch, pass.batch * work, [&](int64_t b) {
      float* to = y + b * out;
      in_turn(out / outputs_, [&](int64_t first, int64_t count) {
        for (int64_t i = first * outputs_; i < (first + count) * outputs_;
             i += outputs_)
          for (int64_t o = 0; o < outputs_; o++) to[i + o] = bias_ < 0 ? 0.0f : bias[o];
      });
      pass.kernels.images->add_dx(c_, copy, x + b * in, 0, c_.OH, to);
      in_turn(out, [&](int64_t first, int64_t count) {
        pass.kernels.activate(activation_.kind, activation_.alpha, to + first,
                              to + first, kept ? kept + b * out + first : nullptr,
                              count);
      });
    });
  }

  void backward(const ExecContext& pass, const float* x, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    const ImageKernels& k = *pass.kernels.images;
    const float* copy = dx ? packed(pass) : nullptr;
    float* sums = pass.scratch + lines(k.packed_size(c_));
    bool computes = pass.gradient && trainable;
    int64_t parts = blocks(pass.batch);
    int64_t pieces = this->pieces(pass.kernels, parts);
    int64_t own = computes ? parts * pieces : 0;
    int64_t tasks = own + (dx ? pass.batch : 0);
    parallel(tasks, pass.batch * work * (computes + (dx != nullptr)), [&](int64_t i) {
      if (i < own) {
        int64_t part = i / pieces;
        add(pass, x, dz, pass.batch * part / parts, pass.batch * (part + 1) / parts,
            sums + part * apart(), i % pieces, pieces);
        return;
      }
      int64_t b = i - own;
      float* to = dx + b * in;
      k.forward(c_, Epilogue{}, copy, dz + b * out, 0, c_.OH, to, nullptr);
      differentiate_in_turn(pass.kernels, before, b * in, to, in);
    });
    if (computes) finish(pass, sums, parts, pass.gradient, true);
  }

  void jacobian(const ExecContext& pass, const float* x, const float*, const float* dz,
                float* to, int64_t stride) const override {
    float* sums = pass.scratch + lines(pass.kernels.images->packed_size(c_));
    int64_t parts = blocks(pass.batch);
    parallel(parts, pass.batch * work, [&](int64_t part) {
      float* own = sums + part * apart();
      for (int64_t b = pass.batch * part / parts; b < pass.batch * (part + 1) / parts;
           b++) {
        add(pass, x, dz, b, b + 1, own, 0, 1);
        finish(pass, own, 1, to + b * stride, false);
      }
    });
  }

 private:
  void add(const ExecContext& pass, const float* x, const float* dz, int64_t first,
           int64_t last, float* sums, int64_t i, int64_t pieces) const {
    clear(pass.kernels, sums, i, pieces);
    for (int64_t b = first; b < last; b++) {
      add_kernel(pass.kernels, dz + b * out, x + b * in, 0, c_.OH, sums, i, pieces);
      add_bias(pass.kernels, dz + b * out, c_.H * c_.W, sums, i);
    }
  }
};

}  // namespace

std::unique_ptr<Op> make_conv_transpose(const OpSource& source) {
  return std::make_unique<Transposed>(source.spec, source.params);
}

}  // namespace kurve
