#include "linear.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "arrays.h"
#include "double_tape.h"
#include "interrupt.h"
#include "register.h"
#include "trust_region.h"

namespace nb = nanobind;
using namespace kurve;

namespace {

// The arrays of a kurve.solvers.linear.Jacobian; its columns are checked once.
struct JacobianArrays {
  Matrix<const float> rows;
  Vector<const double> sqrt_weights;
  Vector<const int64_t> columns;

  Jacobian view() const {
    return {rows.data(),         int64_t(rows.shape(0)), int64_t(rows.shape(1)),
            sqrt_weights.data(), columns.data(),         int64_t(columns.size())};
  }
};

void construct(JacobianArrays* self, Matrix<const float> rows,
               Vector<const double> sqrt_weights, Vector<const int64_t> columns) {
  expect(sqrt_weights.size() == rows.shape(0),
         "sqrt_weights must have one number for each row.");
  int64_t before = -1, end = int64_t(rows.shape(1));
  for (size_t i = 0; i < columns.size(); i++) {
    int64_t column = columns.data()[i];
    expect(column > before && column < end,
           "columns must ascend and lie within the rows.");
    before = column;
  }
  new (self) JacobianArrays{rows, sqrt_weights, columns};
}

int64_t side_of(const Matrix<double>& a) {
  expect(a.shape(0) == a.shape(1), "the matrix must be square.");
  return int64_t(a.shape(0));
}

template <class T>
ScaledSvd scaled_svd_of(const Vector<T>& scale, const Vector<double>& s,
                        const Vector<double>& ur, const Matrix<double>& vt) {
  auto P = side_of(vt);
  expect(
      int64_t(scale.size()) == P && int64_t(s.size()) == P && int64_t(ur.size()) == P,
      "scale, s, ur and vt must have as many rows.");
  return {P, scale.data(), s.data(), ur.data(), vt.data()};
}

// A user's formula f(x, *p), called with little overhead: only parameters that have
// changed are converted to NumPy scalars again, and the usual result, a float64 vector,
// is read in place.
struct PythonFormula final : ResidualFunction {
  void residuals(const double* p, double* r) override {
    call_python([&] {
      for (size_t j = 0; j < parameters.size(); j++)
        if (!parameters[j].is_valid() || p[j] != point.data()[j]) {
          point.data()[j] = p[j];
          parameters[j] =
              nb::steal(PySequence_GetItem(point_array.ptr(), Py_ssize_t(j)));
          arguments[j + 1] = parameters[j].ptr();
        }
      values.reset();  // so that NumPy can reuse its memory for the next values
      values = nb::steal(
          PyObject_Vectorcall(f.ptr(), arguments.data(), arguments.size(), nullptr));
      if (!values.is_valid()) throw nb::python_error();
      if (!subtract_y(r)) {
        auto result = nb::cast<Vector<const double>>(residuals_of(values));
        expect(int64_t(result.size()) == n, "there must be a residual for each row.");
        std::copy_n(result.data(), n, r);
      }
    });
  }
  void jacobian(const double* p, const double* factors, double* to) override {
    bool same = values.is_valid() && std::equal(p, p + point.size(), point.data());
    std::copy_n(p, point.size(), point.data());
    for (nb::object& parameter : parameters) parameter.reset();
    std::copy_n(factors, width_factors.size(), width_factors.data());
    expect(to == columns.data(), "jacobian must write to columns.");
    call_python([&] { write_jacobian(same ? values : nb::none()); });
  }

  // Computes r = values - y if values are a float64 vector of the usual type; returns
  // whether they are.
  bool subtract_y(double* r) {
    if (!y || (PyObject*)Py_TYPE(values.ptr()) != array_type.ptr()) return false;
    Py_buffer view;
    if (PyObject_GetBuffer(values.ptr(), &view, PyBUF_ND | PyBUF_FORMAT)) {
      PyErr_Clear();
      return false;
    }
    bool fits = view.ndim == 1 && view.shape[0] == n && !std::strcmp(view.format, "d");
    auto v = static_cast<const double*>(view.buf);
    for (int64_t i = 0; fits && i < n; i++) r[i] = v[i] - y->data()[i];
    PyBuffer_Release(&view);
    return fits;
  }

  PythonFormula(nb::object f, nb::object x, std::optional<Vector<const double>> y,
                nb::object array_type, nb::object residuals_of,
                nb::object write_jacobian, nb::object point,
                Vector<double> width_factors, Matrix<double> columns)
      : f(f),
        array_type(array_type),
        residuals_of(residuals_of),
        write_jacobian(write_jacobian),
        point_array(point),
        x(x),
        point(nb::cast<Vector<double>>(point)),
        width_factors(width_factors),
        y(y),
        columns(columns),
        n(int64_t(columns.shape(1))),
        parameters(this->point.size()),
        arguments(this->point.size() + 1, x.ptr()) {
    size_t P = this->point.size();
    expect(width_factors.size() == P && columns.shape(0) == P + 1 &&
               (!y || int64_t(y->size()) == n),
           "point and width_factors must have a number for each column but the last, "
           "y one for each row.");
  }
  nb::object f, array_type, residuals_of, write_jacobian, point_array, x, values;
  Vector<double> point, width_factors;
  std::optional<Vector<const double>> y;  // none if residuals are whitened
  Matrix<double> columns;
  int64_t n;
  std::vector<nb::object> parameters;
  std::vector<PyObject*> arguments;  // x, then the parameters
};

std::vector<const double*> pointers_to(const DoubleTape& tape,
                                       const std::vector<Vector<const double>>& arrays,
                                       int64_t n) {
  std::vector<const double*> found;
  for (const auto& array : arrays) {
    expect(int64_t(array.size()) == n, "arrays must have a number for each row.");
    found.push_back(array.data());
  }
  expect(found.size() == tape.arrays(), "there must be as many arrays as in the tape.");
  return found;
}

// A traced formula: r = (f(p) - y) / sigma, without Python.
struct TracedFormula final : ResidualFunction {
  TracedFormula(nb::object tape, std::vector<Vector<const double>> arrays,
                Vector<const double> y, std::optional<Vector<const double>> sigma)
      : owner(tape),
        arrays(std::move(arrays)),
        y(y),
        sigma(sigma),
        tape(nb::cast<const DoubleTape&>(tape)),
        n(int64_t(y.size())),
        from(pointers_to(this->tape, this->arrays, n)),
        values(size_t(n)) {
    expect(!sigma || sigma->size() == y.size(), "sigma must have the length of y.");
  }
  void residuals(const double* p, double* r) override {
    tape.run(p, from.data(), n, 1, &r);
    for (int64_t i = 0; i < n; i++) r[i] -= y.data()[i];
    whiten(r);
  }
  void jacobian(const double* p, const double*, double* columns) override {
    std::vector<double*> to{values.data()};
    for (size_t j = 0; j < tape.inputs(); j++) to.push_back(columns + int64_t(j) * n);
    tape.run(p, from.data(), n, to.size(), to.data());
    for (size_t j = 1; j < to.size(); j++) whiten(to[j]);
  }
  void whiten(double* x) const {
    for (int64_t i = 0; sigma && i < n; i++) x[i] /= sigma->data()[i];
  }

  nb::object owner;
  std::vector<Vector<const double>> arrays;
  Vector<const double> y;
  std::optional<Vector<const double>> sigma;
  const DoubleTape& tape;
  int64_t n;
  std::vector<const double*> from;
  std::vector<double> values;
};

}  // namespace

void register_linear(nb::module_& m) {
  using Code = decltype(TapeSpec::code);
  nb::class_<DoubleTape>(m, "DoubleTape",
                         "A formula of numbers and of arrays in float64, and its "
                         "derivatives with respect to each number.")
      .def(
          "__init__",
          [](DoubleTape* self, int inputs, Code code, std::vector<int> outputs) {
            expect(int64_t(outputs.size()) == int64_t(inputs) + 1,
                   "there must be a value and a derivative for each input.");
            new (self) DoubleTape({inputs, std::move(code), std::move(outputs)}, 1);
          },
          nb::arg("inputs"), nb::arg("code"), nb::arg("outputs"))
      .def(
          "run",
          [](const DoubleTape& self, Vector<const double> inputs,
             const std::vector<Vector<const double>>& arrays, Vector<double> value,
             std::optional<Matrix<double>> derivatives) {
            auto n = int64_t(value.size());
            std::vector<const double*> from = pointers_to(self, arrays, n);
            std::vector<double*> to{value.data()};
            expect(inputs.size() == self.inputs() &&
                       (!derivatives || (derivatives->shape(0) == self.inputs() &&
                                         int64_t(derivatives->shape(1)) == n)),
                   "derivatives must have a row for each input.");
            for (size_t j = 0; derivatives && j < self.inputs(); j++)
              to.push_back(derivatives->data() + int64_t(j) * n);
            interruptible(
                [&] { self.run(inputs.data(), from.data(), n, to.size(), to.data()); });
          },
          nb::arg("inputs").noconvert(), nb::arg("arrays"),
          nb::arg("value").noconvert(), nb::arg("derivatives").noconvert().none(),
          "Write the values (n,), and the derivatives (inputs, n) unless None.");
  nb::class_<JacobianArrays>(m, "Jacobian", "Some columns of rows, times sqrt_weights.")
      .def("__init__", &construct, nb::arg("rows").noconvert(),
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
        expect(x.size() == y.size(), "x and y must have the same length.");
        return dot(x.data(), y.data(), int64_t(x.size()));
      },
      nb::arg("x").noconvert(), nb::arg("y").noconvert(), "Sum of x y.");
  m.def(
      "quadratic_form",
      [](Matrix<double> a, Vector<const double> d) {
        int64_t P = side_of(a);
        expect(int64_t(d.size()) == P, "d must have a number for each row.");
        return quadratic_form(a.data(), d.data(), P);
      },
      nb::arg("a").noconvert(), nb::arg("d").noconvert(),
      "d^T A d; only the upper triangle is read.");
  m.def(
      "cholesky",
      [](Matrix<double> a) {
        int64_t P = side_of(a);
        int64_t rows = 0;
        interruptible([&] { rows = cholesky(a.data(), P); });
        return rows;
      },
      nb::arg("a").noconvert(),
      "Replace A by R of A = R^T R, upper triangles; returns the first row where A is "
      "not positive definite, or the number of rows.");
  m.def(
      "cholesky_solve",
      [](Matrix<double> r, Vector<double> x) {
        int64_t P = side_of(r);
        expect(int64_t(x.size()) == P, "x must have a number for each row.");
        interruptible([&] { cholesky_solve(r.data(), x.data(), P); });
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
      "qr",
      [](Matrix<const double> columns, Vector<const double> multipliers,
         Matrix<double> out, Vector<double> norms) {
        auto C = side_of(out), n = int64_t(columns.shape(1));
        expect(
            int64_t(columns.shape(0)) == C && int64_t(multipliers.size()) == C &&
                int64_t(norms.size()) == C,
            "columns, multipliers, out and norms must have the same number of rows.");
        interruptible([&] {
          qr(columns.data(), multipliers.data(), C, n, out.data(), norms.data());
        });
      },
      nb::arg("columns").noconvert(), nb::arg("multipliers").noconvert(),
      nb::arg("out").noconvert(), nb::arg("norms").noconvert(),
      "Write R of A = Q R to out and the norms of A's columns to norms. Each row of "
      "columns, times its multiplier, is a column of A.");
  m.def(
      "scaled_svd",
      [](Matrix<const double> r, double rank_tolerance, Vector<const double> scale,
         Vector<double> s, Vector<double> ur, Matrix<double> vt) {
        ScaledSvd svd = scaled_svd_of(scale, s, ur, vt);
        expect(int64_t(r.shape(0)) == svd.P + 1 && r.shape(0) == r.shape(1),
               "r must have one row and column more than vt.");
        return scaled_svd(r.data(), rank_tolerance, svd);
      },
      nb::arg("r").noconvert(), nb::arg("rank_tolerance"), nb::arg("scale").noconvert(),
      nb::arg("s").noconvert(), nb::arg("ur").noconvert(), nb::arg("vt").noconvert(),
      "Write s, U^T Q^T r and V^T of R / scale = U diag(s) V^T; returns the norm of "
      "U^T Q^T r over the directions with s above rank_tolerance times the largest.");
  m.def(
      "trust_region_step",
      [](Vector<const double> scale, Vector<double> s, Vector<double> ur,
         Matrix<double> vt, double rank_tolerance, double radius, Vector<double> step) {
        ScaledSvd svd = scaled_svd_of(scale, s, ur, vt);
        expect(int64_t(step.size()) == svd.P, "step must have the length of s.");
        TrustRegionStep best =
            trust_region_step(svd, rank_tolerance, radius, step.data());
        return std::make_tuple(best.length, best.predicted_reduction, best.damping);
      },
      nb::arg("scale").noconvert(), nb::arg("s").noconvert(), nb::arg("ur").noconvert(),
      nb::arg("vt").noconvert(), nb::arg("rank_tolerance"), nb::arg("radius"),
      nb::arg("step").noconvert(),
      "Write the best step within the radius; returns its length, the predicted "
      "reduction of the cost, and the damping.");
  nb::class_<ResidualFunction>(m, "ResidualFunction");
  nb::class_<PythonFormula, ResidualFunction>(
      m, "PythonFormula",
      "f(x, *p) - y if f returns a float64 vector of array_type, else the result of "
      "residuals_of(values). write_jacobian(values) writes the derivatives at point to "
      "columns; values are those of f there, or None.")
      .def(nb::init<nb::object, nb::object, std::optional<Vector<const double>>,
                    nb::object, nb::object, nb::object, nb::object, Vector<double>,
                    Matrix<double>>(),
           nb::arg("f"), nb::arg("x").none(), nb::arg("y").noconvert().none(),
           nb::arg("array_type"), nb::arg("residuals_of"), nb::arg("write_jacobian"),
           nb::arg("point"), nb::arg("width_factors").noconvert(),
           nb::arg("columns").noconvert());
  nb::class_<TracedFormula, ResidualFunction>(
      m, "TracedFormula", "(tape(p, arrays) - y) / sigma, with exact derivatives.")
      .def(nb::init<nb::object, std::vector<Vector<const double>>, Vector<const double>,
                    std::optional<Vector<const double>>>(),
           nb::arg("tape"), nb::arg("arrays"), nb::arg("y").noconvert(),
           nb::arg("sigma").noconvert().none());
  m.def(
      "trust_region",
      [](ResidualFunction& function, Vector<double> p, Vector<double> residuals,
         Matrix<double> columns, Vector<double> multipliers, Matrix<double> r,
         Vector<double> norms, Vector<double> scale, Vector<double> s,
         Vector<double> ur, Matrix<double> vt, double data_norm, double forward,
         double central, double first_radius, double approximate_until,
         double comparable_until, double last_offset, double last_step,
         double last_change, int64_t max_steps, int64_t max_calls) {
        auto P = int64_t(p.size()), n = int64_t(columns.shape(1));
        ScaledSvd svd = scaled_svd_of(scale, s, ur, vt);
        expect(int64_t(columns.shape(0)) == P + 1 &&
                   int64_t(multipliers.size()) == P + 1 &&
                   int64_t(norms.size()) == P + 1 && side_of(r) == P + 1 &&
                   svd.P == P && int64_t(residuals.size()) == n,
               "columns, multipliers, r and norms must have one row more than p and "
               "vt, residuals the length of a column.");
        auto traced = dynamic_cast<TracedFormula*>(&function);
        auto in_python = dynamic_cast<PythonFormula*>(&function);
        expect(traced ? traced->n == n && int64_t(traced->tape.inputs()) == P
                      : in_python && in_python->columns.data() == columns.data(),
               "the formula must be one of these columns.");
        TrustRegionOptions options{
            .first_radius = first_radius,
            .approximate_until = approximate_until,
            .comparable_until = comparable_until,
            .last_offset = last_offset,
            .last_step = last_step,
            .last_change = last_change,
            .forward = forward,
            .central = central,
            .data_norm = data_norm,
            .max_steps = max_steps,
            .max_calls = max_calls,
        };
        TrustRegionArrays arrays{
            .n = n,
            .p = p.data(),
            .residuals = residuals.data(),
            .columns = columns.data(),
            .multipliers = multipliers.data(),
            .r = r.data(),
            .norms = norms.data(),
            .scale = scale.data(),
            .svd = svd,
        };
        TrustRegionResult result{};
        auto run = [&] { result = minimize(function, options, arrays); };
        if (traced)
          interruptible(run);
        else
          run();
        return std::make_tuple(int(result.stop), result.offset, result.linear,
                               result.calls, result.cost, result.rounding);
      },
      nb::arg("function"), nb::arg("p").noconvert(), nb::arg("residuals").noconvert(),
      nb::arg("columns").noconvert(), nb::arg("multipliers").noconvert(),
      nb::arg("r").noconvert(), nb::arg("norms").noconvert(),
      nb::arg("scale").noconvert(), nb::arg("s").noconvert(), nb::arg("ur").noconvert(),
      nb::arg("vt").noconvert(), nb::arg("data_norm"), nb::arg("forward"),
      nb::arg("central"), nb::arg("first_radius"), nb::arg("approximate_until"),
      nb::arg("comparable_until"), nb::arg("last_offset"), nb::arg("last_step"),
      nb::arg("last_change"), nb::arg("max_steps"), nb::arg("max_calls"),
      "Minimize from p, which is moved, as kurve.solvers.trust_region and "
      "kurve.solvers.attempts do: p and residuals are the result, the other arrays the "
      "last linear model. Returns the reason to stop, the relative offset, whether J "
      "never changed, the number of calls, the cost, and the rounding error.");
}
