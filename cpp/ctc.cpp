// CTC: the loss of sequences that are not aligned with their labels.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops.h"
#include "pool.h"

namespace kurve {
namespace {

constexpr double nothing = -std::numeric_limits<double>::infinity();

double log_add(double a, double b) {
  double most = std::max(a, b);
  return most == nothing ? nothing : most + std::log1p(std::exp(std::min(a, b) - most));
}

// y = -log of the probability of the labels, summed over all alignments (Graves et al.
// 2006), for logits (..., T, C), labels (..., N), label counts (...) and step counts
// (...). Everything is computed in float64, because sums of logarithms lose digits.
// Backward recomputes instead of saving. A sequence too short for its labels has y =
// inf and dx = 0; invalid labels or lengths give NaN.
class Ctc : public Op {
 public:
  explicit Ctc(const OpSpec& spec) {
    size_t axes = spec.in_shape.size();
    if (axes < 2 || spec.more_shapes.size() != 3) refuse_shapes(spec, "labels");
    T_ = spec.in_shape[axes - 2], C_ = spec.in_shape[axes - 1];
    Shape leading(spec.in_shape.begin(), spec.in_shape.end() - 2);
    Shape labels = spec.more_shapes[0];
    if (labels.empty()) refuse_shapes(spec, "labels");
    N_ = labels.back();
    labels.pop_back();
    for (const Shape& shape :
         {labels, spec.more_shapes[1], spec.more_shapes[2], spec.out_shape})
      if (shape != leading) refuse_shapes(spec, "labels");
    blank_ = integer(spec.attrs, "blank", 0, double(C_ - 1));
    count_ = product_of(leading);
    work = work_of({count_, T_, 2 * N_ + 1 + C_, 64});
  }

  void forward(const ExecContext&, const float*, float*, float*) const override {}
  void forward_many(const ExecContext& ctx, const float* const* x, float* y,
                    float*) const override {
    each(ctx, x, [&](Sequence s, int64_t i) {
      if (s.is_right)
        y[i] = float(-forwards(s, x[0] + i * T_ * C_));
      else
        y[i] = std::numeric_limits<float>::quiet_NaN();
    });
  }

  // Per sequence: log sums of the logits, alpha, and two steps of beta.
  int64_t scratch(const Kernels&, int64_t batch, bool) const override {
    return floats_for_doubles(batch * count_ * room());
  }

  void backward(const ExecContext&, const float*, const float*, const float*, float*,
                const Derivative&) const override {}
  void backward_many(const ExecContext& ctx, const float* const* x, const float*,
                     const float* dz, float* const* dx) const override {
    for (int k = 1; k < 4; k++)
      if (dx[k]) clear(dx[k], ctx.batch * count_ * (k == 1 ? N_ : 1));
    if (!dx[0]) return;
    each(ctx, x, [&](Sequence s, int64_t i) {
      float* to = dx[0] + i * T_ * C_;
      float fill = s.is_right ? 0.0f : std::numeric_limits<float>::quiet_NaN();
      std::fill_n(to, T_ * C_, fill);
      if (s.is_right) backwards(s, x[0] + i * T_ * C_, double(dz[i]), to);
    });
  }

 private:
  // The labels with blanks around them are 2 count + 1 states.
  struct Sequence {
    const float* labels;
    double *norms, *alpha, *beta;
    int64_t count = 0, steps = 0;
    bool is_right = false;
  };

  int64_t room() const { return T_ + (T_ + 2) * (2 * N_ + 1); }

  template <class Body>
  void each(const ExecContext& ctx, const float* const* x, Body&& body) const {
    int64_t n = ctx.batch * count_;
    auto* room_of = reinterpret_cast<double*>(ctx.scratch);
    parallel(n, ctx.batch * work, [&](int64_t i) {
      double *norms = room_of + i * room(), *alpha = norms + T_;
      Sequence s{x[1] + i * N_, norms, alpha, alpha + T_ * (2 * N_ + 1)};
      s.is_right = whole(x[2][i], N_ + 1, &s.count) && whole(x[3][i], T_ + 1, &s.steps);
      int64_t label;
      for (int64_t k = 0; s.is_right && k < s.count; k++)
        s.is_right = whole(s.labels[k], C_, &label);
      body(s, i);
    });
  }

  // The truncated number, if it lies in [0, end).
  static bool whole(float v, int64_t end, int64_t* to) {
    if (!(v >= 0 && v < float(end))) return false;
    *to = int64_t(v);
    return true;
  }

  int64_t label(const Sequence& s, int64_t state) const {
    return state % 2 ? int64_t(s.labels[state / 2]) : blank_;
  }
  // Whether an alignment may leave out the blank before this label.
  bool skips(const Sequence& s, int64_t state) const {
    return state > 1 && label(s, state) != label(s, state - 2);
  }

  // The log probability; alpha[t][k] is that of the first t + 1 steps ending in state
  // k.
  double forwards(const Sequence& s, const float* x) const {
    int64_t states = 2 * s.count + 1;
    if (!s.steps) return s.count ? nothing : 0.0;
    for (int64_t t = 0; t < s.steps; t++) {
      if (stop_requested(states * 64)) return 0;
      const float* row = x + t * C_;
      double most = *std::max_element(row, row + C_), sum = 0;
      for (int64_t c = 0; c < C_; c++) sum += std::exp(double(row[c]) - most);
      s.norms[t] = most + std::log(sum);
      double *current = s.alpha + t * states, *before = current - states;
      for (int64_t k = 0; k < states; k++) {
        double a = t ? before[k] : k < 2 ? 0.0 : nothing;
        if (t && k) a = log_add(a, before[k - 1]);
        if (t && skips(s, k)) a = log_add(a, before[k - 2]);
        current[k] = a + double(row[label(s, k)]) - s.norms[t];
      }
    }
    const double* last = s.alpha + (s.steps - 1) * states;
    return states > 1 ? log_add(last[states - 1], last[states - 2]) : last[0];
  }

  // dx = dz (softmax(x) - the posterior probability of each label at each step);
  // beta[k] is the log probability of the steps after t, starting from state k.
  void backwards(const Sequence& s, const float* x, double dz, float* dx) const {
    int64_t states = 2 * s.count + 1;
    double total = forwards(s, x);
    if (total == nothing) return;
    double *current = s.beta, *later = s.beta + states;
    for (int64_t t = s.steps; t-- > 0;) {
      if (stop_requested(states * 64)) return;
      const float* row = x + t * C_;
      for (int64_t k = 0; k < states; k++) {
        double b = k + 2 < states ? nothing : 0.0;
        if (t + 1 < s.steps) {
          const float* next = row + C_;
          auto from = [&](int64_t to) {
            return later[to] + double(next[label(s, to)]) - s.norms[t + 1];
          };
          b = from(k);
          if (k + 1 < states) b = log_add(b, from(k + 1));
          if (k + 2 < states && skips(s, k + 2)) b = log_add(b, from(k + 2));
        }
        current[k] = b;
      }
      float* to = dx + t * C_;
      for (int64_t c = 0; c < C_; c++)
        to[c] = float(dz * std::exp(double(row[c]) - s.norms[t]));
      for (int64_t k = 0; k < states; k++)
        to[label(s, k)] -=
            float(dz * std::exp(s.alpha[t * states + k] + current[k] - total));
      std::swap(current, later);
    }
  }

  int64_t T_, C_, N_, blank_, count_;
};

}  // namespace

std::unique_ptr<Op> make_ctc(const OpSource& source) {
  return std::make_unique<Ctc>(source.spec);
}

}  // namespace kurve
