#include "linear.h"

#include <nanobind/ndarray.h>

#include "interrupt.h"
#include "register.h"

namespace nb = nanobind;
using namespace kurve;

namespace {

template <class T>
using Vector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// The arrays of a kurve.solvers.linear.Jacobian; columns are checked once.
struct JacobianArrays {
  Matrix<const float> rows;
  Vector<const double> roots;
  Vector<const int64_t> columns;

  Jacobian view() const {
    return {rows.data(),  int64_t(rows.shape(0)), int64_t(rows.shape(1)),
            roots.data(), columns.data(),         int64_t(columns.size())};
  }
};

void make(JacobianArrays* self, Matrix<const float> rows, Vector<const double> roots,
          Vector<const int64_t> columns) {
  expect(roots.size() == rows.shape(0), "roots must have one number for each row.");
  int64_t before = -1, end = int64_t(rows.shape(1));
  for (size_t i = 0; i < columns.size(); i++) {
    int64_t column = columns.data()[i];
    expect(column > before && column < end, "columns must ascend within the rows.");
    before = column;
  }
  new (self) JacobianArrays{rows, roots, columns};
}

int64_t side_of(const Matrix<double>& a) {
  expect(a.shape(0) == a.shape(1), "the matrix must be square.");
  return int64_t(a.shape(0));
}

}  // namespace

void register_linear(nb::module_& m) {
  nb::class_<JacobianArrays>(m, "Jacobian", "Rows times roots, of some columns.")
      .def("__init__", &make, nb::arg("rows").noconvert(), nb::arg("roots").noconvert(),
           nb::arg("columns").noconvert())
      .def(
          "add_square",
          [](const JacobianArrays& self, Matrix<double> square) {
            Jacobian j = self.view();
            expect(side_of(square) == j.P, "square must have a row for each column.");
            interruptible([&] { add_square(j, square.data()); });
          },
          nb::arg("square").noconvert(), "Add J^T J to the upper triangle.")
      .def(
          "back",
          [](const JacobianArrays& self, Vector<const double> r, Vector<double> out) {
            Jacobian j = self.view();
            expect(int64_t(r.size()) == j.n && int64_t(out.size()) == j.P,
                   "r must have a number for each row, out one for each column.");
            interruptible([&] { back(j, r.data(), out.data()); });
          },
          nb::arg("r").noconvert(), nb::arg("out").noconvert(), "Write J^T r to out.")
      .def(
          "times",
          [](const JacobianArrays& self, Vector<const double> d, Vector<double> out) {
            Jacobian j = self.view();
            expect(int64_t(d.size()) == j.P && int64_t(out.size()) == j.n,
                   "d must have a number for each column, out one for each row.");
            interruptible([&] { times(j, d.data(), out.data()); });
          },
          nb::arg("d").noconvert(), nb::arg("out").noconvert(), "Write J d to out.");
  m.def(
      "dot",
      [](Vector<const double> x, Vector<const double> y) {
        expect(x.size() == y.size(), "x and y must be equally long.");
        return dot(x.data(), y.data(), int64_t(x.size()));
      },
      nb::arg("x").noconvert(), nb::arg("y").noconvert(), "Sum of x y.");
  m.def(
      "quadratic",
      [](Matrix<double> a, Vector<const double> d) {
        int64_t P = side_of(a);
        expect(int64_t(d.size()) == P, "d must have a number for each row.");
        return quadratic(a.data(), d.data(), P);
      },
      nb::arg("a").noconvert(), nb::arg("d").noconvert(),
      "d^T A d; only the upper triangle is read.");
  m.def(
      "factor",
      [](Matrix<double> a) {
        int64_t P = side_of(a);
        int64_t rows = 0;
        interruptible([&] { rows = factor(a.data(), P); });
        return rows;
      },
      nb::arg("a").noconvert(),
      "Make R of A = R^T R in place, upper triangles; returns the first row where A is "
      "not positive definite, or their number.");
  m.def(
      "solve",
      [](Matrix<double> r, Vector<double> x) {
        int64_t P = side_of(r);
        expect(int64_t(x.size()) == P, "x must have a number for each row.");
        interruptible([&] { solve(r.data(), x.data(), P); });
      },
      nb::arg("r").noconvert(), nb::arg("x").noconvert(), "Write (R^T R)^-1 x to x.");
  m.def(
      "inverse_diagonal",
      [](Matrix<double> r, Vector<double> out) {
        int64_t P = side_of(r);
        expect(int64_t(out.size()) == P, "out must have a number for each row.");
        interruptible([&] { inverse_diagonal(r.data(), out.data(), P); });
      },
      nb::arg("r").noconvert(), nb::arg("out").noconvert(),
      "Write the diagonal of (R^T R)^-1 to out.");
}
