// Backward pass of a convolution; see conv.inl.h.
#pragma once

static void depthwise_add_dx(const Conv& p, const float* kernel, const float* dz,
                             int64_t row, int64_t rows, float* dx);

// Goes through each row of outputs and each tap, and skips what falls outside the
// image.
static void conv_add_dx(const Conv& p, const float* transposed, const float* dz,
                        int64_t row, int64_t rows, float* dx) {
  if (depthwise(p)) return depthwise_add_dx(p, transposed, dz, row, rows, dx);
  alignas(64) float edge[conv_tile_rows * panel_width];
  const int64_t I = p.I / p.groups, O = p.O / p.groups, c_row = p.sw * p.I;
  const Segment whole{0, 0};
  StopPoller poller;
  for (int64_t group = 0; group < p.groups; group++)
    for (int64_t n = 0; n < I; n += panel_width) {
      const int64_t width = min(panel_width, I - n);
      const bool two = width > L, direct = width == (two ? panel_width : L);
      for (int64_t h = row; h < row + rows; h++) {
        Range r_range = inside(h * p.sh - p.top, p.dh, p.H, p.kh);
        for (int64_t r = r_range.from; r < r_range.to; r++)
          for (int64_t s = 0; s < p.kw; s++) {
            Range w_range = inside(s * p.dw - p.left, p.sw, p.W, p.OW);
            const float* from =
                dz + ((h - row) * p.OW + w_range.from) * p.O + group * O;
            int64_t to = ((h * p.sh + r * p.dh - p.top) * p.W + w_range.from * p.sw +
                          s * p.dw - p.left) *
                             p.I +
                         group * I + n;
            int64_t count = w_range.to - w_range.from,
                    tiles = pieces(count, conv_tile_rows);
            for (int64_t i = 0; i < tiles; i++) {
              int64_t begin = count * i / tiles;
              int64_t m = count * (i + 1) / tiles - begin;
              if (poller.stop_requested(m * O * width)) return;
              float* c = dx + to + begin * c_row;
              Tile t{.a = from + begin * p.O,
                     .a_row = p.O,
                     .a_step = 1,
                     .b = transposed + (r * p.kw + s) * O * panel_width,
                     .b_row = panel_width,
                     .segments = &whole,
                     .count = 1,
                     .depth = O,
                     .from = c,
                     .from_row = c_row,
                     .c = c,
                     .c_row = c_row};
              if (!direct) {
                for (int64_t k = 0; k < m; k++)
                  for (int64_t j = 0; j < width; j += L)
                    store(edge + k * panel_width + j,
                          load(c + k * c_row + j, width - j));
                t.from = t.c = edge;
                t.from_row = t.c_row = panel_width;
              }
              if (two)
                conv_tile_of<2, true, false>(m, t);
              else
                conv_tile_of<1, true, false>(m, t);
              if (!direct)
                for (int64_t k = 0; k < m; k++)
                  for (int64_t j = 0; j < width; j += L)
                    store(c + k * c_row + j, load(edge + k * panel_width + j),
                          width - j);
            }
          }
      }
      transposed += p.kh * p.kw * O * panel_width;
    }
}

// ---- dW: sums (kh kw I / groups, groups x panels of O), whole panels of L.

INLINE int64_t sums_width(const Conv& p) {
  return p.groups * pieces(p.O / p.groups, L) * L;
}
static int64_t conv_sums_size(const Conv& p) {
  if (depthwise(p)) return p.kh * p.kw * pieces(p.O, L) * L;
  return forward_depth(p) * sums_width(p);
}
static int64_t conv_sums_pieces(const Conv& p) { return depthwise(p) ? 1 : p.kh; }

// sums (m rows, all columns of the group) += A^T dz, tile by tile. The rows of A are
// adjacent; its steps are `t.a_step` apart.
static void add_tiles(const Conv& p, Tile t, int64_t m, int64_t group, float* sums,
                      StopPoller& poller) {
  alignas(64) static const float zeros[2 * L] = {};
  const int64_t O = p.O / p.groups, row = sums_width(p);
  const float *a = t.a, *b = t.b + group * O;
  float* c = sums + group * (pieces(O, L) * L);
  const int64_t tiles = pieces(m, conv_tile_rows);
  for (int64_t n = 0, width; n < O; n += width) {
    width = O - n >= 2 * L ? 2 * L : L;
    for (int64_t i = 0; i < tiles; i++) {
      int64_t begin = m * i / tiles, rows = m * (i + 1) / tiles - begin;
      if (poller.stop_requested(t.count * t.depth * rows * width)) return;
      t.a = a + begin;
      t.b = b + n;
      t.from = zeros;
      t.from_row = 0;
      t.c = c + begin * row + n;
      t.c_row = row;
      t.adds = true;
      if (width == 2 * L) {
        conv_tile_of<2, false, false>(rows, t);
      } else if (O - n >= L) {
        conv_tile_of<1, false, false>(rows, t);
      } else {
        t.columns = O - n;
        conv_tile_of<1, false, true>(rows, t);
      }
    }
  }
}

static void depthwise_add_sums(const Conv& p, const float* x, const float* dz,
                               int64_t row, int64_t rows, float* sums);

// A piece is one row of taps. If taps are joined, their rows of dW form one block for
// the pixels that see all of them; pixels at the edges add to part of it.
static void conv_add_sums(const Conv& p, const float* x, const float* dz, int64_t row,
                          int64_t rows, float* sums, int64_t r) {
  if (depthwise(p)) return depthwise_add_sums(p, x, dz, row, rows, sums);
  const int64_t I = p.I / p.groups, line = p.W * p.I, end = row + rows;
  const int64_t down = r * p.dh - p.top;
  const Range h_range = inside(down, p.sh, p.H, p.OH);
  const int64_t from = h_range.from > row ? h_range.from : row,
                to = min(h_range.to, end);
  if (from >= to) return;
  Segment segments[max_segments];
  StopPoller poller;
  // Adds output pixels (from..to-1) x w for the taps from s on: m rows of dW.
  auto add = [&](auto&& add, int64_t group, Range w, int64_t s, int64_t m,
                 bool upright) -> void {
    if (w.from >= w.to) return;
    if (w.to - w.from > pixel_chain) {  // some of the columns at a time
      for (int64_t i = w.from; i < w.to; i += pixel_chain)
        add(add, group, {i, min(w.to, i + pixel_chain)}, s, m, upright);
      return;
    }
    const int64_t max_rows = upright ? pixel_chain : pieces(pixel_chain, w.to - w.from);
    float* c = sums + (r * p.kw + s) * I * sums_width(p);
    for (int64_t h = from, count; h < to; h += count) {
      count = min(to - h, upright ? max_rows : min(max_rows, max_segments));
      int64_t at = (h * p.sh + down) * line + (w.from * p.sw + s * p.dw - p.left) * p.I;
      for (int64_t i = 0; i < (upright ? 1 : count); i++)
        segments[i] = {at + i * p.sh * line + group * I, i * p.OW * p.O};
      Tile t{.a = x,
             .a_row = 1,
             .a_step = upright ? p.sh * line : p.sw * p.I,
             .b = dz + ((h - row) * p.OW + w.from) * p.O,
             .b_row = upright ? p.OW * p.O : p.O,
             .segments = segments,
             .count = upright ? 1 : count,
             .depth = upright ? count : w.to - w.from,
             .from = nullptr,
             .from_row = 0,
             .c = nullptr,
             .c_row = 0};
      add_tiles(p, t, m, group, c, poller);
    }
  };
  if (taps_are_joined(p)) {
    const Range w_range = inner_columns(p);
    add(add, 0, w_range, 0, p.kw * I, false);
    for (int64_t w = 0; w < p.OW; w++) {
      if (w >= w_range.from && w < w_range.to) continue;
      Range s = inside(w * p.sw - p.left, 1, p.W, p.kw);
      add(add, 0, {w, w + 1}, s.from, (s.to - s.from) * I, true);
    }
    return;
  }
  for (int64_t group = 0; group < p.groups; group++)
    for (int64_t s = 0; s < p.kw; s++)
      add(add, group, inside(s * p.dw - p.left, p.sw, p.W, p.OW), s, I, false);
}

static void conv_sums_row(const Conv& p, const float* sums, int64_t blocks,
                          int64_t block_stride, int64_t row, float* to) {
  const int64_t groups = depthwise(p) ? 1 : p.groups, O = p.O / groups;
  const int64_t width = pieces(O, L) * L;
  const float* from = sums + row * groups * width;
  for (int64_t group = 0; group < groups; group++, from += width, to += O)
    for (int64_t j = 0; j < O; j += L) {
      vf s = load(from + j);
      for (int64_t i = 1; i < blocks; i++) s += load(from + i * block_stride + j);
      store(to + j, s, O - j);
    }
}
