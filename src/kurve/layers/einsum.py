"""Dense layers over arbitrary axes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Unpack

import numpy as np

from kurve import activations, initializers, regularizers
from kurve.core.arguments import is_count
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, Variable
from kurve.layers.core import Activation
from kurve.layers.dense import DenseArguments
from kurve.plan import Shape


class EinsumDenseArguments(DenseArguments, total=False):
    """Keras's arguments of `EinsumDense`."""

    gptq_unpacked_column_size: None


class EinsumDense(Layer):
    """Einstein summation of the input and a kernel: y = activation(
    einsum(equation, x, kernel) + bias).

    Shapes:   as in the equation: "abc,cd->abd" is `Dense` on sequences
    Source:   defaults follow keras.layers.EinsumDense.

    Args:
        equation: axes of x, of the kernel and of y; axes in x and the kernel but not in
            y are summed over. `...` stands for any number of axes, first or last in x
            and y.
        output_shape: shape of one output sample, with None for sizes taken from the
            input, and without the axes of `...`.
        activation: name or object of `kurve.activations`, or None (identity).
        bias_axes: the axes of y that have a bias; None for no bias.
        kernel_initializer, bias_initializer: name or object of `kurve.initializers`.
        kernel_regularizer, bias_regularizer: name or object of `kurve.regularizers`.
        kernel_constraint, bias_constraint: name or object of `kurve.constraints`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: invalid equation; when built: samples that do not fit it.

    Example:
        >>> layer = kurve.layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d")
        >>> layer(np.ones((5, 2, 3))).shape
        (5, 2, 4)
        >>> [w.shape for w in layer.weights]
        [(3, 4), (4,)]
    """

    arguments = (
        "equation",
        "activation",
        "bias_axes",
        "kernel_initializer",
        "bias_initializer",
        "kernel_regularizer",
        "bias_regularizer",
    )
    constrained: Mapping[str, str] = {
        "kernel": "kernel_constraint",
        "bias": "bias_constraint",
    }

    activation = activations.Chosen()

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: str | activations.Activation | None = None,
        bias_axes: str | None = None,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        kernel_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        **common: Unpack[EinsumDenseArguments],
    ) -> None:
        super().__init__(**common)
        self.equation = equation
        self._terms = _terms(equation)
        sizes = [output_shape] if is_count(output_shape) else output_shape
        if not isinstance(sizes, (list, tuple)) or not all(
            s is None or is_count(s) for s in sizes
        ):
            raise ValueError(
                "[EinsumDense] output_shape must be positive integers, or None for "
                f"sizes of the input. Received: output_shape={output_shape!r}. "
                "Try (None, 4)."
            )
        self.partial_output_shape = tuple(sizes)
        if bias_axes is not None and not set(bias_axes) <= set(self._terms.out):
            raise ValueError(
                "[EinsumDense] bias_axes must be axes of the output. Received: "
                f"bias_axes={bias_axes!r}, equation={equation!r}. Try the last one."
            )
        self.bias_axes = bias_axes
        self.activation = activation
        self._activating = None
        if self.activation != activations.linear:
            self._activating = Activation(self.activation, name="activation")
        self.kernel_initializer = initializers.of_weight(kernel_initializer)
        self.bias_initializer = initializers.of_weight(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel: Variable
        self.bias: Variable | None = None

    def build(self, input_shape: Any) -> None:
        """Create the kernel and the bias."""
        x, w, y = self._lettered(input_shape)
        sizes: dict[str, Any] = dict(zip(x, input_shape, strict=True))
        out, dots = self._terms.out, self._terms.dots
        own = out if dots == "first" else out[1:]
        if len(own) != len(self.partial_output_shape):
            raise self._unfit(input_shape)
        for c, size in zip(own, self.partial_output_shape, strict=True):
            if size is not None and c in sizes and sizes[c] not in (size, None):
                raise self._unfit(input_shape)
            if c not in sizes:
                sizes[c] = size
        if any(sizes.get(c) is None for c in w):
            raise self._unfit(input_shape)
        ins = [i for i, c in enumerate(w) if c not in y]
        self.kernel = self.add_weight(
            tuple(sizes[c] for c in w),
            _ByFans(self.kernel_initializer, ins),
            name="kernel",
            regularizer=self.kernel_regularizer,
        )
        if self.bias_axes is None:
            return
        first = min(y.index(c) for c in self.bias_axes)
        shape = [sizes[c] if c in self.bias_axes else 1 for c in y[first:]]
        self.bias = self.add_weight(
            shape,
            self.bias_initializer,
            name="bias",
            regularizer=self.bias_regularizer,
        )

    def call(self, x: Any) -> Any:
        """The forward pass."""
        a, w, y = self._lettered(x.shape)
        z = ops.einsum(f"{a},{w}->{y}", x, self.kernel)
        if self.bias is not None:
            z = z + self.bias
        return self._activating(z) if self._activating is not None else z

    def _lettered(self, shape: Any) -> tuple[str, str, str]:
        """The three terms, with letters in place of `...`."""
        x, w, y, dots = self._terms
        more = len(shape) - len(x)
        if more < 0 or (dots is None and more):
            raise self._unfit(shape)
        free = [c for c in _LETTERS if c not in x + w + y][:more]
        extra = "".join(free)
        if dots == "first":
            return extra + x, w, extra + y
        return x + extra, w, y + extra

    def _unfit(self, shape: Any) -> ValueError:
        return ValueError(
            f"[EinsumDense] layer {self.name!r} does not fit its input. Received: "
            f"shape {tuple(shape)} for equation={self.equation!r}, output_shape="
            f"{self.partial_output_shape}. Try an equation with one letter per axis."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer."""
        output_shape = {"output_shape": list(self.partial_output_shape)}
        return {**super().get_config(), **output_shape}


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class _Terms(NamedTuple):
    """The terms of an equation; dots: position of `...`, "first" or "last"."""

    x: str
    kernel: str
    out: str
    dots: str | None


def _terms(equation: Any) -> _Terms:
    text = equation.replace(" ", "") if isinstance(equation, str) else ""
    for pattern, dots in (
        (r"(\w+),(\w+)->(\w+)", None),
        (r"\.\.\.(\w+),(\w+)->\.\.\.(\w+)", "first"),
        (r"(\w+)\.\.\.,(\w+)->(\w+)\.\.\.", "last"),
    ):
        match = re.fullmatch(pattern, text)
        if match:
            x, w, y = match.groups()
            if set(y) <= set(x + w) and set(w) <= set(x + y):
                return _Terms(x, w, y, dots)
    raise ValueError(
        "[EinsumDense] equation must name the axes of the input, of the kernel and of "
        f"the output. Received: equation={equation!r}. Try 'abc,cd->abd'."
    )


class _ByFans(initializers.Initializer):
    """Initial values of a matrix whose rows are the axes that are summed over."""

    def __init__(self, inner: initializers.Initializer, ins: Sequence[int]) -> None:
        self.inner, self.ins = inner, list(ins)

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        order = self.ins + [i for i in range(len(shape)) if i not in self.ins]
        rows = math.prod(shape[i] for i in self.ins)
        drawn = initializers.draw(
            self.inner, (rows, math.prod(shape) // max(rows, 1)), seed, stream
        )
        moved = drawn.reshape([shape[i] for i in order])
        return np.transpose(moved, [order.index(i) for i in range(len(shape))])
