"""The functions of `kurve.ops`: names and meaning of Keras's.

Each takes arrays, and computes with NumPy; symbolic tensors, and records a call in the
user's graph; or tensors of a plan under construction, to which it appends operations.
Axes and shapes count the batch axis, as in Keras. Here they are together; those of
networks, which are composed of these, are in `kurve.formulas.nn`.
"""

from kurve.formulas.axes import dtype_name as dtype_name
from kurve.formulas.creation import *  # noqa: F403
from kurve.formulas.elements import *  # noqa: F403
from kurve.formulas.products import *  # noqa: F403
from kurve.formulas.reductions import *  # noqa: F403
from kurve.formulas.shapes import *  # noqa: F403
from kurve.formulas.slices import *  # noqa: F403
