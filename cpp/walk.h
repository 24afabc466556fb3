// Moré's trust-region method for a user's formula. The same algorithm, explained, is
// kurve.solvers.trust_region.walk; this one only takes less time.
#pragma once

#include <cstdint>

#include "linear.h"

namespace kurve {

// The functions that Python computes; both may throw.
struct Curve {
  virtual ~Curve() = default;
  // r (n,) = f(p) - y, whitened.
  virtual void residuals(const double* p, double* r) = 0;
  // columns (P, n), which hold finite differences, become J to full precision; shares
  // (P,) as in Derivatives.note.
  virtual void jacobian(const double* p, const double* shares, double* columns) = 0;
};

struct WalkRules {
  double first_radius, rough, near, last_step, last_change, forward, central, size;
  int64_t max_steps, max_calls;
};

enum class WalkEnd { nothing, near, hidden, calls, derivative, steps };

struct WalkResult {
  WalkEnd end;
  double left, rate, curvature;
  bool linear;
  int64_t calls;
};

// The arrays of the starting point, p and the r of columns, and of the end point: p
// (P,), columns (P + 1, n) of J and r and their units (P + 1,), what `triangle` makes
// of them, triangle (P + 1, P + 1) and norms (P + 1,), and its SVD.
struct WalkArrays {
  int64_t n;
  double *p, *columns, *units, *triangle, *norms, *scale;
  ScaledSvd svd;
};

WalkResult walk(Curve&, const WalkRules&, const WalkArrays&);

}  // namespace kurve
