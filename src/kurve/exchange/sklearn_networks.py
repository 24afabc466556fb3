"""scikit-learn's networks as models.

Only documented attributes of a fitted estimator are read; scikit-learn itself is not
imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve import losses, optimizers, regularizers
from kurve.layers import Dense, Input, Normalization
from kurve.models import Sequential

ACTIVATIONS = {
    "identity": "linear",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softmax": "softmax",
}
MAX_AUTO_BATCH = 200
"""The largest batch size that scikit-learn uses for batch_size="auto"."""


def from_sklearn(estimator: Any) -> Sequential:
    """See `kurve.models.from_sklearn`."""
    scaler, network = _scaler_and_network(estimator)
    kernels = [np.asarray(kernel, np.float64) for kernel in network.coefs_]
    biases = [np.asarray(bias, np.float64) for bias in network.intercepts_]
    activations = [network.activation] * (len(kernels) - 1) + [network.out_activation_]
    for activation in activations:
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"[from_sklearn] the activation {activation!r} is not one of "
                f"{', '.join(ACTIVATIONS)}. Received: {estimator!r}."
            )
    loss, factor = _loss(network, kernels[-1].shape[1])
    rows = _batch_size(network)
    # scikit-learn's penalty is alpha / (2 n) |W|^2, added to its own loss.
    l2 = factor * float(network.alpha) / (2.0 * rows) if rows else 0.0
    layers: list[Any] = [Input((kernels[0].shape[0],))]
    if scaler is not None:
        layers.append(Normalization(mean=scaler[0], variance=scaler[1]))
    layers += [
        Dense(
            kernel.shape[1],
            ACTIVATIONS[activation],
            kernel_regularizer=regularizers.L2(l2) if l2 else None,
        )
        for kernel, activation in zip(kernels, activations, strict=True)
    ]
    model = Sequential(layers)
    pairs = zip(kernels, biases, strict=True)
    model.set_weights([array for pair in pairs for array in pair])
    if rows:
        model.compile(_optimizer(network, factor), loss)
    return model


def _scaler_and_network(
    estimator: Any,
) -> tuple[tuple[np.ndarray, np.ndarray] | None, Any]:
    """Mean and variance of a pipeline's scaler, if any, and the network."""
    steps: Sequence[Any] = getattr(estimator, "steps", [(None, estimator)])
    *before, network = [step for _, step in steps]
    if type(network).__name__ not in ("MLPRegressor", "MLPClassifier"):
        raise TypeError(
            "[from_sklearn] the estimator must be a fitted MLPRegressor or "
            "MLPClassifier, or a pipeline of a StandardScaler and one. "
            f"Received: {estimator!r} of type {type(estimator).__name__}. "
            "Try kurve.Regressor() or kurve.Classifier() for tables."
        )
    if not hasattr(network, "coefs_"):
        raise ValueError(
            "[from_sklearn] the estimator must be fitted, because its weights are "
            f"copied. Received: {network!r}. Try estimator.fit(X, y)."
        )
    before = [step for step in before if step not in (None, "passthrough")]
    if not before:
        return None, network
    if len(before) > 1 or type(before[0]).__name__ != "StandardScaler":
        raise ValueError(
            "[from_sklearn] a pipeline may have one StandardScaler before the network. "
            f"Received: {[type(step).__name__ for step in before]}. "
            "Try the network alone: from_sklearn(pipeline[-1])."
        )
    scaler = before[0]
    count = scaler.n_features_in_
    mean = scaler.mean_ if scaler.with_mean else np.zeros(count)
    scale = scaler.scale_ if scaler.with_std else np.ones(count)
    return (np.asarray(mean), np.square(scale)), network


def _loss(network: Any, outputs: int) -> tuple[losses.Loss, float]:
    """The loss, and the ratio of its gradient to that of scikit-learn's loss.

    scikit-learn's gradient is that of (y - p)^2 / 2, or of the cross-entropy, summed
    over the outputs of a row; ours are means over them.
    """
    if network.out_activation_ == "softmax":
        return losses.SparseCategoricalCrossentropy(), 1.0
    if type(network).__name__ == "MLPClassifier":
        return losses.BinaryCrossentropy(), 1.0 / outputs
    return losses.MeanSquaredError(), 2.0 / outputs


def _batch_size(network: Any) -> int:
    """The batch size; 0 if unknown (L-BFGS)."""
    if network.solver not in ("adam", "sgd") or not getattr(network, "t_", 0):
        return 0
    rows = max(1, round(network.t_ / max(1, network.n_iter_)))
    size = network.batch_size
    return min(MAX_AUTO_BATCH if isinstance(size, str) else int(size), rows)


def _optimizer(network: Any, factor: float) -> optimizers.Optimizer:
    """The optimizer with the same steps, for gradients `factor` times
    scikit-learn's."""
    rate = float(network.learning_rate_init)
    if network.solver == "adam":
        return optimizers.Adam(
            rate,
            float(network.beta_1),
            float(network.beta_2),
            float(network.epsilon) * factor,
        )
    momentum = float(network.momentum)
    nesterov = bool(network.nesterovs_momentum) and momentum > 0.0
    return optimizers.SGD(rate / factor, momentum, nesterov)
