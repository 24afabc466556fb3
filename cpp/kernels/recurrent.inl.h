// Recurrent cells. A block of rows goes through all steps at once: the gates of a few
// rows and one vector of units are accumulated over x and h in registers, and the cell
// is computed while they are in the L1 cache. The variables are packed in the order in
// which they are read: panels of one vector of each gate.
#pragma once

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int cell_rows = 6;
#elif defined(__AVX2__)
constexpr int cell_rows = 3;
#else
constexpr int cell_rows = 2;
#endif

// Vectors per panel for each element of x and of h; those of a simple cell hold units.
INLINE int64_t x_vectors(CellKind kind) {
  return kind == CellKind::lstm ? 4 : kind == CellKind::simple ? 2 : 3;
}
INLINE int64_t h_vectors(CellKind kind) {
  return kind == CellKind::lstm ? 4 : kind == CellKind::gru ? 3 : 2;
}
INLINE int64_t panel_units(const Recurrence& p) {
  return p.kind == CellKind::simple ? 2 * L : L;
}
INLINE int64_t panel_floats(const Recurrence& p) {
  return (4 + p.F * x_vectors(p.kind) + p.H * h_vectors(p.kind)) * L;
}
INLINE int64_t cell_panels(const Recurrence& p) { return pieces(p.H, panel_units(p)); }

static int64_t cell_packed_size(const Recurrence& p) {
  int64_t more = p.kind == CellKind::gru_before ? p.H * L : 0;
  return cell_panels(p) * (panel_floats(p) + more);
}

// The third gate's part of U, which is multiplied last.
INLINE int64_t last_gate_at(const Recurrence& p, int64_t panel) {
  return cell_panels(p) * panel_floats(p) + panel * p.H * L;
}

static void pack_cell(const Recurrence& p, const float* W, const float* U,
                      const float* b, float* to, int64_t task) {
  const bool simple = p.kind == CellKind::simple, after = p.kind == CellKind::gru;
  const int64_t j = task * panel_units(p), width = p.width();
  auto column = [&](const float* row, int64_t v) {
    const int64_t at = simple ? j + v * L : v * p.H + j, n = p.H - (simple ? at : j);
    return row && n > 0 ? load(row + at, n) : vf{};
  };
  float* panel = to + task * panel_floats(p);
  auto put = [&](vf x) {
    store(panel, x);
    panel += L;
  };
  // z and r have one accumulator for x and h together; gru's n has one for each.
  const float* second = after && b ? b + width : nullptr;
  for (int64_t v = 0; v < 4; v++)
    put(v >= x_vectors(p.kind) ? (after ? column(second, 2) : vf{})
        : after && v < 2       ? column(b, v) + column(second, v)
                               : column(b, v));
  for (int64_t k = 0; k < p.F; k++)
    for (int64_t v = 0; v < x_vectors(p.kind); v++) put(column(W + k * width, v));
  for (int64_t k = 0; k < p.H; k++)
    for (int64_t v = 0; v < h_vectors(p.kind); v++) put(column(U + k * width, v));
  if (p.kind != CellKind::gru_before) return;
  panel = to + last_gate_at(p, task);
  for (int64_t k = 0; k < p.H; k++) put(column(U + k * width, 2));
}

// U^T in panels (G H, panel_width).
static int64_t cell_transpose_tasks(const Recurrence& p) {
  return pieces(p.H, panel_width);
}
static int64_t cell_transposed_size(const Recurrence& p) {
  return cell_transpose_tasks(p) * p.width() * panel_width;
}
static void transpose_cell(const Recurrence& p, const float* U, float* to,
                           int64_t task) {
  Product u{};
  u.b = U, u.b_row = p.width(), u.b_transposed = true;
  const int64_t n = task * panel_width, size = p.width() * panel_width;
  pack_b(u, 0, p.width(), n, min(p.H - n, panel_width), to + task * size, size);
}

static int64_t cell_local_size(const Recurrence& p, bool backward) {
  const int64_t vectors = (backward ? 3 : 6) + p.copies;
  return (backward ? 0 : (p.F + 15) / 16 * 16) + vectors * p.padded();
}

// acc += A (rows, K) B (K, count L); the last vector of B belongs to acc[r][last].
template <int rows, int count, int last>
INLINE void add_part(vf (&acc)[rows][4], const float* a, int64_t a_row, const float* b,
                     int64_t K) {
  for (int64_t k = 0; k < K; k++, b += count * L) {
    vf av[rows];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) av[r] = splat(a[r * a_row + k]);
#pragma GCC unroll 4
    for (int v = 0; v < count; v++) {
      const vf bv = load(b + v * L);
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) acc[r][v + 1 < count ? v : last] += av[r] * bv;
    }
  }
}

// The same if each vector of B has a separate row of A, a_gate after that of the
// previous vector.
template <int rows, int count, int last>
INLINE void add_gates(vf (&acc)[rows][4], const float* a, int64_t a_row, int64_t a_gate,
                      const float* b, int64_t K) {
  for (int64_t k = 0; k < K; k++, b += count * L) {
#pragma GCC unroll 4
    for (int v = 0; v < count; v++) {
      const vf bv = load(b + v * L);
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++)
        acc[r][v + 1 < count ? v : last] += splat(a[r * a_row + v * a_gate + k]) * bv;
    }
  }
}

// z (rows, 4, L) of a panel.
template <CellKind kind, int rows>
static void gate_tile(const Recurrence& p, const float* x, const float* h,
                      const float* panel, float* z) {
  constexpr int x_count = kind == CellKind::lstm ? 4 : kind == CellKind::simple ? 2 : 3;
  constexpr int h_count = kind == CellKind::lstm ? 4 : kind == CellKind::gru ? 3 : 2;
  constexpr int h_last = kind == CellKind::gru ? 3 : h_count - 1;
  constexpr int used = kind == CellKind::gru ? 4 : x_count;
  vf acc[rows][4];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < used; v++) acc[r][v] = load(panel + v * L);
  panel += 4 * L;
  add_part<rows, x_count, x_count - 1>(acc, x, p.F, panel, p.F);
  panel += p.F * x_count * L;
  const int64_t P = p.padded();
  if (p.copies == 1)
    add_part<rows, h_count, h_last>(acc, h, P, panel, p.H);
  else
    add_gates<rows, h_count, h_last>(acc, h, p.copies * P, P, panel, p.H);
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < used; v++) store(z + (r * 4 + v) * L, acc[r][v]);
}

template <CellKind kind>
static void gate_rows(const Recurrence& p, int64_t rows, const float* x, const float* h,
                      const float* panel, float* z) {
  switch (rows) {
#define CASE(n)                                                          \
  case n:                                                                \
    if constexpr (n <= cell_rows) gate_tile<kind, n>(p, x, h, panel, z); \
    return;
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
  }
}

static __attribute__((noinline)) vf activated_vector(Activation kind, float alpha,
                                                     vf x) {
  switch (kind) {
#define CASE(name)       \
  case Activation::name: \
    return activated<Activation::name>(x, alpha).y;
    KURVE_ACTIVATIONS(CASE)
#undef CASE
  }
  return x;
}

// Value and derivative. The argument is x if the derivative does not follow from the
// value y; otherwise it is y.
static __attribute__((noinline)) Activated differentiated_vector(Activation kind,
                                                                 float alpha, vf x) {
  const bool from_x = saves_derivative(kind, alpha);
  switch (kind) {
#define CASE(name)                                            \
  case Activation::name:                                      \
    if (from_x) return activated<Activation::name>(x, alpha); \
    return {x, derivative_from_output<Activation::name>(x, alpha)};
    KURVE_ACTIVATIONS(CASE)
#undef CASE
  }
  return {x, x};
}

// The activations of a cell; `usual` means tanh and sigmoid.
template <bool usual>
struct CellFunctions {
  const Recurrence& p;
  const bool f_saves_x = saves_derivative(p.activation, p.alpha);
  const bool g_saves_x = saves_derivative(p.recurrent_activation, p.recurrent_alpha);

  INLINE_MEMBER vf f(vf x) const {
    if constexpr (usual) return tanh(x);
    return activated_vector(p.activation, p.alpha, x);
  }
  INLINE_MEMBER vf g(vf x) const {
    if constexpr (usual) return sigmoid(x);
    return activated_vector(p.recurrent_activation, p.recurrent_alpha, x);
  }
  // What is saved for the derivative: x or f(x).
  INLINE_MEMBER vf f_saved(vf x, vf y) const { return !usual && f_saves_x ? x : y; }
  INLINE_MEMBER vf g_saved(vf x, vf y) const { return !usual && g_saves_x ? x : y; }
  // Value and derivative from what was saved.
  INLINE_MEMBER Activated df(vf saved) const {
    if constexpr (usual)
      return {saved, derivative_from_output<Activation::tanh>(saved, 0)};
    return differentiated_vector(p.activation, p.alpha, saved);
  }
  INLINE_MEMBER Activated dg(vf saved) const {
    if constexpr (usual)
      return {saved, derivative_from_output<Activation::sigmoid>(saved, 0)};
    return differentiated_vector(p.recurrent_activation, p.recurrent_alpha, saved);
  }
};

// A block of rows that goes through the steps.
struct CellRows {
  const Recurrence& p;
  int64_t first, rows, P = p.padded();
  int64_t Q = p.copies * P;  // of a row in h_in

  int64_t time(int64_t step) const { return p.reverse ? p.T - 1 - step : step; }
  // The index of a row's step among all steps.
  int64_t step_index(int64_t r, int64_t t) const { return (first + r) * p.T + t; }
  bool counts(int64_t r, int64_t t) const {
    return !p.mask || p.mask[step_index(r, t)] != 0;
  }
  bool any_counts(int64_t t) const {
    for (int64_t r = 0; r < rows; r++)
      if (counts(r, t)) return true;
    return false;
  }
  const float* factors(int64_t r) const {
    return p.factors ? p.factors + (first + r) * p.copies * p.H : nullptr;
  }
  // The output of a step in y or dy; null if it has none.
  template <class T>
  T* output(T* y, int64_t r, int64_t step) const {
    if (p.sequences) return y + step_index(r, step) * p.outputs();
    return step == p.T - 1 ? y + (first + r) * p.outputs() : nullptr;
  }
};

INLINE void copy_floats(const float* from, int64_t n, float* to) {
  __builtin_memcpy(to, from, uint64_t(n) * sizeof(float));
}
INLINE void zero_floats(float* to, int64_t n) {
  __builtin_memset(to, 0, uint64_t(n) * sizeof(float));
}

struct CellState {
  float *x, *h, *next, *h_in, *c;
  float *reset, *n, *u;  // for gru_before: g(r) h, and n and u before that
};

// Computes the states of a row after a step, for the units from `at` on; z (4, L) are
// the gates.
template <CellKind kind, bool usual>
INLINE void finish_cell(const CellFunctions<usual>& f, const CellState& s,
                        const float* z, int64_t at, bool counts, float* saved) {
  const vf before = load(s.h + at);
  vf h;
  if constexpr (kind == CellKind::lstm) {
    const vf zi = load(z), zf = load(z + L), zn = load(z + 2 * L), zo = load(z + 3 * L);
    const vf i = f.g(zi), forget = f.g(zf), n = f.f(zn), o = f.g(zo);
    const vf c = load(s.c + at), now = forget * c + i * n, out = f.f(now);
    h = o * out;
    if (counts) store(s.c + at, now);
    if (saved) {
      store(saved, f.g_saved(zi, i));
      store(saved + L, f.g_saved(zf, forget));
      store(saved + 2 * L, f.f_saved(zn, n));
      store(saved + 3 * L, f.g_saved(zo, o));
      store(saved + 4 * L, c);
      store(saved + 5 * L, f.f_saved(now, out));
    }
  } else if constexpr (kind == CellKind::gru) {
    const vf zz = load(z), zr = load(z + L), n_h = load(z + 3 * L);
    const vf u = f.g(zz), r = f.g(zr), zn = load(z + 2 * L) + r * n_h, n = f.f(zn);
    h = u * before + (1.0f - u) * n;
    if (saved) {
      store(saved, f.g_saved(zz, u));
      store(saved + L, f.g_saved(zr, r));
      store(saved + 2 * L, f.f_saved(zn, n));
      store(saved + 3 * L, n_h);
      if (f.p.dropped) store(saved + 4 * L, before);
    }
  } else {
    const vf zn = load(z);
    h = f.f(zn);
    if (saved) store(saved, f.f_saved(zn, h));
  }
  store(s.next + at, counts ? h : before);
}

// gru_before up to the reset gate: z (4, L) are z, r and the x part of n. In end_cell,
// z (L) is the other part.
template <bool usual>
INLINE void begin_cell(const CellFunctions<usual>& f, const CellState& s,
                       const float* h_in, const float* z, int64_t at, float* saved) {
  const vf zz = load(z), zr = load(z + L), u = f.g(zz), r = f.g(zr);
  store(s.u + at, u);
  store(s.n + at, load(z + 2 * L));
  store(s.reset + at, r * load(h_in));
  if (!saved) return;
  store(saved, f.g_saved(zz, u));
  store(saved + L, f.g_saved(zr, r));
}
template <bool usual>
INLINE void end_cell(const CellFunctions<usual>& f, const CellState& s, const float* z,
                     int64_t at, bool counts, float* saved) {
  const vf before = load(s.h + at), u = load(s.u + at), zn = load(s.n + at) + load(z);
  const vf n = f.f(zn), h = u * before + (1.0f - u) * n;
  store(s.next + at, counts ? h : before);
  if (!saved) return;
  store(saved + 2 * L, f.f_saved(zn, n));
  if (f.p.dropped) store(saved + 3 * L, before);
}

// Calls body(first row, rows) for parts of up to `most` rows.
template <class Body>
INLINE void in_tiles(int64_t rows, int64_t most, Body&& body) {
  const int64_t count = pieces(rows, most);
  for (int64_t i = 0; i < count; i++) {
    const int64_t begin = rows * i / count;
    body(begin, rows * (i + 1) / count - begin);
  }
}

template <CellKind kind, bool usual>
static void forward_step(const CellRows& b, const CellFunctions<usual>& f,
                         const CellState& s, const float* h_in, int64_t t) {
  const Recurrence& p = b.p;
  alignas(64) float z[cell_rows * 4 * L];
  const int64_t V = p.saved_vectors(), units = panel_units(p);
  auto saved_at = [&](int64_t r, int64_t j) {
    return p.saved ? p.saved + b.step_index(r, t) * V * b.P + j * V : nullptr;
  };
  for (int64_t panel = 0, j = 0; j < p.H; panel++, j += units)
    in_tiles(b.rows, cell_rows, [&](int64_t r0, int64_t count) {
      gate_rows<kind>(p, count, s.x + r0 * p.F, h_in + r0 * b.Q,
                      p.packed + panel * panel_floats(p), z);
      for (int64_t r = r0; r < r0 + count; r++) {
        const float* own = z + (r - r0) * 4 * L;
        const int64_t at = r * b.P + j;
        const bool counts = b.counts(r, t);
        if constexpr (kind == CellKind::gru_before)
          begin_cell(f, s, h_in + (r + 1) * b.Q - b.P + j, own, at, saved_at(r, j));
        else
          finish_cell<kind>(f, s, own, at, counts, saved_at(r, j));
        if constexpr (kind == CellKind::simple)
          if (j + L < p.H)
            finish_cell<kind>(f, s, own + L, at + L, counts, saved_at(r, j + L));
      }
    });
  if constexpr (kind == CellKind::gru_before)
    for (int64_t panel = 0, j = 0; j < p.H; panel++, j += L)
      in_tiles(b.rows, cell_rows, [&](int64_t r0, int64_t count) {
        micro_rows<1>(int(count), s.reset + r0 * b.P, b.P, 1,
                      p.packed + last_gate_at(p, panel), L, z, L, p.H, Chain::start);
        for (int64_t r = r0; r < r0 + count; r++)
          end_cell(f, s, z + (r - r0) * L, r * b.P + j, b.counts(r, t), saved_at(r, j));
      });
}

template <CellKind kind, bool usual>
static void forward_rows(const Recurrence& p, int64_t first, int64_t rows) {
  const CellRows b{p, first, rows};
  const CellFunctions<usual> f{p};
  const int64_t P = b.P, all = rows * P;
  float* local = p.local + first * cell_local_size(p, false);
  CellState s{};
  float** const parts[] = {&s.h, &s.next, &s.c, &s.reset, &s.n, &s.u};
  for (float** to : parts) {
    *to = local;
    local += all;
  }
  s.h_in = local;
  s.x = local + all * p.copies;
  zero_floats(s.h, all);
  zero_floats(s.c, all);
  for (int64_t r = 0; r < rows; r++) {
    if (p.h0) copy_floats(p.h0 + (first + r) * p.H, p.H, s.h + r * P);
    if (p.c0) copy_floats(p.c0 + (first + r) * p.H, p.H, s.c + r * P);
  }
  StopPoller poller;
  for (int64_t step = 0; step < p.T; step++) {
    const int64_t t = b.time(step);
    if (poller.stop_requested(rows * (p.F + p.H) * p.width())) return;
    const float* h_in = s.h;
    if (p.factors) {
      for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < p.copies; i++)
          for (int64_t j = 0; j < p.H; j += L)
            store(s.h_in + r * b.Q + i * P + j,
                  load(s.h + r * P + j) * load(b.factors(r) + i * p.H + j, p.H - j));
      h_in = s.h_in;
    }
    if (p.h_in)
      for (int64_t r = 0; r < rows; r++)
        copy_floats(h_in + r * b.Q, b.Q, p.h_in + b.step_index(r, t) * b.Q);
    if (b.any_counts(t)) {
      for (int64_t r = 0; r < rows; r++)
        copy_floats(p.x + b.step_index(r, t) * p.F, p.F, s.x + r * p.F);
      forward_step<kind>(b, f, s, h_in, t);
      float* before = s.h;
      s.h = s.next;
      s.next = before;
    }
    for (int64_t r = 0; r < rows; r++)
      if (float* y = b.output(p.y, r, step)) {
        copy_floats(s.h + r * P, p.H, y);
        if (p.states) copy_floats(s.c + r * P, p.H, y + p.H);
      }
  }
}

// Calls the instance of a function template for the cell.
#define BY_CELL(function, p, ...)                                                    \
  const bool usual =                                                                 \
      p.activation == Activation::tanh &&                                            \
      (p.kind == CellKind::simple || p.recurrent_activation == Activation::sigmoid); \
  switch (p.kind) {                                                                  \
    case CellKind::lstm:                                                             \
      return usual ? function<CellKind::lstm, true>(p, __VA_ARGS__)                  \
                   : function<CellKind::lstm, false>(p, __VA_ARGS__);                \
    case CellKind::gru:                                                              \
      return usual ? function<CellKind::gru, true>(p, __VA_ARGS__)                   \
                   : function<CellKind::gru, false>(p, __VA_ARGS__);                 \
    case CellKind::gru_before:                                                       \
      return usual ? function<CellKind::gru_before, true>(p, __VA_ARGS__)            \
                   : function<CellKind::gru_before, false>(p, __VA_ARGS__);          \
    case CellKind::simple:                                                           \
      return usual ? function<CellKind::simple, true>(p, __VA_ARGS__)                \
                   : function<CellKind::simple, false>(p, __VA_ARGS__);              \
  }

static void cell_forward(const Recurrence& p, int64_t first, int64_t rows) {
  BY_CELL(forward_rows, p, first, rows)
}
