"""Windows of random shapes, strides, paddings, dilations and groups against Keras:
outputs and gradients in float64, where rounding cannot hide an index that is off by
one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from image_cases import ImageCase, layer
from test_images import build, check_gradient, gradient_of
from twins import TOLERANCES, keras, precision

import kurve

NUMBER = st.integers(1, 4)


@st.composite
def cases(draw: st.DrawFn) -> ImageCase:
    kind = draw(
        st.sampled_from(
            [
                "Conv2D",
                "Conv1D",
                "DepthwiseConv2D",
                "SeparableConv2D",
                "Conv2DTranspose",
                "MaxPooling2D",
                "AveragePooling2D",
                "MaxPooling1D",
                "Conv3D",
                "MaxPooling3D",
            ]
        )
    )
    axes = next(axes for axes in (1, 2, 3) if f"{axes}D" in kind)
    many = st.tuples(*[NUMBER] * axes)
    shape = tuple(draw(st.integers(1, 9 if axes < 3 else 6)) for _ in range(axes))
    padding = draw(st.sampled_from(["valid", "same"]))
    strides = draw(many)
    if kind in ("DepthwiseConv2D", "SeparableConv2D"):
        strides = strides[:1] * axes
    given_: dict[str, Any] = {"strides": strides, "padding": padding}
    channels = draw(st.integers(1, 3))
    if "Pooling" in kind:
        given_["pool_size"] = draw(many)
        # Keras's torch backend repeats the border where "same" is not symmetric.
        if kind.startswith("Average"):
            given_["padding"] = "valid"
    else:
        given_["kernel_size"] = draw(many)
    if kind in ("Conv1D", "Conv2D", "Conv3D"):
        if draw(st.booleans()):
            given_["strides"], given_["dilation_rate"] = 1, draw(many)
        given_["groups"] = draw(st.sampled_from([1, 2, 3]))
        given_["filters"] = given_["groups"] * draw(st.integers(1, 2))
        channels *= given_["groups"]
    elif kind in ("SeparableConv2D", "Conv2DTranspose"):
        given_["filters"] = draw(st.integers(1, 3))
    if kind in ("DepthwiseConv2D", "SeparableConv2D"):
        given_["depth_multiplier"] = draw(st.integers(1, 2))
    return ImageCase([layer(kind, **given_)], (*shape, channels))


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.filter_too_much],
)
@given(case=cases())
def test_outputs_and_gradients(case: ImageCase) -> None:
    try:
        ours = build(kurve, case)
    except ValueError as error:
        if "are too small" not in str(error):
            raise
        assume(False)
    random = np.random.default_rng(3)
    values = [random.normal(size=w.shape).astype(np.float32) for w in ours.weights]
    ours.set_weights(values)
    ours.compile("sgd", "mse", engine="reference")
    state = ours._network.training_state()
    state = replace(state, params=state.params.astype(np.float64))
    x = random.normal(size=(8, *case.input_shape))
    y = random.normal(size=(8, 2))
    with precision("float64"):
        theirs = build(keras, case)
        theirs.set_weights(values)
        expected = theirs.predict(x, verbose=0)
        try:
            loss, gradients = gradient_of(theirs, x, y)
        except RuntimeError as error:  # of torch, for kernels with an axis of length 1
            if "be contiguous" not in str(error):
                raise
            assume(False)
    got = ours._network.program().predict(state, x)
    tolerance = TOLERANCES["gradient float64"]
    assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()
    check_gradient(ours, state, x, y, loss, gradients, tolerance)
