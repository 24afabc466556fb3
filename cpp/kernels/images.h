// The kernels for images: samples (H, W, C), channels last.
#pragma once

#include "table.h"

namespace kurve {

bool stop_requested(int64_t work);  // see stop_token.h

// x (H, W, I) to y (OH, OW, O) by a kernel (kh, kw, I / groups, O): output (h, w) sees
// the inputs (h * sh + r * dh - top, w * sw + s * dw - left), zero outside the image.
struct Conv {
  int64_t H, W, I, OH, OW, O;
  int64_t kh, kw, sh, sw, dh, dw, top, left, groups;
};

// Applied to each output's sum.
struct Epilogue {
  const float* bias = nullptr;  // (O,) or null
  Activation activation = Activation::linear;
  float alpha = 0;
};

// Windows of (ph, pw) of x (H, W, C), at strides sh and sw; padding is ignored.
struct Pool {
  int64_t H, W, C, OH, OW;
  int64_t ph, pw, sh, sw, top, left;
  bool average;
};

// The position of a maximum in its window is stored in a byte.
constexpr int64_t max_window = 256;
// The largest number of floats in the outputs under one row of windows.
constexpr int64_t max_strip = 16384;

// Standardizes C columns (or the C elements of each row): x^ = (x - mean) inv_std, y =
// gamma x^ + beta; null gamma and beta mean 1 and 0. inv_std is 1 / standard deviation.
struct NormParams {
  int64_t C;
  const float *mean, *inv_std, *gamma, *beta;
};

// See resample.inl.h. `at` counts pixels of C channels; at and weight are (pixels,
// each).
struct ResampleTable {
  int64_t C, pixels, each;
  const int32_t* at;
  const float* weight;
  float fill;
};

// Each kernel works on one image, and an output's bits depend on its image only. Long
// kernels return early when the call should stop; their results are then meaningless.
struct ImageKernels {
  // The size in floats of a kernel's copies: packed for forward, transposed for dx.
  int64_t (*packed_size)(const Conv&);
  int64_t (*transposed_size)(const Conv&);
  // The number of tasks that make the copies; if it is 0, forward reads the kernel in
  // place.
  int64_t (*pack_tasks)(const Conv&);
  void (*pack)(const Conv&, const float* kernel, float* to, int64_t task);
  int64_t (*transpose_tasks)(const Conv&);
  void (*transpose)(const Conv&, const float* kernel, float* to, int64_t task);

  // Computes rows row..row+rows-1 of y; y and saved (derivatives, or null) hold only
  // these.
  void (*forward)(const Conv&, const Epilogue&, const float* packed, const float* x,
                  int64_t row, int64_t rows, float* y, float* saved);
  // dx += the contribution of rows row..row+rows-1 of dz; dz holds only these.
  void (*add_dx)(const Conv&, const float* transposed, const float* dz, int64_t row,
                 int64_t rows, float* dx);
  // The sums for dW have a special layout of `sums_size` floats. `sums_row` adds
  // several blocks of them and writes one row (O,) of dW (kh kw I / groups, O).
  int64_t (*sums_size)(const Conv&);
  // sums += the contribution of rows row..row+rows-1 of dz, in independent pieces.
  int64_t (*sums_pieces)(const Conv&);
  void (*add_sums)(const Conv&, const float* x, const float* dz, int64_t row,
                   int64_t rows, float* sums, int64_t piece);
  void (*sums_row)(const Conv&, const float* sums, int64_t blocks, int64_t block_stride,
                   int64_t row, float* to);

  // The same for y = the maximum over windows of the convolution, which cover it
  // without remainder. Works on rows of windows; `index` is the position of the first
  // maximum of each.
  void (*forward_max)(const Conv&, const Epilogue&, int64_t ph, int64_t pw,
                      const float* packed, const float* x, int64_t row, int64_t rows,
                      float* y, float* saved, uint8_t* index);
  // Computes rows of dz from the gradients of their windows.
  void (*spread)(const Conv&, int64_t ph, int64_t pw, const float* dy,
                 const uint8_t* index, int64_t row, int64_t rows, float* dz);

  // The backward pass of that, skipping zeros; see sparse.inl.h. sparse_finish writes
  // dW by channels, and overwrites the sums.
  bool (*sparse_fits)(const Conv&);
  int64_t (*sparse_sums_size)(const Conv&);
  int64_t (*sparse_transposed_size)(const Conv&);
  int64_t (*sparse_transpose_tasks)(const Conv&);
  void (*sparse_transpose)(const Conv&, const float* kernel, float* to, int64_t task);
  void (*sparse_add_sums)(const Conv&, int64_t ph, int64_t pw, const float* x,
                          const float* dy, const uint8_t* index, float* sums);
  void (*sparse_dx)(const Conv&, int64_t ph, int64_t pw, const float* transposed,
                    const float* dy, const uint8_t* index, float* dx);
  bool (*sparse_finish)(const Conv&, float* sums, int64_t blocks, int64_t block_stride,
                        int64_t first, int64_t last, float* to);

  void (*pool)(const Pool&, const float* x, float* y);
  // Adds to sums unless it is null; otherwise overwrites dx.
  void (*pool_backward)(const Pool&, const float* x, const float* y, const float* dy,
                        float* dx, double* sums);

  // See standardize.inl.h.
  void (*column_moments)(const float* x, int64_t rows, int64_t C, const double* mean,
                         double* sums);
  void (*standardize_columns)(const NormParams&, const float* x, float* y,
                              int64_t rows);
  void (*column_gradients)(const NormParams&, const float* x, const float* dy,
                           int64_t rows, double* sums);
  void (*columns_backward)(const NormParams&, const float* means, const float* x,
                           const float* dy, float* dx, int64_t rows);
  void (*standardize_rows)(const NormParams&, float epsilon, const float* x, float* y,
                           int64_t rows, float* means, float* inv_stds);
  void (*rows_backward)(const NormParams&, const float* x, const float* dy, float* dx,
                        int64_t rows, const float* means, const float* inv_stds,
                        double* sums);
  void (*affine)(const float* scale, const float* offset, int64_t C, const float* x,
                 float* y, int64_t n);

  void (*resample)(const ResampleTable&, const float* x, float* y);
  // Adds to sums unless it is null; otherwise to dx.
  void (*resample_backward)(const ResampleTable&, const float* dy, float* dx,
                            double* sums);
};

}  // namespace kurve
