// Pixels as weighted sums of others: y[i] = sum over t of weight[i, t] x[at[i, t]],
// where a negative place stands for a pixel whose channels are all `fill`.
#pragma once

static void resample(const Taps& p, const float* x, float* y) {
  Patience patience;
  for (int64_t i = 0; i < p.pixels; i++, y += p.C) {
    if (patience.ends(4 * p.each * p.C)) return;
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

// dx += what each pixel of dy gives back.
static void resample_backward(const Taps& p, const float* dy, float* dx) {
  Patience patience;
  for (int64_t i = 0; i < p.pixels; i++, dy += p.C) {
    if (patience.ends(4 * p.each * p.C)) return;
    for (int64_t t = i * p.each; t < (i + 1) * p.each; t++) {
      if (p.at[t] < 0) continue;
      float* to = dx + p.at[t] * p.C;
      for (int64_t j = 0; j < p.C; j += L) {
        const int64_t n = p.C - j;
        vf s = load(to + j, n);
        s += p.weight[t] * load(dy + j, n);
        store(to + j, s, n);
      }
    }
  }
}
