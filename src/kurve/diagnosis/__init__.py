"""Diagnose a fit: findings, each with evidence and the line of code that fixes it.

    model.diagnose(x, y)             a short report in plain English
    "leakage" in model.diagnose(x, y)

Each check is a function of a `kurve.diagnosis.context.Context`, which contains the
data, the model and its predictions; thresholds are next to the check, with the reason.
The model is never changed: training is tried on a copy of its state.

* `data`: checks of x and y alone.
* `network`: scales, units and activations.
* `fit`: predictions against targets.
* `training`: steps and learning rate, from the history and from trial steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kurve.core.entries import entry
from kurve.core.inside import network_of
from kurve.diagnosis.report import Diagnosis as Diagnosis
from kurve.diagnosis.report import Finding as Finding

if TYPE_CHECKING:
    from kurve.models import Model


@entry
def diagnose(
    model: Model,
    x: Any,
    y: Any,
    validation_data: Sequence[Any] | None = None,
    columns: Sequence[str] | None = None,
) -> Diagnosis:
    """Look for common problems of a fit.

    An unbuilt model gets the checks of the data, an uncompiled one those of the data
    and the network, a trained one all of them. Neither the model nor the state of the
    random number generator changes. Costs about as much as a few epochs.

    Args:
        model: a model with one input and one output.
        x, y: the training data, as for `fit`.
        validation_data: (x, y) not used for training.
        columns: a name for each input, for messages; "x[:, 0]" and so on by default.

    Returns:
        The findings, the most serious first; false if there are none.

    Raises:
        TypeError, ValueError: wrong data, as in `fit`.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=2, verbose=0)
        >>> findings = kurve.diagnosis.diagnose(model, x, y)
        >>> isinstance(findings, kurve.diagnosis.Diagnosis)
        True
    """
    from kurve.diagnosis import data, fit, network, training
    from kurve.diagnosis.context import Context

    network_of(model).require_one_output("diagnose")
    network_of(model).refuse_rows_together("diagnose")
    context = Context(model, x, y, validation_data, columns)
    checks = [*data.CHECKS, *network.CHECKS, *fit.CHECKS, *training.CHECKS]
    findings = [finding for check in checks for finding in check(context)]
    return Diagnosis(findings, model.name, context.summary(), context.left_out())
