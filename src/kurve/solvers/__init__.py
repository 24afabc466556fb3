"""Full-batch solvers for small networks and formulas.

* `levenberg_marquardt`: least squares, for networks with up to a few hundred
parameters.
* `lbfgs`: any loss and any size, as long as all rows fit into one step.
* `curve_fit`: the parameters of a formula, by Levenberg-Marquardt.
"""

from kurve.solvers.base import SolverResult as SolverResult
from kurve.solvers.formulas import curve_fit as curve_fit
from kurve.solvers.networks import levenberg_marquardt as levenberg_marquardt
from kurve.solvers.quasi_newton import lbfgs as lbfgs
