// The kernels for recurrent cells.
#pragma once

#include "table.h"

#define ALWAYS inline __attribute__((always_inline))

namespace kurve {

bool stop_requested(int64_t work);  // see stop_token.h

// gru: the reset gate comes after the product with U; gru_before: before it.
enum class CellKind : int { lstm, gru, gru_before, simple };

// A cell on all T steps of sequences x (B, T, F): z = x W + h U + b for G gates of H
// units side by side. Formulas: kurve.engines.reference.recurrence. Memory used by
// kernels only has rows of `padded` instead of H floats.
struct Recurrence {
  CellKind kind;
  int64_t T, F, H;
  bool reverse, sequences, states;
  Activation activation = Activation::linear;
  Activation recurrent_activation = Activation::linear;
  float alpha = 0, recurrent_alpha = 0;
  int64_t copies = 1;    // of h, multiplied by factors: one, or one per gate
  bool dropped = false;  // there are factors

  // Always inlined: out of line, the linker would keep the version of one instruction
  // set.
  ALWAYS int64_t gates() const {
    return kind == CellKind::lstm ? 4 : kind == CellKind::simple ? 1 : 3;
  }
  ALWAYS int64_t width() const { return gates() * H; }
  ALWAYS int64_t padded() const { return (H + 15) / 16 * 16; }
  ALWAYS int64_t outputs() const { return (states ? 2 : 1) * H; }  // of a step
  // Vectors that forward saves per unit and step: lstm i f n o c' f(c); gru u r n and
  // the h U part of n; gru_before u r n; simple h. If an activation's derivative does
  // not follow from its value, its input is saved instead. If factors change h_in, both
  // gru kinds also save the h before the step.
  ALWAYS int64_t saved_vectors() const {
    return kind == CellKind::lstm     ? 6
           : kind == CellKind::simple ? 1
                                      : h_saved() + dropped;
  }
  ALWAYS int64_t h_saved() const { return kind == CellKind::gru ? 4 : 3; }
  // The width of a step's dz: gru has two for n, of h U and of x W, around those of u
  // and r. Rows that are a power of two apart would share few lines of the caches.
  ALWAYS int64_t dz_width() const {
    return width() + (kind == CellKind::gru ? H + 16 : 0);
  }
  // Where the dz of h U for a column of U starts.
  ALWAYS int64_t dz_at(int64_t column) const {
    if (kind != CellKind::gru) return column;
    return column < 2 * H ? column + H : column - 2 * H;
  }

  const float* x = nullptr;
  const float *mask = nullptr, *factors = nullptr;  // (B, T), (B, copies, H), or null
  const float *h0 = nullptr, *c0 = nullptr;         // (B, H) or null
  const float* packed = nullptr;  // the variables, copied by `pack` or `transpose`
  float* local = nullptr;         // local_size(...) floats per sample

  float* y = nullptr;
  // Null if there is no backward pass: what forward saves, (B, T, saved_vectors,
  // padded), and the h that was multiplied by U, (B, T, copies, padded).
  float *saved = nullptr, *h_in = nullptr;

  // For backward: dz (B, T, dz_width), in the order of x W after the other dz of n; for
  // gru_before also h after the reset gate (B, T, padded).
  const float* dy = nullptr;
  float *dz = nullptr, *reset = nullptr;
  ALWAYS float* dz_x() const { return dz + (kind == CellKind::gru ? H : 0); }
  float *dh0 = nullptr, *dc0 = nullptr;  // or null
};

struct RecurrentKernels {
  int64_t (*packed_size)(const Recurrence&);
  int64_t (*pack_tasks)(const Recurrence&);
  // W (F, G H), U (H, G H), and b (G H,), for gru (2, G H), or null.
  void (*pack)(const Recurrence&, const float* W, const float* U, const float* b,
               float* to, int64_t task);
  int64_t (*transposed_size)(const Recurrence&);
  int64_t (*transpose_tasks)(const Recurrence&);
  void (*transpose)(const Recurrence&, const float* U, float* to, int64_t task);
  int64_t (*local_size)(const Recurrence&, bool backward);
  // Takes samples first..first+rows-1 through all steps.
  void (*forward)(const Recurrence&, int64_t first, int64_t rows);
  void (*backward)(const Recurrence&, int64_t first, int64_t rows);
};

}  // namespace kurve

#undef ALWAYS
