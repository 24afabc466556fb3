"""Methods, functions and classes removed in Keras 3, implemented with today's."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kurve.core.inside import is_model

WHY = {"to_yaml": "YAML can execute code. Try to_json()"}

# ---------------------------------------------------------------- methods of models


def predict_classes(
    model: Any, x: Any, batch_size: int | None = None, verbose: int = 0, **queue: Any
) -> np.ndarray:
    """Class indices (n,): the argmax of several outputs; for a single output (n, 1),
    whether it exceeds 0.5."""
    found = np.asarray(model.predict(x, batch_size=batch_size, verbose=verbose))
    if found.shape[-1] > 1:
        return np.asarray(found.argmax(axis=-1))
    return (found > 0.5).astype("int32")


def predict_proba(
    model: Any, x: Any, batch_size: int | None = None, verbose: int = 0
) -> Any:
    """`predict`."""
    return model.predict(x, batch_size=batch_size, verbose=verbose)


def reset_states(owner: Any) -> None:
    """Reset a metric, or each stateful recurrent layer of a model."""
    if hasattr(owner, "reset_state"):
        owner.reset_state()
        return
    model = owner
    for layer in (layer for layer in model.layers if is_model(layer)):
        reset_states(layer)
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_states()


def fit_generator(
    model: Any,
    generator: Any,
    steps_per_epoch: int | None = None,
    epochs: int = 1,
    verbose: int = 1,
    callbacks: Any = None,
    validation_data: Any = None,
    validation_steps: int | None = None,
    class_weight: Any = None,
    max_queue_size: int = 10,
    workers: int = 1,
    use_multiprocessing: bool = False,
    shuffle: bool = True,
    initial_epoch: int = 0,
    validation_freq: Any = 1,
    samples_per_epoch: int | None = None,
    nb_epoch: int | None = None,
    nb_val_samples: int | None = None,
    max_q_size: int = 10,
    nb_worker: int = 1,
    pickle_safe: bool = False,
) -> Any:
    """`fit` with batches. Keras 1 counts samples instead of batches: the size of the
    first batch tells how many there are."""
    if samples_per_epoch is not None:
        generator, steps_per_epoch = steps_of(generator, samples_per_epoch)
    if nb_val_samples is not None:
        validation_data, validation_steps = steps_of(validation_data, nb_val_samples)
    return model.fit(
        generator,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs if nb_epoch is None else nb_epoch,
        verbose=verbose,
        callbacks=callbacks,
        validation_data=validation_data,
        validation_steps=validation_steps,
        class_weight=class_weight,
        shuffle=shuffle,
        initial_epoch=initial_epoch,
        validation_freq=validation_freq,
    )


def evaluate_generator(
    model: Any,
    generator: Any,
    steps: int | None = None,
    callbacks: Any = None,
    max_queue_size: int = 10,
    workers: int = 1,
    use_multiprocessing: bool = False,
    verbose: int = 0,
    val_samples: int | None = None,
    **queue: Any,
) -> Any:
    """`evaluate` with batches."""
    if val_samples is not None:
        generator, steps = steps_of(generator, val_samples)
    return model.evaluate(generator, steps=steps, verbose=verbose, callbacks=callbacks)


def predict_generator(
    model: Any,
    generator: Any,
    steps: int | None = None,
    callbacks: Any = None,
    max_queue_size: int = 10,
    workers: int = 1,
    use_multiprocessing: bool = False,
    verbose: int = 0,
    val_samples: int | None = None,
    **queue: Any,
) -> Any:
    """`predict` with batches."""
    if val_samples is not None:
        generator, steps = steps_of(generator, val_samples)
    return model.predict(generator, steps=steps, verbose=verbose, callbacks=callbacks)


def steps_of(source: Any, samples: int) -> tuple[Any, int | None]:
    """The batches, and the number of batches for that many samples."""
    if isinstance(source, (tuple, list)):  # arrays
        return source, None
    if hasattr(source, "__getitem__"):
        return source, math.ceil(samples / _rows(source[0]))
    batches: Iterator[Any] = iter(source)
    first = next(batches)
    return itertools.chain([first], batches), math.ceil(samples / _rows(first))


def _rows(batch: Any) -> int:
    while isinstance(batch, (tuple, list, dict)):
        batch = next(iter(batch.values() if isinstance(batch, dict) else batch))
    return len(batch)


def _nothing(model: Any) -> None:
    """Has no effect: engines need no preparation."""


METHODS: dict[str, Callable[..., Any]] = {
    "_make_predict_function": _nothing,
    "_make_train_function": _nothing,
    "evaluate_generator": evaluate_generator,
    "fit_generator": fit_generator,
    "predict_classes": predict_classes,
    "predict_generator": predict_generator,
    "predict_proba": predict_proba,
    "reset_states": reset_states,
}


def attribute(owner: Any, name: str, today: str) -> Any:
    """An old method, or today's attribute."""
    if name in METHODS:
        return functools.partial(METHODS[name], owner)
    return getattr(owner, today)


# ---------------------------------------------------------------- layers


def add_variable(
    layer: Any, name: str | None = None, shape: Any = None, **common: Any
) -> Any:
    """A layer's weight: today layer.add_weight(shape, name=...)."""
    return layer.add_weight(shape, name=name, **common)


def merge(
    inputs: Sequence[Any],
    mode: Any = "sum",
    concat_axis: int = -1,
    dot_axes: Any = -1,
    output_shape: Any = None,
    output_mask: Any = None,
    arguments: Any = None,
    name: str | None = None,
) -> Any:
    """A function of tensors: today layers.add, concatenate, multiply, dot, ..."""
    return _merging(mode, concat_axis, dot_axes, arguments, name)(inputs)


def Merge(
    layers: Any = None,
    mode: Any = "sum",
    concat_axis: int = -1,
    dot_axes: Any = -1,
    output_shape: Any = None,
    output_mask: Any = None,
    arguments: Any = None,
    name: str | None = None,
    **unused: Any,
) -> Any:
    """A layer: today layers.Add, Concatenate, Multiply, Dot, ..."""
    if layers is not None:
        raise TypeError(
            "[Merge] a stack has one input: several models are joined by a Model. "
            f"Received: Merge of {len(layers)} layers. Try "
            "Model([a.input, b.input], Concatenate()([a.output, b.output]))."
        )
    return _merging(mode, concat_axis, dot_axes, arguments, name)


def _merging(mode: Any, axis: int, axes: Any, arguments: Any, name: str | None) -> Any:
    from kurve import layers
    from kurve.errors import unknown_name

    if callable(mode):
        return layers.Lambda(mode, arguments=arguments, name=name)
    plain = {
        "ave": layers.Average,
        "max": layers.Maximum,
        "min": layers.Minimum,
        "mul": layers.Multiply,
        "sum": layers.Add,
    }
    if mode == "concat":
        return layers.Concatenate(axis, name=name)
    if mode in ("cos", "dot"):
        return layers.Dot(axes, normalize=mode == "cos", name=name)
    if mode in plain:
        return plain[mode](name=name)
    raise unknown_name("merge", "mode", mode, [*plain, "concat", "cos", "dot"])


def AtrousConvolution2D(
    nb_filter: int, nb_row: int, nb_col: int, atrous_rate: Any = (1, 1), **common: Any
) -> Any:
    """A convolution: today layers.Conv2D(filters, kernel_size, dilation_rate=...)."""
    from kurve import layers

    size = (nb_row, nb_col)
    return layers.Conv2D(nb_filter, size, dilation_rate=atrous_rate, **common)


def Deconvolution2D(
    nb_filter: int, nb_row: int, nb_col: int, output_shape: Any = None, **common: Any
) -> Any:
    """A convolution: today layers.Conv2DTranspose(filters, kernel_size)."""
    from kurve import layers

    return layers.Conv2DTranspose(nb_filter, (nb_row, nb_col), **common)


def ThresholdedReLU(theta: float = 1.0, **common: Any) -> Any:
    """x above theta, else 0: today layers.ReLU(threshold=theta)."""
    from kurve import layers

    return layers.ReLU(threshold=theta, **common)


def TimeDistributedDense(output_dim: int, **common: Any) -> Any:
    """A dense layer applied to each step: today layers.Dense(units)."""
    from kurve import layers

    return layers.Dense(output_dim, **common)


# ---------------------------------------------------------------- others


class Reduction:
    """Names of reductions: today strings such as "sum_over_batch_size"."""

    AUTO = SUM_OVER_BATCH_SIZE = "sum_over_batch_size"
    NONE = "none"
    SUM = "sum"


def probas_to_classes(y_pred: Any) -> np.ndarray:
    """Class indices from probabilities: today numpy.argmax(y_pred, axis=-1)."""
    found = np.asarray(y_pred)
    if found.ndim > 1 and found.shape[1] > 1:
        return np.asarray(found.argmax(axis=1))
    return np.array([1 if p > 0.5 else 0 for p in found])
