// C (M, N) = A (M, K) B (K, N), the one product used for forward (X W), backward (dZ
// W^T) and weight gradients (X^T dZ); README.md shows how it is tiled.
//
// A task is a block of rows times a group of panels of columns. Within a task, K is
// split so that the part of B for the group stays in the L2 cache and the part of A for
// a tile in the L1 cache; partial sums accumulate in C (Goto & van de Geijn 2008).
#pragma once

// The definition. Tests compare it with the tiled product below.
[[maybe_unused]] static void naive_product(const Product& p, double* c) {
  for (int64_t m = 0; m < p.M; m++)
    for (int64_t n = 0; n < p.N; n++) {
      double sum = 0;
      for (int64_t k = 0; k < p.K; k++)
        sum += double(p.a[m * p.a_row + k * p.a_step]) *
               double(p.b[p.b_transposed ? n * p.b_row + k : k * p.b_row + n]);
      c[m * p.N + n] = sum;
    }
}

// A fused update keeps all K rows of its part of B, K <= update_size / panel_width.
constexpr int64_t update_size = 512 * panel_width, max_update_width = 1024;
INLINE int64_t update_width(int64_t K) {
  return min(max_update_width, update_size / K / panel_width * panel_width);
}

// Steps of K in one chain of additions.
INLINE int64_t chain_of(int64_t K) {
  return pieces(pieces(K, pieces(K, k_block)), L) * L;
}

constexpr int64_t skinny_depth = 8, max_skinny_depth = 256, max_skinny_width = 512;
INLINE int64_t skinny_width(int64_t N) {
  int64_t fourth = pieces(pieces(N, 4), skinny_vectors * L) * skinny_vectors * L;
  return min(fourth, max_skinny_width);
}

// Rows of a block: if A is not packed, and the bounds if it may be.
constexpr int64_t few_rows = 12 * tile, min_rows = 128, max_rows = 48 * tile;

// How a product is tiled, which depends on the product only.
struct Tiling {
  enum Method {
    blocked,  // packed panels of B times tiles of A
    dots,     // rows of A times rows of B, or times B's only column
    skinny,   // few rows: wide panels keep the multipliers busy
    updates,  // the variable is streamed while its gradient is in the L1 cache
  } method;
  int64_t panel;  // columns
  int64_t panels, group, groups, blocks;

  explicit Tiling(const Product& p) {
    // Reading B^T by rows avoids transposing it, but costs a sum over the lanes for
    // each element of C.
    if (p.a_step == 1 && (p.b_transposed ? p.K >= 8 * p.M && p.M <= 64 : p.N == 1))
      method = dots;
    else if (!p.b_transposed && p.M <= skinny_rows)
      method = skinny;
    else
      method = p.after == Product::update ? updates : blocked;
    panel = method == skinny    ? skinny_width(p.N)
            : method == updates ? update_width(p.K)
                                : panel_width;
    panels = pieces(p.N, panel);
    group = 1;
    if (method != blocked) {
      blocks = pieces(p.M, few_rows);
    } else {
      // About 16 tasks keep the threads balanced; square ones reuse packed A and B
      // best.
      int64_t side = int64_t(__builtin_sqrt(double(p.M) * double(p.N) / 16));
      blocks = pieces(p.M, clamp(side, min_rows, max_rows));
      group = clamp(panels * blocks / 16, 1, max_group);
    }
    groups = pieces(panels, group);
  }
};

static int64_t product_tasks(const Product& p) {
  Tiling tiling(p);
  return tiling.blocks * tiling.groups;
}

static void locate(const Product& p, int64_t at, float** slots) {
  for (int i = 0; i < 3; i++) slots[i] = p.slots[i] ? p.slots[i] + at : nullptr;
}

// Applies `after` to rows m..m+rows-1 of a panel while they are in the L1 cache.
// Returns whether they are in the safe range, if that is checked.
static bool epilogue(const Product& p, const float* c, int64_t c_row, int64_t m,
                     int64_t rows, int64_t n, int64_t width) {
  int64_t at = m * p.N + n;
  Block t{c, c_row, p.c + at, p.N, rows, width};
  switch (p.after) {
    case Product::activate:
      activate_block(t, p.activation, p.alpha, p.bias ? p.bias + n : nullptr,
                     p.saved ? p.saved + at : nullptr);
      return true;
    case Product::differentiate:
      differentiate_block(t, p.derivative,
                          p.derivative.values ? p.derivative.values + at : nullptr);
      return true;
    case Product::check: {
      vi may_overflow{};
      for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < width; j += L) {
          vf x = load(c + i * c_row + j, width - j);
          may_overflow |= ~(abs(x) <= safe_sum);
          store(t.y + i * p.N + j, x, width - j);
        }
      return !any(may_overflow);
    }
    case Product::update: {
      float* slots[3];
      locate(p, at, slots);
      update_block(*p.step, {t.y, p.N, c, c_row, slots, rows, width});
    }
  }
  return true;
}

static bool dot_part(const Product& p, int64_t m, int64_t rows, int64_t n,
                     int64_t width) {
  alignas(64) float c[few_rows * panel_width];
  const float* a = p.a + m * p.a_row;
  if (p.b_transposed) {
    dots(a, p.a_row, p.b + n * p.b_row, p.b_row, c, width, rows, width, p.K);
    return epilogue(p, c, width, m, rows, n, width);
  }
  // A column of C is contiguous, like a row.
  dots(p.b, 0, a, p.a_row, c, rows, 1, rows, p.K);
  Product row = p;
  float bias[few_rows];
  if (p.bias) {
    for (int64_t i = 0; i < rows; i++) bias[i] = p.bias[0];
    row.bias = bias - m;
  }
  row.N = p.M;
  return epilogue(row, c, rows, 0, 1, m, rows);
}

// A few rows of a large B at a time and long parts of each, so memory is streamed; C
// stays in the L1 cache.
static bool skinny_part(const Product& p, int64_t n, int64_t width) {
  alignas(64) float packed[max_skinny_depth * L];
  alignas(64) float c[skinny_rows * max_skinny_width],
      total[skinny_rows * max_skinny_width];
  int64_t max_depth = p.N > max_skinny_width ? skinny_depth : max_skinny_depth,
          chain = chain_of(p.K);
  for (int64_t k = 0, depth; k < p.K; k += depth) {
    depth = min(min(p.K, k - k % chain + chain) - k, max_depth);
    const float *a = p.a + k * p.a_step, *b = p.b + k * p.b_row + n;
    for (int64_t j = 0, step; j < width; j += step) {
      int64_t rest = width - j;
      step = rest < L ? rest : L;
      auto run = micro_rows<1>;
      for (int64_t v = 2; v <= skinny_vectors && v * L <= rest; v *= 2) {
        step = v * L;
        run = v == 2   ? micro_rows<2>
              : v == 4 ? micro_rows<4>
                       : micro_rows<skinny_vectors>;
      }
      bool full = step >= L;
      if (!full)
        for (int64_t i = 0; i < depth; i++)
          store(packed + i * L, load(b + i * p.b_row + j, rest));
      run(int(p.M), a, p.a_row, p.a_step, full ? b + j : packed, full ? p.b_row : L,
          c + j, max_skinny_width, depth, k % chain ? Chain::resume : Chain::start);
    }
    if (p.K <= chain || ((k + depth) % chain && k + depth < p.K)) continue;
    for (int64_t i = 0; i < p.M; i++)
      for (int64_t j = i * max_skinny_width; j < i * max_skinny_width + width; j += L)
        store(total + j, k < chain ? load(c + j) : load(total + j) + load(c + j));
  }
  return epilogue(p, p.K > chain ? total : c, max_skinny_width, 0, p.M, n, width);
}

// The gradient of a variable, tile by tile. A complete tile is used for the update
// during the product of the next tile, whose memory is prefetched: square roots and
// divisions run on a unit that products leave idle.
template <OptimizerKind kind, int count>
static void update_tiles(const Product& p, const float* b, int64_t m0, int64_t rows,
                         int64_t n0, int64_t width) {
  constexpr int64_t vectors = 2 * tile;
  const UpdateParams u = *p.step;
  float *w = p.c, *slots[3] = {p.slots[0], p.slots[1], p.slots[2]};
  alignas(64) float c[2][tile * panel_width];
  const float* g = nullptr;  // the next vector of the tile to be applied
  int64_t at = 0, step = 0, ahead = 0;
  auto next = [&]() __attribute__((always_inline)) {
    update_vector<kind, count>(u, w, slots, at, load(g), L);
    __builtin_prefetch(w + at + ahead);
    for (int k = 0; k < count; k++) __builtin_prefetch(slots[k] + at + ahead);
    g += L;
    at += step;
    step = p.N - step;  // L, then on to the next row
  };
  auto extra = [&](int64_t k) __attribute__((always_inline)) {
    if (k < vectors) next();
  };
  int current = 0;
  for (int64_t m = m0, r; m < m0 + rows; m += r) {
    r = min(m0 + rows - m, tile);
    for (int64_t j = 0; j < width; j += panel_width) {
      int64_t n = n0 + j, columns = min(width - j, panel_width), here = m * p.N + n;
      const float *a = p.a + m * p.a_row, *panel = b + j * p.K;
      bool full = r == tile && columns == panel_width;
      if (g && full) {
        ahead = here - at;
        micro<tile, 2>(a, 1, p.a_step, panel, panel_width, c[current], panel_width, p.K,
                       Chain::start, extra);
        for (int64_t k = p.K; k < vectors; k++) next();
      } else {
        auto run = columns <= L ? micro_rows<1> : micro_rows<2>;
        run(int(r), a, p.a_row, p.a_step, panel, panel_width, c[current], panel_width,
            p.K, Chain::start);
      }
      if (full) {
        g = c[current];
        current ^= 1;
        at = here;
        step = L;
      } else {
        epilogue(p, c[current], panel_width, m, r, n, columns);
      }
    }
  }
  for (int64_t k = 0; g && k < vectors; k++) next();
}

static void update_part(const Product& p, int64_t m0, int64_t rows, int64_t n,
                        int64_t width) {
  if (p.K == 1) {  // each row of the gradient is a multiple of B
    float* slots[3];
    locate(p, m0 * p.N + n, slots);
    return update_block(*p.step, {p.c + m0 * p.N + n, p.N, p.b + n, 0, slots, rows,
                                  width, p.a + m0 * p.a_row, p.a_row});
  }
  alignas(64) float packed[update_size];
  pack_b(p, 0, p.K, n, width, packed, p.K * panel_width);
  by_kind(*p.step, [&]<OptimizerKind kind, int count>() {
    update_tiles<kind, count>(p, packed, m0, rows, n, width);
  });
}

// Prefetches a tile of C before it is needed.
INLINE void prefetch_tile(const float* c, int64_t c_row, int64_t rows) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < panel_width; j += 16)
      __builtin_prefetch(c + i * c_row + j, 1, 3);
}

struct BlockCopies {
  alignas(64) float b[max_group * packed_panel];
  alignas(64) float a[chunk * packed_tile + L];
  alignas(64) float edge[max_rows * panel_width];  // of C, if a panel is partial
};

static bool blocked_part(const Product& p, int64_t m0, int64_t rows, int64_t n0,
                         int64_t width) {
  auto& [b_packed, a_packed, edge] = task_memory_as<BlockCopies>();
  const Tiles tiles(rows);
  int64_t chain = chain_of(p.K);
  bool packs_a = width >= 4 * panel_width;
  bool packs_b = p.b_transposed || width % panel_width || rows >= pack_from_rows;
  bool in_safe_range = true;
  const float* derivative =
      p.after == Product::differentiate ? p.derivative.values : nullptr;
  for (int64_t k = 0, depth; k < p.K; k += depth) {
    depth = min(p.K - k, chain);
    bool last = k + depth == p.K;
    if (p.stop_requested && p.stop_requested(rows * width * depth)) return true;
    if (packs_b) pack_b(p, k, depth, n0, width, b_packed, packed_panel);
    for (int64_t i = 0, r0 = 0, count; i < tiles.count; i++, r0 += count) {
      count = tiles.begin(i + 1) - r0;
      int64_t m = m0 + r0;
      Rows a{p.a + m * p.a_row + k * p.a_step, p.a_row, p.a_step};
      if (packs_a) {
        if (i % chunk == 0)
          pack_a(p, m0, tiles, i, min(i + chunk, tiles.count), k, depth, a_packed);
        a = packed_rows(p, a_packed + i % chunk * packed_tile);
      }
      for (int64_t j = 0; j < width; j += panel_width) {
        int64_t n = n0 + j, columns = min(width - j, panel_width);
        bool full = columns == panel_width;
        const float* b =
            packs_b ? b_packed + j / panel_width * packed_panel : p.b + k * p.b_row + n;
        float* c = full ? p.c + m * p.N + n : edge + r0 * panel_width;
        int64_t c_row = full ? p.N : panel_width;
        if (j + 2 * panel_width <= width) {
          prefetch_tile(c + panel_width, c_row, count);
          if (last && derivative)
            prefetch_tile(derivative + m * p.N + n + panel_width, p.N, count);
        }
        auto run = columns <= L ? micro_rows<1> : micro_rows<2>;
        run(int(count), a.at, a.row, a.step, b, packs_b ? panel_width : p.b_row, c,
            c_row, depth, k == 0 ? Chain::start : Chain::accumulate);
        if (last) in_safe_range &= epilogue(p, c, c_row, m, count, n, columns);
      }
    }
  }
  return in_safe_range;
}

static bool product(const Product& p, int64_t task) {
  Tiling tiling(p);
  int64_t block = task / tiling.groups,
          n = task % tiling.groups * tiling.group * tiling.panel;
  int64_t m = p.M * block / tiling.blocks, rows = p.M * (block + 1) / tiling.blocks - m;
  int64_t width = min(p.N - n, tiling.group * tiling.panel);
  switch (tiling.method) {
    case Tiling::blocked:
      return blocked_part(p, m, rows, n, width);
    case Tiling::dots:
      return dot_part(p, m, rows, n, width);
    case Tiling::skinny:
      return skinny_part(p, n, width);
    case Tiling::updates:
      update_part(p, m, rows, n, width);
  }
  return true;
}
