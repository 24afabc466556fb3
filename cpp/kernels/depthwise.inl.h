// Convolution of each channel separately: kernel (kh, kw, C). Vectors run over the
// channels, for a few pixels of a row at a time.
#pragma once

constexpr int64_t depthwise_pixels = 8;

static void depthwise_forward(const Conv& p, const Epilogue& f, const float* kernel,
                              const float* x, int64_t row, int64_t rows, float* y,
                              float* saved) {
  const int64_t line = p.W * p.I, C = p.O, step = p.sw * p.I;
  const Range w_range = inner_columns(p);
  StopPoller poller;
  for (int64_t h = row; h < row + rows; h++) {
    const Range r_range = inside(h * p.sh - p.top, p.dh, p.H, p.kh);
    float* to = y + (h - row) * p.OW * C;
    for (int64_t w = 0, count; w < p.OW; w += count) {
      bool all = w >= w_range.from && w + depthwise_pixels <= w_range.to;
      count = all ? depthwise_pixels : 1;
      if (poller.stop_requested(count * C * p.kh * p.kw)) return;
      const Range s = all ? Range{0, p.kw} : inside(w * p.sw - p.left, p.dw, p.W, p.kw);
      const int64_t at = (h * p.sh - p.top) * line + (w * p.sw - p.left) * p.I;
      for (int64_t j = 0; j < C; j += L) {
        const int64_t n = C - j;
        vf acc[depthwise_pixels];
        for (vf& a : acc) a = f.bias ? load(f.bias + j, n) : vf{};
        for (int64_t i = r_range.from; i < r_range.to; i++)
          for (int64_t k = s.from; k < s.to; k++) {
            vf weight = load(kernel + (i * p.kw + k) * C + j, n);
            const float* from = x + (at + i * p.dh * line + k * p.dw * p.I + j);
            if (all)
#pragma GCC unroll 8
              for (int64_t q = 0; q < depthwise_pixels; q++)
                acc[q] += load(from + q * step, n) * weight;
            else
              acc[0] += load(from, n) * weight;
          }
        for (int64_t q = 0; q < count; q++) store(to + (w + q) * C + j, acc[q], n);
      }
    }
    if (f.activation == Activation::linear) continue;
    float* derivative = saved ? saved + (to - y) : nullptr;
    activate_block({to, C, to, C, p.OW, C}, f.activation, f.alpha, nullptr, derivative);
  }
}

static void depthwise_add_dx(const Conv& p, const float* kernel, const float* dz,
                             int64_t row, int64_t rows, float* dx) {
  const int64_t C = p.O, line = p.W * C;
  StopPoller poller;
  for (int64_t h = row; h < row + rows; h++) {
    const Range r_range = inside(h * p.sh - p.top, p.dh, p.H, p.kh);
    for (int64_t r = r_range.from; r < r_range.to; r++)
      for (int64_t s = 0; s < p.kw; s++) {
        const Range w_range = inside(s * p.dw - p.left, p.sw, p.W, p.OW);
        if (poller.stop_requested(p.OW * C)) return;
        const float* weights = kernel + (r * p.kw + s) * C;
        const float* from = dz + ((h - row) * p.OW + w_range.from) * C;
        float* to = dx + (h * p.sh + r * p.dh - p.top) * line +
                    (w_range.from * p.sw + s * p.dw - p.left) * C;
        for (int64_t w = w_range.from; w < w_range.to; w++, from += C, to += p.sw * C)
          for (int64_t j = 0; j < C; j += L) {
            const int64_t n = C - j;
            vf sum = load(to + j, n);
            sum += load(from + j, n) * load(weights + j, n);
            store(to + j, sum, n);
          }
      }
  }
}

// sums (kh, kw, whole vectors of C).
static void depthwise_add_sums(const Conv& p, const float* x, const float* dz,
                               int64_t row, int64_t rows, float* sums) {
  const int64_t C = p.O, line = p.W * C, channel_stride = pieces(C, L) * L;
  StopPoller poller;
  for (int64_t r = 0; r < p.kh; r++) {
    const int64_t down = r * p.dh - p.top;
    const Range h_range = inside(down, p.sh, p.H, p.OH);
    const int64_t first = h_range.from > row ? h_range.from : row;
    const int64_t end = min(h_range.to, row + rows);
    for (int64_t s = 0; s < p.kw; s++) {
      const Range w_range = inside(s * p.dw - p.left, p.sw, p.W, p.OW);
      float* to = sums + (r * p.kw + s) * channel_stride;
      for (int64_t j = 0; j < C; j += L) {
        const int64_t n = C - j;
        vf acc{}, other{};
        vd whole = widened(load(to + j));
        int64_t left = pixel_chain;
        for (int64_t h = first; h < end; h++)
          for (int64_t w = w_range.from, stop; w < w_range.to; w = stop) {
            stop = min(w_range.to, w + pixel_chain);
            if (poller.stop_requested((stop - w) * L)) return;
            left -= stop - w;
            const float* d = dz + ((h - row) * p.OW + w) * C + j;
            const float* at =
                x + (h * p.sh + down) * line + (w * p.sw + s * p.dw - p.left) * C + j;
            for (; w + 2 <= stop; w += 2, d += 2 * C, at += 2 * p.sw * C) {
              acc += load(at, n) * load(d, n);
              other += load(at + p.sw * C, n) * load(d + C, n);
            }
            if (w < stop) acc += load(at, n) * load(d, n);
            if (left > 0) continue;
            whole += widened(acc + other);
            acc = other = vf{};
            left = pixel_chain;
          }
        store(to + j, narrowed(whole + widened(acc + other)));
      }
    }
  }
}
