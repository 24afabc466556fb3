// Linear algebra of least squares in float64: J^T J and its Cholesky factor, QR, and
// an SVD for steps of a trust region. The order of every sum depends on sizes alone,
// never on the number of threads.
#pragma once

#include <cstdint>

namespace kurve {

// J (n, P): J[i][j] = sqrt_weights[i] rows[i * row + columns[j]].
struct Jacobian {
  const float* rows;
  int64_t n, row;
  const double* sqrt_weights;
  const int64_t* columns;  // ascending
  int64_t P;
};

// gram (P, P) += J^T J: the upper triangle only; the rest is undefined.
void add_gram(const Jacobian&, double* gram);
// out (P,) = J^T r.
void vjp(const Jacobian&, const double* r, double* out);
// out (n,) = J d.
void jvp(const Jacobian&, const double* d, double* out);

double dot(const double* x, const double* y, int64_t n);
// d^T A d of a symmetric A (P, P); only its upper triangle is read.
double quadratic_form(const double* a, const double* d, int64_t P);

// A = R^T R in place, upper triangles. Returns the first row at which A turns out not
// to be positive definite, or P.
int64_t cholesky(double* a, int64_t P);
// x = (R^T R)^-1 x.
void cholesky_solve(const double* r, double* x, int64_t P);
// The diagonal (P,) of (R^T R)^-1, at about the cost of the factorization.
void inverse_diagonal(const double* r, double* diagonal, int64_t P);

// R (C, C) of A = Q R, zero below its diagonal, and the norms (C,) of A's columns.
// Column j of A is columns[j] of (C, n), times multipliers[j].
void qr(const double* columns, const double* multipliers, int64_t C, int64_t n,
        double* r, double* norms);

// The linear model r + J d with J = Q R, in the coordinates of R D^-1 = U diag(s) V^T.
// scale (P,) is D: 0 counts as 1, and infinity holds its parameter fixed. The singular
// values are not sorted.
struct ScaledSvd {
  int64_t P;
  const double* scale;
  double *s, *ur, *vt;  // (P,), U^T Q^T r (P,), V^T (P, P)
};
// Computed from R (P + 1, P + 1) of [J, r], whose last column starts with Q^T r.
// Returns the norm of U^T Q^T r over the directions with s above rank_tolerance times
// the largest.
double scaled_svd(const double* r, double rank_tolerance, const ScaledSvd&);

struct TrustRegionStep {
  double length, predicted_reduction, damping;
};
// step (P,) = the d that minimizes |r + J d|^2 + damping |D d|^2, with the damping for
// which |D d| is at most radius, to within 10 %; directions with s of at most
// rank_tolerance times the largest do not move.
// predicted_reduction: of |r + J d|^2 / 2.
TrustRegionStep trust_region_step(const ScaledSvd&, double rank_tolerance,
                                  double radius, double* step);

}  // namespace kurve
