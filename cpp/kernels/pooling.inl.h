// Maxima and means of windows, and a convolution that ends in a maximum.
#pragma once

// NaN wins, as in NumPy.
INLINE vi beats(vf candidate, vf best) {
  return (candidate > best) | (candidate != candidate);
}

// The part of the window at output (h, w) that lies inside the image.
struct Window {
  Span rows, columns;
  int64_t at;  // of its first pixel, were all of it inside
};
INLINE Window window_of(const Pool& p, int64_t h, int64_t w) {
  int64_t top = h * p.sh - p.top, left = w * p.sw - p.left;
  return {inside(top, 1, p.H, p.ph), inside(left, 1, p.W, p.pw), top * p.W + left};
}

template <class Body>
INLINE void for_windows(const Pool& p, Patience& patience, Body&& body) {
  for (int64_t h = 0; h < p.OH; h++)
    for (int64_t w = 0; w < p.OW; w++) {
      if (patience.ends(4 * p.ph * p.pw * p.C)) return;
      body(window_of(p, h, w), (h * p.OW + w) * p.C);
    }
}

static void pool(const Pool& p, const float* x, float* y) {
  Patience patience;
  for_windows(p, patience, [&](const Window& o, int64_t to) {
    int64_t count = (o.rows.to - o.rows.from) * (o.columns.to - o.columns.from);
    for (int64_t j = 0; j < p.C; j += L) {
      const int64_t n = p.C - j;
      vf best = splat(p.average ? 0.0f : -__builtin_inff());
      for (int64_t r = o.rows.from; r < o.rows.to; r++)
        for (int64_t s = o.columns.from; s < o.columns.to; s++) {
          vf v = load(x + (o.at + r * p.W + s) * p.C + j, n);
          best = p.average ? best + v : (beats(v, best) ? v : best);
        }
      store(y + to + j, p.average ? best / float(count) : best, n);
    }
  });
}

// The gradient of a maximum goes to the first element that has its value, row by row.
static void pool_backward(const Pool& p, const float* x, const float* y,
                          const float* dy, float* dx) {
  Patience patience;
  wipe(dx, p.H * p.W * p.C, patience);
  for_windows(p, patience, [&](const Window& o, int64_t from) {
    int64_t count = (o.rows.to - o.rows.from) * (o.columns.to - o.columns.from);
    for (int64_t j = 0; j < p.C; j += L) {
      const int64_t n = p.C - j;
      vf d = load(dy + from + j, n), top{};
      if (p.average)
        d = d / float(count);
      else
        top = load(y + from + j, n);
      for (int64_t r = o.rows.from; r < o.rows.to; r++)
        for (int64_t s = o.columns.from; s < o.columns.to; s++) {
          int64_t at = (o.at + r * p.W + s) * p.C + j;
          vf sum = load(dx + at, n);
          if (p.average) {
            sum += d;
          } else {
            vi hit = load(x + at, n) == top;
            sum += hit ? d : vf{};
            d = hit ? vf{} : d;
          }
          store(dx + at, sum, n);
        }
    }
  });
}

typedef uint8_t vbyte __attribute__((vector_size(L)));

static void forward_max(const Conv& p, const Finish& f, int64_t ph, int64_t pw,
                        const float* packed, const float* x, int64_t row, int64_t rows,
                        float* y, float* kept, uint8_t* index) {
  alignas(64) float strip[most_strip], derivatives[most_strip];
  const int64_t width = p.OW / pw, line = p.OW * p.O;
  Patience patience;
  for (int64_t h = row; h < row + rows; h++) {
    if (patience.ends(ph * line * forward_depth(p))) return;
    conv_forward(p, f, packed, x, h * ph, ph, strip, kept ? derivatives : nullptr);
    for (int64_t w = 0; w < width; w++)
      for (int64_t j = 0; j < p.O; j += L) {
        const int64_t n = p.O - j, at = ((h - row) * width + w) * p.O + j;
        const int64_t begin = w * pw * p.O + j;
        vf best = load(strip + begin, n), slope{};
        if (kept) slope = load(derivatives + begin, n);
        vi which{};
        for (int64_t i = 1; i < ph * pw; i++) {
          int64_t from = begin + i / pw * line + i % pw * p.O;
          vf v = load(strip + from, n);
          vi better = beats(v, best);
          best = better ? v : best;
          which = better ? vi{} + int32_t(i) : which;
          if (kept) slope = better ? load(derivatives + from, n) : slope;
        }
        store(y + at, best, n);
        if (kept) store(kept + at, slope, n);
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
