// Moré's trust region for formulas of a user's: the loop of
// kurve.solvers.trust_region.walk, where it says why; here it only takes less time.
#pragma once

#include <cstdint>

#include "linear.h"

namespace kurve {

// What Python computes; both may throw.
struct Curve {
  virtual ~Curve() = default;
  // r (n,) = f(p) - y, whitened.
  virtual void residuals(const double* p, double* r) = 0;
  // columns (P, n), which hold rough ones, = J with all digits; shares (P,) as in
  // Derivatives.note.
  virtual void jacobian(const double* p, const double* shares, double* columns) = 0;
};

struct WalkRules {
  double first_radius, rough, near, last_step, last_change, forward, central, size;
  int64_t most_steps, most_calls;
};

enum class WalkEnd { nothing, near, hidden, calls, derivative, steps };

struct Walked {
  WalkEnd end;
  double left, rate, curvature;
  bool linear;
  int64_t calls;
};

// The arrays of where it begins, p and the r of columns, and where it ends: p (P,),
// columns (P + 1, n) of J and r and their units (P + 1,), what `triangle` makes of
// them, whole (P + 1, P + 1) and norms (P + 1,), and that turned.
struct WalkPlace {
  int64_t n;
  double *p, *columns, *units, *whole, *norms, *scale;
  Turned turned;
};

Walked walk(Curve&, const WalkRules&, const WalkPlace&);

}  // namespace kurve
