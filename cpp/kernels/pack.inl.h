// Copies of pieces of A and B in the order in which micro-kernels read them.
#pragma once

constexpr int64_t panel_width = 2 * L;
constexpr int64_t pack_from_rows = 4 * tile;  // fewer rows do not repay the copy of B
// Rows of a copy of A begin 64 bytes more than a power of two apart: at a power of two
// they would compete for the same few places of the cache.
constexpr int64_t a_packed_row = k_block + 16;
constexpr int64_t a_packed_size = row_block * a_packed_row + L;

struct Rows {
  const float* at;
  int64_t row, step;
};

// Rows m..m+rows-1 and columns k..k+depth-1 of A: rows where A lies by rows, else tiles
// (depth, tile).
static void pack_a(const Product& p, int64_t m, int64_t rows, int64_t k, int64_t depth,
                   float* to) {
  const float* a = p.a + m * p.a_row + k * p.a_step;
  if (p.a_row != 1) {
    for (int64_t i = 0; i < rows; i++, a += p.a_row, to += a_packed_row)
      for (int64_t j = 0; j < depth; j += L) store(to + j, load(a + j, depth - j));
    return;
  }
  int64_t tiles = pieces(rows, tile);
  for (int64_t i = 0; i < tiles; i++) {
    int64_t r0 = rows * i / tiles, count = rows * (i + 1) / tiles - r0;
    float* t = to + i * tile * k_block;
    for (int64_t s = 0; s < depth;
         s++, t += tile)  // what is stored too much comes again
      for (int64_t j = 0; j < count; j += L)
        store(t + j, load(a + s * p.a_step + r0 + j, count - j));
  }
}

static Rows packed_rows(const Product& p, const float* a, int64_t r0, int64_t i) {
  if (p.a_row != 1) return {a + r0 * a_packed_row, a_packed_row, 1};
  return {a + i * tile * k_block, 1, tile};
}

// to (depth, panel_width) = columns n..n+width-1 of B, rows k..k+depth-1, zeros beyond.
static void pack_b(const Product& p, int64_t k, int64_t depth, int64_t n, int64_t width,
                   float* to) {
  if (!p.b_transposed) {
    const float* b = p.b + k * p.b_row + n;
    for (int64_t i = 0; i < depth; i++, b += p.b_row, to += panel_width) {
      store(to, load(b, width));
      store(to + L, width > L ? load(b + L, width - L) : vf{});
    }
    return;
  }
  const float* b = p.b + n * p.b_row + k;
  int64_t whole_width = width - width % L, whole_depth = depth - depth % L;
  if (width < panel_width)
    for (int64_t i = 0; i < depth * panel_width; i += L) store(to + i, vf{});
  for (int64_t j = 0; j < whole_width; j += L)
    for (int64_t i = 0; i < whole_depth; i += L)
      transpose_square(b + j * p.b_row + i, p.b_row, to + i * panel_width + j,
                       panel_width);
  for (int64_t j = 0; j < width; j++)
    for (int64_t i = j < whole_width ? whole_depth : 0; i < depth; i++)
      to[i * panel_width + j] = b[j * p.b_row + i];
}

// The i-th of `tiles` shares of what pack_b will read goes to the second cache.
static void prefetch_b(const Product& p, int64_t k, int64_t depth, int64_t n, int64_t i,
                       int64_t tiles) {
  int64_t lines = p.b_transposed ? panel_width : depth;
  int64_t length = p.b_transposed ? depth : panel_width;
  const float* b = p.b_transposed ? p.b + n * p.b_row + k : p.b + k * p.b_row + n;
  for (int64_t s = lines * i / tiles; s < lines * (i + 1) / tiles; s++)
    for (int64_t j = 0; j < length; j += 16)
      __builtin_prefetch(b + s * p.b_row + j, 0, 2);
}
