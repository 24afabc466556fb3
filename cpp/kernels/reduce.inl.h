// Reductions of x (outer, n, inner) along n to y (outer, inner), their gradients, and
// running sums. If inner is 1, a row's vectors run along n; otherwise along the
// columns.
#pragma once

// Calls body(offset in x, offset in y, columns) for each unit.
template <class Body>
INLINE void for_units(const Reduction& p, int64_t first, int64_t count, Body&& body) {
  const int64_t across = p.units_across();
  StopPoller poller;
  for (int64_t unit = first; unit < first + count; unit++) {
    const int64_t outer = unit / across, column = unit % across * unit_columns;
    const int64_t columns = min(p.inner - column, unit_columns);
    if (poller.stop_requested(p.n * columns * 4)) return;
    body(outer * p.n * p.inner + column, outer * p.inner + column, columns);
  }
}

INLINE float largest_or_nan(vf x) {
  for (int half = L / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++)
      x[i] = x[i + half] > x[i] || x[i + half] != x[i + half] ? x[i + half] : x[i];
  return x[0];
}
INLINE float product(vf x) {
  for (int half = L / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) x[i] *= x[i + half];
  return x[0];
}
// What is subtracted before exp: 0 instead of an infinity.
INLINE vf finite_or_zero(vf x) { return abs(x) == __builtin_inff() ? vf{} : x; }
INLINE vf logarithm(vf m, vf sum) { return finite_or_zero(m) + log(sum); }

// The reduction of `n` vectors, where read(i) returns the i-th.
template <class Read>
INLINE vf reduce_vectors(ReductionKind kind, int64_t n, int64_t count, Read&& read) {
  const bool negative = kind == ReductionKind::min;
  if (kind == ReductionKind::sum || kind == ReductionKind::mean) {
    LongSum s;
    for (int64_t i = 0; i < n; i++) s.add(read(i));
    return narrowed(kind == ReductionKind::mean ? s.lanes() / double(count)
                                                : s.lanes());
  }
  if (kind == ReductionKind::prod) {
    vf s = read(0);
    for (int64_t i = 1; i < n; i++) s *= read(i);
    return s;
  }
  vf best = negative ? -read(0) : read(0), which{};
  for (int64_t i = 1; i < n; i++) {
    vf v = negative ? -read(i) : read(i);
    vi better = beats(v, best) & (best == best);
    which = better ? splat(float(i)) : which;
    best = better ? v : best;
  }
  if (kind == ReductionKind::argmax) return which;
  if (kind != ReductionKind::logsumexp) return negative ? -best : best;
  LongSum s;
  for (int64_t i = 0; i < n; i++) s.add(exp(read(i) - finite_or_zero(best)));
  return logarithm(best, narrowed(s.lanes()));
}

// The reduction of a row x (n,).
static float reduce_row(ReductionKind kind, const float* x, int64_t n) {
  const int64_t vectors = pieces(n, L);
  auto along = [&](ReductionKind how, float fill) {
    return reduce_vectors(how, vectors, n,
                          [&](int64_t i) { return load(x + i * L, n - i * L, fill); });
  };
  const float infinity = __builtin_inff();
  switch (kind) {
    case ReductionKind::sum:
    case ReductionKind::mean: {
      LongSum s;
      for (int64_t i = 0; i < n; i += L) s.add(load(x + i, n - i));
      return float(kind == ReductionKind::mean ? s.total() / double(n) : s.total());
    }
    case ReductionKind::prod:
      return product(along(kind, 1));
    case ReductionKind::min:
      return -largest_or_nan(-along(kind, infinity));
    default:
      break;
  }
  const float top = largest_or_nan(along(ReductionKind::max, -infinity));
  if (kind == ReductionKind::max) return top;
  if (kind == ReductionKind::argmax) {
    int64_t i = 0;
    while (i < n - 1 && !(x[i] == top || x[i] != x[i])) i++;
    return float(i);
  }
  LongSum s;
  const vf m = finite_or_zero(splat(top));
  for (int64_t i = 0; i < n; i += L) s.add(exp(load(x + i, n - i, -infinity) - m));
  return logarithm(m, splat(float(s.total())))[0];
}

static void reduce(const Reduction& p, const float* x, float* y, int64_t first,
                   int64_t count) {
  for_units(p, first, count, [&](int64_t from, int64_t to, int64_t columns) {
    if (p.inner == 1) {
      y[to] = reduce_row(p.kind, x + from, p.n);
      return;
    }
    for (int64_t j = 0; j < columns; j += L) {
      const float* column = x + from + j;
      auto read = [&](int64_t i) { return load(column + i * p.inner, columns - j); };
      store(y + to + j, reduce_vectors(p.kind, p.n, p.n, read), columns - j);
    }
  });
}

// dy divided by the sum of e^x; 0 if that is 0.
INLINE vf ratio_or_zero(vf dy, vf sum) { return sum == 0.0f ? vf{} : dy / sum; }

// dx = dy e^(x - m) / sum of e^(x - m) of a row, with m the largest.
static void exponentials_backward(int64_t n, const float* x, float dy, float* dx) {
  const vf m = finite_or_zero(splat(reduce_row(ReductionKind::max, x, n)));
  LongSum s;
  for (int64_t i = 0; i < n; i += L) {
    const vf e = exp(load(x + i, n - i, -__builtin_inff()) - m);
    s.add(e);
    store(dx + i, e, n - i);
  }
  const vf factor = ratio_or_zero(splat(dy), splat(float(s.total())));
  for (int64_t i = 0; i < n; i += L) store(dx + i, load(dx + i, n - i) * factor, n - i);
}

// dx of a row (n,) with y and dy.
static void reduce_row_backward(ReductionKind kind, int64_t n, const float* x, float y,
                                float dy, float* dx) {
  if (kind == ReductionKind::logsumexp) return exponentials_backward(n, x, dy, dx);
  if (kind == ReductionKind::prod) {
    float before = 1, after = dy;
    for (int64_t i = 0; i < n; i++) dx[i] = before, before *= x[i];
    for (int64_t i = n; i-- > 0;) dx[i] *= after, after *= x[i];
    return;
  }
  const bool spreads = kind == ReductionKind::sum || kind == ReductionKind::mean;
  const float each = kind == ReductionKind::mean ? dy / float(n) : spreads ? dy : 0;
  for (int64_t i = 0; i < n; i += L) store(dx + i, splat(each), n - i);
  if (kind != ReductionKind::max && kind != ReductionKind::min) return;
  for (int64_t i = 0; i < n; i++)
    if (x[i] == y) {
      dx[i] = dy;
      return;
    }
}

// dx[i] of a column of vectors.
INLINE void reduce_columns_backward(const Reduction& p, const float* x, vf y, vf dy,
                                    float* dx, int64_t rest) {
  const int64_t step = p.inner;
  vf run = splat(1.0f);
  switch (p.kind) {
    case ReductionKind::mean:
      dy = dy / float(p.n);
      [[fallthrough]];
    case ReductionKind::sum:
      for (int64_t i = 0; i < p.n; i++) store(dx + i * step, dy, rest);
      return;
    case ReductionKind::argmax:
      for (int64_t i = 0; i < p.n; i++) store(dx + i * step, vf{}, rest);
      return;
    case ReductionKind::max:
    case ReductionKind::min:
      for (int64_t i = 0; i < p.n; i++) {
        const vi hit = load(x + i * step, rest) == y;
        store(dx + i * step, hit ? dy : vf{}, rest);
        dy = hit ? vf{} : dy;
      }
      return;
    case ReductionKind::logsumexp: {
      auto read = [&](int64_t i) { return load(x + i * step, rest); };
      const vf m = finite_or_zero(reduce_vectors(ReductionKind::max, p.n, p.n, read));
      LongSum s;
      for (int64_t i = 0; i < p.n; i++) {
        const vf e = exp(read(i) - m);
        s.add(e);
        store(dx + i * step, e, rest);
      }
      dy = ratio_or_zero(dy, narrowed(s.lanes()));
      for (int64_t i = 0; i < p.n; i++)
        store(dx + i * step, load(dx + i * step, rest) * dy, rest);
      return;
    }
    case ReductionKind::prod:
      for (int64_t i = 0; i < p.n; i++) {
        store(dx + i * step, run, rest);
        run *= load(x + i * step, rest);
      }
      run = dy;
      for (int64_t i = p.n; i-- > 0;) {
        store(dx + i * step, load(dx + i * step, rest) * run, rest);
        run *= load(x + i * step, rest);
      }
  }
}

static void reduce_backward(const Reduction& p, const float* x, const float* y,
                            const float* dy, float* dx, int64_t first, int64_t count) {
  for_units(p, first, count, [&](int64_t at, int64_t from, int64_t columns) {
    if (p.inner == 1)
      return reduce_row_backward(p.kind, p.n, x + at, y[from], dy[from], dx + at);
    for (int64_t j = 0; j < columns; j += L)
      reduce_columns_backward(p, x + at + j, load(y + from + j, columns - j),
                              load(dy + from + j, columns - j), dx + at + j,
                              columns - j);
  });
}

// Sums are accumulated in float64.
static void running_sum(const Reduction& p, bool reverse, const float* x, float* y,
                        int64_t first, int64_t count) {
  const int64_t begin = reverse ? (p.n - 1) * p.inner : 0;
  const int64_t step = reverse ? -p.inner : p.inner;
  for_units(p, first, count, [&](int64_t at, int64_t, int64_t columns) {
    if (p.inner == 1) {
      double sum = 0;
      for (int64_t i = 0, k = at + begin; i < p.n; i++, k += step)
        y[k] = float(sum += double(x[k]));
      return;
    }
    for (int64_t j = 0; j < columns; j += L) {
      vd sum{};
      for (int64_t i = 0, k = at + begin + j; i < p.n; i++, k += step) {
        sum += widened(load(x + k, columns - j));
        store(y + k, narrowed(sum), columns - j);
      }
    }
  });
}
