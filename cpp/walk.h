// Moré's trust region for formulas of a user's: the loop of
// kurve.solvers.trust_region.walk, where it says why; here it only takes less time.
#pragma once

#include <cstdint>

namespace kurve {

// What Python computes; both may throw.
struct Curve {
  virtual ~Curve() = default;
  // r (n,) = f(p) - y, whitened.
  virtual void residuals(const double* p, double* r) = 0;
  // columns (P, n) = J with all digits; shares (P,) as in Derivatives.note.
  virtual void jacobian(const double* p, const double* shares, double* columns) = 0;
};

struct WalkRules {
  double first_radius, rough, near, forward, size;
  int64_t most_steps, most_calls;
};

enum class WalkEnd { nothing, near, hidden, calls, derivative, steps };

struct Walked {
  WalkEnd end;
  double left, rate;
  bool linear;
  int64_t calls;
};

// The arrays of where it begins, p and the r of columns, and where it ends: p (P,),
// columns (P + 1, n) of J and r and their units (P + 1,), D = scale (P,), the norms
// (P,) of J's columns one step before.
struct WalkPlace {
  int64_t P, n;
  double *p, *columns, *units, *scale, *before;
};

Walked walk(Curve&, const WalkRules&, const WalkPlace&);

}  // namespace kurve
