// Convolution of one image, channels last, as products of register tiles that read the
// image in place: a tile is a few outputs of one row or one column of the image times a
// panel of channels, and its sum runs over the taps (elements of the kernel) that lie
// inside the image. So only the kernel is copied, and padding is never multiplied.
//
// forward: y (pixels, O) = sum over taps of x (pixels, I) W (I, O).
// dx:      pixels of x under each tap += dz (pixels, O) W^T (O, I).
// dW:      (taps x I, O) = x^T (taps x I, pixels) dz (pixels, O).
#pragma once

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int conv_tile_rows = 14;
#elif defined(__AVX2__)
constexpr int conv_tile_rows = 6;
#else
constexpr int conv_tile_rows = 4;
#endif

// Counts multiply-adds, and checks at intervals whether the call should stop.
class StopPoller {
 public:
  bool stop_requested(int64_t work) {
    if ((remaining_ -= work) > 0) return false;
    stopped_ = stopped_ || kurve::stop_requested(interval);
    remaining_ = stopped_ ? 0 : interval;
    return stopped_;
  }

 private:
  static constexpr int64_t interval = 20'000'000;
  int64_t remaining_ = interval;
  bool stopped_ = false;
};

// Writes zeros; interruptible, since touching new memory is slow.
static void zero_fill(float* to, int64_t n, StopPoller& poller) {
  constexpr int64_t size = 1 << 18;
  for (int64_t i = 0; i < n && !poller.stop_requested(size * 4); i += size)
    __builtin_memset(to + i, 0, uint64_t(min(size, n - i)) * 4);
}

// A segment of a sum: where it starts in A and in B.
struct Segment {
  int64_t a, b;
};
constexpr int64_t max_segments = 64;
// Pixels in one chain of a sum over an image; chains are added to each other.
constexpr int64_t pixel_chain = 512;

// C (rows, vectors L) = from + the sum over all segments of A (rows, depth) B (depth,
// vectors L); with `adds`, C += that.
struct Tile {
  const float* a;
  int64_t a_row, a_step;
  const float* b;
  int64_t b_row;
  const Segment* segments;
  int64_t count, depth;
  const float* from;
  int64_t from_row;
  float* c;
  int64_t c_row;
  bool relu = false, adds = false;
  int64_t columns = 0;  // of B's last vector, if it is partial
};

// by_rows: A and B are laid out as in forward, B as a copied panel; ends: see
// Tile::columns.
template <int rows, int vectors, bool by_rows, bool ends>
static __attribute__((noinline)) void conv_tile(const Tile& t) {
  vf acc[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) acc[r][v] = load(t.from + r * t.from_row + v * L);
  const int64_t a_row = by_rows ? t.a_row : 1, a_step = by_rows ? 1 : t.a_step;
  const int64_t b_row = by_rows ? panel_width : t.b_row, columns = t.columns;
  for (int64_t i = 0; i < t.count; i++) {
    const float *a = t.a + t.segments[i].a, *b = t.b + t.segments[i].b;
    for (int64_t k = 0; k < t.depth; k++, a += a_step, b += b_row) {
      vf bv[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++)
        bv[v] = ends ? load_tail(b + v * L, columns, 0) : load(b + v * L);
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
        vf av = splat(a[r * a_row]);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) acc[r][v] += av * bv[v];
      }
    }
  }
  if (t.adds)
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) acc[r][v] += load(t.c + r * t.c_row + v * L);
  if (t.relu)
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) acc[r][v] = acc[r][v] < 0.0f ? vf{} : acc[r][v];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) store(t.c + r * t.c_row + v * L, acc[r][v]);
}

// clang-format off: a list, not statements
template <int vectors, bool by_rows, bool ends>
static void conv_tile_of(int64_t rows, const Tile& t) {
  switch (rows) {
#define CASE(n)                                                                 \
  case n:                                                                       \
    if constexpr (n <= conv_tile_rows) conv_tile<n, vectors, by_rows, ends>(t); \
    return;
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
    CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#undef CASE
  }
}
// clang-format on

// Indices from..to-1.
struct Range {
  int64_t from, to;
};

// The i in 0..n-1 for which at + i * step lies in [0, size).
INLINE Range inside(int64_t at, int64_t step, int64_t size, int64_t n) {
  int64_t from = at >= 0 ? 0 : min(n, pieces(-at, step));
  int64_t to = at >= size ? 0 : min(n, (size - 1 - at) / step + 1);
  return {from, to < from ? from : to};
}
// Output columns (or rows) whose taps all lie inside the image.
INLINE Range inside_taps(int64_t before, int64_t stride, int64_t reach, int64_t size,
                         int64_t n) {
  Range first = inside(-before, stride, size, n);
  Range last = inside(reach - before, stride, size, n);
  int64_t from = first.from > last.from ? first.from : last.from;
  int64_t to = min(first.to, last.to);
  return {from, to < from ? from : to};
}
INLINE Range inner_rows(const Conv& p) {
  return inside_taps(p.top, p.sh, (p.kh - 1) * p.dh, p.H, p.OH);
}
INLINE Range inner_columns(const Conv& p) {
  return inside_taps(p.left, p.sw, (p.kw - 1) * p.dw, p.W, p.OW);
}

// Whether the pixels under a row of the kernel, with their channels, are adjacent in
// memory.
INLINE bool taps_are_joined(const Conv& p) { return p.dw == 1 && p.groups == 1; }

INLINE bool depthwise(const Conv& p) { return p.groups == p.I && p.O == p.I; }

// ---- Copies of the kernel: by groups, then by panels of columns (K, panel_width).

INLINE int64_t forward_depth(const Conv& p) { return p.kh * p.kw * (p.I / p.groups); }

static int64_t conv_pack_tasks(const Conv& p) {
  if (depthwise(p) || (p.groups == 1 && p.O == panel_width)) return 0;
  return p.groups * pieces(p.O / p.groups, panel_width);
}
static int64_t conv_packed_size(const Conv& p) {
  return conv_pack_tasks(p) * forward_depth(p) * panel_width;
}
static void conv_pack(const Conv& p, const float* kernel, float* to, int64_t task) {
  int64_t O = p.O / p.groups, panels = pieces(O, panel_width), K = forward_depth(p);
  int64_t n = task % panels * panel_width, width = min(panel_width, O - n);
  const float* from = kernel + task / panels * O + n;
  to += task * K * panel_width;
  for (int64_t k = 0; k < K; k++, from += p.O, to += panel_width) {
    store(to, load(from, width));
    store(to + L, width > L ? load(from + L, width - L) : vf{});
  }
}

static int64_t conv_transpose_tasks(const Conv& p) {
  if (depthwise(p)) return 0;
  return p.groups * pieces(p.I / p.groups, panel_width) * p.kh * p.kw;
}
static int64_t conv_transposed_size(const Conv& p) {
  return conv_transpose_tasks(p) * (p.O / p.groups) * panel_width;
}
// One tap of one panel: (O / groups, panel_width).
static void conv_transpose(const Conv& p, const float* kernel, float* to,
                           int64_t task) {
  int64_t I = p.I / p.groups, O = p.O / p.groups, taps = p.kh * p.kw;
  int64_t panels = pieces(I, panel_width), tap = task % taps;
  int64_t n = task / taps % panels * panel_width, width = min(panel_width, I - n);
  const float* from = kernel + (tap * I + n) * p.O + task / taps / panels * O;
  to += task * O * panel_width;
  int64_t o = 0, whole = O - O % L;
  for (int64_t j = 0; j < panel_width; j += L) {
    bool all = width - j >= L;
    for (o = 0; all && o < whole; o += L)
      transpose_square(from + j * p.O + o, p.O, to + o * panel_width + j, panel_width);
    for (o = all ? whole : 0; o < O; o++)
      for (int64_t i = 0; i < L; i++)
        to[o * panel_width + j + i] = j + i < width ? from[(j + i) * p.O + o] : 0.0f;
  }
}

// ---- Forward.

// `count` outputs in a row (or in a column, if upright) that all see the taps rows x
// columns; y and saved start at the row `origin`.
struct Pixels {
  int64_t h, w, count;
  bool upright;
  Range rows, columns;
};

struct Panel {
  const float* packed;  // (K, panel_width)
  const float* bias;    // (panel_width,)
  int64_t group, n, width;
};

static void forward_outputs(const Conv& p, const Epilogue& f, const Panel& panel,
                            const float* x, const Pixels& out, int64_t origin, float* y,
                            float* saved, StopPoller& poller) {
  alignas(64) float edge[conv_tile_rows * panel_width];
  Segment segments[max_segments];
  const int64_t I = p.I / p.groups, pixel = p.I, line = p.W * p.I;
  const bool joined = taps_are_joined(p);
  const int64_t across = out.columns.to - out.columns.from;
  const int64_t each = joined ? 1 : across;  // segments of a row of taps
  const int64_t depth = joined ? across * I : I;
  const int64_t all = (out.rows.to - out.rows.from) * each;
  const bool plain =
      f.activation == Activation::linear || f.activation == Activation::relu;
  const bool two = panel.width > L;
  const bool direct = plain && panel.width == (two ? panel_width : L);
  const int64_t step = out.upright ? p.sh * line : p.sw * pixel;
  const int64_t y_step = out.upright ? p.OW * p.O : p.O;
  const int64_t at =
      (out.h * p.sh - p.top) * line + (out.w * p.sw - p.left) * pixel + panel.group * I;
  const int64_t y_at = ((out.h - origin) * p.OW + out.w) * p.O +
                       panel.group * (p.O / p.groups) + panel.n;
  const int64_t tiles = pieces(out.count, conv_tile_rows);
  int64_t first = 0;
  do {
    int64_t count = min(max_segments, all - first);
    for (int64_t i = 0; i < count; i++) {
      int64_t r = out.rows.from + (first + i) / each;
      int64_t s = out.columns.from + (first + i) % each;
      segments[i] = {at + r * p.dh * line + s * p.dw * pixel,
                     (r * p.kw + s) * I * panel_width};
    }
    bool last = first + count == all;
    for (int64_t i = 0; i < tiles; i++) {
      int64_t begin = out.count * i / tiles;
      int64_t rows = out.count * (i + 1) / tiles - begin;
      if (poller.stop_requested(rows * count * depth * panel.width)) return;
      float* to = y + y_at + begin * y_step;
      Tile t{.a = x + begin * step,
             .a_row = step,
             .a_step = 1,
             .b = panel.packed,
             .b_row = panel_width,
             .segments = segments,
             .count = count,
             .depth = depth,
             .from = panel.bias,
             .from_row = 0,
             .c = to,
             .c_row = y_step};
      t.relu = last && plain && f.activation == Activation::relu;
      if (!direct) t.c = edge, t.c_row = panel_width;
      if (first > 0) {  // continue the sums in y
        if (!direct)
          for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < panel.width; j += L)
              store(edge + r * panel_width + j,
                    load(to + r * y_step + j, panel.width - j));
        t.from = t.c, t.from_row = t.c_row;
      }
      if (two)
        conv_tile_of<2, true, false>(rows, t);
      else
        conv_tile_of<1, true, false>(rows, t);
      if (direct) continue;
      Block block{edge, panel_width, to, y_step, rows, panel.width};
      bool activates = last && !plain;
      activate_block(block, activates ? f.activation : Activation::linear, f.alpha,
                     nullptr, activates && saved ? saved + (to - y) : nullptr);
    }
    first += count;
  } while (first < all);
}

static void depthwise_forward(const Conv& p, const Epilogue& f, const float* kernel,
                              const float* x, int64_t row, int64_t rows, float* y,
                              float* saved);

static void conv_forward(const Conv& p, const Epilogue& f, const float* packed,
                         const float* x, int64_t row, int64_t rows, float* y,
                         float* saved) {
  if (depthwise(p)) return depthwise_forward(p, f, packed, x, row, rows, y, saved);
  alignas(64) float bias[panel_width];
  const int64_t O = p.O / p.groups, end = row + rows;
  const Range h_range = inner_rows(p), w_range = inner_columns(p);
  const Range all_columns{0, p.kw}, all_rows{0, p.kh};
  StopPoller poller;
  for (int64_t group = 0; group < p.groups; group++)
    for (int64_t n = 0; n < O; n += panel_width) {
      int64_t width = min(panel_width, O - n);
      for (int64_t j = 0; j < panel_width; j++)
        bias[j] = f.bias && j < width ? f.bias[group * O + n + j] : 0.0f;
      Panel panel{packed, bias, group, n, width};
      packed += forward_depth(p) * panel_width;
      auto run = [&](int64_t h, int64_t w, int64_t count, bool upright, Range r,
                     Range s) {
        if (count > 0)
          forward_outputs(p, f, panel, x, {h, w, count, upright, r, s}, row, y, saved,
                          poller);
      };
      // Columns at the edges see part of each row of taps; rows at the edges see some
      // of the rows.
      for (int64_t h = row; h < end; h++) {
        Range r = inside(h * p.sh - p.top, p.dh, p.H, p.kh);
        run(h, w_range.from, w_range.to - w_range.from, false, r, all_columns);
        if (h >= h_range.from && h < h_range.to) continue;
        for (int64_t w = 0; w < p.OW; w++)
          if (w < w_range.from || w >= w_range.to)
            run(h, w, 1, false, r, inside(w * p.sw - p.left, p.dw, p.W, p.kw));
      }
      int64_t from = row > h_range.from ? row : h_range.from, to = min(end, h_range.to);
      for (int64_t w = 0; w < p.OW; w++)
        if (w < w_range.from || w >= w_range.to)
          run(from, w, to - from, true, all_rows,
              inside(w * p.sw - p.left, p.dw, p.W, p.kw));
    }
}
