#include "trust_region.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace kurve {

namespace {

using Vector = std::vector<double>;
constexpr double eps = std::numeric_limits<double>::epsilon();
constexpr double inf = std::numeric_limits<double>::infinity();
// Of J: forward differences, central differences, exact.
enum class Accuracy { half, most, full };

double scaled_norm(const double* scale, const double* p, int64_t P) {
  double total = 0;
  for (int64_t i = 0; i < P; i++) total += scale[i] * p[i] * scale[i] * p[i];
  return std::sqrt(total);
}

// The largest relative change of the norms of J's columns.
double relative_change(const Vector& before, const double* now, int64_t P) {
  double largest = 0;
  for (int64_t i = 0; i < P; i++) {
    double change = now[i] != 0 ? std::abs(before[i] - now[i]) / now[i] : 1.0;
    largest = std::max(largest, change);
  }
  return largest;
}

// The largest relative change of a parameter by a step to p.
double relative_step(const double* step, const double* p, int64_t P) {
  double largest = 0;
  for (int64_t i = 0; i < P; i++)
    if (step[i] != 0) largest = std::max(largest, std::abs(step[i] / p[i]));
  return largest;
}

// The factor for the radius: the minimum of the parabola through both costs and the
// slope, within limits.
double shrink_factor(double cost, double reduction, double predicted) {
  if (reduction >= 0) return 0.5;
  if (!std::isfinite(reduction) || reduction < -99 * cost) return 0.1;
  return std::max(0.1, 0.5 * predicted / (predicted - 0.5 * reduction));
}

struct Descent {
  ResidualFunction& function;
  const TrustRegionOptions& options;
  const TrustRegionArrays& arrays;
  const ScaledSvd& svd = arrays.svd;
  const int64_t P = svd.P, n = arrays.n, C = P + 1;
  double *const p = arrays.p, *const r = arrays.columns + P * n,
                *const norms = arrays.norms;
  const double rank_tolerance = eps * double(std::max(C, n));
  Vector trial = Vector(size_t(P)), r_trial = Vector(size_t(n)),
         first_norms = Vector(size_t(P)), norms_before = Vector(size_t(P)),
         width_factors = Vector(size_t(P), 1.0), step = Vector(size_t(P));
  double cost = 0, first_cost = 0;
  TrustRegionResult result{StopReason::not_finite, 0, 1, inf, false, 0, 0, 0};

  bool linearize(Accuracy accuracy) {
    bool exact = accuracy == Accuracy::full;
    if (exact) function.jacobian(p, width_factors.data(), arrays.columns);
    std::fill_n(arrays.multipliers, C, 1.0);
    for (int64_t j = 0; !exact && j < P; j++) {
      bool forward = accuracy == Accuracy::half;
      double size = width_factors[j] * (p[j] != 0 ? std::abs(p[j]) : 1.0), low = p[j];
      double *column = arrays.columns + j * n, *other = forward ? r : r_trial.data();
      std::copy_n(p, P, trial.data());
      if (!forward) {
        trial[j] = low = p[j] - options.central * size;
        function.residuals(trial.data(), other);
      }
      trial[j] = p[j] + (forward ? options.forward : options.central) * size;
      function.residuals(trial.data(), column);
      for (int64_t i = 0; i < n; i++) column[i] -= other[i];
      arrays.multipliers[j] = 1.0 / (trial[j] - low);
    }
    qr(arrays.columns, arrays.multipliers, C, n, arrays.r, norms);
    double total = 0;
    for (int64_t j = 0; j < P; j++) {
      double term = norms[j] * std::abs(p[j]);
      total += term;
      if (term != 0)
        width_factors[j] = std::sqrt(std::min(1.0, options.data_norm / term));
    }
    result.rounding = 8 * eps * (options.data_norm + total);
    return std::isfinite(total);
  }

  // The relative offset, after the SVD with this scale.
  double prepare() {
    double projected_norm = scaled_svd(arrays.r, rank_tolerance, svd);
    return cost > 0 ? projected_norm / std::sqrt(2 * cost) : 0.0;
  }

  StopReason finish(StopReason stop) {
    std::copy_n(norms, P, arrays.scale);
    prepare();
    result.linear = cost < first_cost && relative_change(first_norms, norms, P) < 1e-5;
    return stop;
  }

  StopReason descend();
  // Gauss-Newton steps while they reduce the offset.
  void refine();
};

StopReason Descent::descend() {
  cost = first_cost = 0.5 * dot(r, r, n);
  Accuracy accuracy = options.forward > 0 ? Accuracy::half : Accuracy::full;
  if (!std::isfinite(cost) || !linearize(accuracy)) return StopReason::not_finite;
  for (int64_t j = 0; j < P; j++) first_norms[j] = arrays.scale[j] = norms[j];
  double length = scaled_norm(arrays.scale, p, P);
  double radius = options.first_radius * (length > 0 ? length : 1.0), offset_before = 0;
  Accuracy accuracy_before = accuracy;
  double moved = 0;
  for (int64_t count = 0;; count++) {
    result.offset = prepare();
    double rate =
        offset_before > 0 ? std::min(result.offset / offset_before, 1.0) : 1.0;
    double curvature =
        moved > 0 ? relative_change(norms_before, norms, P) / moved : inf;
    bool same = accuracy == accuracy_before;
    result.rate =
        same || accuracy == Accuracy::most ? rate : std::min(rate, result.rate);
    result.curvature = same ? curvature : std::min(curvature, result.curvature);
    accuracy_before = accuracy;
    if (count == options.max_steps) return result.rate = 1, finish(StopReason::steps);
    if (result.offset <= options.comparable_until && accuracy == Accuracy::full)
      return finish(StopReason::converged);
    bool done = false, hidden = false;
    double ratio = 0, cost_trial = 0;
    TrustRegionStep best{0, 0, 0};
    while (!done) {
      best = trust_region_step(svd, rank_tolerance, radius, step.data());
      for (int64_t j = 0; j < P; j++) trial[j] = p[j] + step[j];
      function.residuals(trial.data(), r_trial.data());
      result.calls++;
      cost_trial = 0.5 * dot(r_trial.data(), r_trial.data(), n);
      if (!std::isfinite(cost_trial)) cost_trial = inf;
      double reduction = cost - cost_trial;
      ratio =
          best.predicted_reduction > 0 ? reduction / best.predicted_reduction : -1.0;
      if (count == 0) radius = std::min(radius, best.length);
      if (ratio <= 0.25)
        radius = std::min(radius, 10 * best.length) *
                 shrink_factor(cost, reduction, best.predicted_reduction);
      else if (ratio >= 0.75 || best.damping == 0)
        radius = 2 * best.length;
      if (result.calls > options.max_calls) return finish(StopReason::calls);
      if (ratio >= 1e-4) break;
      double noise = result.rounding * std::sqrt(2 * cost / double(n));
      noise = std::max(
          {noise, 1e-15 * cost, result.rounding * result.rounding / double(n)});
      hidden = best.predicted_reduction <= noise;
      if (hidden && cost_trial - cost <= noise && accuracy != Accuracy::full) break;
      done = hidden || radius <= 1e-15 * scaled_norm(arrays.scale, p, P);
    }
    if (done && accuracy == Accuracy::full) return finish(StopReason::rounding);
    double expected = best.predicted_reduction * std::abs(1 - ratio);
    moved = done ? 0.0 : relative_step(step.data(), trial.data(), P);
    double after = moved * result.rate * result.rate;  // of the step after the next
    bool soon = result.offset <= options.approximate_until ||
                moved * result.rate * result.curvature <= options.last_change;
    if (done || (accuracy == Accuracy::most && (hidden || soon)) ||
        (result.rate == 1 &&
         expected <= options.comparable_until * options.comparable_until * cost))
      accuracy = Accuracy::full;
    else if (accuracy == Accuracy::half &&
             (hidden || result.offset <= options.approximate_until ||
              (after * result.rate <= options.last_step &&
               after * result.curvature <= options.last_change)))
      accuracy = Accuracy::most;
    offset_before = done || best.damping > 0 ? 0.0 : result.offset;
    if (offset_before == 0) result.rate = 1, result.curvature = inf;
    if (!done) {
      std::copy_n(trial.data(), P, p);
      std::copy_n(r_trial.data(), n, r);
      cost = cost_trial;
    }
    std::copy_n(norms, P, norms_before.data());
    if (!linearize(accuracy)) return finish(StopReason::derivative);
    for (int64_t j = 0; j < P; j++)
      arrays.scale[j] = std::max(arrays.scale[j], norms[j]);
  }
}

// The last linear model, to return to.
struct Saved {
  explicit Saved(const Descent& d) : at(d) {
    for (auto [x, size] : parts()) copies.emplace_back(x, x + size);
    cost = d.cost, rounding = d.result.rounding;
  }
  void restore(Descent& d) const {
    size_t k = 0;
    for (auto [x, size] : parts()) std::copy_n(copies[k++].data(), size, x);
    d.cost = cost, d.result.rounding = rounding;
  }
  std::vector<std::pair<double*, int64_t>> parts() const {
    int64_t C = at.C, P = at.P;
    return {{at.p, P},
            {at.arrays.columns, C * at.n},
            {at.arrays.multipliers, C},
            {at.arrays.r, C * C},
            {at.norms, C},
            {at.arrays.scale, P},
            {at.svd.s, P},
            {at.svd.ur, P},
            {at.svd.vt, P * P}};
  }
  const Descent& at;
  std::vector<Vector> copies;
  double cost, rounding;
};

void Descent::refine() {
  std::copy_n(r, n, arrays.residuals);
  result.cost = cost;
  for (int count = 0; result.offset < 1e-2 && count < 100; count++) {
    trust_region_step(svd, rank_tolerance, inf, step.data());
    for (int64_t j = 0; j < P; j++) trial[j] = p[j] + step[j];
    function.residuals(trial.data(), r_trial.data());
    result.calls++;
    double cost_trial = 0.5 * dot(r_trial.data(), r_trial.data(), n);
    if (!(cost_trial <= result.cost * (1 + 1e-6))) return;
    double moved = relative_step(step.data(), trial.data(), P);
    bool last = result.offset * result.rate <= options.last_offset ||
                moved * result.rate <= options.last_step;
    last = last && (moved == 0 || moved * result.curvature <= options.last_change);
    Saved before(*this);
    std::copy_n(trial.data(), P, p);
    if (!last) {
      std::copy_n(r_trial.data(), n, r);
      cost = cost_trial;
      bool finite = linearize(Accuracy::full);
      std::copy_n(norms, P, arrays.scale);
      double offset = finite ? prepare() : inf;
      if (!(offset < result.offset)) return before.restore(*this);
      result.rate = offset / result.offset, result.offset = offset;
      result.curvature =
          moved > 0 ? relative_change(before.copies[4], norms, P) / moved : inf;
    }
    std::copy_n(r_trial.data(), n, arrays.residuals);
    result.cost = cost_trial;
    if (last) return;
  }
}

}  // namespace

TrustRegionResult minimize(ResidualFunction& function,
                           const TrustRegionOptions& options,
                           const TrustRegionArrays& arrays) {
  Descent descent{function, options, arrays};
  TrustRegionResult& result = descent.result;
  result.stop = descent.descend();
  if (result.stop == StopReason::derivative) result.offset = inf;  // unknown there
  descent.refine();
  return result;
}

}  // namespace kurve
