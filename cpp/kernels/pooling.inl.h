// Max and average pooling, and convolution followed by max-pooling.
#pragma once

// NaN counts as largest, as in NumPy.
INLINE vi beats(vf candidate, vf best) {
  return (candidate > best) | (candidate != candidate);
}

// The part of the window at output (h, w) that lies inside the image.
struct Window {
  Range rows, columns;
  int64_t at;  // of its first pixel, as if all were inside
};
INLINE Window window_of(const Pool& p, int64_t h, int64_t w) {
  int64_t top = h * p.sh - p.top, left = w * p.sw - p.left;
  return {inside(top, 1, p.H, p.ph), inside(left, 1, p.W, p.pw), top * p.W + left};
}

INLINE int64_t pixels_of(const Window& o) {
  return (o.rows.to - o.rows.from) * (o.columns.to - o.columns.from);
}
template <class Body>
INLINE void for_windows(const Pool& p, StopPoller& poller, Body&& body) {
  for (int64_t h = 0; h < p.OH; h++)
    for (int64_t w = 0; w < p.OW; w++) {
      const Window o = window_of(p, h, w);
      if (poller.stop_requested(4 * pixels_of(o) * p.C)) return;
      body(o, (h * p.OW + w) * p.C);
    }
}

// Calls body(offset) for each pixel, row by row.
template <class Body>
INLINE void for_pixels(const Pool& p, const Window& o, Body&& body) {
  for (int64_t r = o.rows.from; r < o.rows.to; r++)
    for (int64_t s = o.columns.from; s < o.columns.to; s++)
      body((o.at + r * p.W + s) * p.C);
}

static void pool(const Pool& p, const float* x, float* y) {
  StopPoller poller;
  for_windows(p, poller, [&](const Window& o, int64_t to) {
    const int64_t count = pixels_of(o);
    for (int64_t j = 0; j < p.C; j += L) {
      const int64_t n = p.C - j;
      if (p.average && count > longest_chain) {
        LongSum sum;
        for_pixels(p, o, [&](int64_t at) { sum.add(load(x + at + j, n)); });
        store(y + to + j, narrowed(sum.lanes() / double(count)), n);
        continue;
      }
      vf best = splat(p.average ? 0.0f : -__builtin_inff());
      for_pixels(p, o, [&](int64_t at) {
        vf v = load(x + at + j, n);
        best = p.average ? best + v : (beats(v, best) ? v : best);
      });
      store(y + to + j, p.average ? best / float(count) : best, n);
    }
  });
}

// sums (H, W, C) += the gradients of the windows. The gradient of a maximum goes to the
// first element with its value, row by row.
template <class T>
static void add_pool_gradient(const Pool& p, const float* x, const float* y,
                              const float* dy, T* sums, StopPoller& poller) {
  for_windows(p, poller, [&](const Window& o, int64_t from) {
    const float count = float(pixels_of(o));
    for (int64_t j = 0; j < p.C; j += L) {
      const int64_t n = p.C - j;
      vf d = load(dy + from + j, n), top{};
      if (p.average)
        d = d / count;
      else
        top = load(y + from + j, n);
      for_pixels(p, o, [&](int64_t at) {
        if (p.average) return add(sums + at + j, d, n);
        vi hit = load(x + at + j, n) == top;
        add(sums + at + j, hit ? d : vf{}, n);
        d = hit ? vf{} : d;
      });
    }
  });
}

static void pool_backward(const Pool& p, const float* x, const float* y,
                          const float* dy, float* dx, double* sums) {
  StopPoller poller;
  if (sums) return add_pool_gradient(p, x, y, dy, sums, poller);
  zero_fill(dx, p.H * p.W * p.C, poller);
  add_pool_gradient(p, x, y, dy, dx, poller);
}

typedef uint8_t vbyte __attribute__((vector_size(L)));

struct Strips {
  alignas(64) float y[max_strip], derivatives[max_strip];
};

static void forward_max(const Conv& p, const Epilogue& f, int64_t ph, int64_t pw,
                        const float* packed, const float* x, int64_t row, int64_t rows,
                        float* y, float* saved, uint8_t* index) {
  auto& [strip, derivatives] = task_memory_as<Strips>();
  const int64_t width = p.OW / pw, line = p.OW * p.O;
  StopPoller poller;
  for (int64_t h = row; h < row + rows; h++) {
    if (poller.stop_requested(ph * line * forward_depth(p))) return;
    conv_forward(p, f, packed, x, h * ph, ph, strip, saved ? derivatives : nullptr);
    for (int64_t w = 0; w < width; w++)
      for (int64_t j = 0; j < p.O; j += L) {
        const int64_t n = p.O - j, at = ((h - row) * width + w) * p.O + j;
        const int64_t begin = w * pw * p.O + j;
        vf best = load(strip + begin, n), derivative{};
        if (saved) derivative = load(derivatives + begin, n);
        vi which{};
        for (int64_t i = 1; i < ph * pw; i++) {
          int64_t from = begin + i / pw * line + i % pw * p.O;
          vf v = load(strip + from, n);
          vi better = beats(v, best);
          best = better ? v : best;
          which = better ? vi{} + int32_t(i) : which;
          if (saved) derivative = better ? load(derivatives + from, n) : derivative;
        }
        store(y + at, best, n);
        if (saved) store(saved + at, derivative, n);
        if (!index) continue;
        vbyte bytes = __builtin_convertvector(which, vbyte);
        __builtin_memcpy(index + at, &bytes, uint64_t(n < L ? n : L));
      }
  }
}

static void spread_max(const Conv& p, int64_t ph, int64_t pw, const float* dy,
                       const uint8_t* index, int64_t row, int64_t rows, float* dz) {
  const int64_t width = p.OW / pw, line = p.OW * p.O;
  for (int64_t h = row; h < row + rows; h++)
    for (int64_t w = 0; w < width; w++)
      for (int64_t j = 0; j < p.O; j += L) {
        const int64_t n = p.O - j, at = (h * width + w) * p.O + j;
        vbyte bytes{};
        __builtin_memcpy(&bytes, index + at, uint64_t(n < L ? n : L));
        vi which = __builtin_convertvector(bytes, vi);
        vf d = load(dy + at, n);
        float* to = dz + (h - row) * ph * line + w * pw * p.O + j;
        for (int64_t i = 0; i < ph * pw; i++)
          store(to + i / pw * line + i % pw * p.O, which == int32_t(i) ? d : vf{}, n);
      }
}
