// Ops that read variables directly: rows of a table, or whole variables.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops.h"
#include "pool.h"

namespace kurve {
namespace {

// Row x (truncated) of the table (N, D) for each number x; NaN if there is no such row.
// The gradient of a row is the sum over the positions that read it, in order.
class Embedding : public Op {
 public:
  Embedding(const OpSpec& spec, const std::vector<VariableSpec>& params)
      : slot_(variable_index(spec.params, "embeddings")) {
    const VariableSpec& table = params[size_t(slot_)];
    if (table.shape.size() != 2) refuse_shapes(spec, "its table");
    N_ = table.shape[0], D_ = table.shape[1], offset_ = table.offset;
    Shape rows_shape = spec.in_shape;
    rows_shape.push_back(D_);
    if (rows_shape != spec.out_shape) refuse_shapes(spec, "its table");
    trainable = table.trainable;
    work = product_of(spec.out_shape);
    if (trainable) rows = never_fused;
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    const float* table = ctx.params + offset_;
    in_pieces(ctx.batch * in, [&](int64_t i) {
      int64_t row = row_of(x[i]);
      if (row >= 0)
        std::copy_n(table + row * D_, D_, y + i * D_);
      else
        std::fill_n(y + i * D_, D_, std::numeric_limits<float>::quiet_NaN());
    });
  }

  // The end of each row's range of positions, and the positions sorted by row.
  int64_t scratch(const Kernels&, int64_t batch, bool training) const override {
    return training && trainable ? floats_for_doubles(N_ + 1 + batch * in) : 0;
  }

  void backward(const ExecContext& ctx, const float* x, const float*, const float* dz,
                float* dx, const Derivative&) const override {
    int64_t n = ctx.batch * in;
    if (dx) clear(dx, n);
    if (!ctx.gradient || !trainable) return;
    auto* ends = reinterpret_cast<int64_t*>(ctx.scratch);
    int64_t* places = ends + N_ + 1;
    std::fill_n(ends, N_ + 1, 0);
    for (int64_t i = 0; i < n; i++)
      if (int64_t row = row_of(x[i]); row >= 0) ends[row + 1]++;
    for (int64_t row = 0; row < N_; row++) ends[row + 1] += ends[row];
    for (int64_t i = 0; i < n; i++)
      if (int64_t row = row_of(x[i]); row >= 0) places[ends[row]++] = i;
    float* table = ctx.gradient + offset_;
    // Few rows that are read often: columns are shared among threads too.
    int64_t width = n > 64 * N_ ? 16 : 64, blocks = (D_ + width - 1) / width;
    int64_t size = std::max<int64_t>(1, task_size / (D_ * (n / N_ + 1)));
    int64_t tasks = (N_ + size - 1) / size * blocks;
    parallel(tasks, (n + N_) * D_ * 4, [&](int64_t task) {
      int64_t start = task / blocks * size, end = std::min(N_, start + size);
      int64_t column = task % blocks * width, count = std::min(width, D_ - column);
      for (int64_t row = start; row < end; row++) {
        float* to = table + row * D_ + column;
        if (!sum_positions(dz + column, places + (row ? ends[row - 1] : 0),
                           places + ends[row], count, to))
          return;
        check_overflow(ctx, to, count, slot_);
      }
    });
  }

  void jacobian(const ExecContext& ctx, const float* x, const float*, const float* dz,
                float* to, int64_t stride) const override {
    if (!trainable) return;
    for (int64_t i = 0; i < ctx.batch * in; i++) {
      int64_t row = row_of(x[i]);
      if (row < 0) continue;
      float* sums = to + i / in * stride + offset_ + row * D_;
      for (int64_t d = 0; d < D_; d++) sums[d] += dz[i * D_ + d];
    }
  }

 private:
  int64_t row_of(float x) const { return x >= 0 && x < float(N_) ? int64_t(x) : -1; }

  // The sum of the first `count` columns of the rows of dz at these positions. False if
  // the call should stop.
  bool sum_positions(const float* dz, const int64_t* place, const int64_t* end,
                     int64_t count, float* to) const {
    constexpr int64_t between = 16384;  // positions between two checks of the token
    double sums[64];
    std::fill_n(sums, count, 0.0);
    while (place < end) {
      const int64_t* stop = place + std::min<int64_t>(between, end - place);
      if (end - place > between && stop_requested(between * count * 4)) return false;
      for (; place < stop; place++)
        for (int64_t j = 0; j < count; j++) sums[j] += double(dz[*place * D_ + j]);
    }
    for (int64_t j = 0; j < count; j++) to[j] = float(sums[j]);
    return true;
  }

  template <class Body>
  void in_pieces(int64_t n, Body&& body) const {
    int64_t size = std::max<int64_t>(1, task_size / D_);
    parallel((n + size - 1) / size, n * D_ * 4, [&](int64_t task) {
      int64_t end = std::min(n, (task + 1) * size);
      for (int64_t i = task * size; i < end; i++) body(i);
    });
  }

  int slot_;
  int64_t N_, D_, offset_;
};

// The variable itself, for each sample; only the number of samples of the input is
// used.
class Variable : public Op {
 public:
  Variable(const OpSpec& spec, const std::vector<VariableSpec>& params,
           const std::vector<VariableSpec>& buffers) {
    if (spec.params.size() + spec.buffers.size() != 1)
      refuse_shapes(spec, "a single variable");
    is_buffer_ = spec.params.empty();
    slot_ = (is_buffer_ ? spec.buffers : spec.params).begin()->second;
    const VariableSpec& v = (is_buffer_ ? buffers : params)[size_t(slot_)];
    if (v.shape != spec.out_shape) refuse_shapes(spec, "its variable");
    offset_ = v.offset, size_ = v.size();
    trainable = !is_buffer_ && v.trainable;
    if (trainable) rows = never_fused;
  }

  void forward(const ExecContext& ctx, const float*, float* y, float*) const override {
    const float* v = (is_buffer_ ? ctx.buffers : ctx.params) + offset_;
    int64_t size = std::max<int64_t>(1, task_size / size_);
    parallel((ctx.batch + size - 1) / size, ctx.batch * size_, [&](int64_t task) {
      int64_t end = std::min(ctx.batch, (task + 1) * size);
      for (int64_t b = task * size; b < end; b++) copy(v, size_, y + b * size_);
    });
  }

  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float*, const Derivative&) const override {
    if (!ctx.gradient || !trainable) return;
    float* to = ctx.gradient + offset_;
    sum_batch(ctx, dz, size_, to);
    check_overflow(ctx, to, size_, slot_);
  }

  void jacobian(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* to, int64_t stride) const override {
    for (int64_t b = 0; trainable && b < ctx.batch; b++)
      copy(dz + b * size_, size_, to + b * stride + offset_);
  }

 private:
  bool is_buffer_;
  int slot_;
  int64_t offset_, size_;
};

}  // namespace

std::unique_ptr<Op> make_embedding(const OpSource& source) {
  return std::make_unique<Embedding>(source.spec, source.params);
}
std::unique_ptr<Op> make_variable(const OpSource& source) {
  return std::make_unique<Variable>(source.spec, source.params, source.buffers);
}

}  // namespace kurve
