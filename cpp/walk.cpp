#include "walk.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace kurve {

namespace {

using Numbers = std::vector<double>;
constexpr double eps = std::numeric_limits<double>::epsilon();
// The finite differences that J is made of; none where it is exact.
enum class Differences { forward, central, none };
constexpr double inf = std::numeric_limits<double>::infinity();

double norm(const double* scale, const double* p, int64_t P) {
  double total = 0;
  for (int64_t i = 0; i < P; i++) total += scale[i] * p[i] * scale[i] * p[i];
  return std::sqrt(total);
}

double change(const Numbers& before, const double* now, int64_t P) {
  double largest = 0;
  for (int64_t i = 0; i < P; i++) {
    double part = now[i] != 0 ? std::abs(before[i] - now[i]) / now[i] : 1.0;
    largest = std::max(largest, part);
  }
  return largest;
}

// The largest relative change of a parameter by a step to p.
double relative_change(const double* step, const double* p, int64_t P) {
  double largest = 0;
  for (int64_t i = 0; i < P; i++)
    if (step[i] != 0) largest = std::max(largest, std::abs(step[i] / p[i]));
  return largest;
}

double shrink(double cost, double reduction, double predicted) {
  if (reduction >= 0) return 0.5;
  if (!std::isfinite(reduction) || reduction < -99 * cost) return 0.1;
  return std::max(0.1, 0.5 * predicted / (predicted - 0.5 * reduction));
}

}  // namespace

WalkResult walk(Curve& curve, const WalkRules& rules, const WalkArrays& arrays) {
  const ScaledSvd& svd = arrays.svd;
  int64_t P = svd.P, n = arrays.n, C = P + 1;
  double *p = arrays.p, *r = arrays.columns + P * n, *norms = arrays.norms;
  double tolerance = eps * double(std::max(C, n));
  Numbers trial(P), r_trial(n), first(P), before(P), shares(P, 1.0), step(P);
  double cost = 0, first_cost = 0, rounding = 0;
  WalkResult result{WalkEnd::nothing, 0, 1, inf, false, 0};

  auto linearize = [&](Differences differences) {
    if (differences == Differences::none)
      curve.jacobian(p, shares.data(), arrays.columns);
    std::fill_n(arrays.units, C, 1.0);
    for (int64_t j = 0; differences != Differences::none && j < P; j++) {
      bool is_forward = differences == Differences::forward;
      double size = shares[j] * (p[j] != 0 ? std::abs(p[j]) : 1.0), low = p[j];
      double *column = arrays.columns + j * n, *other = is_forward ? r : r_trial.data();
      std::copy_n(p, P, trial.data());
      if (!is_forward) {
        trial[j] = low = p[j] - rules.central * size;
        curve.residuals(trial.data(), other);
      }
      trial[j] = p[j] + (is_forward ? rules.forward : rules.central) * size;
      curve.residuals(trial.data(), column);
      for (int64_t i = 0; i < n; i++) column[i] -= other[i];
      arrays.units[j] = 1.0 / (trial[j] - low);
    }
    triangle(arrays.columns, arrays.units, C, n, arrays.triangle, norms);
    double total = 0;
    for (int64_t j = 0; j < P; j++) {
      double term = norms[j] * std::abs(p[j]);
      total += term;
      if (term != 0) shares[j] = std::sqrt(std::min(1.0, rules.size / term));
    }
    rounding = 8 * eps * (rules.size + total);
    return std::isfinite(total);
  };
  auto stop = [&](WalkEnd end) {
    result.end = end;
    std::copy_n(norms, P, arrays.scale);
    scaled_svd(arrays.triangle, tolerance, svd);
    result.linear = cost < first_cost && change(first, norms, P) < 1e-5;
    return result;
  };

  cost = first_cost = 0.5 * dot(r, r, n);
  if (!std::isfinite(cost) || !linearize(Differences::forward)) return result;
  for (int64_t j = 0; j < P; j++) first[j] = arrays.scale[j] = norms[j];
  double length = norm(arrays.scale, p, P);
  double radius = rules.first_radius * (length > 0 ? length : 1.0), left_before = 0;
  Differences differences = Differences::forward, differences_before = differences;
  double moved = 0;
  for (int64_t count = 0;; count++) {
    double size = scaled_svd(arrays.triangle, tolerance, svd);
    result.left = cost > 0 ? size / std::sqrt(2 * cost) : 0.0;
    double rate = left_before > 0 ? std::min(result.left / left_before, 1.0) : 1.0;
    double curvature = moved > 0 ? change(before, norms, P) / moved : inf;
    bool same = differences == differences_before;
    result.rate = same || differences == Differences::central
                      ? rate
                      : std::min(rate, result.rate);
    result.curvature = same ? curvature : std::min(curvature, result.curvature);
    differences_before = differences;
    if (count == rules.max_steps) return result.rate = 1, stop(WalkEnd::steps);
    if (result.left <= rules.near && differences == Differences::none)
      return stop(WalkEnd::near);
    bool done = false, hidden = false;
    double ratio = 0, cost_trial = 0;
    TrustStep move{0, 0, 0};
    while (!done) {
      move = step_within(svd, tolerance, radius, step.data());
      for (int64_t j = 0; j < P; j++) trial[j] = p[j] + step[j];
      curve.residuals(trial.data(), r_trial.data());
      result.calls++;
      cost_trial = 0.5 * dot(r_trial.data(), r_trial.data(), n);
      if (!std::isfinite(cost_trial)) cost_trial = inf;
      double reduction = cost - cost_trial;
      ratio = move.predicted > 0 ? reduction / move.predicted : -1.0;
      if (count == 0) radius = std::min(radius, move.length);
      if (ratio <= 0.25)
        radius = std::min(radius, 10 * move.length) *
                 shrink(cost, reduction, move.predicted);
      else if (ratio >= 0.75 || move.damping == 0)
        radius = 2 * move.length;
      if (result.calls > rules.max_calls) return stop(WalkEnd::calls);
      if (ratio >= 1e-4) break;
      double noise = rounding * std::sqrt(2 * cost / double(n));
      noise = std::max({noise, 1e-15 * cost, rounding * rounding / double(n)});
      hidden = move.predicted <= noise;
      if (hidden && cost_trial - cost <= noise && differences != Differences::none)
        break;
      done = hidden || radius <= 1e-15 * norm(arrays.scale, p, P);
    }
    if (done && differences == Differences::none) return stop(WalkEnd::hidden);
    double expected = move.predicted * std::abs(1 - ratio);
    moved = done ? 0.0 : relative_change(step.data(), trial.data(), P);
    double after = moved * result.rate * result.rate;  // by the step after the next
    bool soon = result.left <= rules.rough ||
                moved * result.rate * result.curvature <= rules.last_change;
    if (done || (differences == Differences::central && (hidden || soon)) ||
        (result.rate == 1 && expected <= rules.near * rules.near * cost))
      differences = Differences::none;
    else if (differences == Differences::forward &&
             (hidden || result.left <= rules.rough ||
              (after * result.rate <= rules.last_step &&
               after * result.curvature <= rules.last_change)))
      differences = Differences::central;
    left_before = done || move.damping > 0 ? 0.0 : result.left;
    if (left_before == 0) result.rate = 1, result.curvature = inf;
    if (!done) {
      std::copy_n(trial.data(), P, p);
      std::copy_n(r_trial.data(), n, r);
      cost = cost_trial;
    }
    std::copy_n(norms, P, before.data());
    if (!linearize(differences)) return stop(WalkEnd::derivative);
    for (int64_t j = 0; j < P; j++)
      arrays.scale[j] = std::max(arrays.scale[j], norms[j]);
  }
}

}  // namespace kurve
