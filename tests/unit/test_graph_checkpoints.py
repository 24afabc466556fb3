"""Checkpoints of graphs: another graph of equal sizes is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Model, Sequential, callbacks, losses, optimizers, utils
from kurve.errors import CheckpointError
from kurve.formulas import functions as ops
from kurve.layers import Activation, Add, Concatenate, Dense, Subtract

RNG = np.random.default_rng(4)
X = [RNG.normal(size=(24, 3)).astype(np.float32) for _ in range(2)]
Y = [RNG.normal(size=(24, 2)).astype(np.float32) for _ in range(2)]


def graph(
    join: Callable[[Any, Any], Any] = lambda a, b: Subtract()([a, b]),
    formula: Callable[[Any], Any] = lambda h: ops.tanh(h) * 2.0,
    inputs: Callable[[Any, Any], Any] = lambda a, b: [a, b],
    again: int = 0,
    **compiled: Any,
) -> Model:
    """Two inputs and outputs, and a layer that is called once more."""
    utils.set_random_seed(3)
    a, b = Input((3,), name="a"), Input((3,), name="b")
    both = [Dense(3, name="one"), Dense(3, name="two")]
    h = join(both[0](a), both[1](b))
    h = formula(both[again](h))
    y, z = Dense(2, name="y")(h), Dense(2, name="z")(h)
    model = Model(inputs(a, b), [y, z])
    options = {"optimizer": "adam", "loss": ["mse", "mae"], **compiled}
    model.compile(**options)
    return model


def stack(activation: Any = "relu", **compiled: Any) -> Sequential:
    utils.set_random_seed(3)
    model = Sequential([Input((3,)), Dense(3), Activation(activation), Dense(2)])
    model.compile(**{"optimizer": "adam", "loss": "mse", **compiled})
    return model


def fit(model: Any, folder: Path, epochs: int) -> None:
    several = len(model.outputs) > 1
    x, y = (X, Y) if several else (X[0], Y[0])
    options: dict[str, Any] = {"batch_size": 8, "checkpoint": folder, "verbose": 0}
    model.fit(x, y, epochs=epochs, **options)


GRAPHS: dict[str, dict[str, Any]] = {
    "operands in another order": {"join": lambda a, b: Subtract()([b, a])},
    "an operand twice": {"join": lambda a, b: Subtract()([a, a])},
    "another operation": {"join": lambda a, b: Add()([a, b])},
    "another number in a formula": {"formula": lambda h: ops.tanh(h) * 3.0},
    "another function": {"formula": lambda h: ops.sin(h) * 2.0},
    "a formula in another order": {"formula": lambda h: ops.tanh(h * 2.0)},
    "inputs in another order": {"inputs": lambda a, b: [b, a]},
    "the other layer again": {"again": 1},
    "another loss of the second output": {"loss": ["mse", "huber"]},
    "no loss of the second output": {"loss": ["mse", None]},
    "losses in another order": {"loss": ["mae", "mse"]},
    "another weight of a loss": {"loss_weights": [1.0, 2.0]},
    "a loss that ops compute": {"loss": ["mse", losses.Tversky()]},
    "other metrics of the second output": {"metrics": [[], ["mae"]]},
    "another optimizer": {"optimizer": optimizers.AdamW(0.001)},
    "averages of weights": {"optimizer": optimizers.Adam(use_ema=True)},
    "gradients added up": {"optimizer": optimizers.Adam(gradient_accumulation_steps=2)},
}


@pytest.mark.parametrize("name", GRAPHS)
def test_another_graph_of_equal_sizes_is_refused(name: str, tmp_path: Path) -> None:
    fit(graph(), tmp_path, 1)
    other = graph(**GRAPHS[name])
    before = [w.tobytes() for w in other.get_weights()]
    with pytest.raises(
        CheckpointError, match=r"belongs to a different call. Received: model"
    ):
        fit(other, tmp_path, 2)
    assert [w.tobytes() for w in other.get_weights()] == before
    fit(graph(), tmp_path, 2)


def test_another_formula_of_a_loss_is_refused(tmp_path: Path) -> None:
    fit(graph(loss=["mse", losses.Tversky(0.2)]), tmp_path, 1)
    with pytest.raises(CheckpointError, match=r"layers\[\d+\]: formula has different"):
        fit(graph(loss=["mse", losses.Tversky(0.3)]), tmp_path, 2)
    fit(graph(loss=["mse", losses.Tversky(0.2)]), tmp_path, 2)


@pytest.mark.parametrize(
    "other", [{"activation": "gelu"}, {"loss_weights": [2.0]}], ids=str
)
def test_another_stack_of_equal_sizes_is_refused(
    other: dict[str, Any], tmp_path: Path
) -> None:
    fit(stack(), tmp_path, 1)
    with pytest.raises(
        CheckpointError, match=r"belongs to a different call. Received: model"
    ):
        fit(stack(**other), tmp_path, 2)


def test_a_shared_layer_is_not_two(tmp_path: Path) -> None:
    """Two layers that are called in turn, one more often than the other."""

    def chain(order: str) -> Model:
        utils.set_random_seed(3)
        layers = {"a": Dense(3), "b": Dense(3)}
        x = h = Input((3,))
        for name in order:
            h = layers[name](h)
        model = Model(x, Dense(2)(h))
        model.compile("adam", "mse")
        return model

    fit(chain("aba"), tmp_path, 1)
    with pytest.raises(CheckpointError, match="positions of the parameters"):
        fit(chain("abb"), tmp_path, 2)
    fit(chain("aba"), tmp_path, 2)


def test_other_names_in_logs_are_refused(tmp_path: Path) -> None:
    """A history would have both."""

    def named(name: str) -> Model:
        x = Input((3,))
        model = Model(x, [Dense(2, name="y")(x), Dense(2, name=name)(x)])
        model.compile("adam", "mse")
        return model

    options: dict[str, Any] = {"checkpoint": tmp_path, "verbose": 0}
    named("z").fit(X[0], Y, **options)
    with pytest.raises(CheckpointError, match=r'was "z_loss", and is "w_loss"'):
        named("w").fit(X[0], Y, **options)


def test_backup_and_restore(engine: str, tmp_path: Path) -> None:
    """A fit of two inputs and outputs that was ended goes on with the same bits."""

    class Stop(callbacks.Callback):
        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.model.iterations == self.at:
                raise KeyboardInterrupt

    def run(at: int = -1) -> Any:
        a, b = Input((3,)), Input((3,))
        utils.set_random_seed(6)
        shared = Dense(4, "tanh")
        h = Concatenate()([shared(a), shared(b)])
        model = Model([a, b], [Dense(2, name="y")(h), Dense(2, name="z")(h)])
        made = optimizers.Adam(use_ema=True, gradient_accumulation_steps=2)
        model.compile(made, ["mse", "mae"], engine=engine)
        backup = callbacks.BackupAndRestore(tmp_path, save_freq=1)
        history = model.fit(
            X, Y, batch_size=8, epochs=4, verbose=0, callbacks=[Stop(at), backup]
        )
        state = model._network.state
        assert state is not None
        return history.history, state.params.tobytes(), state.slots.tobytes()

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(5)
    assert run() == whole
    assert not list(tmp_path.glob("*.kurve"))
