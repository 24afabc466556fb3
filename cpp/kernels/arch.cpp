// Compiled once per instruction set, with KURVE_ARCH naming it. Everything lies in an
// anonymous namespace and no std template is used: a weak symbol compiled here with
// wide instructions could be the one the linker keeps for code that runs on every CPU.
#include "images.h"
#include "table.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own AVX-512 header starts from deliberately undefined registers.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
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
#include "resample.inl.h"
#include "sparse.inl.h"
#include "standardize.inl.h"

const ImageKernels images = {
    conv_packed_size,
    conv_turned_size,
    conv_pack_tasks,
    conv_pack,
    conv_turn_tasks,
    conv_turn,
    conv_forward,
    conv_add_dx,
    conv_sums_size,
    conv_sums_pieces,
    conv_add_sums,
    conv_sums_row,
    forward_max,
    spread_max,
    sparse_fits,
    sparse_sums_size,
    sparse_turned_size,
    sparse_turn_tasks,
    sparse_turn,
    sparse_add_sums,
    sparse_dx,
    sparse_finish,
    pool,
    pool_backward,
    column_moments,
    standardize_columns,
    column_gradients,
    columns_backward,
    standardize_rows,
    rows_backward,
    affine,
    resample,
    resample_backward,
};
}  // namespace

extern const Kernels NAME(KURVE_ARCH);
const Kernels NAME(KURVE_ARCH) = {
    TEXT(KURVE_ARCH),
    L,
    product_tasks,
    product,
    sum_rows,
    in_safe_range,
    activate,
    differentiate,
    run_tape,
    softmax_forward,
    softmax_backward,
    dropout,
    normalize,
    normalize_backward,
    loss,
    scale,
    clamp,
    sum_of_squares,
    sum_of_magnitudes,
    penalize,
    update,
    panel_add,
    panel_subtract,
    panel_gather,
    panel_copy,
    panel_solve,
    cholesky,
    dot64,
    dot_row,
    add64,
    add_row,
    &images,
};
}  // namespace kurve
