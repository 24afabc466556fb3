// What a kernel file offers for images: samples (H, W, C), channels last.
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

// What follows each output's sum.
struct Epilogue {
  const float* bias = nullptr;  // (O,) or null
  Activation activation = Activation::linear;
  float alpha = 0;
};

// Windows of (ph, pw) of x (H, W, C), sh and sw apart; padding never counts.
struct Pool {
  int64_t H, W, C, OH, OW;
  int64_t ph, pw, sh, sw, top, left;
  bool average;
};

// The elements of a maximum's window are numbered by bytes.
constexpr int64_t most_window = 256;
// Floats of the outputs that one row of windows covers.
constexpr int64_t most_strip = 16384;

// What standardizes C columns (or the C elements of each row): x^ = (x - mean) slope,
// y = gamma x^ + beta; null gamma and beta are 1 and 0.
struct NormParams {
  int64_t C;
  const float *mean, *slope, *gamma, *beta;
};

// See resample.inl.h; at counts pixels of C channels, at and weight are (pixels, each).
struct ResampleTable {
  int64_t C, pixels, each;
  const int32_t* at;
  const float* weight;
  float fill;
};

// Kernels of one image each. An output's bits depend on its image only. Long ones look
// whether the call is to end: then they return, and what they leave is worth nothing.
struct ImageKernels {
  // Floats of the copies of a kernel: for forward, and transposed round for dx.
  int64_t (*packed_size)(const Conv&);
  int64_t (*turned_size)(const Conv&);
  // Copies may be made in tasks; forward's is not needed where there are none.
  int64_t (*pack_tasks)(const Conv&);
  void (*pack)(const Conv&, const float* kernel, float* to, int64_t task);
  int64_t (*turn_tasks)(const Conv&);
  void (*turn)(const Conv&, const float* kernel, float* to, int64_t task);

  // Rows row..row+rows-1 of y, of which y and kept (derivatives, or null) hold no more.
  void (*forward)(const Conv&, const Epilogue&, const float* packed, const float* x,
                  int64_t row, int64_t rows, float* y, float* kept);
  // dx += what rows row..row+rows-1 of dz give; dz holds no more.
  void (*add_dx)(const Conv&, const float* transposed, const float* dz, int64_t row,
                 int64_t rows, float* dx);
  // Sums for the kernel are laid out as `sums_size` says; `sums_row` finishes: one row
  // (O,) of dW (kh kw I / groups, O) is the sum over blocks of sums, one after another.
  int64_t (*sums_size)(const Conv&);
  // sums += what rows row..row+rows-1 of dz give, in independent pieces.
  int64_t (*sums_pieces)(const Conv&);
  void (*add_sums)(const Conv&, const float* x, const float* dz, int64_t row,
                   int64_t rows, float* sums, int64_t piece);
  void (*sums_row)(const Conv&, const float* sums, int64_t blocks, int64_t apart,
                   int64_t row, float* to);

  // The same for y = maximum over the windows of the convolution, which the geometry
  // covers without a rest: rows of windows; `index` tells the first maximum of each.
  void (*forward_max)(const Conv&, const Epilogue&, int64_t ph, int64_t pw,
                      const float* packed, const float* x, int64_t row, int64_t rows,
                      float* y, float* kept, uint8_t* index);
  // Rows of dz from their windows' gradients.
  void (*spread)(const Conv&, int64_t ph, int64_t pw, const float* dy,
                 const uint8_t* index, int64_t row, int64_t rows, float* dz);

  // The way back from there without the zeros; see sparse.inl.h. A gradient of the
  // kernel is finished by channels, and its sums are used up.
  bool (*sparse_fits)(const Conv&);
  int64_t (*sparse_sums_size)(const Conv&);
  int64_t (*sparse_turned_size)(const Conv&);
  int64_t (*sparse_turn_tasks)(const Conv&);
  void (*sparse_turn)(const Conv&, const float* kernel, float* to, int64_t task);
  void (*sparse_add_sums)(const Conv&, int64_t ph, int64_t pw, const float* x,
                          const float* dy, const uint8_t* index, float* sums);
  void (*sparse_dx)(const Conv&, int64_t ph, int64_t pw, const float* transposed,
                    const float* dy, const uint8_t* index, float* dx);
  bool (*sparse_finish)(const Conv&, float* sums, int64_t blocks, int64_t apart,
                        int64_t first, int64_t last, float* to);

  void (*pool)(const Pool&, const float* x, float* y);
  // Adds to sums unless these are null, else overwrites dx.
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
                           int64_t rows, float* means, float* slopes);
  void (*rows_backward)(const NormParams&, const float* x, const float* dy, float* dx,
                        int64_t rows, const float* means, const float* slopes,
                        double* sums);
  void (*affine)(const float* scale, const float* offset, int64_t C, const float* x,
                 float* y, int64_t n);

  void (*resample)(const ResampleTable&, const float* x, float* y);
  // Adds to sums unless these are null, else to dx.
  void (*resample_backward)(const ResampleTable&, const float* dy, float* dx,
                            double* sums);
};

}  // namespace kurve
