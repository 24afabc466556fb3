"""ConvLSTM layers against Keras: predictions and training with masks and flags, states
that stay, files both ways, configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twins import keras

import kurve
from kurve import layers
from kurve.formulas import functions

K = keras.layers if keras is not None else None
STEPS = 9
SHAPES = {1: (5, 2), 2: (4, 3, 2), 3: (3, 2, 3, 1)}
FLAGS: list[dict[str, Any]] = [
    {"padding": "same", "return_state": True},
    {"strides": 2, "padding": "same", "return_sequences": True, "go_backwards": True},
    {
        "kernel_size": 2,
        "use_bias": False,
        "activation": "softsign",
        "recurrent_activation": "hard_sigmoid",
        "return_sequences": True,
        "return_state": True,
        "kernel_regularizer": "l2",
    },
]


def layer(lib: Any, rank: int, flags: dict[str, Any]) -> Any:
    given = {"filters": 2, "kernel_size": 3, **flags}
    return getattr(lib, f"ConvLSTM{rank}D")(**given)


def network(lib: Any, rank: int, masked: bool) -> Any:
    """All flags side by side."""
    package = kurve if lib is layers else keras
    reshape = functions.reshape if lib is layers else keras.ops.reshape
    x, m = package.Input((STEPS, *SHAPES[rank])), package.Input((STEPS,))
    given = {"mask": m > 0.5} if masked else {}
    parts = []
    for flags in FLAGS:
        found = layer(lib, rank, flags)(x, **given)
        parts += list(found) if isinstance(found, (list, tuple)) else [found]
    flat = [reshape(part, (-1, int(np.prod(part.shape[1:])))) for part in parts]
    y = lib.Concatenate()(flat)
    return package.Model([x, m] if masked else x, y)


@pytest.mark.parametrize(
    ("rank", "masked"), [(1, True), (2, False), (2, True), (3, False)]
)
def test_training(rank: int, masked: bool) -> None:
    rng = np.random.default_rng(0)
    theirs, ours = (network(lib, rank, masked) for lib in (K, layers))
    weights = [0.4 * rng.normal(size=w.shape) for w in theirs.weights]
    for model in (theirs, ours):
        model.set_weights(weights)
        sgd = (keras if model is theirs else kurve).optimizers.SGD(0.5)
        model.compile(sgd, "mse")
    x = rng.normal(size=(4, STEPS, *SHAPES[rank])).astype(np.float32)
    mask = rng.random((4, STEPS)) < 0.6
    mask[1], mask[2, :4] = False, False
    data = [x, mask.astype(np.float32)] if masked else x
    expected = theirs.predict(data, verbose=0)
    np.testing.assert_allclose(ours.predict(data, verbose=0), expected, 1e-5, 1e-5)
    y = rng.normal(size=expected.shape).astype(np.float32)
    for _ in range(20):
        wanted = np.ravel(theirs.train_on_batch(data, y))[0]
        np.testing.assert_allclose(ours.train_on_batch(data, y), wanted, 1e-4)
    for e, g, w in zip(
        theirs.get_weights(), ours.get_weights(), ours.weights, strict=True
    ):
        np.testing.assert_allclose(g, e, 1e-4, 1e-4, err_msg=w.name)
    moved = zip(weights, ours.get_weights(), strict=True)
    assert max(np.abs(a - b).max() for a, b in moved) > 1e-3


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_files_and_configurations(ending: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, STEPS, *SHAPES[2])).astype(np.float32)
    built = []
    for lib, package in ((K, keras), (layers, kurve)):
        first = {"return_sequences": True, "padding": "same", "dropout": 0.1}
        stack = [layer(lib, 2, first)]
        stack += [layer(lib, 2, {"padding": "same", "kernel_size": (1, 2)})]
        stack += [lib.Flatten(), lib.Dense(1)]
        built.append(package.Sequential([package.Input(x.shape[1:]), *stack]))
    theirs, ours = built
    theirs.save(tmp_path / f"k{ending}")
    ours.save(tmp_path / f"o{ending}")
    for path, load, model in (
        (f"k{ending}", kurve.models.load_model, theirs),
        (f"o{ending}", keras.models.load_model, ours),
    ):
        loaded = load(tmp_path / path)
        np.testing.assert_allclose(
            loaded.predict(x, verbose=0), model.predict(x, verbose=0), 1e-4, 1e-5
        )
    for one, other in zip(theirs.layers[:2], ours.layers[:2], strict=True):
        wanted, got = one.get_config(), other.get_config()
        assert {*wanted} - {*got} <= {"dtype"}
        for name in ("filters", "kernel_size", "strides", "padding", "dilation_rate"):
            assert tuple(np.ravel(got[name])) == tuple(np.ravel(wanted[name])), name
        assert type(other).from_config(got).get_config() == got


def test_states_that_stay_and_initial_states() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 2, STEPS, *SHAPES[2])).astype(np.float32)
    theirs, ours = (
        layer(lib, 2, {"return_state": True, "padding": "same"}) for lib in (K, layers)
    )
    theirs.build(x.shape[1:])
    ours.build(x.shape[1:])
    ours.set_weights(theirs.get_weights())
    kept = layer(layers, 2, {"stateful": True, "padding": "same"})
    kept.build(x.shape[1:])
    kept.set_weights(theirs.get_weights())
    tensor, given = keras.ops.convert_to_tensor, None
    for batch in x:
        wanted = theirs(batch, initial_state=given and [tensor(s) for s in given])
        wanted = [keras.ops.convert_to_numpy(t) for t in wanted]
        for e, g in zip(wanted, ours(batch, initial_state=given), strict=True):
            np.testing.assert_allclose(g, e, 1e-5, 1e-5)
        np.testing.assert_allclose(kept(batch), wanted[0], 1e-5, 1e-5)
        given = wanted[1:]
    kept.reset_state()
    np.testing.assert_allclose(kept(x[0]), theirs(x[0])[0].detach(), 1e-5, 1e-5)


def test_each_gate_drops_its_own() -> None:
    model = layer(layers, 1, {"dropout": 0.4, "recurrent_dropout": 0.4, "seed": 1})
    x = np.ones((2, STEPS, *SHAPES[1]), np.float32)
    one, other = model(x, training=True), model(x)
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(model(x), other)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"filters": 0}, "filters"),
        ({"padding": "causal"}, "padding"),
        ({"strides": 2, "dilation_rate": 2}, "only one of"),
        ({"data_format": "channels_first"}, "channels_last"),
    ],
)
def test_what_is_refused(flags: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=rf"\[ConvLSTM2D\].*{text}.*Received: "):
        layer(layers, 2, flags)
