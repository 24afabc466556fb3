// States that carry over from one batch to the next.
#include <algorithm>
#include <cmath>

#include "ops.h"

namespace kurve {
namespace {

// A buffer with a row for each sample of a batch.
struct Rows {
  Rows(const OpSource& source, const std::string& role, int64_t size) : size(size) {
    slot = variable_index(source.spec.buffers, role.c_str());
    const VariableSpec& spec = source.buffers[size_t(slot)];
    offset = spec.offset;
    count = spec.shape.empty() ? 0 : spec.shape[0];
    if (!count || spec.size() != count * size) refuse_shapes(source.spec, "its states");
  }
  int slot;
  int64_t offset, count, size;
};

// Row b of the buffer for sample b; only the number of samples of the input is used.
class ReadStates : public Op {
 public:
  explicit ReadStates(const OpSource& source)
      : rows_(source, "state", product_of(source.spec.out_shape)) {
    fixed_rows = rows_.count;
  }
  void forward(const ExecContext& ctx, const float*, float* y, float*) const override {
    copy(ctx.buffers + rows_.offset + ctx.first * rows_.size, ctx.batch * rows_.size,
         y);
  }
  void backward(const ExecContext&, const float*, const float*, const float*, float*,
                const Derivative&) const override {}

 private:
  Rows rows_;
};

// Passes the first value through; the others are the new states. In training they are
// stored after y until the step is applied, then written to the buffers.
class KeepStates : public Op {
 public:
  explicit KeepStates(const OpSource& source) {
    const OpSpec& spec = source.spec;
    check_same_shape(spec);
    for (size_t k = 0; k < spec.more_shapes.size(); k++) {
      std::string role = "state_" + std::to_string(k);
      states_.emplace_back(source, role, product_of(spec.more_shapes[k]));
      if (states_[k].count != states_[0].count) refuse_shapes(spec, "its states");
      aux_per_sample += states_[k].size;
    }
    if (states_.empty()) refuse_shapes(spec, "its states");
    fixed_rows = states_[0].count;
    aux_per_batch = 16;
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    copy(x, ctx.batch * out, y);
  }
  void forward_many(const ExecContext& ctx, const float* const* x, float* y,
                    float*) const override {
    copy(x[0], ctx.batch * out, y);
    float* aux = ctx.saves ? aux_of(ctx, y) : nullptr;
    for (size_t k = 0; k < states_.size(); k++) {
      const Rows& rows = states_[k];
      int64_t n = ctx.batch * rows.size;
      if (aux) copy(x[k + 1], n, aux), aux += n;
      if (ctx.states)
        copy(x[k + 1], n, ctx.states + rows.offset + ctx.first * rows.size);
    }
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    differentiate(ctx.kernels, before, dz, dx, ctx.batch * out);
  }
  void backward_many(const ExecContext& ctx, const float* const*, const float*,
                     const float* dz, float* const* dx) const override {
    if (dx[0]) copy(dz, ctx.batch * out, dx[0]);
    for (size_t k = 0; k < states_.size(); k++)
      if (dx[k + 1]) clear(dx[k + 1], ctx.batch * states_[k].size);
  }

  int nonfinite_buffer(const ExecContext& ctx, const float* y) const override {
    const float* aux = aux_of(ctx, y);
    for (const Rows& rows : states_) {
      int64_t n = ctx.batch * rows.size;
      if (!std::all_of(aux, aux + n, [](float v) { return v - v == 0; }))
        return rows.slot;
      aux += n;
    }
    return -1;
  }
  void commit_buffers(const ExecContext& ctx, const float* y,
                      float* buffers) const override {
    const float* aux = aux_of(ctx, y);
    for (const Rows& rows : states_) {
      int64_t n = ctx.batch * rows.size;
      std::copy_n(aux, n, buffers + rows.offset);
      aux += n;
    }
  }

 private:
  float* aux_of(const ExecContext& ctx, const float* y) const {
    return const_cast<float*>(y) + (ctx.batch * out + 15) / 16 * 16;
  }

  std::vector<Rows> states_;
};

}  // namespace

std::unique_ptr<Op> make_states(const OpSource& source) {
  return std::make_unique<ReadStates>(source);
}
std::unique_ptr<Op> make_keep_states(const OpSource& source) {
  return std::make_unique<KeepStates>(source);
}

}  // namespace kurve
