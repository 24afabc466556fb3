#include "walk.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace kurve {

namespace {

using Numbers = std::vector<double>;
constexpr double eps = std::numeric_limits<double>::epsilon();
enum class Digits { half, most, all };  // of J: forward, central differences, exact
constexpr double inf = std::numeric_limits<double>::infinity();

double norm(const double* scale, const double* p, int64_t P) {
  double total = 0;
  for (int64_t i = 0; i < P; i++) total += scale[i] * p[i] * scale[i] * p[i];
  return std::sqrt(total);
}

double change(const Numbers& before, const double* now, int64_t P) {
  double most = 0;
  for (int64_t i = 0; i < P; i++) {
    double part = now[i] != 0 ? std::abs(before[i] - now[i]) / now[i] : 1.0;
    most = std::max(most, part);
  }
  return most;
}

// The largest part of a parameter that a step to p changes.
double part(const double* step, const double* p, int64_t P) {
  double most = 0;
  for (int64_t i = 0; i < P; i++)
    if (step[i] != 0) most = std::max(most, std::abs(step[i] / p[i]));
  return most;
}

double shrink(double cost, double gained, double promised) {
  if (gained >= 0) return 0.5;
  if (!std::isfinite(gained) || gained < -99 * cost) return 0.1;
  return std::max(0.1, 0.5 * promised / (promised - 0.5 * gained));
}

}  // namespace

Walked walk(Curve& curve, const WalkRules& rules, const WalkPlace& place) {
  const Turned& turned = place.turned;
  int64_t P = turned.P, n = place.n, C = P + 1;
  double *p = place.p, *r = place.columns + P * n, *norms = place.norms;
  double least = eps * double(std::max(C, n));
  Numbers trial(P), r_trial(n), first(P), before(P), shares(P, 1.0), step(P);
  double cost = 0, first_cost = 0, rounding = 0;
  Walked walked{WalkEnd::nothing, 0, 1, inf, false, 0};

  auto linearize = [&](Digits digits) {
    if (digits == Digits::all) curve.jacobian(p, shares.data(), place.columns);
    std::fill_n(place.units, C, 1.0);
    for (int64_t j = 0; digits != Digits::all && j < P; j++) {
      bool half = digits == Digits::half;
      double size = shares[j] * (p[j] != 0 ? std::abs(p[j]) : 1.0), low = p[j];
      double *column = place.columns + j * n, *other = half ? r : r_trial.data();
      std::copy_n(p, P, trial.data());
      if (!half) {
        trial[j] = low = p[j] - rules.central * size;
        curve.residuals(trial.data(), other);
      }
      trial[j] = p[j] + (half ? rules.forward : rules.central) * size;
      curve.residuals(trial.data(), column);
      for (int64_t i = 0; i < n; i++) column[i] -= other[i];
      place.units[j] = 1.0 / (trial[j] - low);
    }
    triangle(place.columns, place.units, C, n, place.whole, norms);
    double total = 0;
    for (int64_t j = 0; j < P; j++) {
      double term = norms[j] * std::abs(p[j]);
      total += term;
      if (term != 0) shares[j] = std::sqrt(std::min(1.0, rules.size / term));
    }
    rounding = 8 * eps * (rules.size + total);
    return std::isfinite(total);
  };
  auto ended = [&](WalkEnd end) {
    walked.end = end;
    std::copy_n(norms, P, place.scale);
    turn(place.whole, least, turned);
    walked.linear = cost < first_cost && change(first, norms, P) < 1e-5;
    return walked;
  };

  cost = first_cost = 0.5 * dot(r, r, n);
  if (!std::isfinite(cost) || !linearize(Digits::half)) return walked;
  for (int64_t j = 0; j < P; j++) first[j] = place.scale[j] = norms[j];
  double length = norm(place.scale, p, P);
  double radius = rules.first_radius * (length > 0 ? length : 1.0), left_before = 0;
  Digits digits = Digits::half, digits_before = digits;
  double moved = 0;
  for (int64_t count = 0;; count++) {
    double size = turn(place.whole, least, turned);
    walked.left = cost > 0 ? size / std::sqrt(2 * cost) : 0.0;
    double rate = left_before > 0 ? std::min(walked.left / left_before, 1.0) : 1.0;
    double curvature = moved > 0 ? change(before, norms, P) / moved : inf;
    bool same = digits == digits_before;
    walked.rate = same || digits == Digits::most ? rate : std::min(rate, walked.rate);
    walked.curvature = same ? curvature : std::min(curvature, walked.curvature);
    digits_before = digits;
    if (count == rules.most_steps) return walked.rate = 1, ended(WalkEnd::steps);
    if (walked.left <= rules.near && digits == Digits::all) return ended(WalkEnd::near);
    bool done = false, hidden = false;
    double ratio = 0, cost_trial = 0;
    Reach reach{0, 0, 0};
    while (!done) {
      reach = step_within(turned, least, radius, step.data());
      for (int64_t j = 0; j < P; j++) trial[j] = p[j] + step[j];
      curve.residuals(trial.data(), r_trial.data());
      walked.calls++;
      cost_trial = 0.5 * dot(r_trial.data(), r_trial.data(), n);
      if (!std::isfinite(cost_trial)) cost_trial = inf;
      double gained = cost - cost_trial;
      ratio = reach.promised > 0 ? gained / reach.promised : -1.0;
      if (count == 0) radius = std::min(radius, reach.length);
      if (ratio <= 0.25)
        radius =
            std::min(radius, 10 * reach.length) * shrink(cost, gained, reach.promised);
      else if (ratio >= 0.75 || reach.damping == 0)
        radius = 2 * reach.length;
      if (walked.calls > rules.most_calls) return ended(WalkEnd::calls);
      if (ratio >= 1e-4) break;
      double noise = rounding * std::sqrt(2 * cost / double(n));
      noise = std::max({noise, 1e-15 * cost, rounding * rounding / double(n)});
      hidden = reach.promised <= noise;
      if (hidden && cost_trial - cost <= noise && digits != Digits::all) break;
      done = hidden || radius <= 1e-15 * norm(place.scale, p, P);
    }
    if (done && digits == Digits::all) return ended(WalkEnd::hidden);
    double expected = reach.promised * std::abs(1 - ratio);
    moved = done ? 0.0 : part(step.data(), trial.data(), P);
    double after = moved * walked.rate * walked.rate;  // of the step after the next
    bool soon = walked.left <= rules.rough ||
                moved * walked.rate * walked.curvature <= rules.last_change;
    if (done || (digits == Digits::most && (hidden || soon)) ||
        (walked.rate == 1 && expected <= rules.near * rules.near * cost))
      digits = Digits::all;
    else if (digits == Digits::half &&
             (hidden || walked.left <= rules.rough ||
              (after * walked.rate <= rules.last_step &&
               after * walked.curvature <= rules.last_change)))
      digits = Digits::most;
    left_before = done || reach.damping > 0 ? 0.0 : walked.left;
    if (left_before == 0) walked.rate = 1, walked.curvature = inf;
    if (!done) {
      std::copy_n(trial.data(), P, p);
      std::copy_n(r_trial.data(), n, r);
      cost = cost_trial;
    }
    std::copy_n(norms, P, before.data());
    if (!linearize(digits)) return ended(WalkEnd::derivative);
    for (int64_t j = 0; j < P; j++) place.scale[j] = std::max(place.scale[j], norms[j]);
  }
}

}  // namespace kurve
