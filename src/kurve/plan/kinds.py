"""Properties of each kind of operation, activation and loss.

Formulas live in `kurve.engines.reference`; this module holds what planning, export,
solver selection and diagnosis need to know.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from kurve.ops.activations import FORMULAS


class OperationFacts(NamedTuple):
    """
    affine:          y = A x + b in prediction, if its activation is linear
    activated:       ends with the activation named in `attrs`; units lie on the last
                     axis
    training_only:   random in training, identity in prediction
    updates_buffers: a training step updates its buffers, unless they are frozen
    mixes_rows:      outputs depend on the whole batch, even in prediction
    """

    affine: bool = False
    activated: bool = False
    training_only: bool = False
    updates_buffers: bool = False
    mixes_rows: bool = False


OPERATIONS: dict[str, OperationFacts] = {
    "dense": OperationFacts(affine=True, activated=True),
    "activation": OperationFacts(affine=True, activated=True),
    "softmax": OperationFacts(),
    "dropout": OperationFacts(affine=True, training_only=True),
    "gaussian_noise": OperationFacts(affine=True, training_only=True),
    "normalization": OperationFacts(affine=True),
    "scale": OperationFacts(affine=True),
    "conv": OperationFacts(affine=True, activated=True),
    "conv3d": OperationFacts(affine=True, activated=True),
    "conv_transpose": OperationFacts(affine=True, activated=True),
    "pool": OperationFacts(),  # affine if mode is "average"
    "global_pool": OperationFacts(),  # the same
    "reshape": OperationFacts(affine=True),
    "map": OperationFacts(),  # any formula
    "concatenate": OperationFacts(affine=True),
    "reduce": OperationFacts(),  # affine if mode is "sum" or "mean"
    "cumsum": OperationFacts(affine=True),
    "permute": OperationFacts(affine=True),
    "slice": OperationFacts(affine=True),
    "place": OperationFacts(affine=True),
    "pad": OperationFacts(affine=True),
    "upsample": OperationFacts(affine=True),
    "batch_normalization": OperationFacts(affine=True, updates_buffers=True),
    "masked_batch_normalization": OperationFacts(updates_buffers=True),
    "layer_normalization": OperationFacts(),
    "affine_image": OperationFacts(affine=True, training_only=True),
    "matmul": OperationFacts(),
    "lstm": OperationFacts(),
    "gru": OperationFacts(),
    "simple_rnn": OperationFacts(),
    "states": OperationFacts(affine=True),
    "keep_states": OperationFacts(affine=True, updates_buffers=True),
    "scan": OperationFacts(),
    "embedding": OperationFacts(),
    "ctc": OperationFacts(),
    "variable": OperationFacts(affine=True),
    "batch_reduce": OperationFacts(mixes_rows=True),
    "random": OperationFacts(),
    "python": OperationFacts(),  # whatever its code does
}

TRAINING_ONLY = frozenset(
    kind for kind, facts in OPERATIONS.items() if facts.training_only
)


class ActivationFacts(NamedTuple):
    """
    low, high:    range of its values; the minimum of elu is -alpha
    flatness:     for activations flat at both ends: the derivative as a function of
                  the value, over the largest derivative
    second_order: smooth enough that curvature-based solvers are worth trying first
    """

    low: float = -math.inf
    high: float = math.inf
    flatness: Callable[[Any], Any] | None = None
    second_order: bool = False


ACTIVATIONS: dict[str, ActivationFacts] = {
    "linear": ActivationFacts(),
    "relu": ActivationFacts(low=0.0),
    "leaky_relu": ActivationFacts(),
    "elu": ActivationFacts(),
    "selu": ActivationFacts(low=-1.7581),
    "gelu": ActivationFacts(low=-0.17, second_order=True),
    "silu": ActivationFacts(low=-0.2785, second_order=True),
    "sigmoid": ActivationFacts(0.0, 1.0, lambda a: 4.0 * a * (1.0 - a), True),
    "tanh": ActivationFacts(-1.0, 1.0, lambda a: 1.0 - a**2, True),
    "softplus": ActivationFacts(low=0.0, second_order=True),
    "softsign": ActivationFacts(-1.0, 1.0, lambda a: (1.0 - abs(a)) ** 2),
    "softmax": ActivationFacts(0.0, 1.0),
    "log_softmax": ActivationFacts(high=0.0),
    "glu": ActivationFacts(),
    "sparsemax": ActivationFacts(0.0, 1.0),
    "sin": ActivationFacts(-1.0, 1.0, second_order=True),
    "snake": ActivationFacts(),
}
ACTIVATIONS |= {
    name: ActivationFacts(*formula.range_of({}), formula.flatness, formula.smooth)
    for name, formula in FORMULAS.items()
    if name not in ACTIVATIONS
}


class LossFacts(NamedTuple):
    """
    distribution: outputs are parameters of a distribution, not predictions of targets
    robust:       grows at most linearly with the error, so outliers do not dominate
    """

    distribution: bool = False
    robust: bool = False


LOSSES: dict[str, LossFacts] = {
    "mean_squared_error": LossFacts(),
    "mean_absolute_error": LossFacts(robust=True),
    "huber": LossFacts(robust=True),
    "log_cosh": LossFacts(robust=True),
    "binary_crossentropy": LossFacts(),
    "categorical_crossentropy": LossFacts(),
    "sparse_categorical_crossentropy": LossFacts(),
    "gaussian_nll": LossFacts(distribution=True),
    "pinball": LossFacts(distribution=True, robust=True),
}


def facts_of_loss(kind: str) -> LossFacts:
    """The properties of a loss; defaults for a loss given as a formula."""
    return LOSSES.get(kind, LossFacts())
