"""Convolution of volumes: bits, many samples at once, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kurve
from kurve.layers import Conv3D, Cropping3D, Dense, Flatten, MaxPooling3D
from kurve.plan import Head, Op, Plan, Spec, VariableSpec
from tests.engines.cases import compiled, one_batch

pytest.importorskip("kurve._core")
from kurve.engines.native import NativeEngine


@pytest.fixture
def threads() -> Iterator[None]:
    before = kurve.get_threads()
    yield
    kurve.set_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("groups", [1, 4])
def test_bits(groups: int) -> None:
    """The same for any number of threads; of a row, in any batch, even where its
    samples do not fit into memory together."""
    shape = (9, 20, 17, 4)
    layers = [
        Conv3D(8, (3, 5, 3), padding="same", activation="gelu", groups=groups),
        MaxPooling3D(),
        Flatten(),
        Dense(2),
    ]
    model = compiled("native", layers, shape)
    random = np.random.default_rng(1)
    x = random.normal(size=(70, *shape)).astype(np.float32)
    y = random.normal(size=(70, 2))
    program, state = model._network.program(), model._network.training_state()
    seen, batches = set(), one_batch(x, y, None)
    for count in (1, 2, 4):
        kurve.set_threads(count)
        _, gradient = program.gradient(state, batches, 0)
        _, slopes = program.jacobian(state, x[:2])
        whole = program.predict(state, x)
        seen.add(gradient.tobytes() + slopes.tobytes() + whole.tobytes())
    assert len(seen) == 1
    for size in (1, 5, 66):
        assert program.predict(state, x[:size]).tobytes() == whole[:size].tobytes()


ATTRS: dict[str, Any] = {
    "activation": "linear",
    "alpha": 0.0,
    "groups": 1,
    **{f"kernel_{axis}": 2 for axis in "dhw"},
    **{f"{what}_{axis}": 1 for what in ("stride", "dilation") for axis in "dhw"},
    **{f"pad_{a}": 0 for a in ("front", "back", "top", "bottom", "left", "right")},
}


def conv3d(
    shape: tuple[int, ...] = (3, 4, 5, 2),
    out: tuple[int, ...] = (2, 3, 4, 6),
    kernel: tuple[int, ...] = (2, 2, 2, 2, 6),
    **changes: Any,
) -> kurve.engines.base.Program:
    slot = VariableSpec("kernel", kernel, 0)
    op = Op("conv3d", "c", shape, out, {"kernel": slot}, attrs=ATTRS | changes)
    head = Head(1, out, Spec("mean_squared_error"))
    return NativeEngine().compile(Plan((shape,), (op,), (slot,), (), (head,)))


def test_a_plan_that_fits() -> None:
    conv3d()
    conv3d(kernel=(2, 2, 2, 1, 6), groups=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (3, 4, 10)},
        {"out": (2, 3, 24)},
        {"out": (3, 3, 4, 6)},
        {"out": (2, 4, 4, 6)},
        {"out": (2, 3, 5, 6)},
        {"out": (2, 3, 4, 5)},
        {"kernel": (2, 2, 2, 1, 6)},
        {"kernel_w": 3},
        {"kernel_d": 0},
        {"stride_w": 2},
        {"stride_h": 0},
        {"dilation_w": 5},
        {"pad_left": -1},
        {"pad_left": 2**40},
        {"groups": 3},
        {"kernel_w": 1e9, "dilation_w": 1e9, "pad_right": 1e9},
    ],
    ids=str,
)
def test_wrong_plans_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="native"):
        conv3d(**wrong)


def test_empty_volumes_are_refused() -> None:
    with pytest.raises(ValueError, match="must leave part of each axis"):
        Cropping3D(((1, 1), (2, 2), (0, 0))).build((None, 3, 4, 5, 1))
    with pytest.raises(ValueError, match=r"\(\(front, back\), \(top, bottom\)"):
        Cropping3D((1, 2))
