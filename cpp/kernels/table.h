// The kernels: one table of function pointers per instruction set.
//
// Sizes: B batch, R rows (batch x leading axes), I in, O out; M, N, K of a product.
// Every function gives an element the same bits wherever it is in its array and however
// the work is divided, unless a comment says what the order depends on.
#pragma once

#include <cstdint>

#include "kinds.h"
#include "tape.h"
#include "task_memory.h"

namespace kurve {

// Whether the derivative does not follow from the output, so that forward must save it.
static inline bool saves_derivative(Activation kind, float alpha) {
  switch (kind) {
    case Activation::gelu:
    case Activation::silu:
    case Activation::softplus:
    case Activation::sin:
    case Activation::snake:
      return true;
    case Activation::leaky_relu:
    case Activation::elu:
      return alpha < 0;
    default:
      return false;
  }
}

// The factor that turns dL/dy into dL/dz, for y = f(z).
struct Derivative {
  enum Source : int { one, from_output, saved } source = one;
  Activation kind = Activation::linear;
  float alpha = 0;
  const float* values = nullptr;  // outputs, or saved derivatives
};

// Longer sums are not computed in one float32 chain, because the error of a chain grows
// with its length.
constexpr int64_t longest_chain = 32;
// The limit if longer sums would need extra memory.
constexpr int64_t longest_chain_in_place = 256;

// Numbers of up to `safe_factor` are in the safe range: sums of up to 128 products of
// two of them do not exceed `safe_sum`, which optimizers can square and add to
// anything.
constexpr float safe_factor = 2e6f, safe_sum = 1e15f;

// One step's parameters, computed in float64 and rounded once.
struct UpdateParams {
  OptimizerKind kind;
  bool momentum_on = false, nesterov = false, centered = false, amsgrad = false;
  float lr = 0, decay = 0, momentum = 0, rho = 0, one_minus_rho = 0, epsilon = 0;
  float beta_2 = 0, one_minus_b1 = 0, one_minus_b2 = 0;
  float alpha = 0;  // adam: lr sqrt(1 - b2^t) / (1 - b1^t); adamax: 1 - b1^t
  float c_m = 0, c_g = 0, c_v = 0;  // nadam: mhat = m c_m + g c_g; vhat = v / c_v
};

// C (M, N) = A (M, K) B (K, N), followed by `after`. Each element is the sum of one or
// more chains of fused multiply-adds in the order of k, or of such sums over L parts of
// k: which of the two depends on the shape of the product, for forward (A by rows, B
// not transposed) on N only.
struct Product {
  enum After : int { activate, differentiate, check, update };

  const float* a;  // A[m][k] = a[m * a_row + k * a_step]
  int64_t a_row, a_step;
  const float* b;  // B[k][n] = b[k * b_row + n], or b[n * b_row + k] where transposed
  int64_t b_row;
  bool b_transposed;
  float* c;  // C[m][n] = c[m * N + n]; update: the variable whose gradient C would be
  int64_t M, N, K;

  After after;
  const float* bias = nullptr;                 // activate: (N,) or null
  Activation activation = Activation::linear;  // activate
  float alpha = 0;                             // activate
  float* saved = nullptr;                      // activate: derivatives (M, N) or null
  Derivative derivative{};                     // differentiate
  const UpdateParams* step = nullptr;          // update
  bool (*stop_requested)(int64_t work) = nullptr;  // true: C is no longer needed
  float* slots[3] = {};                            // update: laid out as c
};

constexpr int max_quantiles = 32;

struct Loss {
  LossKind kind;
  bool from_logits = false;
  float delta = 1;
  float smoothing = 0;
  float beta = 0;
  int count = 0;  // of quantiles
  float quantiles[max_quantiles] = {};
};

struct Normalization {
  const float *mean, *variance;  // (C,)
  int64_t C;
  float epsilon;
  bool invert;
};

struct Dropout {
  uint64_t seed;
  uint32_t purpose;
  uint64_t stream;
  uint32_t threshold;  // a word below it drops its element
  float scale;
};

// Reductions and running sums along the axis n of x (outer, n, inner), in units: a unit
// is up to `unit_columns` of the inner columns at one outer position.
constexpr int64_t unit_columns = 64;
struct Reduction {
  ReductionKind kind;
  int64_t n, inner;
  [[gnu::always_inline]] int64_t units_across() const {
    return (inner + unit_columns - 1) / unit_columns;
  }
};

struct ImageKernels;
struct RecurrentKernels;

struct Kernels {
  const char* name;
  int lanes;

  // Tasks of a product are independent. If `after` is check, `product` returns whether
  // all of C is in the safe range (at most safe_sum); otherwise true.
  int64_t (*product_tasks)(const Product&);
  bool (*product)(const Product&, int64_t task);
  // sums[j] = sum of x[i][n + j] over the rows of x (R, N), j < count; the order
  // depends on R only.
  void (*sum_rows)(const float* x, int64_t R, int64_t N, int64_t n, int64_t count,
                   float* sums);
  // Whether none exceeds safe_factor.
  bool (*in_safe_range)(const float* x, int64_t n);

  // y = f(x); saved = f'(x) unless null.
  void (*activate)(Activation, float alpha, const float* x, float* y, float* saved,
                   int64_t n);
  // dx = dy times the derivative, whose values start at `offset`.
  void (*differentiate)(const Derivative&, int64_t offset, const float* dy, float* dx,
                        int64_t n);
  // Elements first..first+n-1 of a tape's outputs.
  void (*run_tape)(const Tape&, const Operand* inputs, float* const* outputs,
                   int64_t first, int64_t n);
  // In float64: n numbers, a multiple of lanes / 2, in every register.
  void (*run_tape64)(const Step64* code, int64_t count, double* const* registers,
                     int64_t n);
  void (*softmax_forward)(const float* x, float* y, int64_t rows, int64_t O);
  void (*softmax_backward)(const float* y, const float* dy, float* dx, int64_t rows,
                           int64_t O);
  // Elements first..first+n-1 of a batch; first is a multiple of 4.
  void (*dropout)(const Dropout&, const float* x, float* y, float* saved, int64_t first,
                  int64_t n);
  // Rows of C elements; backward multiplies by the derivative.
  void (*normalize)(const Normalization&, const float* x, float* y, int64_t rows);
  void (*normalize_backward)(const Normalization&, const float* dy, float* dx,
                             int64_t rows);

  // Units first..first+count-1; y is (outer, inner). backward overwrites dx. A sum's
  // order depends on n, and on whether inner is 1.
  void (*reduce)(const Reduction&, const float* x, float* y, int64_t first,
                 int64_t count);
  void (*reduce_backward)(const Reduction&, const float* x, const float* y,
                          const float* dy, float* dx, int64_t first, int64_t count);
  // y (outer, n, inner): sums of the elements up to each, or from each on.
  void (*running_sum)(const Reduction&, bool reverse, const float* x, float* y,
                      int64_t first, int64_t count);

  // Loss of each row and, unless dp is null, its gradient (unweighted); y is (rows, O),
  // (rows,) for sparse kinds, or (rows, T) if O is a multiple of T; scratch holds rows
  // * O floats.
  void (*loss)(const Loss&, const float* p, const float* y, int64_t rows, int64_t O,
               float* scratch, double* row_loss, float* dp);

  // x *= factor; x = clamp(x, -limit, limit).
  void (*scale)(float* x, float factor, int64_t n);
  void (*clamp)(float* x, float limit, int64_t n);
  // Sums in an order that depends on n only.
  double (*sum_of_squares)(const float* x, int64_t n);
  double (*sum_of_magnitudes)(const float* x, int64_t n);
  // g += l1 sign(w) + 2 l2 w; returns whether no element of g exceeds safe_sum.
  bool (*penalize)(float* g, const float* w, float l1, float l2, int64_t n);
  void (*update)(const UpdateParams&, float* w, const float* g, float* const* slots,
                 int64_t n);

  // In float64; see panel.inl.h.
  void (*panel_add)(const double* a, const double* b, double* c, int64_t c_row,
                    int64_t rows, int64_t columns, int64_t K);
  void (*panel_subtract)(const double* a, const double* b, double* c, int64_t c_row,
                         int64_t rows, int64_t columns, int64_t K);
  void (*panel_gather)(const float* x, int64_t x_row, const int64_t* columns,
                       int64_t count, const double* sqrt_weights, double* panel,
                       int64_t K);
  void (*panel_copy)(double* x, int64_t x_row, int64_t count, double* panel, int64_t K,
                     bool back);
  void (*panel_solve)(const double* r, int64_t r_row, double* panel, int64_t K);
  int64_t (*cholesky)(double* a, int64_t a_row, int64_t n);
  double (*dot64)(const double* x, const double* y, int64_t n);
  double (*dot_row)(const float* x, const double* y, int64_t n);
  void (*add64)(double* y, double factor, const double* x, int64_t n);
  void (*add_row)(double* y, double factor, const float* x, int64_t n);

  const ImageKernels* images;         // see images.h
  const RecurrentKernels* recurrent;  // see recurrent.h
};

}  // namespace kurve
