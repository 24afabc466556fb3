"""Windows of any size, stride, padding, dilation and group, against loops over pixels
and finite differences, and engine against engine."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kurve import Sequential, layers
from kurve.layers import Layer
from tests.engines.cases import compiled, in_float64, one_batch
from tests.engines.test_gradients import check
from tests.engines.tolerances import TOLERANCES

QUIET = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.filter_too_much,
    ],
)
FEW = st.integers(1, 3)
LENGTH = st.integers(1, 9)


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, dict[str, Any], tuple[int, ...]]:
    """A layer that slides a window, its arguments, and the shape of its samples."""
    kind = draw(
        st.sampled_from(
            [
                "Conv2D",
                "Conv1D",
                "DepthwiseConv2D",
                "DepthwiseConv1D",
                "SeparableConv2D",
                "Conv2DTranspose",
                "Conv1DTranspose",
                "MaxPooling2D",
                "MaxPooling1D",
                "AveragePooling2D",
                "AveragePooling1D",
                "Conv3D",
                "MaxPooling3D",
                "AveragePooling3D",
            ]
        )
    )
    axes = next(axes for axes in (1, 2, 3) if f"{axes}D" in kind)
    many = st.tuples(*[st.integers(1, 4)] * axes)
    size, strides = draw(many), draw(many)
    paddings = ["valid", "same"] + ["causal"] * (kind == "Conv1D")
    given_: dict[str, Any] = {
        "strides": strides,
        "padding": draw(st.sampled_from(paddings)),
    }
    channels = draw(FEW)
    if "Pooling" in kind:
        given_["pool_size"] = size
    else:
        given_["kernel_size"] = size
        given_["use_bias"] = draw(st.booleans())
        if draw(st.booleans()):
            given_["strides"], given_["dilation_rate"] = 1, draw(many)
    if kind in ("Conv1D", "Conv2D", "Conv3D"):
        groups = draw(st.sampled_from([1, 1, 2, 3]))
        given_["groups"], given_["filters"] = groups, groups * draw(FEW)
        channels *= groups
    elif kind == "SeparableConv2D" or "Transpose" in kind:
        given_["filters"] = draw(FEW)
    if "wise" in kind or "Sep" in kind:
        given_["depth_multiplier"] = draw(FEW)
    if "Transpose" in kind and draw(st.booleans()):
        most = np.ravel(given_["strides"]).tolist() * (
            axes if given_["strides"] == 1 else 1
        )
        given_["output_padding"] = tuple(draw(st.integers(0, m - 1)) for m in most)
    lengths = draw(st.tuples(*[LENGTH if axes < 3 else st.integers(1, 6)] * axes))
    return kind, given_, (*lengths, channels)


def made(kind: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> Layer:
    """The layer; skips a sample that is smaller than the window."""
    layer: Layer = getattr(layers, kind)(**arguments)
    try:
        layer.compute_output_shape((None, *shape))
    except ValueError as error:
        if "are too small" not in str(error) and "leave nothing" not in str(error):
            raise
        assume(False)
    return layer


def model_of(
    engine: str, window: tuple[str, dict[str, Any], tuple[int, ...]]
) -> Sequential:
    kind, arguments, shape = window
    first = {2: layers.Conv1D, 3: layers.Conv2D, 4: layers.Conv3D}[len(shape)]
    stack = [first(shape[-1], 1, activation="tanh"), made(kind, arguments, shape)]
    return compiled(engine, [*stack, layers.Flatten(), layers.Dense(2)], shape)


def data_of(shape: tuple[int, ...], rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.normal(size=(rows, *shape)), random.normal(size=(rows, 2))


@QUIET
@given(window=windows())
def test_gradient(window: tuple[str, dict[str, Any], tuple[int, ...]]) -> None:
    check(model_of("reference", window), *data_of(window[2], 3))


@QUIET
@given(window=windows())
def test_engines_agree(
    fast: str, window: tuple[str, dict[str, Any], tuple[int, ...]]
) -> None:
    results = []
    x, y = data_of(window[2], 5)
    batches = one_batch(x, y, None)
    for engine, double in (("reference", 1), ("reference", 0), (fast, 0)):
        model = model_of(engine, window)
        state = model._network.training_state()
        state = in_float64(state) if double else state
        program = model._network.program()
        loss, gradient = program.gradient(state, batches, 0)
        results.append((np.array(loss), gradient, program.predict(state, batches.x)))
    for what, exact, own, found in zip(
        ("loss", "gradient", "predictions"), *results, strict=True
    ):
        assert TOLERANCES[what].allows(found, exact, own), what


@QUIET
@given(window=windows())
def test_beside_loops(window: tuple[str, dict[str, Any], tuple[int, ...]]) -> None:
    """By definition, pixel by pixel, with TensorFlow's rule for padding."""
    kind, arguments, shape = window
    layer = made(kind, arguments, shape)
    x = np.random.default_rng(2).normal(size=shape)
    got = layer(x[None])[0]
    for variable in layer.weights:
        if variable.name.endswith("bias"):
            variable.assign(np.arange(variable.shape[0]))
            got = layer(x[None])[0]
    expected = by_loops(kind, arguments, layer, x)
    assert got.shape == expected.shape == layer.compute_output_shape((None, *shape))[1:]
    np.testing.assert_allclose(got, expected, atol=2e-5)


def by_loops(
    kind: str, arguments: dict[str, Any], layer: Any, x: np.ndarray
) -> np.ndarray:
    axes = x.ndim - 1
    size = arguments.get("pool_size", arguments.get("kernel_size"))
    strides, dilation = (
        given_ * axes if len(given_) == 1 else given_
        for given_ in (
            tuple(np.atleast_1d(arguments.get(name, 1)).tolist())
            for name in ("strides", "dilation_rate")
        )
    )
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    weights = [w.astype(np.float64) for w in layer.get_weights()]
    bias = weights.pop() if arguments.get("use_bias", False) else 0.0
    padding = arguments["padding"]
    if "Transpose" in kind:
        return transposed(x, weights[0], strides, dilation, spans, arguments) + bias
    counts, before = [], []
    for length, span, stride in zip(x.shape, spans, strides, strict=False):
        if padding == "valid":
            counts.append((length - span) // stride + 1)
            before.append(0)
        else:
            counts.append(-(-length // stride))
            total = max((counts[-1] - 1) * stride + span - length, 0)
            before.append(span - 1 if padding == "causal" else total // 2)
    rows = []
    for place in itertools.product(*map(range, counts)):
        seen = []
        for k in itertools.product(*map(range, size)):
            at = [
                p * s - b + i * d
                for p, s, b, i, d in zip(
                    place, strides, before, k, dilation, strict=True
                )
            ]
            if all(0 <= a < n for a, n in zip(at, x.shape, strict=False)):
                seen.append((k, x[tuple(at)]))
        rows.append(combined(kind, arguments, weights, seen))
    y = np.array(rows).reshape(*counts, -1)
    if "Separable" in kind:
        y = y @ weights[1].reshape(y.shape[-1], -1)
    return y + bias


def combined(
    kind: str, arguments: dict[str, Any], weights: list[np.ndarray], seen: list[Any]
) -> np.ndarray:
    """The value of a window's pixels."""
    pixels = np.array([pixel for _, pixel in seen])
    if kind.startswith("Max"):
        return pixels.max(axis=0)
    if kind.startswith("Average"):
        return pixels.mean(axis=0)
    if kind.startswith("Conv"):
        groups = arguments["groups"]
        parts = np.zeros((groups, arguments["filters"] // groups))
        for k, pixel in seen:
            kernels = np.split(weights[0][k], groups, axis=-1)
            for g, channels in enumerate(np.split(pixel, groups)):
                parts[g] += channels @ kernels[g]
        return parts.ravel()
    total = np.zeros(weights[0].shape[-2:])
    for k, pixel in seen:
        total += pixel[:, None] * weights[0][k]
    return total.ravel()


def transposed(
    x: np.ndarray,
    kernel: np.ndarray,
    strides: Any,
    dilation: Any,
    spans: list[int],
    arguments: dict[str, Any],
) -> np.ndarray:
    """Each pixel is added to the full output, which is then cropped."""
    lengths = x.shape[:-1]
    full = [(n - 1) * s + k for n, s, k in zip(lengths, strides, spans, strict=True)]
    canvas = np.zeros((*[n + 8 for n in full], kernel.shape[-2]))
    for pixel in itertools.product(*map(range, lengths)):
        for k in itertools.product(*map(range, kernel.shape[:-2])):
            at = tuple(
                p * s + i * d
                for p, s, i, d in zip(pixel, strides, k, dilation, strict=True)
            )
            canvas[at] += kernel[k] @ x[pixel]
    more = arguments.get("output_padding") or [None] * len(lengths)
    for axis, (n, s, span, extra) in enumerate(
        zip(lengths, strides, spans, more, strict=True)
    ):
        if arguments["padding"] == "valid":
            length = (n - 1) * s + (max(span, s) if extra is None else span + extra)
            first = 0
        else:
            length = n * s if extra is None else (n - 1) * s + span % 2 + extra
            around = max(full[axis] - length, 0)
            first = around // 2
        canvas = np.moveaxis(
            np.moveaxis(canvas, axis, 0)[first : first + length], 0, axis
        )
    return canvas
