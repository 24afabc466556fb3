// Ops that move elements: permuted axes, slices, and zeros inserted around or between
// elements.
#include <algorithm>

#include "pool.h"
#include "strides.h"

namespace kurve {

Shape strides_of(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t k = shape.size(); k-- > 1;) strides[k - 1] = strides[k] * shape[k];
  return strides;
}

// The last axis gets the smallest stride in the target, the one before it the smallest
// in the source, so both arrays are accessed in whole cache lines. Adjacent axes with
// compatible strides are merged.
StridedCopy::StridedCopy(std::vector<Axis> axes, int64_t from, int64_t to)
    : from_(from), to_(to) {
  std::stable_sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) {
    return std::abs(a.to) > std::abs(b.to);
  });
  for (const Axis& axis : axes) {
    if (axis.size == 1) continue;
    Axis* last = axes_.empty() ? nullptr : &axes_.back();
    if (last && last->from == axis.size * axis.from && last->to == axis.size * axis.to)
      *last = {last->size * axis.size, axis.from, axis.to};
    else
      axes_.push_back(axis);
  }
  if (!axes_.empty()) {
    columns_ = axes_.back();
    axes_.pop_back();
  }
  if (!axes_.empty()) {
    auto rows =
        std::min_element(axes_.begin(), axes_.end(), [](const Axis& a, const Axis& b) {
          return std::abs(a.from) < std::abs(b.from);
        });
    if (columns_.from == 1) rows = axes_.end() - 1;
    rows_ = *rows;
    axes_.erase(rows);
  }
  for (const Axis& axis : axes_) outer_ *= axis.size;
}

StridedCopy StridedCopy::inverse() const {
  std::vector<Axis> axes{axes_};
  axes.push_back(rows_);
  axes.push_back(columns_);
  for (Axis& axis : axes) std::swap(axis.from, axis.to);
  return StridedCopy(std::move(axes), to_, from_);
}

namespace {

// Square tiles, so cached lines of both arrays are used completely.
template <class Body>
void each_element(const Axis& rows, const Axis& columns, Body&& body) {
  constexpr int64_t tile = 16;
  bool large = rows.size * columns.size > 4 * task_size;
  for (int64_t r = 0; r < rows.size; r += tile) {
    int64_t last = std::min(rows.size, r + tile);
    if (large && stop_requested((last - r) * columns.size * 4)) return;
    for (int64_t c = 0; c < columns.size; c += tile) {
      int64_t end = std::min(columns.size, c + tile);
      for (int64_t i = r; i < last; i++)
        for (int64_t j = c; j < end; j++)
          body(i * rows.from + j * columns.from, i * rows.to + j * columns.to);
    }
  }
}

}  // namespace

// Calls body(sample, from, to) with the offsets at which each plane of a sample starts.
template <class Body>
void StridedCopy::each_plane(int64_t batch, Body&& body) const {
  int64_t plane = rows_.size * columns_.size, planes = batch * outer_;
  int64_t size = std::max<int64_t>(1, 2 * task_size / plane);
  parallel((planes + size - 1) / size, planes * plane * 4, [&](int64_t task) {
    for (int64_t i = task * size; i < std::min(planes, (task + 1) * size); i++) {
      int64_t from = from_, to = to_, rest = i % outer_;
      for (size_t k = axes_.size(); k-- > 0; rest /= axes_[k].size) {
        from += rest % axes_[k].size * axes_[k].from;
        to += rest % axes_[k].size * axes_[k].to;
      }
      body(i / outer_, from, to);
    }
  });
}

void StridedCopy::run(int64_t batch, const float* x, int64_t x_stride, float* y,
                      int64_t y_stride) const {
  constexpr int64_t line = 32;  // shorter ones are not worth a call
  bool lines = columns_.from == 1 && columns_.to == 1 && columns_.size >= line;
  if (!lines && outer_ * rows_.size == 1) {  // the samples are the rows of one plane
    int64_t size = std::max<int64_t>(1, 2 * task_size / columns_.size);
    return parallel((batch + size - 1) / size, batch * columns_.size * 4,
                    [&](int64_t task) {
                      int64_t first = task * size;
                      Axis samples{std::min(size, batch - first), x_stride, y_stride};
                      const float* from = x + first * x_stride + from_;
                      float* to = y + first * y_stride + to_;
                      each_element(samples, columns_,
                                   [&](int64_t i, int64_t j) { to[j] = from[i]; });
                    });
  }
  each_plane(batch, [&](int64_t b, int64_t first, int64_t offset) {
    const float* from = x + b * x_stride + first;
    float* to = y + b * y_stride + offset;
    if (!lines)
      return each_element(rows_, columns_,
                          [&](int64_t i, int64_t j) { to[j] = from[i]; });
    for (int64_t r = 0; r < rows_.size; r++)
      copy(from + r * rows_.from, columns_.size, to + r * rows_.to);
  });
}

void StridedCopy::add(int64_t batch, const float* x, int64_t x_stride, float* y,
                      int64_t y_stride) const {
  each_plane(batch, [&](int64_t b, int64_t first, int64_t offset) {
    const float* from = x + b * x_stride + first;
    float* to = y + b * y_stride + offset;
    each_element(rows_, columns_, [&](int64_t i, int64_t j) { to[j] += from[i]; });
  });
}

void clear_all(float* to, int64_t n) {
  constexpr int64_t size = 4 * task_size;
  parallel((n + size - 1) / size, n, [&](int64_t task) {
    std::fill_n(to + task * size, std::min(size, n - task * size), 0.0f);
  });
}

namespace {

class Move : public Op {
 public:
  Move(const OpSpec& spec, StridedCopy moves)
      : forward_(std::move(moves)),
        backward_(forward_.inverse()),
        fills_y_(forward_.size() == product_of(spec.out_shape)),
        fills_x_(forward_.size() == product_of(spec.in_shape)) {
    work = product_of(spec.out_shape);
  }
  void forward(const ExecContext& ctx, const float* x, float* y,
               float*) const override {
    if (!fills_y_) clear_all(y, ctx.batch * out);
    forward_.run(ctx.batch, x, in, y, out);
  }
  void backward(const ExecContext& ctx, const float*, const float*, const float* dz,
                float* dx, const Derivative& before) const override {
    if (!fills_x_) clear_all(dx, ctx.batch * in);
    backward_.run(ctx.batch, dz, out, dx, in);
    differentiate(ctx.kernels, before, dx, dx, ctx.batch * in);
  }

 private:
  StridedCopy forward_, backward_;
  bool fills_y_, fills_x_;
};

StridedCopy permutation(const OpSpec& spec) {
  size_t rank = spec.in_shape.size();
  const Shape& order = integers(spec.attrs, "axes", rank);
  Shape in = strides_of(spec.in_shape), out = strides_of(spec.out_shape);
  std::vector<char> seen(rank, false);
  std::vector<Axis> axes;
  if (spec.out_shape.size() != rank) refuse_shapes(spec, "its axes");
  for (size_t k = 0; k < rank; k++) {
    auto from = size_t(order[k]);
    if (order[k] < 0 || from >= rank || seen[from] ||
        spec.out_shape[k] != spec.in_shape[from])
      refuse_shapes(spec, "its axes");
    seen[from] = true;
    axes.push_back({spec.out_shape[k], in[from], out[k]});
  }
  return StridedCopy(std::move(axes));
}

// Copies the elements starts + i * steps of an array `large` to one of the shape
// `sizes`.
StridedCopy slices(const OpSpec& spec, const Shape& large, const Shape& small) {
  size_t rank = large.size();
  const Shape& starts = integers(spec.attrs, "starts", rank);
  const Shape& sizes = integers(spec.attrs, "sizes", rank);
  const Shape& steps = integers(spec.attrs, "steps", rank);
  Shape from = strides_of(large), to = strides_of(sizes);
  std::vector<Axis> axes;
  int64_t first = 0, n = 1;
  for (size_t k = 0; k < rank; k++) {
    auto inside = [&](int64_t i) { return i >= 0 && i < large[k]; };
    if (sizes[k] < 1 || sizes[k] > large[k] || !inside(starts[k]) ||
        !inside(starts[k] + (sizes[k] - 1) * steps[k]) ||
        (steps[k] == 0 && sizes[k] > 1))
      refuse_shapes(spec, "its slices");
    axes.push_back({sizes[k], steps[k] * from[k], to[k]});
    first += starts[k] * from[k];
    n *= sizes[k];
  }
  if (n != product_of(small)) refuse_shapes(spec, "its slices");
  return StridedCopy(std::move(axes), first);
}

}  // namespace

std::unique_ptr<Op> make_permute(const OpSource& source) {
  return std::make_unique<Move>(source.spec, permutation(source.spec));
}
std::unique_ptr<Op> make_slice(const OpSource& source) {
  const OpSpec& spec = source.spec;
  return std::make_unique<Move>(spec, slices(spec, spec.in_shape, spec.out_shape));
}
std::unique_ptr<Op> make_place(const OpSource& source) {
  const OpSpec& spec = source.spec;
  StridedCopy taken = slices(spec, spec.out_shape, spec.in_shape);
  return std::make_unique<Move>(spec, taken.inverse());
}

}  // namespace kurve
