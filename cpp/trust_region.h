// Moré's trust region method for formulas: the same loops as
// kurve.solvers.trust_region.minimize and kurve.solvers.attempts.refined, which explain
// them, only faster.
#pragma once

#include <cstdint>

#include "linear.h"

namespace kurve {

// Both functions may throw.
struct ResidualFunction {
  virtual ~ResidualFunction() = default;
  // r (n,) = f(p) - y, whitened.
  virtual void residuals(const double* p, double* r) = 0;
  // Replaces the finite differences in columns (P, n) by J with full precision;
  // width_factors (P,) as in Derivatives.adapt_widths.
  virtual void jacobian(const double* p, const double* width_factors,
                        double* columns) = 0;
};

// The constants of kurve.solvers.trust_region and kurve.solvers.derivatives; data_norm
// is that of the whitened data; forward is 0 if exact derivatives cost no more than
// forward differences.
struct TrustRegionOptions {
  double first_radius, approximate_until, comparable_until, last_offset, last_step,
      last_change, forward, central, data_norm;
  int64_t max_steps, max_calls;
};

// The values are those that kurve.solvers.trust_region translates.
enum class StopReason { not_finite, converged, rounding, calls, derivative, steps };

struct TrustRegionResult {
  StopReason stop;
  double offset, rate, curvature;
  bool linear;
  int64_t calls;
  double cost, rounding;  // |r|^2 / 2; the length of the residuals' rounding error
};

// On entry p is the start and the last of columns its residuals. On return p and
// residuals are the result; the others belong to the last linear model, there or one
// step before: J and its residuals with their multipliers, R of [J, r], its column
// norms, and the scaled SVD. p (P,), residuals (n,), columns (P + 1, n), multipliers
// (P + 1,), r (P + 1, P + 1), norms (P + 1,), scale (P,).
struct TrustRegionArrays {
  int64_t n;
  double *p, *residuals, *columns, *multipliers, *r, *norms, *scale;
  ScaledSvd svd;
};

// Descends, then takes Gauss-Newton steps to the last digits.
TrustRegionResult minimize(ResidualFunction&, const TrustRegionOptions&,
                           const TrustRegionArrays&);

}  // namespace kurve
