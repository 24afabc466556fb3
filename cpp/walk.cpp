#include "walk.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "linear.h"

namespace kurve {

namespace {

using Numbers = std::vector<double>;
constexpr double eps = std::numeric_limits<double>::epsilon();
constexpr double inf = std::numeric_limits<double>::infinity();

double norm(const double* scale, const double* p, int64_t P) {
  double total = 0;
  for (int64_t i = 0; i < P; i++) total += scale[i] * p[i] * scale[i] * p[i];
  return std::sqrt(total);
}

double change(const Numbers& before, const Numbers& now, int64_t P) {
  double most = 0;
  for (int64_t i = 0; i < P; i++) {
    double part = now[i] != 0 ? std::abs(before[i] - now[i]) / now[i] : 1.0;
    most = std::max(most, part);
  }
  return most;
}

double shrink(double cost, double gained, double promised) {
  if (gained >= 0) return 0.5;
  if (!std::isfinite(gained) || gained < -99 * cost) return 0.1;
  return std::max(0.1, 0.5 * promised / (promised - 0.5 * gained));
}

}  // namespace

Walked walk(Curve& curve, const WalkRules& rules, const WalkPlace& place) {
  int64_t P = place.P, n = place.n, C = P + 1;
  double *p = place.p, *r = place.columns + P * n;
  double least = eps * double(std::max(C, n));
  Numbers trial(P), r_trial(n), whole(C * C), norms(C), first(P), shares(P, 1.0);
  Numbers s(P), ur(P), vt(P * P), step(P);
  Turned turned{P, place.scale, s.data(), ur.data(), vt.data()};
  double cost = 0, first_cost = 0, rounding = 0;
  Walked walked{WalkEnd::nothing, 0, 1, false, 0};

  auto linearize = [&](bool rough) {
    std::fill_n(place.units, C, 1.0);
    if (!rough) curve.jacobian(p, shares.data(), place.columns);
    for (int64_t j = 0; rough && j < P; j++) {
      double size = p[j] != 0 ? std::abs(p[j]) : 1.0, *column = place.columns + j * n;
      std::copy_n(p, P, trial.data());
      trial[j] = p[j] + rules.forward * shares[j] * size;
      curve.residuals(trial.data(), column);
      for (int64_t i = 0; i < n; i++) column[i] -= r[i];
      place.units[j] = 1.0 / (trial[j] - p[j]);
    }
    triangle(place.columns, place.units, C, n, whole.data(), norms.data());
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
    walked.linear = cost < first_cost && change(first, norms, P) < 1e-5;
    return walked;
  };

  cost = first_cost = 0.5 * dot(r, r, n);
  if (!std::isfinite(cost) || !linearize(true)) return walked;
  for (int64_t j = 0; j < P; j++)
    first[j] = place.before[j] = place.scale[j] = norms[j];
  double length = norm(place.scale, p, P);
  double radius = rules.first_radius * (length > 0 ? length : 1.0), before = 0;
  bool rough = true;
  for (int64_t count = 0;; count++) {
    double size = turn(whole.data(), least, turned);
    walked.left = cost > 0 ? size / std::sqrt(2 * cost) : 0.0;
    walked.rate = before > 0 ? std::min(walked.left / before, 1.0) : 1.0;
    if (count == rules.most_steps) return walked.rate = 1, ended(WalkEnd::steps);
    if (walked.left <= rules.near && !rough) return ended(WalkEnd::near);
    bool done = false;
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
      done = reach.promised <= noise || radius <= 1e-15 * norm(place.scale, p, P);
    }
    if (done && !rough) return ended(WalkEnd::hidden);
    double expected = reach.promised * std::abs(1 - ratio);
    if (done || walked.left <= rules.rough ||
        expected <= rules.near * rules.near * cost)
      rough = false;
    before = done || reach.damping > 0 ? 0.0 : walked.left;
    if (!done) {
      std::copy_n(trial.data(), P, p);
      std::copy_n(r_trial.data(), n, r);
      cost = cost_trial;
    }
    std::copy_n(norms.data(), P, place.before);
    if (!linearize(rough)) return ended(WalkEnd::derivative);
    for (int64_t j = 0; j < P; j++) place.scale[j] = std::max(place.scale[j], norms[j]);
  }
}

}  // namespace kurve
