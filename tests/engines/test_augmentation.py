"""Random layers: which numbers they draw, and what they do with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import Sequential, layers
from kurve.core import rng
from kurve.engines import Batches
from kurve.layers import Conv2D, GlobalAveragePooling2D, Input, Layer
from kurve.layers.base import lower
from kurve.plan import Op
from tests.engines.cases import compiled

ndimage = pytest.importorskip("scipy.ndimage")

MODES = {
    "reflect": "reflect",
    "wrap": "grid-wrap",
    "nearest": "nearest",
    "constant": "grid-constant",
}
SEED, STEP, COUNT = 12345, 7, 60
SHAPE = (9, 8, 3)
PICTURES = np.random.default_rng(1).normal(size=(COUNT, *SHAPE)).astype(np.float32)


def applied(layer: Layer, x: np.ndarray = PICTURES, step: int = STEP) -> np.ndarray:
    """The layer's output for x in step `step` of training."""
    from kurve.engines import State
    from kurve.engines.reference.layers import OPS

    none = np.zeros(0, np.float32)
    state = State(none, none, none.reshape(0, 0), np.zeros(0), step, SEED)
    op = op_of(layer, x.shape[1:])
    return OPS[op.kind][0](op, x, state, True)[0]


def op_of(layer: Layer, shape: tuple[int, ...]) -> Op:
    layer.build((None, *shape))
    return lower([layer], shape)[0].ops[0]


def draws() -> np.ndarray:
    """The numbers of the documentation: words 4 b and 4 b + 1 for image b."""
    words = rng.philox(SEED, 0x10000, STEP, 4 * COUNT).astype(np.float64)
    return ((words + 0.5) * 2.0**-32).reshape(COUNT, 4)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["translation", "rotation"])
def test_geometry_is_that_of_scipy(what: str, mode: str, interpolation: str) -> None:
    if what == "translation":
        made: Layer = layers.RandomTranslation(
            (-0.6, 0.9), 0.7, mode, interpolation, fill_value=0.3
        )
    else:
        made = layers.RandomRotation((-0.3, 0.5), mode, interpolation, fill_value=0.3)
    got = applied(made)
    order = {"nearest": 0, "bilinear": 1}[interpolation]
    middle = (np.array(SHAPE[:2]) - 1) / 2
    for picture, moved, (u, v, *_) in zip(PICTURES, got, draws(), strict=True):
        matrix, offset = np.eye(2), np.zeros(2)
        if what == "translation":
            offset = -np.array([9 * (-0.6 + 1.5 * u), 8 * (-0.7 + 1.4 * v)])
        else:
            angle = 2 * np.pi * (-0.3 + 0.8 * u)
            cos, sin = np.cos(angle), np.sin(angle)
            matrix = np.array([[cos, sin], [-sin, cos]])
            offset = middle - matrix @ middle
        for channel in range(3):
            expected = ndimage.affine_transform(
                picture[..., channel].astype(np.float64),
                matrix,
                offset,
                order=order,
                mode=MODES[mode],
                cval=0.3,
            )
            np.testing.assert_allclose(moved[..., channel], expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_flip(mode: str) -> None:
    """Bit for bit the image or its mirror image, each as often as expected."""
    got, seen = applied(layers.RandomFlip(mode)), set()
    for picture, moved, (u, v, *_) in zip(PICTURES, got, draws(), strict=True):
        expected = picture
        if "horizontal" in mode and u < 0.5:
            expected = expected[:, ::-1]
        if "vertical" in mode and v < 0.5:
            expected = expected[::-1]
        seen.add(("horizontal" in mode and u < 0.5, "vertical" in mode and v < 0.5))
        assert np.array_equal(moved, expected)
    assert len(seen) == (4 if "and" in mode else 2)


def test_positive_is_down_and_right_and_counterclockwise() -> None:
    dot = np.zeros((1, 9, 9, 1), np.float32)
    dot[0, 4, 6] = 1.0
    moved = applied(layers.RandomTranslation((2 / 9, 2 / 9), (1 / 9, 1 / 9)), dot)
    assert np.unravel_index(moved.argmax(), moved.shape)[1:3] == (6, 7)
    turned = applied(layers.RandomRotation((0.25, 0.25)), dot)
    assert np.unravel_index(turned.argmax(), turned.shape)[1:3] == (2, 4)


def test_noise_is_normal() -> None:
    zeros = np.zeros((200, 10, 10, 3), np.float32)
    noise = applied(layers.GaussianNoise(0.5), zeros) / 0.5
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(1.0, abs=0.01)
    levels = [0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999]
    normal = [-3.0902, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 3.0902]
    np.testing.assert_allclose(np.quantile(noise, levels), normal, atol=0.1)
    flat = noise.ravel()
    assert abs(np.corrcoef(flat[:-1], flat[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.25


def test_noise_of_an_odd_number_of_elements() -> None:
    whole = applied(layers.GaussianNoise(0.5), np.zeros((2, 4), np.float32)).ravel()
    part = applied(layers.GaussianNoise(0.5), np.zeros((1, 7), np.float32)).ravel()
    assert np.array_equal(part, whole[:7])


@pytest.mark.parametrize("shape", [(6, 5, 40), (30, 40)], ids=str)
def test_spatial_dropout_drops_whole_channels(shape: tuple[int, ...]) -> None:
    cls = layers.SpatialDropout2D if len(shape) == 3 else layers.SpatialDropout1D
    y = applied(cls(0.3), np.ones((100, *shape), np.float32))
    by_channel = y.reshape(100, -1, shape[-1])
    assert (by_channel == by_channel[:, :1]).all()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert (by_channel[:, 0] == 0).mean() == pytest.approx(0.3, abs=0.03)
    assert len({row.tobytes() for row in by_channel[:, 0]}) > 95


RANDOM: dict[str, Any] = {
    "translation": lambda: layers.RandomTranslation(0.3, 0.3),
    "rotation": lambda: layers.RandomRotation(0.3, "constant"),
    "flip": lambda: layers.RandomFlip(),
    "noise": lambda: layers.GaussianNoise(0.3),
    "spatial dropout": lambda: layers.SpatialDropout2D(0.3),
}


@pytest.mark.parametrize("name", RANDOM)
def test_seed_and_step_decide(name: str) -> None:
    first = applied(RANDOM[name]())
    assert applied(RANDOM[name]()).tobytes() == first.tobytes()
    assert applied(RANDOM[name](), step=STEP + 1).tobytes() != first.tobytes()


@pytest.mark.parametrize("name", RANDOM)
def test_nothing_happens_in_prediction(engine: str, name: str) -> None:
    model = compiled(engine, [RANDOM[name]()], SHAPE)
    assert model.predict(PICTURES, verbose=0).tobytes() == PICTURES.tobytes()


@pytest.mark.parametrize("name", RANDOM)
def test_a_run_in_two_parts_has_the_same_bits(engine: str, name: str) -> None:
    def model() -> Sequential:
        made = [RANDOM[name](), Conv2D(2, 3), GlobalAveragePooling2D()]
        return compiled(engine, made, SHAPE)

    y = np.zeros((COUNT, 2), np.float32)
    whole, parts = model(), model()
    whole.fit(PICTURES, y, epochs=2, verbose=0)
    for epoch in range(2):
        parts.fit(PICTURES, y, epochs=epoch + 1, initial_epoch=epoch, verbose=0)
    for mine, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        assert mine.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", RANDOM)
def test_engines_draw_the_same(fast: str, name: str) -> None:
    """Through the loss sum (y - 0)^2 in training mode, image by image."""
    x = PICTURES[:8]
    for i in range(1, 9):
        found = []
        for engine in ("reference", fast):
            model = Sequential([Input(SHAPE), RANDOM[name]()])
            model._network.seed = SEED
            model.build((None, *SHAPE))
            model.compile("sgd", "mse", engine=engine)
            program = model._network.program()
            weights = np.zeros(8, np.float32)
            weights[i - 1] = 1.0
            batches = Batches(x, np.zeros_like(x), weights, None, np.array([0, 8]))
            found.append(
                program.gradient(model._network.training_state(), batches, 0)[0]
            )
        assert found[0] == pytest.approx(found[1], rel=1e-5)
