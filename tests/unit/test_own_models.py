"""Models with a call() of their own."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers
from kurve.layers import BatchNormalization, Dense, Dropout

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X.sum(axis=1)


class Mixer(kurve.Model):
    def __init__(self, units: int = 4, **common: Any) -> None:
        super().__init__(**common)
        self.hidden = Dense(units, "tanh")
        self.last = Dense(1)

    def call(self, x: Any) -> Any:
        h = self.hidden(x)
        return self.last(h * h + h)


def twin(model: Mixer) -> Any:
    """The same as a graph of inputs and outputs."""
    x = kurve.Input((3,))
    h = Dense(4, "tanh")(x)
    graph = kurve.Model(x, Dense(1)(h * h + h))
    graph.set_weights(model.get_weights())
    return graph


def test_trains_as_its_twin() -> None:
    model = Mixer()
    assert not model.built
    model.build((None, 3))
    assert model.built and model.get_weights()[0].shape == (3, 4)
    other = twin(model)
    for each in (model, other):
        each.compile("sgd", "mse", metrics=["mae"])
        each.fit(X, Y, epochs=3, shuffle=False, verbose=0, validation_split=0.25)
    assert model.history.history == other.history.history
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        assert (one == two).all()
    assert (model.predict(X, verbose=0) == other.predict(X, verbose=0)).all()


@pytest.mark.parametrize(
    "use",
    [
        lambda m: m.fit(X, Y, verbose=0),
        lambda m: m.evaluate(X, Y, verbose=0),
        lambda m: m.predict(X, verbose=0),
        lambda m: m.train_on_batch(X, Y),
        lambda m: m(X),
        lambda m: m.fit(iter([(X, Y)] * 3), steps_per_epoch=3, verbose=0),
        lambda m: m.fit(X, Y, verbose=0, validation_data=(X, Y)),
    ],
)
def test_the_first_x_builds_it(use: Any) -> None:
    model = Mixer(2)
    model.compile("adam", "mse")
    use(model)
    assert model.count_params() == 3 * 2 + 2 + 2 + 1
    assert [layer.name for layer in model.layers] == [
        model.hidden.name,
        model.last.name,
    ]


class Careful(kurve.Model):
    """Another formula in training than in prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.last = Dropout(0.5), Dense(1, use_bias=False)

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            x = self.drop(x, training=training)
        return self.last(x)


def test_training_is_said_to_call() -> None:
    model = Careful()
    model.compile(kurve.optimizers.SGD(0.0), "mse")
    ones = np.ones((400, 3), np.float32)
    expected = model(ones[:1]).numpy().item()
    assert (model.predict(ones, verbose=0) == expected).all()
    history = model.fit(ones, np.full(400, expected), verbose=0).history
    assert history["loss"][0] > 1e-4  # dropped inputs are no ones


class Two(kurve.Model):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Dense(2, activation="softmax"), Dense(1)

    def call(self, x: Any) -> Any:
        return {"class": self.a(x["left"]), "value": self.b(x["right"])}


def test_several_inputs_and_outputs() -> None:
    model = Two()
    model.compile(
        "adam", loss={"class": "sparse_categorical_crossentropy", "value": "mse"}
    )
    x, y = {"left": X, "right": X[:, :2]}, {"class": (Y > 0) * 1, "value": Y}
    history = model.fit(x, y, verbose=0).history
    assert {"loss", "class_loss", "value_loss"} == set(history)
    found = model.predict(x, verbose=0)
    assert found["class"].shape == (40, 2) and found["value"].shape == (40, 1)


class Blocks(kurve.Model):
    """Layers in lists, a model as a layer, and a build() that makes one."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = [Dense(3, "relu") for _ in range(2)]
        self.head = kurve.Sequential([BatchNormalization(), Dense(1)])

    def build(self, input_shape: Any) -> None:
        self.first = Dense(input_shape[-1])
        self.built = True

    def call(self, x: Any) -> Any:
        x = self.first(x)
        for step in self.steps:
            x = step(x)
        return self.head(x)


def test_layers_in_lists_and_models_inside(capsys: pytest.CaptureFixture[str]) -> None:
    model = Blocks()
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    assert len(model.layers) == 4
    assert model.count_params() == 3 * 12 + 12 + 4
    model.summary()
    shown = capsys.readouterr().out
    assert "Total params" in shown and "(Sequential)" in shown
    assert "(Body)" not in shown


def test_in_other_models() -> None:
    x = kurve.Input((3,))
    inner = Mixer()
    graph = kurve.Model(x, Dense(1)(inner(x)))
    graph.compile("sgd", "mse")
    graph.fit(X, Y, verbose=0)
    stack = kurve.Sequential([Dense(3), Mixer()])
    stack.compile("sgd", "mse")
    stack.fit(X, Y, verbose=0)
    assert stack.output_shape == (None, 1)


def test_frozen_parts_stay() -> None:
    model = Mixer()
    model.hidden.trainable = False
    model.compile("sgd", "mse")
    model.build((None, 3))
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    after = model.get_weights()
    assert (before[0] == after[0]).all() and (before[2] != after[2]).any()
    assert len(model.trainable_weights) == 2


def test_weights_in_files(tmp_path: Path) -> None:
    model, other = Mixer(), Mixer()
    expected = model(X)
    model.save_weights(tmp_path / "m.weights.kurve")
    other.build((None, 3))
    other.load_weights(tmp_path / "m.weights.kurve")
    assert (other(X) == expected).all()


def test_keras_files_name_the_class(tmp_path: Path) -> None:
    model = Mixer()
    expected = model(X)
    model.save(tmp_path / "m.keras")
    again = kurve.models.load_model(tmp_path / "m.keras", {"Mixer": Mixer})
    assert type(again) is Mixer and (again(X) == expected).all()
    with pytest.raises(kurve.saving.ModelFileError, match="Try custom_objects="):
        kurve.models.load_model(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"which \.h5 files cannot hold"):
        model.save(tmp_path / "m.h5")


def test_copies(tmp_path: Path) -> None:
    model = Mixer()
    expected = model(X)
    assert model.get_config() == {"name": model.name, "trainable": True}
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other) is Mixer
        assert (other(X) == expected).all()
    cloned = kurve.models.clone_model(model)
    assert type(cloned) is Mixer
    assert not (cloned(X) == expected).all()


def test_a_layer_that_never_acts_as_in_training(engine: str) -> None:
    """training=False in a call(), also where call() is traced for both modes: dropout
    does nothing, averages stay, and the weights learn."""

    class Still(kurve.Model):
        def __init__(self, always: bool | None) -> None:
            super().__init__()
            self.scale, self.drop = BatchNormalization(), Dropout(0.5)
            self.last, self.always = Dense(1), always

        def call(self, x: Any, training: bool | None = None) -> Any:
            h = self.scale(x, training=self.always)
            return self.last(self.drop(h, training=self.always)) + 0.0 * bool(training)

    model, free = Still(False), Still(None)
    for one in (model, free):
        one.compile(kurve.optimizers.SGD(0.01), "mse", engine=engine)
    before = model.evaluate(X, Y, verbose=0)
    loss = model.fit(X, Y, batch_size=40, verbose=0).history["loss"][0]
    assert loss == pytest.approx(before, rel=1e-6)
    assert (model.scale.moving_mean.numpy() == 0.0).all()
    assert (model.scale.gamma.numpy() != 1.0).any()
    free.fit(X, Y, verbose=0)
    assert (free.scale.moving_mean.numpy() != 0.0).all()
    x = kurve.Input((3,))
    graph = kurve.Model(x, Dense(1)(Dropout(0.9)(x, training=False)))
    graph.compile(kurve.optimizers.SGD(0.0), "mse", engine=engine)
    loss = graph.fit(X, Y, batch_size=40, verbose=0).history["loss"][0]
    assert loss == pytest.approx(graph.evaluate(X, Y, verbose=0), rel=1e-6)
    with pytest.raises(NotImplementedError, match="Received: training=True"):
        Still(True)(X)


def test_attributes_of_the_names_of_arguments_of_compile() -> None:
    class Named(Mixer):
        def __init__(self) -> None:
            super().__init__()
            self.loss, self.optimizer = "mine", 3

    model = Named()
    assert (model.loss, model.optimizer) == ("mine", 3)
    model.compile("sgd", "mae")
    assert type(model.loss).__name__ == "MeanAbsoluteError"
    with pytest.raises(AttributeError, match=r"Try model\.compile"):
        model.loss = "mse"
    model.fit(X, Y, verbose=0)


def test_wrong_models() -> None:
    with pytest.raises(TypeError, match="inputs and outputs, or a subclass"):
        kurve.Model()

    class Silent(kurve.Model):
        pass

    silent = Silent()
    silent.compile("sgd", "mse")
    for use in (silent, silent.predict, lambda x: silent.fit(x, Y, verbose=0)):
        with pytest.raises(NotImplementedError, match=r"has no call\(\)"):
            use(X)
    model = Mixer()
    model.compile("sgd", ["mse", "mse"])
    with pytest.raises(ValueError, match="loss"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (lambda x: x.item(), r"\.item\(\) needs values"),
        (lambda x: x.numpy(), r"\.numpy\(\) needs values"),
        (lambda x: max(x, 0.0), "a condition needs values"),
        (lambda x: x.nothing, "has no attribute 'nothing'"),
        (lambda x: kurve.ops.reshape(x, (10**6, 10**6)), "batch axis must stay"),
        (lambda x: kurve.ops.reshape(x, (-1, 10**12)), "same number of elements"),
        (lambda x: doubled(x, 60), "elements"),
    ],
)
def test_formulas_that_no_engine_can_run_are_refused(
    formula: Any, message: str
) -> None:
    class Own(kurve.layers.Layer):
        def call(self, x: Any) -> Any:
            return formula(x)

    with pytest.raises((TypeError, ValueError, AttributeError), match=message):
        Own()(kurve.Input((3,)))


def doubled(x: Any, times: int) -> Any:
    for _ in range(times):
        x = kurve.ops.concatenate([x, x], axis=-1)
    return x


class NoArguments(kurve.Model):
    """Its constructor takes no name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = layers.Dense(3, "relu"), layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.last(self.first(x))


class Units(NoArguments):
    """It takes an argument that nothing gives again."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.first = layers.Dense(units)


class Holder(layers.Layer):
    """Its parts are named by their number in the program."""

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self.stack = kurve.Sequential([layers.Dense(3), layers.Dense(2)])

    def call(self, x: Any) -> Any:
        return self.stack(x)


def test_a_constructor_without_name(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    model = NoArguments()
    model.compile("adam", "mse")
    model.fit(x, x[:, :1], verbose=0)
    model.save(tmp_path / "m.keras")
    same = [
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        kurve.models.load_model(tmp_path / "m.keras", {"NoArguments": NoArguments}),
    ]
    for other in same:
        assert type(other) is NoArguments and other.name == model.name
        np.testing.assert_array_equal(other.predict(x), model.predict(x))
    assert kurve.models.clone_model(model).count_params() == model.count_params()
    assert len(kurve.lr_find(model, x, x[:, :1], steps=50).losses) <= 50
    wrong = Units(3)
    wrong.compile("adam", "mse")
    wrong.fit(x, x[:, :1], verbose=0)
    before = [w.copy() for w in wrong.get_weights()]
    for use in (copy.deepcopy, kurve.models.clone_model):
        with pytest.raises(TypeError, match=r"\[Units\] get_config must return.*units"):
            use(wrong)
    with pytest.raises(TypeError, match=r"\[Units\] get_config must return"):
        kurve.lr_find(wrong, x, x[:, :1], steps=50)
    for one, other in zip(before, wrong.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RuntimeError, match=r"\[to_json\] the model is not built"):
        NoArguments().to_json()


def test_files_of_parts_named_by_number(tmp_path: Path) -> None:
    x = np.ones((3, 4), np.float32)
    model = kurve.Sequential([kurve.Input((4,)), Holder(), layers.Dense(1)])
    model.save(tmp_path / "m.kurve")
    _ = layers.Dense(1), layers.Dense(1)  # so that the next ones have other numbers
    loaded = kurve.models.load_model(tmp_path / "m.kurve", {"Holder": Holder})
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))


def test_samples_of_other_lengths() -> None:
    """Code can be called with any shape that its layers take; weights are shared."""

    class Tagger(kurve.Model):
        def __init__(self) -> None:
            super().__init__()
            self.table = layers.Embedding(5, 3)
            self.memory = layers.LSTM(4, return_sequences=True)
            self.last = layers.Dense(5)

        def call(self, x: Any) -> Any:
            return self.last(self.memory(self.table(x)))

    model = Tagger()
    words = np.random.default_rng(0).integers(0, 5, size=(6, 8))
    whole = model(words)
    for steps in (3, 8, 1):
        np.testing.assert_allclose(
            model.predict(words[:, :steps], verbose=0), whole[:, :steps], atol=1e-6
        )
    loss = kurve.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    for steps in (4, 8, 4):
        before = model.last.kernel.numpy().copy()
        model.fit(words[:, :steps], words[:, :steps], verbose=0)
        assert (before != model.last.kernel.numpy()).any()
    assert model.count_params() == 5 * 3 + 4 * (3 + 4 + 1) * 4 + 5 * 5

    class Wide(kurve.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.last(x)

    wide = Wide()
    wide(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"\(n, 3\)"):
        wide.predict(np.ones((2, 4)), verbose=0)
