// Backward pass of convolution + max-pooling, using only the positions of the maxima:
// one output of each window has a gradient, and with relu and dropout many of those are
// zero, so the sums run over a list of the nonzero ones. Both gradients are sums of
// rows of taps joined with their channels, which are adjacent in memory:
//
// dW^T[o] (kh, kw I) = sum over the pixels of channel o of dz x[patch of the pixel]
// dx[patch of a pixel] += sum over its channels of dz W^T[o]
#pragma once

// The largest size in floats of a receptive field, padding included.
constexpr int64_t max_field = 32768;

struct ReceptiveField {
  int64_t H, W;
  bool copied;  // to add padding, or space for whole vectors at the end
};
INLINE ReceptiveField receptive_field(const Conv& p) {
  int64_t H = (p.OH - 1) * p.sh + (p.kh - 1) * p.dh + 1;
  int64_t W = (p.OW - 1) * p.sw + p.kw;
  bool within = p.top == 0 && p.left == 0 && H <= p.H && W <= p.W;
  if (within && p.kw * p.I % L == 0) return {p.H, p.W, false};
  return {H, W, true};
}
INLINE int64_t joined_width(const Conv& p) { return pieces(p.kw * p.I, L) * L; }

static bool sparse_fits(const Conv& p) {
  ReceptiveField field = receptive_field(p);
  return taps_are_joined(p) && p.kw * p.I >= L &&
         (!field.copied || field.H * field.W * p.I <= max_field);
}

static int64_t sparse_sums_size(const Conv& p) { return p.O * p.kh * joined_width(p); }
// W^T (kh, O, joined).
static int64_t sparse_transposed_size(const Conv& p) { return sparse_sums_size(p); }
static int64_t sparse_transpose_tasks(const Conv& p) { return p.kh; }
static void sparse_transpose(const Conv& p, const float* kernel, float* to, int64_t r) {
  const int64_t joined = joined_width(p), K = p.kw * p.I;
  kernel += r * K * p.O;
  to += r * p.O * joined;
  int64_t k = 0;
  for (; k + L <= K; k += L) {
    int64_t o = 0;
    for (; o + L <= p.O; o += L)
      transpose_square(kernel + k * p.O + o, p.O, to + o * joined + k, joined);
    for (; o < p.O; o++)
      for (int64_t i = 0; i < L; i++)
        to[o * joined + k + i] = kernel[(k + i) * p.O + o];
  }
  for (; k < joined; k++)
    for (int64_t o = 0; o < p.O; o++)
      to[o * joined + k] = k < K ? kernel[k * p.O + o] : 0.0f;
}

// Nonzero values, and where their rows start.
struct List {
  int64_t n;
  const int32_t* at;
  const float* values;
};

// C (rows, vectors L) += sum over the list of value times rows.
template <int rows, int vectors>
static __attribute__((noinline)) void sparse_tile(const List& list, const float* from,
                                                  int64_t from_row, float* c,
                                                  int64_t c_row) {
  vf acc[rows][vectors] = {};
  for (int64_t i = 0; i < list.n; i++) {
    const float* a = from + list.at[i];
    vf value = splat(list.values[i]);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; v++)
        acc[r][v] += value * load(a + r * from_row + v * L);
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
      store(c + r * c_row + v * L, load(c + r * c_row + v * L) + acc[r][v]);
}

// clang-format off: a list, not statements
template <int rows>
static void sparse_rows(const List& list, const float* from, int64_t from_row, float* c,
                        int64_t c_row, int64_t vectors) {
  int64_t chunks = pieces(vectors, rows == 1 ? 8 : 6);
  for (int64_t i = 0; i < chunks; i++) {
    int64_t begin = vectors * i / chunks, count = vectors * (i + 1) / chunks - begin;
    const float* a = from + begin * L;
    float* to = c + begin * L;
    switch (count) {
#define CASE(n)                                      \
  case n:                                            \
    sparse_tile<rows, n>(list, a, from_row, to, c_row); \
    break;
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
    }
  }
}
// clang-format on

// The image with the padding that windows see, or the image itself.
static const float* padded_image(const Conv& p, const ReceptiveField& field,
                                 const float* x, float* buffer) {
  if (!field.copied) return x;
  const int64_t line = field.W * p.I;
  const Range w = inside(-p.left, 1, p.W, field.W);
  __builtin_memset(buffer, 0, uint64_t(field.H * line + L) * 4);
  for (int64_t h = 0; h < field.H; h++)
    if (int64_t from = h - p.top; from >= 0 && from < p.H)
      __builtin_memcpy(buffer + h * line + w.from * p.I,
                       x + (from * p.W + w.from - p.left) * p.I,
                       uint64_t((w.to - w.from) * p.I) * 4);
  return buffer;
}

struct SparseCopies {
  alignas(64) float image[max_field + L], values[max_strip];
  int32_t at[max_strip];
};

// sums (O, kh, joined) += the contribution of the window gradients dy of one image.
static void sparse_add_sums(const Conv& p, int64_t ph, int64_t pw, const float* x,
                            const float* dy, const uint8_t* index, float* sums) {
  auto& [buffer, values, at] = task_memory_as<SparseCopies>();
  int32_t origin[max_window];
  const ReceptiveField field = receptive_field(p);
  x = padded_image(p, field, x, buffer);
  const int64_t line = field.W * p.I, joined = joined_width(p);
  const int64_t window_rows = p.OH / ph, width = p.OW / pw;
  const int64_t rows_at_once = max_strip / width;  // rows of windows at a time
  StopPoller poller;
  for (int64_t i = 0; i < ph * pw; i++)
    origin[i] = int32_t(i / pw * p.sh * line + i % pw * p.sw * p.I);
  for (int64_t row = 0; row < window_rows; row += rows_at_once) {
    const int64_t end = min(row + rows_at_once, window_rows);
    for (int64_t o = 0; o < p.O; o++) {
      int64_t n = 0;
      for (int64_t h = row; h < end; h++)
        for (int64_t w = 0; w < width; w++) {
          int64_t from = (h * width + w) * p.O + o;
          at[n] =
              int32_t(h * ph * p.sh * line + w * pw * p.sw * p.I) + origin[index[from]];
          values[n] = dy[from];
          n += dy[from] != 0.0f;
        }
      if (poller.stop_requested((end - row) * width + n * p.kh * joined)) return;
      for (int64_t first = 0; first < n; first += pixel_chain) {
        const List list{min(n - first, pixel_chain), at + first, values + first};
        float* to = sums + o * p.kh * joined;
        int64_t r = 0;
#if defined(__AVX512F__) || defined(__aarch64__)
        for (; r + 3 <= p.kh; r += 3)
          sparse_rows<3>(list, x + r * p.dh * line, p.dh * line, to + r * joined,
                         joined, joined / L);
#endif
        for (; r < p.kh; r++)
          sparse_rows<1>(list, x + r * p.dh * line, 0, to + r * joined, 0, joined / L);
      }
    }
  }
}

// dx of one image; overwrites it.
static void sparse_dx(const Conv& p, int64_t ph, int64_t pw, const float* transposed,
                      const float* dy, const uint8_t* index, float* dx) {
  auto& [buffer, values, at] = task_memory_as<SparseCopies>();
  const ReceptiveField field = receptive_field(p);
  const int64_t line = field.W * p.I, joined = joined_width(p);
  float* to = field.copied ? buffer : dx;
  StopPoller poller;
  zero_fill(to, field.H * line + (field.copied ? int64_t(L) : 0), poller);
  const int64_t window_rows = p.OH / ph, width = p.OW / pw, outputs = ph * pw;
  // One window at a time: for each of its outputs, the list of channels.
  int64_t begin[max_window + 1];
  for (int64_t h = 0; h < window_rows; h++)
    for (int64_t w = 0; w < width; w++) {
      if (poller.stop_requested(p.O * p.kh * joined)) return;
      const int64_t from = (h * width + w) * p.O;
      for (int64_t i = 0; i <= outputs; i++) begin[i] = 0;
      for (int64_t o = 0; o < p.O; o++)
        begin[index[from + o] + 1] += dy[from + o] != 0.0f;
      for (int64_t i = 0; i < outputs; i++) begin[i + 1] += begin[i];
      int64_t next[max_window];
      for (int64_t i = 0; i < outputs; i++) next[i] = begin[i];
      for (int64_t o = 0; o < p.O; o++) {
        if (dy[from + o] == 0.0f) continue;
        int64_t slot = next[index[from + o]]++;
        at[slot] = int32_t(o * joined);
        values[slot] = dy[from + o];
      }
      for (int64_t i = 0; i < outputs; i++) {
        const List list{begin[i + 1] - begin[i], at + begin[i], values + begin[i]};
        if (list.n == 0) continue;
        float* patch =
            to + (h * ph + i / pw) * p.sh * line + (w * pw + i % pw) * p.sw * p.I;
        for (int64_t r = 0; r < p.kh; r++)
          sparse_rows<1>(list, transposed + r * p.O * joined, 0,
                         patch + r * p.dh * line, 0, joined / L);
      }
    }
  if (!field.copied) return;
  zero_fill(dx, p.H * p.W * p.I, poller);
  const Range w_range = inside(-p.left, 1, p.W, field.W);
  for (int64_t h = 0; h < field.H; h++)
    if (int64_t row = h - p.top; row >= 0 && row < p.H)
      __builtin_memcpy(dx + (row * p.W + w_range.from - p.left) * p.I,
                       buffer + h * line + w_range.from * p.I,
                       uint64_t((w_range.to - w_range.from) * p.I) * 4);
}

// Channels first..last-1 of dW (kh kw I, O) from blocks of sums; returns whether all
// are in the safe range. The sums are overwritten.
static bool sparse_finish(const Conv& p, float* sums, int64_t blocks,
                          int64_t block_stride, int64_t first, int64_t last,
                          float* to) {
  const int64_t joined = joined_width(p), K = p.kw * p.I, size = p.kh * joined;
  vi may_overflow{};
  for (int64_t o = first; o < last; o++) {
    float* own = sums + o * size;
    for (int64_t j = 0; j < size; j += L) {
      vf s = load(own + j);
      for (int64_t i = 1; i < blocks; i++) s += load(own + i * block_stride + j);
      may_overflow |= ~(abs(s) <= safe_sum);
      store(own + j, s);
    }
    for (int64_t r = 0; r < p.kh; r++)
      for (int64_t k = 0; k < K; k++) to[(r * K + k) * p.O + o] = own[r * joined + k];
  }
  return !any(may_overflow);
}
