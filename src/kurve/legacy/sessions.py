"""The functions of Keras 2's `keras.backend` about values, sessions and whole models:
`K.get_value`, `K.function`, `K.gradients`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.graph import Tensor
from kurve.formulas.needs import NeedsValues
from kurve.formulas.tensor import KerasTensor


def public(call: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator that marks public functions of the old backend."""
    call._k = True  # type: ignore[attr-defined]
    return call


@public
def get_value(x: Any) -> Any:
    """The value: today x.numpy()"""
    return x.numpy() if hasattr(x, "numpy") else x


@public
def set_value(x: Any, value: Any) -> None:
    """Set a variable: today x.assign(value)"""
    x.assign(value)


@public
def batch_get_value(tensors: Any) -> list[Any]:
    """The values of several variables: today [x.numpy() for x in tensors]"""
    return [get_value(x) for x in tensors]


@public
def batch_set_value(tuples: Any) -> None:
    """Set several variables: today x.assign(value) for each"""
    for x, value in tuples:
        x.assign(value)


@public
def eval(x: Any) -> Any:
    """The value: today numpy.asarray(x)"""
    return np.asarray(get_value(x))


@public
def print_tensor(x: Any, message: str = "", summarize: int = 3) -> Any:
    """x, printed: today print(x)"""
    print(message, x)
    return x


@public
def learning_phase() -> int:
    """0, because direct calls run in inference mode: today the argument training of
    call()"""
    return 0


@public
def set_learning_phase(value: Any) -> None:
    """Whether to train: today the argument training of call()"""
    if value not in (0, False):
        raise ValueError(
            "[set_learning_phase] training is an argument of each call. "
            f"Received: {value!r}. Try layer(x, training=True)."
        )


@public
def in_train_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """alt, unless training is True: today x if training else alt"""
    chosen = x if training in (1, True) else alt
    return chosen() if callable(chosen) else chosen


@public
def reset_uids() -> None:
    """Restart automatic names: today kurve.utils.clear_session()"""
    from kurve.utils import clear_session

    clear_session()


@public
def get_session() -> None:
    """There are no sessions: today nothing takes its place"""


@public
def _get_available_gpus() -> list[str]:
    """The names of graphics processors, of which none is used: today nothing takes its
    place"""
    return []


@public
def set_session(session: Any) -> None:
    """There are no sessions: today nothing takes its place"""


@public
def placeholder(
    shape: Any = None,
    ndim: int | None = None,
    dtype: Any = None,
    name: Any = None,
    sparse: bool = False,
) -> Any:
    """An input: today kurve.Input"""
    from kurve.layers import Input

    if shape is None:
        shape = (None,) * (ndim or 1)
    return Input(tuple(shape)[1:], name=name)


@public
def function(inputs: Any, outputs: Any, updates: Any = None, **unused: Any) -> Any:
    """A function from arrays to outputs: today kurve.Model(inputs, outputs).predict"""
    from kurve.models import Model

    if updates:
        raise NotImplementedError(
            "[function] updates are made by fit. "
            f"Received: {len(updates)} of them. Try model.train_on_batch(x, y)."
        )
    given = [x for x in _listed(inputs) if isinstance(x, KerasTensor)]
    model = Model(given if len(given) > 1 else given[0], list(_listed(outputs)))

    def call(values: Any) -> Any:
        arrays = [np.asarray(v) for v in _listed(values)[: len(given)]]
        found = model.predict(arrays if len(given) > 1 else arrays[0], verbose=0)
        parts = [np.asarray(part) for part in _listed(found)]
        return parts if isinstance(outputs, (list, tuple)) else parts[0]

    return call


@public
def gradients(loss: Any, variables: Any) -> Any:
    """The gradients of a tensor of a model by others: today kurve.GradientTape

    Args:
        loss: a symbolic tensor; its elements are summed.
        variables: symbolic tensors that it is computed from, such as `model.input` or a
            layer's output; one, or a list.
    """
    return [_gradient(loss, x) for x in _listed(variables)]


def _gradient(loss: Any, x: Any) -> Any:
    if not isinstance(x, KerasTensor) or not isinstance(loss, KerasTensor):
        what = "loss" if isinstance(x, KerasTensor) else "variables"
        given = loss if isinstance(x, KerasTensor) else x
        raise TypeError(
            f"[gradients] {what} must be a symbolic tensor of a model. "
            f"Received: {given!r}. Try tf.GradientTape for weights and values."
        )
    from kurve.gradients import GradientTape
    from kurve.gradients.inputs import grad
    from kurve.layers import Lambda
    from kurve.models import Model

    others, whole = _inputs_beside(loss, x), _is_of_batch(loss)
    part = Model([x, *others] if others else x, loss)

    def slopes(given: Any) -> Any:
        first, *rest = given if others else [given]

        def total(value: Any) -> Any:
            rows = part([value, *rest] if others else value)
            return ops.mean(rows) if whole else rows

        if isinstance(first, Tensor):
            try:
                return grad(lambda value: ops.sum(total(value)))(first)
            except NotImplementedError as error:  # such as a mean over the batch
                raise NeedsValues(str(error)) from None
        with GradientTape() as tape:
            first = ops.convert_to_tensor(first)
            tape.watch(first)
            found = total(first)
        return tape.gradient(found, first)

    given = [x, *others] if others else x
    return Lambda(slopes, output_shape=x.shape[1:])(given)


def _is_of_batch(loss: KerasTensor) -> bool:
    """Whether it is one number for the batch, which a model repeats for each row."""
    before = loss.history.node.input_tensors
    return loss.of_batch or (bool(before) and all(map(_is_of_batch, before)))


def _inputs_beside(loss: KerasTensor, x: KerasTensor) -> list[Any]:
    """The inputs that the loss is computed from without x."""
    found: list[Any] = []
    waiting, seen = [loss], set[int]()
    while waiting:
        tensor = waiting.pop()
        if tensor is x or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        node = tensor.history.node
        if node.is_input:
            found.append(tensor)
        waiting += node.input_tensors
    return found[::-1]


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]
