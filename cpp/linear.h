// Least squares in float64: J^T J, its Cholesky factor, and what is computed from it.
// Every number is one sum in an order that depends on the sizes only, whatever the
// threads.
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

// gram (P, P) += J^T J: the upper triangle; the lower one is overwritten with anything.
void add_gram(const Jacobian&, double* gram);
// out (P,) = J^T r.
void vjp(const Jacobian&, const double* r, double* out);
// out (n,) = J d.
void jvp(const Jacobian&, const double* d, double* out);

double dot(const double* x, const double* y, int64_t n);
// d^T A d of a symmetric A (P, P), of which only the upper triangle is read.
double quadratic(const double* a, const double* d, int64_t P);

// A = R^T R in place, upper triangles. Returns the first row where A turns out not to
// be positive definite, or P.
int64_t factor(double* a, int64_t P);
// x = (R^T R)^-1 x.
void solve(const double* r, double* x, int64_t P);
// The diagonal (P,) of (R^T R)^-1, at the cost of the factorization.
void inverse_diagonal(const double* r, double* diagonal, int64_t P);

// R (C, C) of A = Q R, zero below its diagonal, and the norms (C,) of the columns of A,
// which are columns (C, n), each times its unit (C,).
void triangle(const double* columns, const double* units, int64_t C, int64_t n,
              double* r, double* norms);

// The linear model r + J d in the coordinates of an SVD: R D^-1 = U diag(s) V^T. scale
// (P,) = D: 0 counts as 1, and infinity holds its parameter fixed. s is not sorted.
struct ScaledSvd {
  int64_t P;
  const double* scale;
  double *s, *ur, *vt;  // (P,), U^T q (P,), V^T (P, P)
};
// From r (P + 1, P + 1), the R of [J, r], whose last column starts with q. Returns the
// norm of U^T q over the directions whose s exceeds `tolerance` times the largest.
double scaled_svd(const double* r, double tolerance, const ScaledSvd&);

struct TrustStep {
  double length, predicted, damping;
};
// step (P,) = the d that minimizes |r + J d|^2 + damping |D d|^2, with the damping that
// keeps |D d| within 1.1 radius; directions whose s does not exceed `tolerance` times
// the largest do not move. predicted: the reduction of |r + J d|^2 / 2.
TrustStep step_within(const ScaledSvd&, double tolerance, double radius, double* step);

}  // namespace kurve
