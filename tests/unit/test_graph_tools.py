"""What the other parts of the library do with models that are graphs: each does its
work, or refuses with one clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, inspection, layers, report, solvers

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X.sum(axis=1)


def skip() -> Model:
    """One input, one output, and a branch."""
    x = Input((3,), name="x")
    h = layers.Dense(6, "tanh", name="h")(x)
    model = Model(x, layers.Dense(1, name="y")(layers.Concatenate()([x, h])))
    model.compile("adam", "mse")
    return model


def several() -> Model:
    """Two inputs and two outputs."""
    inputs = [Input((3,), name="a"), Input((2,), name="b")]
    h = layers.Dense(4, "tanh", name="h")(layers.Concatenate(name="ab")(inputs))
    model = Model(inputs, [layers.Dense(1, name=name)(h) for name in "uv"])
    model.compile("adam", "mse")
    return model


def test_outputs_of_layers_are_those_of_models_that_end_there(engine: str) -> None:
    kurve.set_engine(engine)
    model, x = several(), {"a": X, "b": X[:, :2]}
    outputs = model.layer_outputs(x)
    assert list(outputs) == ["ab", "h", "u", "v"]
    hidden = Model(model.inputs, model.get_layer("h").output)
    np.testing.assert_allclose(
        outputs["h"], hidden.predict(x, verbose=0), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(outputs["v"], model.predict(x, verbose=0)[1])


def test_outputs_of_layers_where_the_size_is_left_open() -> None:
    x = Input((None, 3))
    model = Model(x, layers.GlobalAveragePooling1D()(layers.Dense(2, name="d")(x)))
    for steps in (4, 7):
        outputs = model.layer_outputs(np.ones((5, steps, 3)))
        assert outputs["d"].shape == (5, steps, 2)


def test_learning_rates_and_ensembles_of_a_graph(engine: str) -> None:
    kurve.set_engine(engine)
    model = skip()
    assert 1e-5 < kurve.lr_find(model, X, Y).suggestion < 1.0
    committee = kurve.ensemble(model, members=3)
    committee.fit(X, Y, epochs=2, verbose=0)
    mean, std = committee.predict(X, return_std=True)
    members = committee.predict_members(X)
    np.testing.assert_allclose(mean, members.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert mean.shape == std.shape == (40, 1) and std.any()


def test_solvers_fit_a_graph(engine: str) -> None:
    kurve.set_engine(engine)
    first = skip().evaluate(X, Y, verbose=0)
    assert solvers.levenberg_marquardt(skip(), X, Y).loss < 1e-3 * first
    assert solvers.lbfgs(skip(), X, Y).loss < 1e-3 * first


def test_a_graph_is_looked_into() -> None:
    model = skip()
    solvers.lbfgs(model, X, Y)
    assert (inspection.permutation_importance(model, X, Y).mean > 0.1).all()
    curve = inspection.partial_dependence(model, X, 0, grid=3)
    np.testing.assert_allclose(curve.mean[2] - curve.mean[0], np.ptp(X[:, 0]), 0.1)


def test_a_page_on_a_graph(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    report.write_report(tmp_path / "page.html", skip(), X, Y)
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(TypeError, match=r"\[make_report\] model must have a method"):
        report.make_report(X, skip(), Y)


def plot(name: str) -> Callable[[Any, Path], Any]:
    def drawn(model: Any, folder: Path) -> Any:
        plots = pytest.importorskip("kurve.plots")
        return getattr(plots, name)(model, [X, X[:, :2]], [Y, Y])

    return drawn


@pytest.mark.parametrize("name", ["plot_fit", "plot_residuals"])
def test_plots_of_a_graph(name: str) -> None:
    plots = pytest.importorskip("kurve.plots")
    assert getattr(plots, name)(skip(), X, Y).figure.axes


ONE = r"the model must have one input and one output"
REFUSED: dict[str, tuple[str, Callable[[Any, Path], Any]]] = {
    "diagnose": (ONE, lambda m, folder: m.diagnose([X, X[:, :2]], [Y, Y])),
    "lr_find": (ONE, lambda m, folder: kurve.lr_find(m, [X, X[:, :2]], [Y, Y])),
    "ensemble": (ONE, lambda m, folder: kurve.ensemble(m)),
    "levenberg_marquardt": (
        ONE,
        lambda m, folder: solvers.levenberg_marquardt(m, [X, X[:, :2]], [Y, Y]),
    ),
    "lbfgs": (ONE, lambda m, folder: solvers.lbfgs(m, [X, X[:, :2]], [Y, Y])),
    "permutation_importance": (
        ONE,
        lambda m, folder: inspection.permutation_importance(m, [X, X[:, :2]], Y),
    ),
    "partial_dependence": (
        ONE,
        lambda m, folder: inspection.partial_dependence(m, [X, X[:, :2]], 0),
    ),
    "make_report": (ONE, lambda m, folder: report.make_report(m, [X, X[:, :2]], Y)),
    "plot_fit": (ONE, plot("plot_fit")),
    "plot_residuals": (ONE, plot("plot_residuals")),
    "Regressor": (
        "a Sequential of hidden layers",
        lambda m, folder: kurve.Regressor(m).fit(X, Y),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_several_inputs_are_refused_by_name(name: str, tmp_path: Path) -> None:
    text, call = REFUSED[name]
    with pytest.raises(ValueError, match=text) as caught:
        call(several(), tmp_path)
    assert str(caught.value).startswith(f"[{name}] ")
    assert "Received: " in str(caught.value) and "Try " in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_ensemble_of_graphs_is_not_exported(tmp_path: Path) -> None:
    committee = kurve.ensemble(skip(), members=2)
    committee.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match=r"\[export\] .* ensemble must be stacks"):
        committee.export(tmp_path / "m.onnx")


def test_a_model_that_has_nothing_to_train_says_so() -> None:
    model = skip()
    model.trainable = False
    with pytest.warns(UserWarning, match=r"\[fit\] the model has no weights to train"):
        model.fit(X, Y, verbose=0)


def test_metrics_in_the_place_of_weights() -> None:
    with pytest.raises(ValueError, match=r"Try metrics=\['mae'\]\."):
        skip().compile("adam", "mse", ["mae"])


def test_a_frozen_view_of_a_model_is_trained_elsewhere() -> None:
    """Two models that train in turn, as adversarial networks do."""
    x, z = Input((2,)), Input((3,))
    judge = Model(x, layers.Dense(1, "sigmoid")(layers.Dense(4, "tanh")(x)))
    judge.compile("adam", "binary_crossentropy")
    frozen = Model(judge.inputs, judge.outputs, trainable=False)
    maker = Model(z, layers.Dense(2)(z))
    both = Model(z, frozen(maker(z)))
    both.compile("adam", "binary_crossentropy")
    assert len(judge.trainable_weights) == 4 and len(both.trainable_weights) == 2
    ones = np.ones((40, 1))
    for _ in range(2):
        before = judge.get_weights() + maker.get_weights()
        judge.train_on_batch(X[:, :2], ones)
        between = judge.get_weights() + maker.get_weights()
        both.train_on_batch(X, ones)
        after = judge.get_weights() + maker.get_weights()
        first = [not np.array_equal(a, b) for a, b in zip(before, between, strict=True)]
        second = [not np.array_equal(a, b) for a, b in zip(between, after, strict=True)]
        assert first == [True] * 4 + [False] * 2
        assert second == [False] * 4 + [True] * 2
