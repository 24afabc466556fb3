"""Solvers that use all rows at once: for small networks, and for formulas of your own.

* `levenberg_marquardt`: least squares, for networks of up to some hundred parameters.
* `lbfgs`: any loss and any size, where all rows fit into a step.
* `curve_fit`: the parameters of a formula, by the same method as the first.
"""

from kurve.solvers.base import SolverResult as SolverResult
from kurve.solvers.formulas import curve_fit as curve_fit
from kurve.solvers.networks import levenberg_marquardt as levenberg_marquardt
from kurve.solvers.quasi_newton import lbfgs as lbfgs
