"""Losses by name. Names, defaults and formulas are Keras's; the formulas are in
`kurve.engines.reference.losses` or, if written with functions of `kurve.ops`, in
modules next to `kurve.losses.formulas`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kurve.core import registry
from kurve.core.entries import entry
from kurve.core.later import Classes, Later
from kurve.core.naming import snake_case
from kurve.core.overrides import custom_members
from kurve.errors import unknown_name
from kurve.losses.base import Loss as Loss
from kurve.losses.base import Rowwise as Rowwise
from kurve.losses.base import weights_for as weights_for

if TYPE_CHECKING:
    from kurve.losses.crossentropies import BinaryCrossentropy as BinaryCrossentropy
    from kurve.losses.crossentropies import (
        CategoricalCrossentropy as CategoricalCrossentropy,
    )
    from kurve.losses.crossentropies import (
        SparseCategoricalCrossentropy as SparseCategoricalCrossentropy,
    )
    from kurve.losses.fitting import FittingCrossentropy as FittingCrossentropy
    from kurve.losses.focal import BinaryFocalCrossentropy as BinaryFocalCrossentropy
    from kurve.losses.focal import (
        CategoricalFocalCrossentropy as CategoricalFocalCrossentropy,
    )
    from kurve.losses.focal import (
        CategoricalGeneralizedCrossEntropy as CategoricalGeneralizedCrossEntropy,
    )
    from kurve.losses.formulas import Formula as Formula
    from kurve.losses.formulas import FunctionLoss as FunctionLoss
    from kurve.losses.functions import binary_crossentropy as binary_crossentropy
    from kurve.losses.functions import (
        categorical_crossentropy as categorical_crossentropy,
    )
    from kurve.losses.functions import gaussian_nll as gaussian_nll
    from kurve.losses.functions import huber as huber
    from kurve.losses.functions import log_cosh as log_cosh
    from kurve.losses.functions import mean_absolute_error as mean_absolute_error
    from kurve.losses.functions import mean_squared_error as mean_squared_error
    from kurve.losses.functions import pinball as pinball
    from kurve.losses.functions import (
        sparse_categorical_crossentropy as sparse_categorical_crossentropy,
    )
    from kurve.losses.hinges import CategoricalHinge as CategoricalHinge
    from kurve.losses.hinges import Hinge as Hinge
    from kurve.losses.hinges import SquaredHinge as SquaredHinge
    from kurve.losses.overlap import CosineSimilarity as CosineSimilarity
    from kurve.losses.overlap import Dice as Dice
    from kurve.losses.overlap import Tversky as Tversky
    from kurve.losses.pairs import Circle as Circle
    from kurve.losses.probabilistic import GaussianNLL as GaussianNLL
    from kurve.losses.probabilistic import KLDivergence as KLDivergence
    from kurve.losses.probabilistic import Poisson as Poisson
    from kurve.losses.regression import Huber as Huber
    from kurve.losses.regression import LogCosh as LogCosh
    from kurve.losses.regression import MeanAbsoluteError as MeanAbsoluteError
    from kurve.losses.regression import (
        MeanAbsolutePercentageError as MeanAbsolutePercentageError,
    )
    from kurve.losses.regression import MeanSquaredError as MeanSquaredError
    from kurve.losses.regression import (
        MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
    )
    from kurve.losses.regression import Pinball as Pinball
    from kurve.losses.sequences import CTC as CTC

__getattr__ = Later(
    __name__,
    {
        "crossentropies": (
            "BinaryCrossentropy CategoricalCrossentropy SparseCategoricalCrossentropy"
        ),
        "fitting": "FittingCrossentropy",
        "focal": (
            "BinaryFocalCrossentropy CategoricalFocalCrossentropy "
            "CategoricalGeneralizedCrossEntropy binary_focal_crossentropy "
            "categorical_focal_crossentropy categorical_generalized_cross_entropy"
        ),
        "formulas": "Formula FunctionLoss",
        "functions": (
            "binary_crossentropy categorical_crossentropy gaussian_nll huber log_cosh "
            "mean_absolute_error mean_squared_error pinball "
            "sparse_categorical_crossentropy"
        ),
        "hinges": (
            "CategoricalHinge Hinge SquaredHinge categorical_hinge hinge squared_hinge"
        ),
        "overlap": "CosineSimilarity Dice Tversky cosine_similarity dice tversky",
        "pairs": "Circle circle",
        "probabilistic": "GaussianNLL KLDivergence Poisson kl_divergence poisson",
        "regression": (
            "Huber LogCosh MeanAbsoluteError MeanAbsolutePercentageError "
            "MeanSquaredError MeanSquaredLogarithmicError Pinball "
            "mean_absolute_percentage_error mean_squared_logarithmic_error"
        ),
        "sequences": "CTC ctc",
    },
)
__dir__ = __getattr__.dir

CLASSES: Classes[Loss] = Classes(
    __name__, __getattr__.classes(["Formula", "FunctionLoss"])
)

FITTING = ("crossentropy", "ce")
"""Further names that `compile` accepts: the cross-entropy that matches the targets."""

NAMES: dict[str, str] = {
    **{name: name for name in CLASSES if name != "FittingCrossentropy"},
    **{snake_case(name): name for name in CLASSES if name != "FittingCrossentropy"},
    "mse": "MeanSquaredError",
    "MSE": "MeanSquaredError",
    "mae": "MeanAbsoluteError",
    "MAE": "MeanAbsoluteError",
    "logcosh": "LogCosh",
    "bce": "BinaryCrossentropy",
    "BCE": "BinaryCrossentropy",
    "mape": "MeanAbsolutePercentageError",
    "MAPE": "MeanAbsolutePercentageError",
    "msle": "MeanSquaredLogarithmicError",
    "MSLE": "MeanSquaredLogarithmicError",
    "kld": "KLDivergence",
    "KLD": "KLDivergence",
    "kullback_leibler_divergence": "KLDivergence",
}
"""What `get` accepts, and the names of the classes."""


@entry
def get(identifier: Any) -> Any:
    """The loss with that name, as in Keras: an object for the name of a class, else the
    function, which returns the value of every row; None for None."""
    if identifier is None:
        return None
    loss = as_loss(identifier)
    if isinstance(identifier, Loss) or identifier in CLASSES:
        return loss
    return getattr(sys.modules[__name__], loss.kind)


def as_loss(identifier: Any) -> Loss:
    """The loss with that name, class or function of this module, with Keras's defaults.

    Raises:
        TypeError: not a loss or function.
        ValueError: an unknown name.
    """
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        identifier = identifier()
    if isinstance(identifier, Loss):
        return identifier
    identifier = getattr(identifier, "kind", identifier)
    if isinstance(identifier, str):
        if identifier in NAMES:
            return CLASSES[NAMES[identifier]]()
        own = registry.known(identifier)
        if own is not None:
            return as_loss(own)
        raise unknown_name("losses", "loss", identifier, NAMES)
    if callable(identifier):
        from kurve.losses.formulas import FunctionLoss

        return FunctionLoss(identifier)
    raise TypeError(
        "[losses] a loss must be a name or an object of kurve.losses, because engines "
        f"need its derivative. Received: {identifier!r}. Try loss='mse'."
    )


def to_train(identifier: Any) -> Loss:
    """The same, in a form that an engine can compute: the result of a subclass's own
    `__call__` is the loss, and is not reduced further."""
    if identifier in FITTING:
        return CLASSES["FittingCrossentropy"](identifier)
    loss = as_loss(identifier)
    if any("__call__" in members for members in custom_members(loss)):
        from kurve.losses.formulas import FunctionLoss

        return FunctionLoss(loss.__call__, loss.name)
    return loss


def serialize(loss: Loss) -> dict[str, Any]:
    """Class and configuration of a loss."""
    loss = getattr(loss, "written", loss)
    function = vars(loss).get("function")
    if function is not None and type(loss).__name__ == "FunctionLoss":
        return registry.entry_of_function(function, loss.get_config())
    return registry.entry(loss, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Loss:
    """The loss from a `serialize` result."""
    name = config["class_name"]
    cls = registry.find("losses", "loss", name, CLASSES, Loss, _of_function)
    loss: Loss = cls(**config["config"])
    return loss


def _of_function(function: Any) -> Any:
    """The constructor of a loss from a function that a file names."""
    from kurve.losses.formulas import FunctionLoss

    return functools.partial(FunctionLoss, function)
