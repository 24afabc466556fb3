"""Sequential: how it comes into being, what it holds, how it changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, utils
from kurve.callbacks import BackupAndRestore, LambdaCallback
from kurve.layers import Dense, Dropout, Normalization
from kurve.models import load_model

X = np.random.default_rng(1).normal(size=(20, 3))
Y = X.sum(axis=1)


def article_model() -> Sequential:
    """Seven hidden layers of 256 units, one input, one output."""
    model = Sequential()
    model.add(Dense(256, activation="relu", input_shape=(1,)))
    for _ in range(6):
        model.add(Dense(256, activation="relu"))
    model.add(Dense(1))
    return model


def test_the_article_counts_395521_weights() -> None:
    assert article_model().count_params() == 395_521


WAYS: dict[str, Callable[[], Sequential]] = {
    "Input in the list": lambda: Sequential([Input((3,)), Dense(2), Dense(1)]),
    "Input with a number": lambda: Sequential([Input(3), Dense(2), Dense(1)]),
    "input_shape": lambda: Sequential([Dense(2, input_shape=(3,)), Dense(1)]),
    "build": lambda: Sequential([Dense(2), Dense(1)]),
    "data": lambda: Sequential([Dense(2), Dense(1)]),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_build(engine: str, way: str) -> None:
    """The same weights, by whichever way the input's shape becomes known."""
    utils.set_random_seed(4)
    model = WAYS[way]()
    assert model.built == (way not in {"build", "data"})
    if way == "build":
        model.build((None, 3))
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=0, verbose=0)
    assert model.built
    assert (model.input_shape, model.output_shape) == ((None, 3), (None, 1))
    utils.set_random_seed(4)
    expected = WAYS["Input in the list"]().get_weights()
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_one_feature_as_1d_data(engine: str) -> None:
    model = Sequential([Dense(4, "tanh"), Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.arange(5), np.arange(5), verbose=0)
    assert model.input_shape == (None, 1)
    assert model.predict([1, 2, 3], verbose=0).shape == (3, 1)
    assert model.predict([1, 2, 3], verbose=0).dtype == np.float32


def test_shapes_without_building() -> None:
    model = Sequential([Dense(4), Dense(2)])
    assert model.compute_output_shape((None, 7, 3)) == (None, 7, 2)
    assert not model.built
    assert not hasattr(model, "input_shape") and not hasattr(model, "output_shape")
    with pytest.raises(AttributeError, match=r"\[Sequential\] .* no output_shape yet"):
        _ = model.output_shape
    assert model.compute_output_shape((5, 3)) == (5, 2)


def test_add_after_build_keeps_weights(engine: str) -> None:
    model = Sequential([Input((3,)), Dense(4)])
    before = model.get_weights()
    model.add(Dense(1))
    for kept, old in zip(model.get_weights(), before, strict=False):
        np.testing.assert_array_equal(kept, old)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] != before[0]).any()
    kernel, bias = model.layers[0].get_weights()
    last, last_bias = model.layers[1].get_weights()
    by_hand = (X.astype(np.float32) @ kernel + bias) @ last + last_bias
    np.testing.assert_allclose(model.predict(X, verbose=0), by_hand, atol=1e-5)


def test_pop(engine: str) -> None:
    model = Sequential([Input((3,)), Dense(4), Dense(1)])
    kernel = model.layers[0].get_weights()[0]
    last = model.layers[1].get_weights()[0]
    popped = model.pop()
    assert model.output_shape == (None, 4)
    np.testing.assert_array_equal(model.get_weights()[0], kernel)
    np.testing.assert_array_equal(popped.get_weights()[0], last)
    other = Sequential([Input((4,)), popped])
    np.testing.assert_array_equal(other.get_weights()[0], last)
    model.pop()
    assert not model.built
    with pytest.raises(IndexError, match="no layer to pop"):
        model.pop()


def test_a_failed_add_changes_nothing(engine: str) -> None:
    """The first layers must not be left in a memory that nobody trains."""
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match="Orthogonal"):
        model.add(Dense(2, bias_initializer="orthogonal"))
    assert len(model.layers) == 1
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] != before[0]).all()


def test_a_model_does_not_contain_itself() -> None:
    model = Sequential([Input((3,)), Dense(3)], name="inner")
    outer = Sequential([Input((3,)), model])
    for layer in (model, outer):
        with pytest.raises(ValueError, match=r"cannot contain itself.*for 'inner'"):
            model.add(layer)
    assert len(model.layers) == 1


def test_a_failed_build_changes_nothing() -> None:
    model = Sequential([Dense(2), Normalization(axis=7)])
    with pytest.raises(ValueError, match="axis must name axes of the input"):
        model.build((None, 3))
    assert not model.built
    assert not model.layers[0].built
    model.pop()
    model.build((None, 5))
    assert model.input_shape == (None, 5)


def test_names_and_get_layer() -> None:
    model = Sequential([Dense(2, name="a"), Dense(1, name="b")], name="mine")
    assert model.name == "mine"
    assert model.get_layer("b") is model.get_layer(index=1) is model.layers[1]
    with pytest.raises(ValueError, match=r"unknown layer. Received: 'c'"):
        model.get_layer("c")
    assert Sequential().name.startswith("sequential")
    assert repr(model) == "<Sequential name=mine, built=False>"
    model.layers.clear()
    assert len(model.layers) == 2, "the list is a copy"


@pytest.mark.parametrize("index", [2, -3, 1.0, "a"])
def test_get_layer_of_no_index(index: Any) -> None:
    model = Sequential([Input((2,)), Dense(3), Dense(1)])
    assert model.get_layer(index=-1) is model.layers[1]
    with pytest.raises(ValueError, match=r"\[get_layer\] index must be .*-2 to 1, for"):
        model.get_layer(index=index)


def test_layers_without_a_list() -> None:
    for wrong in ((Dense(1),), (Input((2,)), Dense(1))):
        with pytest.raises(TypeError, match=r"\[Sequential\] layers must be a list\."):
            Sequential(*wrong)  # type: ignore[arg-type]


def test_weight_lists() -> None:
    model = Sequential(
        [Input((3,)), Normalization(), Dense(2), Dense(1, trainable=False)]
    )
    assert [w.shape for w in model.weights] == [
        (3,),
        (3,),
        (),
        (3, 2),
        (2,),
        (2, 1),
        (1,),
    ]
    assert len(model.trainable_weights) == 2
    assert len(model.non_trainable_weights) == 5
    assert model.count_params() == 7 + 8 + 3


def test_get_weights_are_copies() -> None:
    model = Sequential([Input((3,)), Dense(2)])
    model.get_weights()[0][...] = 99.0
    assert (model.get_weights()[0] != 99.0).all()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda w: w[:3], r"has 4 weights: .*kernel.*Received: 3 arrays"),
        (lambda w: [*w, w[0]], r"has 4 weights: .*Received: 5 arrays"),
        (
            lambda w: [*w[:3], np.ones(2)],
            r"bias has shape \(1,\).*Received: shape \(2,\)",
        ),
        (lambda w: [w[0].T, *w[1:]], r"kernel has shape \(3, 2\).*shape \(2, 3\)"),
        (lambda w: [*w[:3], [np.nan]], r"must be finite.*NaN or infinity for .*bias"),
    ],
)
def test_set_weights_is_all_or_none(wrong: Callable, text: str) -> None:
    model = Sequential([Input((3,)), Dense(2), Dense(1)])
    before = model.get_weights()
    given = wrong([w + 1.0 for w in before])
    with pytest.raises(ValueError, match=rf"^\[set_weights\] .*{text}"):
        model.set_weights(given)
    for now, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, old)


def test_set_weights_reaches_the_engine(engine: str) -> None:
    model = Sequential([Input((3,)), Dense(1)])
    model.set_weights([[[1], [2], [3]], [4]])
    np.testing.assert_allclose(model.predict([[1, 1, 1]], verbose=0), [[10.0]])
    model.layers[0].kernel.assign([[0], [0], [0]])
    np.testing.assert_allclose(model([[1, 1, 1]]), [[4.0]])


def test_seed_repeats_initial_weights_training_and_dropout(engine: str) -> None:
    def run(seed: int) -> list[np.ndarray]:
        utils.set_random_seed(seed)
        model = Sequential([Dense(8, "relu"), Dropout(0.5), Dense(1)])
        model.compile("adam", "mse")
        model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
        return model.get_weights()

    assert all(np.array_equal(a, b) for a, b in zip(run(1), run(1), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(run(1), run(2), strict=True))


def changed(model: Sequential, train: Callable[[], object]) -> list[bool]:
    """Which weights the training changes."""
    before = model.get_weights()
    train()
    pairs = zip(before, model.get_weights(), strict=True)
    return [not np.array_equal(a, b) for a, b in pairs]


def freeze_model(model: Sequential) -> None:
    model.trainable = False


def freeze_first(model: Sequential) -> None:
    model.layers[0].trainable = False


def thaw_first(model: Sequential) -> None:
    model.trainable = False
    model.layers[0].trainable = True


def freeze_and_thaw(model: Sequential) -> None:
    model.trainable = False
    model.trainable = True


def freeze_and_add(model: Sequential) -> None:
    model.trainable = False
    model.add(Dense(1))


@pytest.mark.filterwarnings("ignore:.*no weights to train")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("way", ["fit", "train_on_batch"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (freeze_model, [False] * 4),
        (freeze_first, [False, False, True, True]),
        (thaw_first, [False] * 4),
        (freeze_and_thaw, [True] * 4),
        (freeze_and_add, [False] * 6),
    ],
)
def test_trainable_before_and_after_compile(
    change: Callable[[Sequential], None],
    expected: list[bool],
    way: str,
    late: bool,
    engine: str,
) -> None:
    """The first training takes the flags as they are then, as in Keras."""
    model = Sequential([Input((3,)), Dense(2), Dense(1)])
    if not late:
        change(model)
    model.compile("adam", "mse")
    if late:
        change(model)
    training = {"verbose": 0} if way == "fit" else {}
    assert changed(model, lambda: getattr(model, way)(X, Y, **training)) == expected
    if not any(expected):
        assert model.trainable_weights == [] and model.trainable is False
        assert model.non_trainable_weights == model.weights


@pytest.mark.filterwarnings("ignore:.*no weights to train")
@pytest.mark.parametrize("change", [freeze_model, freeze_first])
def test_trainable_after_training_needs_another_compile(
    change: Callable[[Sequential], None], engine: str
) -> None:
    model = Sequential([Input((3,)), Dense(2), Dense(1)])
    model.compile("adam", "mse")
    model.train_on_batch(X, Y)
    change(model)
    for call in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match=r"`trainable` .* Try model\.compile\("):
            call(X, Y)
    assert model.iterations == 1
    model.evaluate(X, Y, verbose=0)
    with pytest.raises(ValueError, match="`trainable`"):
        model.fit(X, Y)
    model.compile("adam", "mse")
    frozen = change is freeze_model
    expected = [False, False, not frozen, not frozen]
    assert changed(model, lambda: model.fit(X, Y, verbose=0)) == expected


def test_a_network_that_is_frozen_by_turns() -> None:
    """As the one half of a pair that trains against the other."""
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("adam", "mse")
    for _ in range(3):
        model.trainable = True
        assert all(changed(model, lambda: model.train_on_batch(X, Y)))
        model.trainable = False
        model.predict(X, verbose=0)
    assert model.iterations == 3


def test_trainable_in_a_callback_is_refused() -> None:
    def freeze(epoch: int, logs: object) -> None:
        if epoch == 1:
            model.trainable = False

    model = Sequential([Input((3,)), Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"\[fit\] .*`trainable` that was changed"):
        model.fit(
            X, Y, epochs=3, verbose=0, callbacks=[LambdaCallback(on_epoch_begin=freeze)]
        )
    assert model.iterations == 1


def test_penalties_of_frozen_weights_do_not_count(engine: str) -> None:
    model = Sequential([Input((3,)), Dense(1, kernel_regularizer="l2")])
    model.compile("adam", "mse")
    whole = model.evaluate(X, Y, verbose=0)
    model.trainable = False
    penalty = 0.01 * float((model.get_weights()[0] ** 2).sum())
    assert whole - model.evaluate(X, Y, verbose=0) == pytest.approx(penalty, rel=1e-4)


@pytest.mark.parametrize("value", ["yes", None, 2])
def test_trainable_is_a_flag(value: object) -> None:
    with pytest.raises(TypeError, match=r"trainable must be True or False"):
        Sequential(trainable=value)
    with pytest.raises(TypeError, match=r"trainable must be True or False"):
        Sequential().trainable = value


@pytest.mark.filterwarnings("ignore:.*no weights to train")
def test_copies_and_files_stay_frozen(tmp_path: Path) -> None:
    model = Sequential([Dense(2, input_shape=(3,)), Dense(1)], trainable=False)
    model.compile("adam", "mse")
    model.save(tmp_path / "m.kurve")
    copies = [
        copy.deepcopy(model),
        model.clone(),
        load_model(tmp_path / "m.kurve"),
        Sequential.from_config(model.get_config()),
    ]
    for twin in copies:
        assert twin.trainable is False and twin.layers[0].trainable
        assert twin.trainable_weights == []
        twin.compile("adam", "mse")
        assert not any(changed(twin, lambda twin=twin: twin.fit(X, Y, verbose=0)))


def test_build_of_a_built_model_changes_nothing(engine: str) -> None:
    """Neither the optimizer nor a fit that is under way."""

    def build(epoch: int, logs: object) -> None:
        model.build((None, 3))
        model.build()

    model = Sequential([Input((3,)), Dense(8, "tanh"), Dense(1)])
    model.compile("adam", "mse")
    fit = model.fit(
        X, Y, epochs=9, verbose=0, callbacks=[LambdaCallback(on_epoch_begin=build)]
    )
    assert model.iterations == 9
    assert model.evaluate(X, Y, verbose=0) < fit.history["loss"][-1]
    weights = model.get_weights()
    model.build((None, 3))
    assert model.iterations == 9
    assert all(map(np.array_equal, weights, model.get_weights()))
    with pytest.raises(ValueError, match=r"\[build\] .*shape \(3,\).*Received: \(4,\)"):
        model.build((None, 4))


@pytest.mark.parametrize(
    "way", ["evaluate", "test_on_batch", "train_on_batch", "predict", "call", "batch"]
)
def test_an_unbuilt_model_is_built_from_the_data(way: str, engine: str) -> None:
    model = Sequential([Dense(4), Dense(1)])
    model.compile("adam", "mse")
    ways: dict[str, Callable[[], object]] = {
        "evaluate": lambda: model.evaluate(X, Y, verbose=0),
        "test_on_batch": lambda: model.test_on_batch(X, Y),
        "train_on_batch": lambda: model.train_on_batch(X, Y),
        "predict": lambda: model.predict(X, verbose=0),
        "call": lambda: model(X),
        "batch": lambda: model.predict_on_batch(X),
    }
    shape = np.shape(ways[way]())
    assert shape == ((20, 1) if way in ("predict", "call", "batch") else ())
    assert model.input_shape == (None, 3)


def test_predict_without_compile_builds_too() -> None:
    assert Sequential([Dense(3)]).predict([1, 2], verbose=0).shape == (2, 3)
    model = Sequential([Dense(3)])
    with pytest.raises(ValueError, match=r"\[predict\] x must be finite"):
        model.predict([np.nan])
    assert not model.built
    with pytest.raises(ValueError, match=r"\[build\] the model needs layers"):
        Sequential().predict(X)


def test_frozen_layers_stay(engine: str) -> None:
    """`trainable` of a layer, and a second `compile` after it has changed."""
    model = Sequential([Input((3,)), Dense(4, trainable=False), Dense(1)])
    model.compile("adam", "mse")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    after = model.get_weights()
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [
        True,
        True,
        False,
        False,
    ]
    model.layers[0].trainable = True
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] != before[0]).any()


def test_normalization_adapted_before_or_in_the_model(engine: str) -> None:
    first = Normalization()
    first.adapt(X)
    model = Sequential([first, Dense(1)])
    assert model.built
    expected = model.predict(X, verbose=0)
    first.adapt(X + 5.0)
    np.testing.assert_allclose(model.predict(X + 5.0, verbose=0), expected, atol=1e-5)


def test_config_round_trip() -> None:
    model = Sequential([Input((3,)), Dense(2, "relu"), Dropout(0.1), Dense(1)])
    again = Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert again.input_shape == model.input_shape
    lazy = Sequential([Dense(2)])
    assert not Sequential.from_config(lazy.get_config()).built


def test_a_shared_normalization_reaches_every_model_that_is_left() -> None:
    norm = Normalization()
    first = Sequential([Input(shape=(1,)), norm, Dense(1)])
    second = Sequential([Input(shape=(1,)), norm])
    for _ in range(5):
        first.add(Dense(1))
    assert len(norm.mean._views) == 2  # one view a model, however often it is built
    second.pop()
    norm.adapt([1.0, 3.0])
    np.testing.assert_array_equal(first.get_weights()[0], [2.0])


def test_errors_of_kinds_that_keras_has_too(tmp_path: Path) -> None:
    """Each can be caught by Python's type for it and by Keras's ValueError."""
    for kind in (TypeError, ValueError):
        with pytest.raises(kind, match=r"only layers can be added"):
            Sequential().add({})  # type: ignore[arg-type]
        with pytest.raises(kind, match=r"backup_dir must name a folder"):
            BackupAndRestore(None)  # type: ignore[arg-type]
    for ending in ("keras", "h5", "kurve", "pkl"):
        for other in (FileNotFoundError, ValueError):
            with pytest.raises(other, match="No such file"):
                load_model(tmp_path / f"missing.{ending}")


@pytest.mark.parametrize(
    ("name", "fix"), [("abc.pkl", "abc.kurve"), ("abc.txt", "abc.kurve")]
)
def test_the_name_of_a_file_that_save_proposes(name: str, fix: str) -> None:
    with pytest.raises(ValueError, match=rf"Try '{fix}'"):
        Sequential([Input((3,)), Dense(1)]).save(name)
