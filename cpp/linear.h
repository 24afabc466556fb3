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

}  // namespace kurve
