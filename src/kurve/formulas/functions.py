"""The functions of `kurve.ops`, with Keras's names and semantics.

Each computes with NumPy on arrays, records a call in the user's graph on symbolic
tensors, or appends operations to a plan under construction on its tensors. Axes and
shapes include the batch axis, as in Keras. This module collects them; neural-network
functions, composed of these, are in `kurve.formulas.nn`.
"""

from kurve.formulas.axes import dtype_name as dtype_name
from kurve.formulas.creation import *  # noqa: F403
from kurve.formulas.cumulative import *  # noqa: F403
from kurve.formulas.elements import *  # noqa: F403
from kurve.formulas.products import *  # noqa: F403
from kurve.formulas.reductions import *  # noqa: F403
from kurve.formulas.shapes import *  # noqa: F403
from kurve.formulas.slices import *  # noqa: F403
