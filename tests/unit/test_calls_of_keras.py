"""Calls that programs for Keras make of layers, losses, schedules and callbacks."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import callbacks, layers, losses
from kurve.formulas import functions as ops
from kurve.optimizers import schedules

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_losses_of_a_layer() -> None:
    """Of its last call by hand, and of its weights while they are trained."""
    layer = layers.Dense(
        2, "linear", kernel_regularizer="l2", activity_regularizer="l1"
    )
    y = layer(X)
    of_outputs, of_kernel = layer.losses
    assert of_outputs == pytest.approx(0.01 * np.abs(y).sum() / len(y), rel=1e-5)
    assert of_kernel == pytest.approx(0.01 * (layer.kernel.numpy() ** 2).sum())
    layer.trainable = False
    assert len(layer.losses) == 1
    assert layers.Flatten().losses == []


def test_losses_that_a_call_adds() -> None:
    class Adding(layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(ops.sum(x))
            return x

    layer = Adding()
    assert layer.losses == []
    layer(X)
    assert layer.losses == [X.sum()]


@pytest.mark.parametrize(
    ("layer", "shapes", "expected"),
    [
        (lambda: layers.Attention(), ([(2, 3, 4), (2, 5, 6), (2, 5, 4)],), (2, 3, 6)),
        (
            lambda: layers.MultiHeadAttention(2, 3),
            ((None, 3, 4), (None, 5, 4)),
            (None, 3, 4),
        ),
        (lambda: layers.EinsumDense("abc,cd->abd", (None, 4)), ((7, None, 2),), None),
        (lambda: layers.Add(), ([(2, 3), (2, 3)],), (2, 3)),
        (lambda: layers.Dense(5), ((2, 3),), (2, 5)),
    ],
)
def test_shapes_of_outputs_need_no_weights(
    layer: Callable[[], Any], shapes: tuple[Any, ...], expected: Any
) -> None:
    made = layer()
    assert made.compute_output_shape(*shapes) == (expected or (7, None, 4))
    assert not made.built
    assert made.weights == []


def test_a_layer_whose_weights_depend_on_no_shape() -> None:
    class Shift(layers.Layer):
        def build(self, input_shape: Any = None) -> None:
            self.b = self.add_weight((3,), "ones", name="b")

        def call(self, x: Any) -> Any:
            return x + self.b

    for given in ((), (None,)):
        layer = Shift()
        layer.build(*given)
        assert layer.built
        assert len(layer.weights) == 1
        np.testing.assert_array_equal(layer(X), X + 1)
        assert layer.input_shape == (None, 3)


def test_parts_that_two_inputs_build() -> None:
    class Both(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, a: Any, b: Any) -> Any:
            return self.dense(a) + self.dense(b)

    a, b = kurve.Input((3,)), kurve.Input((3,))
    layer = Both()
    model = kurve.Model([a, b], layer(a, b))
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(
        model.predict([X, X], verbose=0), 2 * (X @ kernel + bias), rtol=1e-5
    )
    assert Both()(X, X).shape == (4, 2)


def test_attention_returns_the_weights_that_it_used() -> None:
    """As dropout leaves them: with values of the identity, they are the output."""
    layer = layers.Attention(dropout=0.5, seed=1)
    eye = np.eye(6, dtype=np.float32)[None]
    y, weights = layer([eye, eye], return_attention_scores=True, training=True)
    np.testing.assert_allclose(y, weights, rtol=1e-6)
    assert (weights == 0).any()


def test_the_mode_of_a_call_in_a_graph(tmp_path: Path) -> None:
    """training=True of a layer that mixes samples: batch statistics while the model is
    trained, as in Keras; training=False of a layer or a model: never, in copies and
    files, too."""
    x = kurve.Input((3,))
    for training in (True, False):
        assert layers.Dense(2)(x, training=training).shape == (None, 2)
    inner = kurve.Sequential(
        [kurve.Input((3,)), layers.BatchNormalization(), layers.Dropout(0.9)]
    )
    single = kurve.Sequential([kurve.Input((3,)), layers.BatchNormalization()])
    alone = layers.BatchNormalization()
    h = inner(single(alone(x, training=True)), training=False)
    model = kurve.Model(x, layers.Dense(1)(h))
    model.compile("sgd", "mse")
    expected = [True, True, False]
    rng = np.random.default_rng(0)
    data, targets = rng.normal(size=(40, 3)) + 3.0, np.ones((40, 1))
    for ending in ("kurve", "keras", "h5"):
        model.save(tmp_path / f"m.{ending}")
    models = [
        model,
        kurve.models.clone_model(model),
        kurve.models.model_from_json(model.to_json()),
        pickle.loads(pickle.dumps(model)),
        *(
            kurve.models.load_model(tmp_path / f"m.{ending}")
            for ending in ("kurve", "keras", "h5")
        ),
    ]
    for one in models:
        one.compile(kurve.optimizers.SGD(1e-3), "mse")
        one.fit(data, targets, epochs=2, verbose=0)
        moved = [
            bool((w.numpy() != 0.0).all())
            for w in one.non_trainable_weights
            if w.name.endswith("moving_mean")
        ]
        assert moved == expected
    same = kurve.Model(x, single(x, training=True))
    np.testing.assert_array_equal(
        same(data, training=True), single(data, training=True)
    )


def test_a_model_within_a_call_keeps_its_mode() -> None:
    inner = kurve.Sequential([kurve.Input((3,)), layers.BatchNormalization()])

    class Tuned(kurve.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = inner, layers.Dense(1)

        def call(self, x: Any, training: bool | None = None) -> Any:
            return self.head(self.inner(x, training=False))

    model = Tuned()
    model.compile("sgd", "mse")
    model.fit(X + 3.0, X[:, :1], verbose=0)
    model(X, training=True)
    assert (inner.layers[-1].moving_mean.numpy() == 0.0).all()


def test_a_layer_that_wraps_its_call(engine: str) -> None:
    """`__call__` around that of the class runs where the layer is called: in a graph,
    in a stack, in another layer and on arrays."""

    class Around(layers.Dense):
        def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(2.0 * x, *args, **kwargs) + 1.0

    class Outer(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Around(1, kernel_initializer="ones")

        def call(self, x: Any) -> Any:
            return self.inner(x)

    expected = 2.0 * X.sum(axis=1, keepdims=True) + 1.0
    x = kurve.Input((X.shape[1],))
    layer = Around(1, kernel_initializer="ones")
    for model in (
        kurve.Model(x, layer(x)),
        kurve.Sequential([x, Around(1, kernel_initializer="ones")]),
        kurve.Sequential([x, Outer()]),
    ):
        model.compile("sgd", "mse", engine=engine)
        np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5)
        assert model.evaluate(X, expected, verbose=0) < 1e-10
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5)


def test_copies_of_functions() -> None:
    """A clone has the same functions, also of nested models."""
    inner = kurve.Sequential([kurve.Input((3,)), layers.Lambda(lambda x: 2.0 * x)])
    x = kurve.Input((3,))
    model = kurve.Model(x, layers.Lambda(lambda x: x + 1.0, name="one")(inner(x)))
    cloned = kurve.models.clone_model(model)
    assert cloned.layers[-1] is not model.layers[-1]
    assert [layer.name for layer in cloned.layers] == [la.name for la in model.layers]
    np.testing.assert_allclose(cloned.predict(X, verbose=0), 2.0 * X + 1.0)


def test_folders_are_no_files(tmp_path: Path) -> None:
    model = kurve.Sequential([kurve.Input((1,)), layers.Dense(1)])
    for save in (model.save, model.save_weights):
        with pytest.raises(IsADirectoryError, match="is a folder"):
            save(tmp_path)
    with pytest.raises(NotImplementedError, match="does not exist since Keras 3"):
        model.add_metric(1.0, name="mine")


def test_names_of_losses_of_nested_outputs() -> None:
    x = kurve.Input((3,))
    a, b, c = (layers.Dense(1, name=name)(x) for name in "abc")
    y = X[:, :1]
    for outputs, targets, expected in (
        ({"u": a, "v": [b, c]}, {"u": y, "v": [y, y]}, ["u", "v/b", "v/c"]),
        ([a, [b, c]], [y, [y, y]], ["1/b", "1/c", "a"]),
        ({"u": a, "v": {"w": b, "z": c}}, None, ["u", "v/w", "v/z"]),
    ):
        targets = targets or {"u": y, "v": {"w": y, "z": y}}
        model = kurve.Model(x, outputs)
        model.compile("sgd", "mse")
        found = model.fit(X, targets, verbose=0).history
        assert sorted(found) == sorted(["loss", *(f"{e}_loss" for e in expected)])


def test_open_sizes_in_the_first_call() -> None:
    """A model that has seen no data yet takes any, and others after it."""
    model = kurve.Sequential(
        [kurve.Input((None, 3)), layers.Dense(2), layers.GlobalAveragePooling1D()]
    )
    kernel, bias = model.get_weights()
    for length in (6, 7, 6):
        x = np.full((2, length, 3), length, np.float32)
        expected = np.mean(x @ kernel + bias, axis=1)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)
        np.testing.assert_allclose(model(x), expected, rtol=1e-5)


@pytest.mark.parametrize("cls", [losses.MeanSquaredError, losses.Poisson])
def test_reductions_of_a_loss(cls: Any) -> None:
    y, p = np.abs(X) + 1, np.abs(X) + 2
    weights = np.array([1.0, 0.0, 2.0, 0.5], np.float32)
    rows = cls(reduction="none")(y, p)
    assert rows.shape == (4,)
    np.testing.assert_allclose(cls(reduction=None)(y, p, weights), rows * weights)
    for reduction, by in (("sum", 1.0), ("mean", 4.0), ("sum_over_batch_size", 4.0)):
        loss = cls(reduction=reduction)(y, p, weights)
        assert loss == pytest.approx((rows * weights).sum() / by, rel=1e-6)
    mean = cls(reduction="mean_with_sample_weight")(y, p, weights)
    assert mean == pytest.approx((rows * weights).sum() / weights.sum(), rel=1e-6)


def test_configurations_make_equal_objects() -> None:
    for made in (
        losses.Huber(0.5, reduction="sum", name="h"),
        losses.Pinball([0.1, 0.9], reduction=None),
        losses.Tversky(alpha=0.3),
        schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True),
        schedules.CosineDecayRestarts(0.1, 10),
    ):
        config = made.get_config()
        assert type(made).from_config(config).get_config() == config
    assert losses.Pinball.from_config({"quantiles": [0.1, 0.9]}).outputs_per_target == 2


def _two_outputs() -> kurve.Model:
    x = kurve.Input((3,))
    return kurve.Model(x, [layers.Dense(1, name="a")(x), layers.Dense(1, name="b")(x)])


def test_the_loss_of_an_output_may_be_in_a_list() -> None:
    y = [np.ones((4, 1)), np.zeros((4, 1))]
    found = []
    for loss, weights in (
        (["mse", "mae"], [1.0, 0.5]),
        (["mse", ["mae"]], [[1.0], 0.5]),
        ({"a": ["mse"], "b": "mae"}, {"a": 1.0, "b": [0.5]}),
    ):
        kurve.utils.set_random_seed(1)
        model = _two_outputs()
        model.compile("sgd", loss, loss_weights=weights)
        found.append(model.evaluate(X, y, verbose=0))
    assert found[0] == found[1] == found[2]
    model = _two_outputs()
    for wrong in ({"loss": ["mse", ["mae", "mse"]]}, {"loss_weights": [1.0, [1, 2]]}):
        with pytest.raises(ValueError, match=r"^\[compile\] loss.* per output"):
            model.compile("sgd", **{"loss": "mse", **wrong})


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_a_callback_ends_evaluate_and_predict(method: str) -> None:
    class Stop(callbacks.Callback):
        seen = 0

        def end(self, what: str) -> None:
            self.seen += 1
            if self.seen == 3:
                setattr(self.model, what, True)

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.end("stop_evaluating")

        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            self.end("stop_predicting")

    def endless() -> Iterator[Any]:
        while True:
            yield (X, np.ones((4, 1))) if method == "evaluate" else (X,)

    model = kurve.Sequential([kurve.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    for _ in range(2):  # the second call begins anew
        stop = Stop()
        getattr(model, method)(endless(), callbacks=[stop], verbose=0)
        assert stop.seen == 3


def test_hooks_of_a_lambda_callback() -> None:
    seen: list[str] = []
    hooks: Any = {
        name: lambda *_, name=name: seen.append(name)
        for name in ("on_test_begin", "on_test_batch_end", "on_predict_end")
    }
    callback = callbacks.LambdaCallback(**hooks)
    model = kurve.Sequential([kurve.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.evaluate(X, np.ones((4, 1)), callbacks=[callback], verbose=0)
    model.predict(X, callbacks=[callback], verbose=0)
    assert seen == ["on_test_begin", "on_test_batch_end", "on_predict_end"]
    with pytest.raises(TypeError, match=r"on_epoch_ende"):
        callbacks.LambdaCallback(on_epoch_ende=print)


def test_an_end_with_an_error() -> None:
    model = kurve.Sequential([kurve.Input((3,)), layers.Dense(1)])
    model.compile(kurve.optimizers.SGD(1e30), "mse")
    y = np.ones((4, 1))
    stop = callbacks.TerminateOnNaN(raise_error=True)
    with pytest.raises(kurve.errors.NonFiniteError):
        model.fit(X, y, epochs=20, callbacks=[stop], verbose=0)
