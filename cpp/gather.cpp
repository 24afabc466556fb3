// The rows of a step: where each input and target of a batch lies.
#include <algorithm>

#include "execution.h"
#include "pool.h"
#include "stop_token.h"

namespace kurve {

void check_bounds(const Batches& b, int64_t first, int64_t last) {
  int64_t size = b.order ? b.order_size : b.n;
  if (first < 0 || last > b.steps || first > last)
    throw std::invalid_argument("[native] steps must lie within the bounds.");
  for (int64_t s = first; s < last; s++)
    if (b.bounds[s] < 0 || b.bounds[s + 1] <= b.bounds[s] || b.bounds[s + 1] > size)
      throw std::invalid_argument(
          "[native] bounds must increase and stay within the rows.");
}

int64_t largest_batch(const Batches& b, int64_t first, int64_t last) {
  int64_t largest = 0;
  for (int64_t s = first; s < last; s++)
    largest = std::max(largest, b.bounds[s + 1] - b.bounds[s]);
  return largest;
}

void Program::check_rows(int64_t rows) const {
  if (!fixed_rows_ || rows == fixed_rows_) return;
  std::string n = std::to_string(fixed_rows_);
  throw std::invalid_argument(
      "[states] a batch must have as many rows as the states that go from one batch to "
      "the next. Received: " +
      std::to_string(rows) + " rows, and states of " + n + ". Try batch_size=" + n +
      ", and rows that it divides.");
}

namespace {

template <class T>
void copy_rows(const T* from, const int64_t* order, int64_t n, int64_t width,
               float* to) {
  if (width == 1)
    for (int64_t i = 0; i < n; i++) to[i] = from[order[i]];
  else
    for (int64_t i = 0; i < n && (width < large_sample || !stop_requested(width)); i++)
      std::copy_n(from + order[i] * width, width, to + i * width);
}

}  // namespace

// Samples first..first+n-1: floats are used in place, bytes are converted.
void Program::use_inputs(const Inputs* x, int64_t first, int64_t n,
                         Workspace& ws) const {
  for (size_t k = 0; k < inputs(); k++) {
    int64_t width = input_sizes_[k];
    if (x[k].floats) {
      ws.x_at[k] = x[k].floats + first * width;
      continue;
    }
    const uint8_t* from = x[k].bytes + first * width;
    constexpr int64_t size = 16384;  // of a task
    int64_t count = n * width;
    float* to = ws.x[k];
    parallel((count + size - 1) / size, count, [&](int64_t task) {
      int64_t begin = task * size;
      std::copy_n(from + begin, std::min(size, count - begin), to + begin);
    });
    ws.x_at[k] = to;
  }
}

// Returns the number of rows of a step, and sets the pointers to them in `ws`.
// Contiguous floats are used in place; other rows are gathered.
int64_t Program::gather(const Batches& b, int64_t step, Workspace& ws) const {
  int64_t first = b.bounds[step], batch = b.bounds[step + 1] - first;
  gather_rows(b, first, batch, ws);
  return batch;
}

void Program::gather_rows(const Batches& b, int64_t first, int64_t batch,
                          Workspace& ws) const {
  check_rows(batch);
  if (!b.order) {
    use_inputs(b.x.data(), first, batch, ws);
    for (size_t h = 0; h < heads(); h++) {
      const Targets& t = b.targets[h];
      ws.targets[h] = {t.y ? t.y + first * target_size(h) : nullptr,
                       t.weights ? t.weights + first : nullptr};
      ws.x_at[inputs() + h] = ws.targets[h].y;
    }
    return;
  }
  const int64_t* order = b.order + first;
  if (!std::all_of(order, order + batch, [&](int64_t r) { return r >= 0 && r < b.n; }))
    throw std::invalid_argument("[native] order must hold row numbers only.");
  int64_t width = 0;
  for (size_t k = 0; k < inputs(); k++) width += input_sizes_[k];
  for (size_t h = 0; h < heads(); h++) width += b.targets[h].y ? target_size(h) : 0;
  // Rows of a task.
  int64_t size = std::clamp<int64_t>(65536 / width, 1, 512);
  parallel((batch + size - 1) / size, batch * width * 4, [&](int64_t task) {
    int64_t from = task * size, n = std::min(size, batch - from);
    for (size_t k = 0; k < inputs(); k++) {
      float* x = ws.x[k] + from * input_sizes_[k];
      if (b.x[k].bytes)
        copy_rows(b.x[k].bytes, order + from, n, input_sizes_[k], x);
      else
        copy_rows(b.x[k].floats, order + from, n, input_sizes_[k], x);
    }
    for (size_t h = 0; h < heads(); h++) {
      int64_t targets = target_size(h);
      const Targets& t = b.targets[h];
      if (t.y) copy_rows(t.y, order + from, n, targets, ws.y[h] + from * targets);
      if (t.weights) copy_rows(t.weights, order + from, n, 1, ws.weights[h] + from);
    }
  });
  for (size_t k = 0; k < inputs(); k++) ws.x_at[k] = ws.x[k];
  for (size_t h = 0; h < heads(); h++) {
    ws.targets[h] = {b.targets[h].y ? ws.y[h] : nullptr,
                     b.targets[h].weights ? ws.weights[h] : nullptr};
    ws.x_at[inputs() + h] = ws.targets[h].y;
  }
}

// Sum of the weights of some rows, in batch order.
double Program::weights_sum(const Targets& t, const Batches& b, int64_t first,
                            int64_t batch) const {
  double total = 0;
  for (int64_t i = first; t.weights && i < first + batch; i++)
    total += double(t.weights[b.order ? b.order[i] : i]);
  return total;
}

}  // namespace kurve
