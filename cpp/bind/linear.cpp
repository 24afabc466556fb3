#include "linear.h"
#include "walk.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "arrays.h"
#include "interrupt.h"
#include "register.h"

namespace nb = nanobind;
using namespace kurve;

namespace {

// The arrays of a kurve.solvers.linear.Jacobian; columns are checked once.
struct JacobianArrays {
  Matrix<const float> rows;
  Vector<const double> sqrt_weights;
  Vector<const int64_t> columns;

  Jacobian view() const {
    return {rows.data(),         int64_t(rows.shape(0)), int64_t(rows.shape(1)),
            sqrt_weights.data(), columns.data(),         int64_t(columns.size())};
  }
};

void make(JacobianArrays* self, Matrix<const float> rows,
          Vector<const double> sqrt_weights, Vector<const int64_t> columns) {
  expect(sqrt_weights.size() == rows.shape(0),
         "sqrt_weights must have one number for each row.");
  int64_t before = -1, end = int64_t(rows.shape(1));
  for (size_t i = 0; i < columns.size(); i++) {
    int64_t column = columns.data()[i];
    expect(column > before && column < end, "columns must ascend within the rows.");
    before = column;
  }
  new (self) JacobianArrays{rows, sqrt_weights, columns};
}

int64_t side_of(const Matrix<double>& a) {
  expect(a.shape(0) == a.shape(1), "the matrix must be square.");
  return int64_t(a.shape(0));
}

template <class T>
ScaledSvd svd_of(const Vector<T>& scale, const Vector<double>& s,
                 const Vector<double>& ur, const Matrix<double>& vt) {
  auto P = side_of(vt);
  expect(
      int64_t(scale.size()) == P && int64_t(s.size()) == P && int64_t(ur.size()) == P,
      "scale, s, ur and vt must have as many rows.");
  return {P, scale.data(), s.data(), ur.data(), vt.data()};
}

// A user's formula f(x, *p), called with little overhead: NumPy scalars are made only
// for parameters that changed, and the usual result, a float64 vector, is read in
// place.
struct PythonCurve final : Curve {
  void residuals(const double* p, double* r) override {
    call_python([&] {
      for (size_t j = 0; j < parameters.size(); j++)
        if (!parameters[j].is_valid() || p[j] != point.data()[j]) {
          point.data()[j] = p[j];
          parameters[j] = nb::steal(PySequence_GetItem(array.ptr(), Py_ssize_t(j)));
          arguments[j + 1] = parameters[j].ptr();
        }
      values.reset();  // its memory is reused for the next ones
      values = nb::steal(
          PyObject_Vectorcall(f.ptr(), arguments.data(), arguments.size(), nullptr));
      if (!values.is_valid()) throw nb::python_error();
      if (!subtracted(r)) {
        auto rest = nb::cast<Vector<const double>>(other(values));
        expect(int64_t(rest.size()) == n, "there must be a residual for each row.");
        std::copy_n(rest.data(), n, r);
      }
    });
  }
  void jacobian(const double* p, const double* at, double* columns) override {
    bool same = values.is_valid() && std::equal(p, p + point.size(), point.data());
    std::copy_n(p, point.size(), point.data());
    for (nb::object& parameter : parameters) parameter.reset();
    std::copy_n(at, shares.size(), shares.data());
    expect(columns == to, "rows must write to columns.");
    call_python([&] { rows(same ? values : nb::none()); });
  }

  // Sets r = values - y and returns true where the values are of the usual type.
  bool subtracted(double* r) {
    if (!y || (PyObject*)Py_TYPE(values.ptr()) != usual.ptr()) return false;
    Py_buffer view;
    if (PyObject_GetBuffer(values.ptr(), &view, PyBUF_ND | PyBUF_FORMAT)) {
      PyErr_Clear();
      return false;
    }
    bool fits = view.ndim == 1 && view.shape[0] == n && !std::strcmp(view.format, "d");
    auto v = static_cast<const double*>(view.buf);
    for (int64_t i = 0; fits && i < n; i++) r[i] = v[i] - y[i];
    PyBuffer_Release(&view);
    return fits;
  }

  PythonCurve(nb::object f, nb::object x, nb::object usual, nb::object other,
              nb::object rows, nb::object array, Vector<double> point,
              Vector<double> shares, const double* y, const double* to, int64_t n)
      : f(f),
        usual(usual),
        other(other),
        rows(rows),
        array(array),
        x(x),
        point(point),
        shares(shares),
        y(y),
        to(to),
        n(n),
        parameters(point.size()),
        arguments(point.size() + 1, x.ptr()) {}
  nb::object f, usual, other, rows, array, x, values;
  Vector<double> point, shares;
  const double *y, *to;  // y is null where residuals are whitened
  int64_t n;
  std::vector<nb::object> parameters;
  std::vector<PyObject*> arguments;  // x, then the parameters
};

}  // namespace

void register_linear(nb::module_& m) {
  nb::class_<JacobianArrays>(
      m, "Jacobian", "J (n, P): some columns of rows, each row times its sqrt_weight.")
      .def("__init__", &make, nb::arg("rows").noconvert(),
           nb::arg("sqrt_weights").noconvert(), nb::arg("columns").noconvert())
      .def(
          "add_gram",
          [](const JacobianArrays& self, Matrix<double> gram) {
            Jacobian j = self.view();
            expect(side_of(gram) == j.P, "gram must have a row for each column.");
            interruptible([&] { add_gram(j, gram.data()); });
          },
          nb::arg("gram").noconvert(), "Add J^T J to the upper triangle.")
      .def(
          "vjp",
          [](const JacobianArrays& self, Vector<const double> r, Vector<double> out) {
            Jacobian j = self.view();
            expect(int64_t(r.size()) == j.n && int64_t(out.size()) == j.P,
                   "r must have a number for each row, out one for each column.");
            interruptible([&] { vjp(j, r.data(), out.data()); });
          },
          nb::arg("r").noconvert(), nb::arg("out").noconvert(), "Write J^T r to out.")
      .def(
          "jvp",
          [](const JacobianArrays& self, Vector<const double> d, Vector<double> out) {
            Jacobian j = self.view();
            expect(int64_t(d.size()) == j.P && int64_t(out.size()) == j.n,
                   "d must have a number for each column, out one for each row.");
            interruptible([&] { jvp(j, d.data(), out.data()); });
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
      "Replace A by R of A = R^T R, upper triangles; return the first row where A is "
      "not positive definite, or the number of rows.");
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
  m.def(
      "triangle",
      [](Matrix<const double> columns, Vector<const double> units, Matrix<double> out,
         Vector<double> norms) {
        auto C = side_of(out), n = int64_t(columns.shape(1));
        expect(int64_t(columns.shape(0)) == C && int64_t(units.size()) == C &&
                   int64_t(norms.size()) == C,
               "columns, units, out and norms must have as many rows.");
        interruptible([&] {
          triangle(columns.data(), units.data(), C, n, out.data(), norms.data());
        });
      },
      nb::arg("columns").noconvert(), nb::arg("units").noconvert(),
      nb::arg("out").noconvert(), nb::arg("norms").noconvert(),
      "Write R of A = Q R to out, and the norms of A's columns to norms. The rows of "
      "`columns` are the columns of A, before each is multiplied by its unit.");
  m.def(
      "scaled_svd",
      [](Matrix<const double> r, double tolerance, Vector<const double> scale,
         Vector<double> s, Vector<double> ur, Matrix<double> vt) {
        ScaledSvd svd = svd_of(scale, s, ur, vt);
        expect(int64_t(r.shape(0)) == svd.P + 1 && r.shape(0) == r.shape(1),
               "r must have one row and column more than vt.");
        return scaled_svd(r.data(), tolerance, svd);
      },
      nb::arg("r").noconvert(), nb::arg("tolerance"), nb::arg("scale").noconvert(),
      nb::arg("s").noconvert(), nb::arg("ur").noconvert(), nb::arg("vt").noconvert(),
      "Write s, U^T q and V^T of R / scale = U diag(s) V^T; return the norm of U^T q "
      "where s exceeds `tolerance` times the largest.");
  m.def(
      "step_within",
      [](Vector<const double> scale, Vector<double> s, Vector<double> ur,
         Matrix<double> vt, double tolerance, double radius, Vector<double> step) {
        ScaledSvd svd = svd_of(scale, s, ur, vt);
        expect(int64_t(step.size()) == svd.P, "step must be as long as s.");
        TrustStep move = step_within(svd, tolerance, radius, step.data());
        return std::make_tuple(move.length, move.predicted, move.damping);
      },
      nb::arg("scale").noconvert(), nb::arg("s").noconvert(), nb::arg("ur").noconvert(),
      nb::arg("vt").noconvert(), nb::arg("tolerance"), nb::arg("radius"),
      nb::arg("step").noconvert(),
      "Write the best step within the radius; return its length, the predicted "
      "reduction, and its damping.");
  m.def(
      "walk",
      [](nb::object f, nb::object x, std::optional<Vector<const double>> y,
         nb::object usual, nb::object residuals, nb::object rows, nb::object point,
         Vector<double> shares, Vector<double> p, Matrix<double> columns,
         Vector<double> units, Matrix<double> triangle, Vector<double> norms,
         Vector<double> scale, Vector<double> s, Vector<double> ur, Matrix<double> vt,
         double size, double forward, double central, double first_radius, double rough,
         double near, double last_step, double last_change, int64_t max_steps,
         int64_t max_calls) {
        auto P = int64_t(p.size()), n = int64_t(columns.shape(1));
        ScaledSvd svd = svd_of(scale, s, ur, vt);
        expect(
            int64_t(columns.shape(0)) == P + 1 && int64_t(units.size()) == P + 1 &&
                int64_t(norms.size()) == P + 1 && side_of(triangle) == P + 1 &&
                svd.P == P,
            "columns, units, triangle and norms must have one row more than p and vt.");
        auto at = nb::cast<Vector<double>>(point);
        expect(int64_t(at.size()) == P && int64_t(shares.size()) == P &&
                   (!y || int64_t(y->size()) == n),
               "point and shares must be as long as p, y as a column.");
        PythonCurve curve(f, x, usual, residuals, rows, point, at, shares,
                          y ? y->data() : nullptr, columns.data(), n);
        WalkRules rules{first_radius, rough,   near, last_step, last_change,
                        forward,      central, size, max_steps, max_calls};
        WalkArrays arrays{n,
                          p.data(),
                          columns.data(),
                          units.data(),
                          triangle.data(),
                          norms.data(),
                          scale.data(),
                          svd};
        WalkResult w = walk(curve, rules, arrays);
        return std::make_tuple(int(w.end), w.left, w.rate, w.curvature, w.linear,
                               w.calls);
      },
      nb::arg("f"), nb::arg("x").none(), nb::arg("y").noconvert().none(),
      nb::arg("usual"), nb::arg("residuals"), nb::arg("rows"), nb::arg("point"),
      nb::arg("shares").noconvert(), nb::arg("p").noconvert(),
      nb::arg("columns").noconvert(), nb::arg("units").noconvert(),
      nb::arg("triangle").noconvert(), nb::arg("norms").noconvert(),
      nb::arg("scale").noconvert(), nb::arg("s").noconvert(), nb::arg("ur").noconvert(),
      nb::arg("vt").noconvert(), nb::arg("size"), nb::arg("forward"),
      nb::arg("central"), nb::arg("first_radius"), nb::arg("rough"), nb::arg("near"),
      nb::arg("last_step"), nb::arg("last_change"), nb::arg("max_steps"),
      nb::arg("max_calls"),
      "Minimize from p, which is moved; see kurve.solvers.trust_region. Residuals are "
      "f(x, *p) - y where that is a float64 vector of the usual type, else "
      "residuals(values); rows(values) writes the derivatives at point to columns, "
      "where "
      "values are those at point, or None. Return why it stopped, what is left to "
      "gain, "
      "its rate, the relative change of J by a step, whether J was constant, and the "
      "number of calls of f.");
}
