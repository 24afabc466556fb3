// Pixels as weighted sums of other pixels: y[i] = sum over t of weight[i, t] x[at[i,
// t]], where a negative index stands for a pixel whose channels are all `fill`.
#pragma once

static void resample(const ResampleTable& p, const float* x, float* y) {
  StopPoller poller;
  for (int64_t i = 0; i < p.pixels; i++, y += p.C) {
    if (poller.stop_requested(4 * p.each * p.C)) return;
    for (int64_t j = 0; j < p.C; j += L) {
      const int64_t n = p.C - j;
      vf s{};
      for (int64_t t = i * p.each; t < (i + 1) * p.each; t++) {
        vf v = p.at[t] < 0 ? splat(p.fill) : load(x + p.at[t] * p.C + j, n);
        s += p.weight[t] * v;
      }
      store(y + j, s, n);
    }
  }
}

template <class T>
static void add_resample_gradient(const ResampleTable& p, const float* dy, T* sums) {
  StopPoller poller;
  for (int64_t i = 0; i < p.pixels; i++, dy += p.C) {
    if (poller.stop_requested(4 * p.each * p.C)) return;
    for (int64_t t = i * p.each; t < (i + 1) * p.each; t++) {
      if (p.at[t] < 0) continue;
      T* to = sums + p.at[t] * p.C;
      for (int64_t j = 0; j < p.C; j += L) {
        const int64_t n = p.C - j;
        add(to + j, p.weight[t] * load(dy + j, n), n);
      }
    }
  }
}

// Adds the gradient of each pixel of y to those of its sources.
static void resample_backward(const ResampleTable& p, const float* dy, float* dx,
                              double* sums) {
  if (sums) return add_resample_gradient(p, dy, sums);
  add_resample_gradient(p, dy, dx);
}
