// Copies parts of A and B in the order in which the micro-kernels read them.
#pragma once

constexpr int64_t panel_width = 2 * L;
constexpr int64_t pack_from_rows =
    4 * tile;  // packing B does not pay off for fewer rows

// A copy covers up to `k_block` steps of K: up to `max_group` panels of B, which fit
// into half the L2 cache, and up to `chunk` tiles of A.
constexpr int64_t k_block = 384, max_group = 8, chunk = 8;
// Addresses a multiple of 4 KB apart would compete for the same few lines of the L1
// cache.
constexpr int64_t packed_panel = k_block * panel_width + 16;
constexpr int64_t packed_row = k_block + 16, packed_tile = tile * packed_row;

// Parts of rows are too short for the hardware prefetcher, so this fetches data needed
// some rows later.
INLINE void fetch(const float* p) { __builtin_prefetch(p, 0, 3); }

// Rows, divided evenly into tiles.
struct Tiles {
  int64_t rows, count;

  explicit Tiles(int64_t rows) : rows(rows), count(pieces(rows, tile)) {}
  int64_t begin(int64_t i) const { return rows * i / count; }
  int64_t size(int64_t i) const { return begin(i + 1) - begin(i); }
};

// A in the form that micro-kernels read.
struct Rows {
  const float* at;
  int64_t row, step;
};

// Tiles first..last-1 of the rows from m on, columns k..k+depth-1 of A, `packed_tile`
// apart: by rows where A is stored by rows, else (depth, tile).
static void pack_a(const Product& p, int64_t m, const Tiles& tiles, int64_t first,
                   int64_t last, int64_t k, int64_t depth, float* to) {
  const float* a = p.a + m * p.a_row + k * p.a_step;
  int64_t begin[chunk + 1];  // avoids divisions in the loops
  for (int64_t i = first; i <= last; i++) begin[i - first] = tiles.begin(i);
  if (p.a_row != 1) {
    for (int64_t i = first; i < last; i++, to += packed_tile)
      for (int64_t r = 0; r < begin[i + 1 - first] - begin[i - first]; r++) {
        const float* from = a + (begin[i - first] + r) * p.a_row;
        for (int64_t j = 0; j < depth; j += L) {
          fetch(from + 2 * p.a_row + j);
          store(to + r * packed_row + j, load(from + j, depth - j));
        }
      }
    return;
  }
  for (int64_t s = 0; s < depth; s++, a += p.a_step, to += tile)
    for (int64_t i = 0; i < last - first; i++) {
      int64_t size = begin[i + 1] - begin[i];
      fetch(a + 8 * p.a_step + begin[i]);
      for (int64_t j = 0; j < size; j += L)  // the excess is overwritten
        store(to + i * packed_tile + j, load(a + begin[i] + j, size - j));
    }
}

static Rows packed_rows(const Product& p, const float* a) {
  return p.a_row == 1 ? Rows{a, 1, tile} : Rows{a, packed_row, 1};
}

// Columns n..n+width-1 of B, rows k..k+depth-1, in panels (depth, panel_width) that are
// `panel_stride` apart; the last one is padded with zeros.
static void pack_b(const Product& p, int64_t k, int64_t depth, int64_t n, int64_t width,
                   float* to, int64_t panel_stride) {
  if (!p.b_transposed) {
    const float* b = p.b + k * p.b_row + n;
    int64_t whole = width / panel_width, rest = width % panel_width;
    for (int64_t i = 0; i < depth; i++, b += p.b_row, to += panel_width) {
      const float* from = b;
      float* t = to;
      for (int64_t j = 0; j < whole; j++, from += panel_width, t += panel_stride) {
        fetch(from + 4 * p.b_row);
        fetch(from + 4 * p.b_row + L);
        store(t, load(from));
        store(t + L, load(from + L));
      }
      if (!rest) continue;
      store(t, load(from, rest));
      store(t + L, rest > L ? load(from + L, rest - L) : vf{});
    }
    return;
  }
  const float* b = p.b + n * p.b_row + k;
  int64_t whole_depth = depth - depth % L;
  for (int64_t j = 0; j < width; j += L) {
    float* t = to + j / panel_width * panel_stride + j % panel_width;
    const float* from = b + j * p.b_row;
    int64_t columns = min(width - j, L), i = 0;
    if (columns == L)
      for (; i < whole_depth; i += L)
        transpose_square(from + i, p.b_row, t + i * panel_width, panel_width);
    for (; i < depth; i++)
      for (int64_t c = 0; c < L; c++)
        t[i * panel_width + c] = c < columns ? from[c * p.b_row + i] : 0.0f;
  }
  if (int64_t over = width % panel_width; over > 0 && over <= L)
    for (float *t = to + width / panel_width * panel_stride + L,
               *end = t + depth * panel_width;
         t != end; t += panel_width)
      store(t, vf{});
}
