// Products of two values, and sums of products over many rows.
#include "ops.h"
#include "pool.h"

namespace kurve {

void product_in_parts(const ExecContext& ctx, const Product& whole, float* scratch) {
  constexpr int64_t piece = 8192;
  int64_t n = whole.M * whole.N;
  auto* sums = reinterpret_cast<double*>(scratch);
  float *part = scratch + floats_for_doubles(n), *to = whole.c;
  for (int64_t first = 0; first < whole.K; first += longest_product) {
    Product p = whole;
    p.K = std::min(longest_product, whole.K - first);
    p.a += first * p.a_step, p.b += first * p.b_row, p.c = part;
    parallel(ctx.kernels.product_tasks(p), p.K * n,
             [&](int64_t task) { ctx.kernels.product(p, task); });
    parallel((n + piece - 1) / piece, n * 8, [&](int64_t task) {
      for (int64_t i = task * piece; i < std::min(n, (task + 1) * piece); i++) {
        sums[i] = (first ? sums[i] : 0) + double(part[i]);
        to[i] = float(sums[i]);
      }
    });
  }
}

namespace {

// Matrix product y = a b: a (..., M, K), b (..., K, N), y (..., M, N). A transposed
// factor is stored with its last two axes exchanged. da = dy b^T, db = a^T dy.
class MatMul : public Op {
 public:
  explicit MatMul(const OpSpec& spec)
      : a_transposed_(number(spec.attrs, "transpose_a") != 0),
        b_transposed_(number(spec.attrs, "transpose_b") != 0) {
    size_t axes = spec.in_shape.size();
    if (spec.more_shapes.size() != 1 || axes < 2) refuse_shapes(spec, "a product");
    auto [M, K] = matrix(spec, spec.in_shape, a_transposed_);
    auto [L, N] = matrix(spec, spec.more_shapes[0], b_transposed_);
    auto [rows, columns] = matrix(spec, spec.out_shape, false);
    if (K != L || rows != M || columns != N) refuse_shapes(spec, "a product");
    M_ = M, N_ = N, K_ = K;
    count_ = product_of(spec.out_shape) / (M_ * N_);
    work = work_of({count_, M_, N_, K_});
  }

  void forward(const ExecContext&, const float*, float*, float*) const override {}
  void forward_many(const ExecContext& ctx, const float* const* x, float* y,
                    float*) const override {
    multiply(ctx, {x[0], a_transposed_}, {x[1], b_transposed_}, y, M_, N_, K_);
  }
  void backward(const ExecContext&, const float*, const float*, const float*, float*,
                const Derivative&) const override {}
  void backward_many(const ExecContext& ctx, const float* const* x, const float*,
                     const float* dz, float* const* dx) const override {
    bool ta = a_transposed_, tb = b_transposed_;
    if (dx[0] && ta) multiply(ctx, {x[1], tb}, {dz, true}, dx[0], K_, M_, N_);
    if (dx[0] && !ta) multiply(ctx, {dz, false}, {x[1], !tb}, dx[0], M_, K_, N_);
    if (dx[1] && tb) multiply(ctx, {dz, true}, {x[0], ta}, dx[1], N_, K_, M_);
    if (dx[1] && !tb) multiply(ctx, {x[0], !ta}, {dz, false}, dx[1], K_, N_, M_);
  }

 private:
  struct Factor {
    const float* at;
    bool transposed;
  };

  // Rows and columns of the matrices in a shape.
  static std::pair<int64_t, int64_t> matrix(const OpSpec& spec, const Shape& shape,
                                            bool transposed) {
    size_t axes = spec.in_shape.size();
    if (shape.size() != axes ||
        !std::equal(shape.begin(), shape.end() - 2, spec.in_shape.begin()))
      refuse_shapes(spec, "a product");
    int64_t rows = shape[axes - 2], columns = shape[axes - 1];
    return transposed ? std::pair{columns, rows} : std::pair{rows, columns};
  }

  // c (M, N) = a (M, K) b (K, N) for each matrix of a batch.
  void multiply(const ExecContext& ctx, Factor a, Factor b, float* c, int64_t M,
                int64_t N, int64_t K) const {
    Product p{.a = a.at,
              .a_row = a.transposed ? 1 : K,
              .a_step = a.transposed ? M : 1,
              .b = b.at,
              .b_row = b.transposed ? K : N,
              .b_transposed = b.transposed,
              .c = c,
              .M = M,
              .N = N,
              .K = K,
              .after = Product::activate,
              .stop_requested = stop_requested};
    int64_t tasks = ctx.kernels.product_tasks(p), count = ctx.batch * count_;
    parallel(count * tasks, count * M * N * K, [&](int64_t task) {
      Product own = p;
      int64_t i = task / tasks;
      own.a += i * M * K, own.b += i * K * N, own.c += i * M * N;
      ctx.kernels.product(own, task % tasks);
    });
  }

  bool a_transposed_, b_transposed_;
  int64_t M_, N_, K_, count_;
};

}  // namespace

std::unique_ptr<Op> make_matmul(const OpSource& source) {
  return std::make_unique<MatMul>(source.spec);
}

}  // namespace kurve
