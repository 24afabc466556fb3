"""Regressors of known shape: monotone, convex or positive by constraints on their
weights.

    f(x) = v g(W_2 g(W_1 S x + b_1) + b_2) + c,   W_1, W_2, v >= 0, g increasing

S has one row s_i x_i for a column in which f rises (s_i = 1) or falls (s_i = -1), and
two rows, x_i and -x_i, for a free one. Non-negative weights make f increase with each
row of S x, and so with s_i x_i, everywhere and not only at the data. Free columns are
not restricted: if two points differ in one, neither is below the other in all rows. If
g is convex, f is convex in S x and hence in x. If the last layer is a softplus, f is
positive.

Source: Archer & Wang 1993 (weights of one sign); Sill 1998; Amos, Xu & Kolter 2017
(convex networks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import activations
from kurve.constraints import NonNeg
from kurve.core.arguments import is_integer
from kurve.layers import Dense
from kurve.models import Sequential
from kurve.models.slopes import column_number

if TYPE_CHECKING:
    from kurve.estimators.columns import Columns
    from kurve.estimators.regressor import Regressor

INCREASING = (
    "tanh",
    "sigmoid",
    "softsign",
    "softplus",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "linear",
)
CONVEX = ("softplus", "relu", "leaky_relu", "elu", "linear")
"""Activations that keep a network monotone, or also convex."""

GAIN = 1.5
"""Initial sum of the weights of a hidden unit: with more, layers saturate."""


@dataclass(frozen=True)
class Form:
    """The known shape of the function.

    signs:    per encoded column: 1 rising, -1 falling, 0 free; None if only the
              sign of f is known
    positive: whether f is
    """

    signs: tuple[int, ...] | None
    positive: bool

    @property
    def constraint(self) -> NonNeg | None:
        """The constraint of all kernels."""
        return None if self.signs is None else NonNeg()

    @property
    def last(self) -> str | None:
        """The activation of the output layer."""
        return "softplus" if self.positive else None

    def begin(self, model: Sequential) -> None:
        """Add the layer S."""
        if self.signs is None:
            return
        rows = len(self.signs) + self.signs.count(0)
        model.add(Dense(rows, use_bias=False, trainable=False, name="signs"))

    def start(self, model: Sequential, seed: int) -> None:
        """Set S and non-negative initial weights."""
        if self.signs is None:
            return
        rng, first = np.random.default_rng(seed), True
        for layer in model.layers:
            if not isinstance(layer, Dense):
                continue
            if layer.name == "signs":
                layer.kernel.assign(self._matrix())
                continue
            kernel = np.abs(layer.kernel.value)
            if not first:
                kernel = GAIN * kernel / kernel.sum(axis=0)
            first = False
            layer.kernel.assign(kernel)
            if layer is not model.layers[-1] and layer.bias is not None:
                layer.bias.assign(rng.uniform(-1.0, 1.0, layer.units))
        if not self.positive:  # weights of one sign produce a large mean
            last: Any = model.layers[-1]
            middle = model.predict(np.zeros((1, len(self.signs))), verbose=0)
            last.bias.assign(-middle[0])

    def _matrix(self) -> np.ndarray:
        assert self.signs is not None
        columns = []
        for i, sign in enumerate(self.signs):
            for value in (sign,) if sign else (1, -1):
                column = np.zeros(len(self.signs), np.float32)
                column[i] = value
                columns.append(column)
        return np.stack(columns, axis=1)


def form_of(model: Regressor, columns: Columns) -> Form | None:
    """The form requested by a regressor's arguments, for these columns.

    Raises:
        ValueError: an unknown column, or one that holds strings.
    """
    if not (model.monotone or model.convex or model.positive):
        return None
    signs: list[int] | None = None
    if model.monotone or model.convex:
        signs = [0] * columns.matrix_width
        for column, sign in (model.monotone or {}).items():
            number = column_number(
                "Regressor, monotone", column, columns.names, columns.width
            )
            if number not in columns.numeric:
                raise ValueError(
                    "[Regressor] monotone only works for numeric columns. "
                    f"Received: {column!r}, which holds strings or categories. "
                    "Try leaving it out."
                )
            signs[columns.numeric.index(number)] = int(sign)
    return Form(None if signs is None else tuple(signs), bool(model.positive))


def check(model: Regressor) -> None:
    """Refuse arguments that cannot be combined.

    Raises:
        TypeError, ValueError: naming the argument.
    """
    for name in ("convex", "positive"):
        value = getattr(model, name)
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(
                f"[Regressor] {name} must be True or False. "
                f"Received: {value!r}. Try {name}=True."
            )
    monotone = model.monotone
    valid = isinstance(monotone, Mapping) and all(
        (isinstance(k, str) or is_integer(k)) and is_integer(v) and abs(v) == 1
        for k, v in monotone.items()
    )
    if monotone is not None and not valid:
        raise ValueError(
            "[Regressor] monotone must map columns, by name or index, to whether the "
            f"prediction rises (1) or falls (-1) with them. Received: {monotone!r}. "
            'Try {"size": 1}.'
        )
    what = [n for n in ("monotone", "convex") if getattr(model, n)]
    what += ["positive"] if model.positive else []
    if not what:
        return
    likelihoods = ("auto", "none") if model.convex else ("auto", "none", "quantile")
    _need(what, model, "likelihood", likelihoods, "none")
    if model.convex:
        _need(what, model, "interval", ("auto", "gaussian", "conformal", "cv+"), "auto")
    if what == ["positive"]:
        return
    if isinstance(model.hidden_layer_sizes, Sequential):
        raise ValueError(
            f"[Regressor] {' and '.join(what)} networks use their own layers. "
            "Received: a model as hidden_layer_sizes. Try hidden_layer_sizes=(32, 32)."
        )
    if isinstance(model.solver, str) and model.solver in ("lm", "lbfgs"):
        raise ValueError(
            f"[Regressor] {' and '.join(what)} networks have constrained weights, "
            f"which only optimizers can train. Received: solver={model.solver!r}. "
            "Try solver='adam'."
        )
    if model.members not in (1, "auto"):
        raise ValueError(
            f"[Regressor] {' and '.join(what)} networks are single, so that their "
            "intervals have the same shape: the spread of several networks does not. "
            f"Received: members={model.members}. Try members=1."
        )
    if not (isinstance(model.activation, str) and model.activation == "auto"):
        known = CONVEX if model.convex else INCREASING
        name = activations.get(model.activation).name
        if name not in known:
            raise ValueError(
                f"[Regressor] {' and '.join(what)} networks need an activation that "
                f"is {'convex and ' if model.convex else ''}increasing. Received: "
                f"activation={name!r}. Try one of {', '.join(known)}."
            )


def _need(
    what: Sequence[str], model: Any, name: str, allowed: Sequence[str], fix: str
) -> None:
    value = getattr(model, name)
    if value not in allowed:
        raise ValueError(
            f"[Regressor] {' and '.join(what)} networks have {name} "
            f"{' or '.join(map(repr, allowed))}. Received: {name}={value!r}. "
            f"Try {name}={fix!r}."
        )
