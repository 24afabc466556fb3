// Backward pass of recurrent cells; see recurrent.inl.h. The gradients of variables
// follow from dz as products over all rows and steps.
#pragma once

// Gradients in the backward pass: of h, the part that bypasses the product with U and
// the part that goes through it (per copy of h); of c; dz of h U.
struct CellGradients {
  float *carry, *din, *dc, *dreset, *dz;
  int64_t dz_row;
};

// din (rows, padded) = or += dz (rows, K) times the rows k.. of U^T. The chains are the
// same if dz is in two parts.
static void multiply_transposed(const CellRows& b, const CellGradients& g, int64_t k,
                                int64_t K, float* din, Chain start) {
  const Recurrence& p = b.p;
  for (int64_t n = 0; n < p.H; n += panel_width) {
    const float* panel = p.packed + n * p.width() + k * panel_width;
    auto run = p.H - n <= L ? micro_rows<1> : micro_rows<2>;
    in_tiles(b.rows, tile, [&](int64_t r0, int64_t count) {
      const float* dz = g.dz + r0 * g.dz_row;
      float* to = din + r0 * b.P + n;
      for (int64_t from = 0, depth; from < K; from += depth) {
        depth = min(K - from, k_block);
        auto part = [&](int64_t first, int64_t steps, float* c, int64_t c_row,
                        Chain chain) {
          run(int(count), dz + p.dz_at(k + first), g.dz_row, 1,
              panel + first * panel_width, panel_width, c, c_row, steps, chain);
        };
        const Chain chain = from ? Chain::accumulate : start;
        const int64_t head = 2 * p.H - k - from;  // up to the third gate
        if (p.kind != CellKind::gru || head <= 0 || head >= depth) {
          part(from, depth, to, b.P, chain);
        } else if (chain == Chain::start) {
          part(from, head, to, b.P, chain);
          part(from + head, depth - head, to, b.P, Chain::resume);
        } else {
          alignas(64) float sums[tile * panel_width];
          part(from, head, sums, panel_width, Chain::start);
          part(from + head, depth - head, sums, panel_width, Chain::resume);
          for (int64_t r = 0; r < count; r++)
            for (int64_t j = 0; j < min(b.P - n, panel_width); j += L)
              add(to + r * b.P + j, load(sums + r * panel_width + j), L);
        }
      }
    });
  }
}

// dz of a row for the units from j on; also updates the gradients that bypass the
// product.
template <CellKind kind, bool usual>
INLINE void backward_cell(const CellRows& b, const CellFunctions<usual>& f,
                          const CellGradients& g, const float* saved, vf dh, int64_t r,
                          int64_t t, int64_t j) {
  const Recurrence& p = b.p;
  const int64_t n = p.H - j, at = r * b.P + j;
  float* dz = g.dz + r * g.dz_row + j;
  vf carry{};
  if constexpr (kind == CellKind::lstm) {
    const Activated i = f.dg(load(saved)), forget = f.dg(load(saved + L)),
                    c = f.df(load(saved + 2 * L)), o = f.dg(load(saved + 3 * L)),
                    out = f.df(load(saved + 5 * L));
    const vf dc = load(g.dc + at) + dh * o.y * out.d;
    store(dz, dc * c.y * i.d, n);
    store(dz + p.H, dc * load(saved + 4 * L) * forget.d, n);
    store(dz + 2 * p.H, dc * i.y * c.d, n);
    store(dz + 3 * p.H, dh * out.y * o.d, n);
    store(g.dc + at, dc * forget.y);
  } else if constexpr (kind == CellKind::simple) {
    store(dz, dh * f.df(load(saved)).d, n);
  } else {
    const Activated u = f.dg(load(saved)), c = f.df(load(saved + 2 * L));
    const vf before = load(p.dropped ? saved + p.h_saved() * L
                                     : p.h_in + b.step_index(r, t) * b.Q + j);
    const vf dn = dh * (1.0f - u.y) * c.d, du = dh * (before - c.y) * u.d;
    carry = dh * u.y;
    if constexpr (kind == CellKind::gru) {
      const Activated reset = f.dg(load(saved + L));
      store(dz, dn * reset.y, n);
      store(dz + p.H, du, n);
      store(dz + 2 * p.H, dn * load(saved + 3 * L) * reset.d, n);
      store(dz + 3 * p.H, dn, n);
    } else {
      store(dz, du, n);
      store(dz + 2 * p.H, dn, n);
    }
  }
  store(g.carry + at, carry);
}

// gru_before: dr, from the gradient after the reset gate.
template <bool usual>
static void backward_reset(const CellRows& b, const CellFunctions<usual>& f,
                           const CellGradients& g, int64_t t) {
  const Recurrence& p = b.p;
  float* din = g.din + (p.copies - 1) * b.rows * b.P;
  for (int64_t r = 0; r < b.rows; r++) {
    const float* saved = p.saved + b.step_index(r, t) * p.saved_vectors() * b.P;
    const float* h_in = p.h_in + (b.step_index(r, t) + 1) * b.Q - b.P;
    const bool counts = b.counts(r, t);
    for (int64_t j = 0; j < p.H; j += L) {
      const int64_t at = r * b.P + j;
      const Activated reset = f.dg(load(saved + j * p.saved_vectors() + L));
      const vf d = load(g.dreset + at), h = load(h_in + j), zero{};
      store(din + at, counts ? d * reset.y : zero);
      store(g.dz + r * g.dz_row + p.H + j, counts ? d * h * reset.d : zero, p.H - j);
      store(p.reset + b.step_index(r, t) * b.P + j, counts ? reset.y * h : zero);
    }
  }
}

template <CellKind kind, bool usual>
static void backward_rows(const Recurrence& p, int64_t first, int64_t rows) {
  const CellRows b{p, first, rows};
  const CellFunctions<usual> f{p};
  const int64_t P = b.P, all = rows * P, V = p.saved_vectors(), width = p.width();
  float* local = p.local + first * cell_local_size(p, true);
  CellGradients g{};
  float** const parts[] = {&g.carry, &g.dc, &g.dreset};
  for (float** to : parts) {
    *to = local;
    zero_floats(local, all);
    local += all;
  }
  g.din = local;
  zero_floats(local, all * p.copies);
  g.dz_row = p.T * p.dz_width();
  auto dh_at = [&](int64_t r, int64_t j) {
    const int64_t at = r * P + j;
    vf d = load(g.din + at);
    if (p.factors) d *= load(b.factors(r) + j, p.H - j);
    for (int64_t i = 1; i < p.copies; i++)
      d += load(g.din + i * all + at) * load(b.factors(r) + i * p.H + j, p.H - j);
    return load(g.carry + at) + d;
  };
  StopPoller poller;
  for (int64_t step = p.T; step-- > 0;) {
    const int64_t t = b.time(step);
    if (poller.stop_requested(rows * p.H * width)) return;
    g.dz = p.dz + b.step_index(0, t) * p.dz_width();
    for (int64_t r = 0; r < rows; r++) {
      const float* dy = b.output(p.dy, r, step);
      const float* saved = p.saved + b.step_index(r, t) * V * P;
      const bool counts = b.counts(r, t);
      if (!counts) zero_floats(g.dz + r * g.dz_row, p.dz_width());
      for (int64_t j = 0; j < p.H; j += L) {
        vf dh = dh_at(r, j);
        if (dy) dh += load(dy + j, p.H - j);
        if (dy && p.states) {
          float* dc = g.dc + r * P + j;
          store(dc, load(dc) + load(dy + p.H + j, p.H - j));
        }
        if (counts)
          backward_cell<kind>(b, f, g, saved + j * V, dh, r, t, j);
        else
          store(g.carry + r * P + j, dh);
      }
    }
    const bool any = b.any_counts(t);
    if constexpr (kind == CellKind::gru_before) {
      multiply_transposed(b, g, 2 * p.H, p.H, g.dreset, Chain::start);
      backward_reset(b, f, g, t);
    }
    constexpr bool before = kind == CellKind::gru_before;
    if (!any)
      zero_floats(g.din, all * p.copies);
    else if (p.copies > 1)
      for (int64_t i = 0; i < p.copies - before; i++)
        multiply_transposed(b, g, i * p.H, p.H, g.din + i * all, Chain::start);
    else if (step > 0 || p.dh0)
      multiply_transposed(b, g, 0, before ? 2 * p.H : width, g.din,
                          before ? Chain::accumulate : Chain::start);
  }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < p.H; j += L) {
      const int64_t to = (first + r) * p.H + j;
      if (p.dh0) store(p.dh0 + to, dh_at(r, j), p.H - j);
      if (p.dc0) store(p.dc0 + to, load(g.dc + r * P + j), p.H - j);
    }
}

static void cell_backward(const Recurrence& p, int64_t first, int64_t rows) {
  BY_CELL(backward_rows, p, first, rows)
}
#undef BY_CELL
