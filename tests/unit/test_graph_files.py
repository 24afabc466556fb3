"""Models that are graphs: files, copies, text, tables and pictures of them."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, models
from kurve.formulas import functions as ops
from kurve.layers import Add, BatchNormalization, Concatenate, Dense, Dropout
from kurve.plots import graphs
from kurve.saving import ModelFileError

RNG = np.random.default_rng(8)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = np.sin(X.sum(axis=1))


def graph() -> Model:
    """Shared layers, models in models, functions with arguments."""
    x = Input((4,), name="x")
    inside = Input((4,), name="i")
    block = Model(inside, Add()([inside, Dense(4, "tanh", name="d")(inside)]), name="b")
    stack = Sequential([Input((4,)), Dense(3, name="d"), Dropout(0.3)], name="s")
    shared = Dense(3, "relu", name="shared")
    h = Concatenate(name="c")([stack(block(x)), shared(x), shared(block(block(x)))])
    h = ops.reshape(ops.tanh(h[:, 1:7]) * 2.0 + 1.0, (-1, 2, 3))
    h = BatchNormalization(name="n")(ops.sum(h, axis=1))
    return Model(x, Dense(1, name="y")(h), name="graph")


def trained() -> Model:
    model = graph()
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    return model


def several() -> Model:
    a, b = Input((4,), name="a"), Input((2,), name="b")
    h = Concatenate(name="c")([a, b])
    return Model({"a": a, "b": b}, [Dense(1, name="p")(h), Dense(2, name="q")(h)])


def same_training(model: Any, again: Any) -> None:
    for one in (model, again):
        one.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    np.testing.assert_array_equal(
        model.predict(X, verbose=0), again.predict(X, verbose=0)
    )


@pytest.mark.parametrize("how", ["file", "pickle", "copy"])
def test_training_goes_on_with_the_same_bits(how: str, tmp_path: Path) -> None:
    model = trained()
    if how == "file":
        model.save(tmp_path / "m.kurve")
        again = models.load_model(tmp_path / "m.kurve")
    elif how == "pickle":
        again = pickle.loads(pickle.dumps(model))
    else:
        again = copy.deepcopy(model)
    assert again.get_config() == model.get_config()
    assert again.history.history == model.history.history
    same_training(model, again)
    # A model inside is a model of its own, of the same weights.
    inner = again.get_layer("b")
    assert inner.predict(X, verbose=0).shape == (40, 4)
    np.testing.assert_array_equal(
        inner.get_weights()[0], model.get_layer("b").get_weights()[0]
    )


def test_weights(tmp_path: Path) -> None:
    model, other = trained(), graph()
    model.save_weights(tmp_path / "m.weights.kurve")
    other.load_weights(tmp_path / "m.weights.kurve")
    np.testing.assert_array_equal(
        model.predict(X, verbose=0), other.predict(X, verbose=0)
    )
    with pytest.raises(ModelFileError, match="does not fit the model"):
        several().load_weights(tmp_path / "m.weights.kurve")


def test_a_dictionary_of_inputs(tmp_path: Path) -> None:
    model = several()
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve")
    assert again.get_config() == model.get_config()
    assert again.input_names == ["a", "b"] and again.output_names == ["p", "q"]
    assert list(again.input) == ["a", "b"]


def test_a_stack_of_models(tmp_path: Path) -> None:
    x = Input((4,))
    block = Model(x, Add()([x, Dense(4)(x)]))
    model = Sequential([Input((4,)), block, Dense(2), Sequential([Dense(1)])])
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.kurve")
    same_training(model, models.load_model(tmp_path / "m.kurve"))


def test_a_layer_of_two_models_in_one_is_refused(tmp_path: Path) -> None:
    x = Input((4,))
    layer = Dense(4)
    inner = Model(x, layer(x))
    model = Model(x, layer(inner(x)))
    with pytest.raises(ValueError, match="more than one of the models"):
        model.save(tmp_path / "m.kurve")


def test_checkpoints(tmp_path: Path) -> None:
    """A run that was stopped goes on with the same bits."""

    class Stop(kurve.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2 and stopping:
                raise KeyboardInterrupt

    def run(folder: Path | None) -> Any:
        kurve.utils.set_random_seed(3)
        model = graph()
        model.compile("adam", "mse")
        model.fit(
            X,
            Y,
            batch_size=8,
            epochs=5,
            verbose=0,
            callbacks=[Stop()],
            checkpoint=folder,
            checkpoint_freq="epoch" if folder else "auto",
        )
        return model.predict(X, verbose=0)

    stopping = False
    expected = run(None)
    stopping = True
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run")
    stopping = False
    np.testing.assert_array_equal(run(tmp_path / "run"), expected)


def test_clone_model() -> None:
    model = trained()
    clone = models.clone_model(model)
    assert clone.get_config() == model.get_config()
    assert clone.loss.kind == model.loss.kind and clone.optimizer.iterations == 0
    clone.fit(X, Y, epochs=1, verbose=0)
    assert model.optimizer.iterations == 10
    assert not np.array_equal(clone.get_weights()[0], model.get_weights()[0])
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        clone.predict(X, verbose=0), model.predict(X, verbose=0)
    )

    def wider(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name == "shared":
            config["activation"] = "sigmoid"
        return type(layer).from_config(config)

    other = models.clone_model(model, clone_function=wider)
    assert other.get_layer("shared").activation.name == "sigmoid"
    x = Input((4,), name="new")
    assert models.clone_model(model, x).input is x
    stack = Sequential([Input((4,)), Dense(2, name="d")], name="stack")
    assert models.clone_model(stack).get_config() == stack.get_config()
    with pytest.raises(ValueError, match="must be 1 symbolic tensors"):
        models.clone_model(model, [x, x])
    with pytest.raises(TypeError, match="must return a layer"):
        models.clone_model(model, clone_function=lambda layer: None)
    with pytest.raises(TypeError, match="must be a model"):
        models.clone_model(Dense(1))


def test_clones_call_layers_in_a_way_of_ones_own() -> None:
    model = graph()

    def followed(layer: Any, *args: Any, **kwargs: Any) -> Any:
        out = layer(*args, **kwargs)
        return Dropout(0.5)(out) if isinstance(layer, Dense) else out

    new = models.clone_model(model, None, lambda layer: layer, followed, recursive=True)
    dropped = [
        len([1 for a in m.layers if isinstance(a, Dropout)]) for m in (model, new)
    ]
    assert dropped == [0, 3]  # the shared layer is called twice, and y
    block = new.get_layer("b")
    assert [type(layer).__name__ for layer in block.layers[2:]] == ["Dropout", "Add"]
    np.testing.assert_array_equal(
        new.predict(X, verbose=0), model.predict(X, verbose=0)
    )
    with pytest.raises(ValueError, match="does not call them"):
        models.clone_model(Sequential([Dense(1)]), call_function=followed)


@pytest.mark.parametrize("kind", [list, tuple])
def test_outputs_keep_their_kind_of_sequence(kind: type) -> None:
    x = Input((4,))
    model = Model(x, kind([Dense(1)(x), Dense(2)(x)]))
    assert type(Model.from_config(model.get_config()).predict(X, verbose=0)) is kind


def test_functional_models_with_arguments_of_their_own() -> None:
    class Scaled(Model):
        def __init__(self, *args: Any, scale: float = 1.0, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.scale = scale

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "scale": self.scale}

    x = Input((4,))
    model = Scaled(inputs=x, outputs=Dense(1)(x), scale=3.0)
    again = Scaled.from_config(model.get_config())
    assert type(again) is Scaled and again.scale == 3.0


def test_json() -> None:
    for model in (graph(), several(), Sequential([Input((3,)), Dense(2)])):
        again = models.model_from_json(model.to_json())
        assert again.get_config() == model.get_config()
        assert again.built
    for text, message in (
        ("[", "configuration of a model"),
        ("{}", "no class name"),
        (json.dumps({"class_name": "Functional", "config": {"name": 1}}), "missing"),
    ):
        with pytest.raises(ValueError, match=message):
            models.model_from_json(text)
    with pytest.raises(TypeError, match="must be a string"):
        models.model_from_json(3)  # type: ignore[arg-type]


def test_pictures(tmp_path: Path) -> None:
    for model in (graph(), several(), Sequential([Input((3,)), Dense(2)])):
        for rankdir in graphs.DIRECTIONS:
            picture = kurve.utils.plot_model(
                model,
                tmp_path / "m.svg",
                show_shapes=True,
                show_dtype=True,
                show_layer_names=True,
                rankdir=rankdir,
                expand_nested=rankdir in ("TB", "LR"),
                show_layer_activations=True,
                show_trainable=True,
            )
            root = ElementTree.fromstring((tmp_path / "m.svg").read_text())
            texts = [
                e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text")
            ]
            for layer in model.layers:
                assert any(layer.name in text for text in texts)
            # Boxes lie inside the picture, and not on each other.
            places = [
                (b.x - w / 2, b.y - h / 2, b.x + w / 2, b.y + h / 2)
                for b, w, h in [(b, b.width, b.height) for b in picture.boxes]
            ]
            for i, (left, top, right, bottom) in enumerate(places):
                assert 0 <= left < right <= picture.size[0]
                assert 0 <= top < bottom <= picture.size[1]
                for other in places[:i]:
                    assert (
                        right < other[0]
                        or other[2] < left
                        or bottom < other[1]
                        or other[3] < top
                    )
    kurve.utils.plot_model(graph(), tmp_path / "m.png", dpi=50)
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = graph(), tmp_path / "m.svg"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"to_file": tmp_path / "m.pdf"}, r"end in \.svg or \.png"),
        ({"rankdir": "XY"}, "one of TB"),
        ({"dpi": 0}, r"in \[10, 2000\]"),
        ({"model": 3}, "must be a model"),
        ({"show_shapes": "yes"}, "must be True or False"),
    ]
    for arguments, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            kurve.utils.plot_model(**{"model": model, "to_file": path, **arguments})
    assert not path.exists()
    picture = kurve.utils.model_to_dot(model, show_shapes=True)
    assert picture.create(prog="dot", format="svg").startswith(b"<svg")
    assert picture.write_svg(path) and path.read_bytes() == picture.create_svg()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"Try to_file='model\.svg'"):
        kurve.utils.plot_model(model, tmp_path / "m.png")


def test_summaries() -> None:
    lines: list[str] = []
    graph().summary(120, print_fn=lines.append, layer_range=["c", "sum"])
    (text,) = lines
    assert "c (Concatenate)" in text and "sum" in text
    assert "shared (Dense)" not in text and "n (Batch" not in text
    assert "Connected to" in text and "s[0][0], shared[0][0]" in text
    assert "Connected to" in graph()._repr_html_()
    with pytest.raises(ValueError, match="names of layers"):
        graph().summary(layer_range=["nobody", "c"])
    with pytest.raises(ValueError, match="must be two names"):
        graph().summary(layer_range="c")


def test_layer_outputs() -> None:
    model = trained()
    outputs = model.layer_outputs(X)
    np.testing.assert_array_equal(outputs["y"], model.predict(X, verbose=0))
    tower = Model(model.input, model.get_layer("c").output)
    np.testing.assert_allclose(
        outputs["c"], tower.predict(X, verbose=0), rtol=1e-6, atol=1e-6
    )
    both = several().layer_outputs({"a": X, "b": X[:, :2]})
    np.testing.assert_array_equal(both["c"], np.hstack([X, X[:, :2]]))
    with pytest.raises(ValueError, match="one value for each of the 2 inputs"):
        several().layer_outputs([X])


def test_a_functional_stack_is_exported_to_c(tmp_path: Path) -> None:
    x = Input((4,))
    Model(x, Dense(1)(Dense(3, "tanh")(x))).export(tmp_path / "m.c")
    assert (tmp_path / "m.c").read_text().startswith("/*")


def test_solvers_and_searches() -> None:
    """They take a graph of one input and one output like a stack."""
    kurve.utils.set_random_seed(2)

    def made() -> tuple[Any, Any]:
        inner = Model(*block())
        x = Input((4,))
        return Model(x, Dense(1)(inner(x))), inner

    def error(model: Any) -> float:
        return float(np.mean((model.predict(X)[:, 0] - Y) ** 2))

    for solver in (kurve.solvers.lbfgs, kurve.solvers.levenberg_marquardt):
        model, inner = made()
        first, before = error(model), inner.predict(X, verbose=0)
        solver(model, X, Y)
        assert error(model) < 0.1 * first
        assert not np.array_equal(inner.predict(X, verbose=0), before)
    model, _ = made()
    model.compile(kurve.optimizers.Adam(0.01), "mse")
    first = error(model)
    assert kurve.lr_find(model, X, Y, steps=50).suggestion > 0.0
    assert error(model) == first
    members = kurve.ensemble(model, 2)
    members.fit(X, Y, epochs=60, batch_size=8, verbose=0)
    assert error(members) < 0.5 * first


def block() -> tuple[Any, Any]:
    x = Input((4,))
    return x, Add()([x, Dense(4, "tanh")(Dense(4, "tanh")(x))])


def test_what_takes_one_output_says_so() -> None:
    model, x = several(), [X, X[:, :2]]
    for call, where in (
        (lambda: kurve.lr_find(model, x, Y), "lr_find"),
        (lambda: kurve.ensemble(model), "ensemble"),
        (lambda: kurve.solvers.lbfgs(model, x, Y), "lbfgs"),
        (lambda: kurve.plots.plot_fit(model, x, Y), "plot_fit"),
    ):
        with pytest.raises(ValueError, match=rf"\[{where}\] the model must have"):
            call()


def test_the_text_of_a_model_is_shown_by_its_beginning() -> None:
    text = kurve.Sequential([kurve.Input((3,)), kurve.layers.Dense(1)]).to_json()
    with pytest.raises(ValueError, match=r"'\.\.\. \(\d+ signs\), but \["):
        kurve.models.model_from_json(text.replace('"Dense"', '"Dens"'))
    with pytest.raises(ValueError, match=r"Received: '\{\}', but it has"):
        kurve.models.model_from_json("{}")


def test_a_layer_in_two_models_is_in_no_file(tmp_path: Path) -> None:
    """Files hold each model by itself; Keras writes such a file and cannot read it."""
    x, z = Input((4,)), Input((4,))
    stack = Sequential([Input((4,)), kurve.layers.Dense(4)])
    inner = Model(x, kurve.layers.Add()([stack(x), x]))
    model = Model(z, kurve.layers.Dot(1)([inner(z), stack(z)]))
    for ending in (".kurve", ".keras"):
        with pytest.raises(ValueError, match="must not be in more than one"):
            model.save(tmp_path / f"m{ending}")
        assert not list(tmp_path.iterdir())
