// Least squares in float64: J^T J, its Cholesky factor, and what follows from that.
// Every number is one sum in an order that sizes alone decide, whatever the threads.
#pragma once

#include <cstdint>

namespace kurve {

// J (n, P): J[i][j] = roots[i] rows[i * row + columns[j]].
struct Jacobian {
  const float* rows;
  int64_t n, row;
  const double* roots;
  const int64_t* columns;  // ascending
  int64_t P;
};

// square (P, P) += J^T J: the upper triangle; what is below becomes anything.
void add_square(const Jacobian&, double* square);
// back (P,) = J^T r.
void back(const Jacobian&, const double* r, double* back);
// out (n,) = J d.
void times(const Jacobian&, const double* d, double* out);

double dot(const double* x, const double* y, int64_t n);
// d^T A d of a symmetric A (P, P), of which the upper triangle is read.
double quadratic(const double* a, const double* d, int64_t P);

// A = R^T R in place, upper triangles. Returns the first row where A proves not to be
// positive definite, or P.
int64_t factor(double* a, int64_t P);
// x = (R^T R)^-1 x.
void solve(const double* r, double* x, int64_t P);
// The diagonal (P,) of (R^T R)^-1, at the price of the factorisation.
void inverse_diagonal(const double* r, double* diagonal, int64_t P);

// R (C, C) of A = Q R, zero below its diagonal, and the norms (C,) of A's columns,
// which are columns (C, n), each times its unit (C,).
void triangle(const double* columns, const double* units, int64_t C, int64_t n,
              double* r, double* norms);

// The linear model r + J d in turned coordinates: R D^-1 = U diag(s) V^T.
// scale (P,) = D: 0 counts as 1, and infinity holds its parameter. s comes in no order.
struct Turned {
  int64_t P;
  const double* scale;
  double *s, *ur, *vt;  // (P,), U^T q (P,), V^T (P, P)
};
// From r (P + 1, P + 1), R of [J, r], whose last column begins with q. Returns the norm
// of U^T q, without what has s up to `least` of the largest.
double turn(const double* r, double least, const Turned&);

struct Reach {
  double length, promised, damping;
};
// step (P,) = d that makes |r + J d|^2 + damping |D d|^2 least, with the damping that
// makes |D d| at most radius, but for a tenth; directions of s up to `least` stay.
// promised: the decrease of |r + J d|^2 / 2.
Reach step_within(const Turned&, double least, double radius, double* step);

}  // namespace kurve
