// Compiled once per instruction set, which KURVE_ARCH names. Everything is in an
// anonymous namespace and no std template is used: otherwise the linker might choose a
// weak symbol compiled here, with wide instructions, for code that runs on every CPU.
#include "images.h"
#include "recurrent.h"
#include "table.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own AVX-512 header deliberately starts from undefined registers.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#elif defined(__wasm__)
#include <wasm_simd128.h>
#endif

#define NAME_(x) kernels_##x
#define NAME(x) NAME_(x)
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

namespace kurve {
namespace {
#include "vector.inl.h"

#include "math.inl.h"

#include "activation.inl.h"
#include "loss.inl.h"
#include "micro.inl.h"
#include "optimizer.inl.h"
#include "panel.inl.h"
#include "pointwise.inl.h"
#include "tape.inl.h"

#include "pack.inl.h"
#include "product.inl.h"

#include "conv.inl.h"
#include "conv_backward.inl.h"
#include "depthwise.inl.h"
#include "pooling.inl.h"
#include "recurrent.inl.h"
#include "recurrent_backward.inl.h"
#include "reduce.inl.h"
#include "resample.inl.h"
#include "sparse.inl.h"
#include "standardize.inl.h"

const ImageKernels images = {
    .packed_size = conv_packed_size,
    .transposed_size = conv_transposed_size,
    .pack_tasks = conv_pack_tasks,
    .pack = conv_pack,
    .transpose_tasks = conv_transpose_tasks,
    .transpose = conv_transpose,
    .forward = conv_forward,
    .add_dx = conv_add_dx,
    .sums_size = conv_sums_size,
    .sums_pieces = conv_sums_pieces,
    .add_sums = conv_add_sums,
    .sums_row = conv_sums_row,
    .forward_max = forward_max,
    .spread = spread_max,
    .sparse_fits = sparse_fits,
    .sparse_sums_size = sparse_sums_size,
    .sparse_transposed_size = sparse_transposed_size,
    .sparse_transpose_tasks = sparse_transpose_tasks,
    .sparse_transpose = sparse_transpose,
    .sparse_add_sums = sparse_add_sums,
    .sparse_dx = sparse_dx,
    .sparse_finish = sparse_finish,
    .pool = pool,
    .pool_backward = pool_backward,
    .column_moments = column_moments,
    .standardize_columns = standardize_columns,
    .column_gradients = column_gradients,
    .columns_backward = columns_backward,
    .standardize_rows = standardize_rows,
    .rows_backward = rows_backward,
    .affine = affine,
    .resample = resample,
    .resample_backward = resample_backward,
};

const RecurrentKernels recurrent = {
    .packed_size = cell_packed_size,
    .pack_tasks = cell_panels,
    .pack = pack_cell,
    .transposed_size = cell_transposed_size,
    .transpose_tasks = cell_transpose_tasks,
    .transpose = transpose_cell,
    .local_size = cell_local_size,
    .forward = cell_forward,
    .backward = cell_backward,
};
}  // namespace

extern const Kernels NAME(KURVE_ARCH);
const Kernels NAME(KURVE_ARCH) = {
    .name = TEXT(KURVE_ARCH),
    .lanes = L,
    .product_tasks = product_tasks,
    .product = product,
    .sum_rows = sum_rows,
    .in_safe_range = in_safe_range,
    .activate = activate,
    .differentiate = differentiate,
    .run_tape = run_tape,
    .softmax_forward = softmax_forward,
    .softmax_backward = softmax_backward,
    .dropout = dropout,
    .normalize = normalize,
    .normalize_backward = normalize_backward,
    .reduce = reduce,
    .reduce_backward = reduce_backward,
    .running_sum = running_sum,
    .loss = loss,
    .scale = scale,
    .clamp = clamp,
    .sum_of_squares = sum_of_squares,
    .sum_of_magnitudes = sum_of_magnitudes,
    .penalize = penalize,
    .update = update,
    .panel_add = panel_add,
    .panel_subtract = panel_subtract,
    .panel_gather = panel_gather,
    .panel_copy = panel_copy,
    .panel_solve = panel_solve,
    .cholesky = cholesky,
    .dot64 = dot64,
    .dot_row = dot_row,
    .add64 = add64,
    .add_row = add_row,
    .images = &images,
    .recurrent = &recurrent,
};
}  // namespace kurve
