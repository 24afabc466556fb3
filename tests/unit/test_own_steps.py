"""Models with a `train_step` or another step of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Stepping(kurve.Model):
    """The default step, written out."""

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, weights = kurve.utils.unpack_x_y_sample_weight(data)
        with kurve.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=weights, training=True
            )
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        self.seen = getattr(self, "seen", 0) + 1
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=len(x))
            else:
                metric.update_state(y, y_pred)
        return self.get_metrics_result()


class Losing(kurve.Model):
    """The default loss, written out."""

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
    ) -> Any:
        loss = kurve.losses.MeanSquaredError()(y, y_pred, sample_weight)
        return loss + sum(self.losses)


class Measuring(kurve.Model):
    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        found = super().compute_metrics(x, y, y_pred, sample_weight)
        return {**found, "largest": ops.max(ops.abs(y_pred))}


def make(cls: type = Stepping, loss: Any = "mse", **compile_: Any) -> Any:
    kurve.utils.set_random_seed(3)
    inputs = kurve.Input((3,))
    h = layers.Dense(8, "tanh", kernel_regularizer="l2")(inputs)
    h = layers.BatchNormalization()(layers.Dropout(0.0)(h))
    model = cls(inputs, layers.Dense(1, kernel_constraint="max_norm")(h))
    model.compile(**{"optimizer": "adam", "loss": loss, "metrics": ["mae"]} | compile_)
    return model


@pytest.mark.parametrize("cls", [Stepping, Losing, Measuring])
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_own_steps_train_as_the_engine(cls: type, engine: str) -> None:
    one, two = make(cls, engine=engine), make(kurve.Model, engine=engine)
    weights = np.linspace(0.5, 1.5, len(X))
    histories = [
        model.fit(
            X, Y, sample_weight=weights, epochs=3, validation_split=0.2, verbose=0
        ).history
        for model in (one, two)
    ]
    for name, values in histories[1].items():
        assert np.allclose(histories[0][name], values, rtol=1e-4), name
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-5)
    assert one.optimizer.iterations == two.optimizer.iterations == one.iterations == 6
    results = [m.evaluate(X, Y, verbose=0, return_dict=True) for m in (one, two)]
    for name, value in results[1].items():
        assert results[0][name] == pytest.approx(value, rel=1e-4)
    if cls is Measuring:
        assert histories[0]["val_largest"][-1] > 0.0
    batches = [m.train_on_batch(X, Y, return_dict=True) for m in (one, two)]
    assert batches[0]["loss"] == pytest.approx(batches[1]["loss"], rel=1e-4)
    assert one.test_on_batch(X, Y)[0] == pytest.approx(two.test_on_batch(X, Y)[0], 1e-4)


def test_the_names_of_keras_2() -> None:
    class Old(kurve.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            with kurve.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compiled_loss(y, y_pred, regularization_losses=self.losses)
            variables = self.trainable_variables
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            self.compiled_metrics.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    one, two = make(Old), make(kurve.Model)
    histories = [m.fit(X, Y, epochs=2, verbose=0).history for m in (one, two)]
    for name, values in histories[1].items():
        assert np.allclose(histories[0][name], values, rtol=1e-4), name


def test_callbacks_are_called() -> None:
    class Recorder(kurve.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[str] = []

        def on_train_begin(self, logs: Any = None) -> None:
            self.calls.append("train")

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.calls.append(f"epoch {epoch}")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.calls.append(f"batch {batch} {sorted(logs)}")

        def on_test_end(self, logs: Any = None) -> None:
            self.calls.append("tested")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.calls.append(f"end {sorted(logs)}")
            self.model.stop_training = epoch == 1

    recorder = Recorder()
    model = make()
    history = model.fit(
        X,
        Y,
        batch_size=40,
        epochs=5,
        callbacks=recorder,
        verbose=0,
        validation_data=(X, Y),
        validation_freq=2,
    )
    batch = ["batch 0 ['loss', 'mae']", "batch 1 ['loss', 'mae']"]
    assert recorder.calls == [
        "train",
        "epoch 0",
        *batch,
        "end ['loss', 'mae']",
        "epoch 1",
        *batch,
        "tested",
        "end ['loss', 'mae', 'val_loss', 'val_mae']",
    ]
    assert history.epoch == [0, 1] and model.history is history
    stopper = kurve.callbacks.EarlyStopping(
        monitor="loss", patience=0, min_delta=10.0, restore_best_weights=True
    )
    assert len(model.fit(X, Y, epochs=9, callbacks=stopper, verbose=0).epoch) == 2


def test_rows_held_out_have_no_class_weights() -> None:
    labels, model = np.arange(70) % 2, make()
    given = {"validation_split": 0.5, "class_weight": {0: 0.0, 1: 3.0}}
    found = model.fit(X, labels, verbose=0, **given).history["val_loss"][0]
    loss, _ = model.evaluate(X[35:], labels[35:], verbose=0)
    assert found == pytest.approx(loss)


@pytest.mark.parametrize("own", [False, True])
def test_no_batches_in_a_later_epoch(own: bool) -> None:
    """As if the batches of an iterator had run out."""

    class Once:
        batches = iter([(X, Y)])

        def __iter__(self) -> Any:
            return self.batches

    with pytest.warns(UserWarning, match="ran out of batches, but more epochs"):
        history = make(Stepping if own else kurve.Model).fit(
            Once(), epochs=3, verbose=0
        )
    assert len(history.history["loss"]) == 1


def test_an_interrupt_leaves_a_whole_model() -> None:
    class Interrupted(Stepping):
        def train_step(self, data: Any) -> dict[str, Any]:
            logs = super().train_step(data)
            if self.seen == 3:
                raise KeyboardInterrupt
            return logs

    model = make(Interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=2, verbose=0)
    assert model.optimizer.iterations == 3
    model.seen = 4
    history = model.fit(X, Y, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_accuracy_is_resolved() -> None:
    class Own(kurve.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, **given: Any
        ) -> Any:
            return 2.0 * super().compute_loss(x, y, y_pred, **given)

    inputs = kurve.Input((3,))
    model = Own(inputs, layers.Dense(2, "softmax")(inputs))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    labels = (Y[:, 0] > 0).astype(int)
    history = model.fit(X, labels, epochs=2, verbose=0).history
    assert sorted(history) == ["accuracy", "loss"]
    assert 0.0 <= history["accuracy"][-1] <= 1.0


def test_several_outputs() -> None:
    class Own(kurve.Model):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    def build(cls: type) -> Any:
        kurve.utils.set_random_seed(5)
        inputs = kurve.Input((3,))
        h = layers.Dense(4, "tanh")(inputs)
        outputs = {"a": layers.Dense(1)(h), "b": layers.Dense(1)(h)}
        model = cls(inputs, outputs)
        model.compile(
            "sgd", {"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.5}
        )
        return model

    one, two = build(Own), build(kurve.Model)
    y = {"a": Y, "b": -Y}
    losses = [m.fit(X, y, epochs=2, verbose=0).history["loss"] for m in (one, two)]
    assert np.allclose(losses[0], losses[1], rtol=1e-4)


def test_a_model_without_a_call() -> None:
    class Parts(kurve.Model):
        def __init__(self) -> None:
            super().__init__()
            self.net = kurve.Sequential([kurve.Input((3,)), layers.Dense(1)])

        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            with kurve.GradientTape() as tape:
                loss = ops.mean((self.net(x) - y) ** 2)
            weights = self.trainable_weights
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    model = Parts()
    model.compile(kurve.optimizers.SGD(0.1))
    assert len(model.trainable_weights) == 2 and model.count_params() == 4
    history = model.fit(X, Y, epochs=20, verbose=0).history
    assert history["loss"][-1] < 1e-3
    assert all(
        (a == b).all()
        for a, b in zip(model.get_weights(), model.net.get_weights(), strict=True)
    )
    with pytest.raises(NotImplementedError, match=r"\[Parts\] the model has no call"):
        model(X)
    model.trainable = False
    assert model.trainable_weights == []


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m: m.fit(X, Y[:5], verbose=0), "the same number of rows"),
        (lambda m: m.fit(np.array(["a"]), Y, verbose=0), "must hold numbers"),
        (
            lambda m: m.fit(iter([(X, Y)]), checkpoint="c", verbose=0),
            "checkpoints need",
        ),
        (lambda m: kurve.ensemble(m, 2).fit(X, Y, verbose=0), "engine's own step"),
        (lambda m: m.optimizer.build([]), "the variables must be passed"),
        (lambda m: m.optimizer.apply([1.0], [X]), "applied to variables"),
    ],
)
def test_refusals(use: Any, message: str) -> None:
    model = make()
    with pytest.raises((TypeError, ValueError, NotImplementedError)) as caught:
        use(model)
    text = str(caught.value)
    assert message in text and text.startswith("[")
    assert "Received: " in text and "Try " in text
    assert model.optimizer.iterations == 0


def test_a_step_that_returns_no_logs() -> None:
    class Silent(Stepping):
        def train_step(self, data: Any) -> Any:
            super().train_step(data)

    with pytest.raises(TypeError, match=r"\[train_step\] a step must return a dict"):
        make(Silent).fit(X, Y, verbose=0)


def test_there_must_be_a_loss() -> None:
    class Bare(kurve.Model):
        def compute_metrics(self, *given: Any, **named: Any) -> Any: ...

    inputs = kurve.Input((3,))
    bare = Bare(inputs, layers.Dense(1)(inputs))
    bare.compile("sgd")
    with pytest.raises(ValueError, match=r"\[compute_loss\] there is no loss"):
        bare.fit(X, Y, verbose=0)


def test_random_numbers() -> None:
    kurve.utils.set_random_seed(1)
    first = kurve.random.normal((400,), mean=2.0, stddev=0.5)
    assert abs(float(first.mean()) - 2.0) < 0.1 and abs(float(first.std()) - 0.5) < 0.1
    assert (
        kurve.random.uniform((3,), seed=4) == kurve.random.uniform((3,), seed=4)
    ).all()
    seeds = kurve.random.SeedGenerator(1)
    one, two = (kurve.random.uniform((9,), -1.0, 1.0, seed=seeds) for _ in range(2))
    assert (one != two).all() and (np.abs(one) <= 1.0).all()
    whole = kurve.random.randint((500,), 2, 5)
    assert set(np.unique(whole)) == {2, 3, 4} and whole.dtype == np.int32
    drawn = kurve.random.categorical(np.log([[0.2, 0.8]]), 4000)
    assert abs(float(np.mean(drawn)) - 0.8) < 0.03
    with pytest.raises(ValueError, match="batch size is only"):
        kurve.random.normal((None, 2))


class Noise(layers.Layer):
    def call(self, x: Any) -> Any:
        shape = ops.shape(x)
        return x + kurve.random.normal(shape) + 0.0 * kurve.random.normal(shape)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_random_numbers_in_formulas(engine: str) -> None:
    inputs = kurve.Input((3,))
    model = kurve.Model(inputs, Noise()(inputs))
    model.compile("sgd", "mse", engine=engine)
    zeros = np.zeros((500, 3), "float32")
    found = model.predict(zeros, verbose=0)
    assert abs(found.mean()) < 0.1 and abs(found.std() - 1.0) < 0.1
    assert (model(zeros) != model(zeros)).all()


class Written(kurve.Model):
    """A step without numbers of Python: it runs compiled."""

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, weights = kurve.utils.unpack_x_y_sample_weight(data)
        with kurve.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=weights)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return self.get_metrics_result()


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cls", [Written, Losing, Measuring])
def test_a_compiled_step_has_the_history_of_the_one_as_written(
    cls: type, weighted: bool, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KURVE_ENGINE", engine)
    monkeypatch.setattr("kurve.engines._default", [])
    found = []
    for eager in (False, True):
        kurve.utils.set_random_seed(1)
        inputs = kurve.Input((3,))
        hidden = layers.Dense(4, "tanh", kernel_regularizer="l2")(inputs)
        model = cls(inputs, layers.Dense(1)(hidden))
        model.compile("adam", "mse", metrics=["mae"], run_eagerly=eager)
        extra = {"sample_weight": np.linspace(0.5, 2.0, 70)} if weighted else {}
        history = model.fit(
            X, Y, batch_size=8, epochs=3, verbose=0, validation_data=(X, Y), **extra
        )
        if not eager and cls is not Measuring:
            assert model._functions["train_step"].why_not is None
        found.append((history.history, model.get_weights(), model.evaluate(X, Y)))
    (one, weights, tested), (other, others, expected) = found
    assert one.keys() == other.keys() >= {"loss", "val_mae"}
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-5)
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(tested, expected, rtol=1e-5)


def test_own_steps_of_predict() -> None:
    class Twice(kurve.Model):
        seen = 0

        def predict_step(self, data: Any) -> Any:
            x, _, _ = kurve.utils.unpack_x_y_sample_weight(data)
            self.seen += 1
            y = self(x, training=False)
            return {"y": y, "more": [y * 2.0]}

    model = make(Twice)
    found = model.predict(X, verbose=0)
    assert found["y"].shape == (70, 1) and model.seen == 3
    assert np.allclose(found["more"][0], 2.0 * found["y"])
    assert np.array_equal(found["y"], model(X))
    assert np.array_equal(model.predict_on_batch(X)["y"], found["y"])
    batches = model.predict(iter([(X[:9], Y[:9]), (X[9:12], Y[9:12])]), verbose=0)
    assert np.array_equal(batches["y"], found["y"][:12])
    model.predict_step = lambda data: 1.0
    with pytest.raises(ValueError, match="one row per sample"):
        model.predict(X, verbose=0)


def test_own_functions_take_several_batches() -> None:
    class Pairs(Stepping):
        def make_train_function(self, force: bool = False) -> Any:
            if self.train_function is None or force:

                def two(batches: Any) -> Any:
                    self.train_step(next(batches))
                    return self.train_step(next(batches))

                self.train_function = two
            return self.train_function

    class Recorder(kurve.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            ends.append(batch)

    ends: list[int] = []
    one, two = make(Pairs), make(Stepping)
    given = {"batch_size": 20, "epochs": 2, "verbose": 0}
    first = one.fit(X, Y, **given, callbacks=[Recorder()]).history
    assert ends == [1, 3, 1, 3]
    second = two.fit(X, Y, **given).history
    assert np.allclose(first["loss"], second["loss"], rtol=1e-4)
    assert one.optimizer.iterations == two.optimizer.iterations == 8
    plain = make(kurve.Model)
    function = plain.make_train_function()
    assert plain.make_train_function() is plain.train_function is function
    assert set(function(iter([(X, Y)]))) == {"loss", "mae"}
    assert plain.make_predict_function()(iter([X])).shape == (70, 1)
    plain.predict_function = lambda batches: np.zeros((len(next(batches)), 1))
    assert not plain.predict(X, verbose=0).any()
    plain.compile("sgd", "mse")
    assert plain.train_function is None and plain.predict(X, verbose=0).any()
    plain.train_function = lambda batches: {"loss": 1.0}
    with pytest.raises(RuntimeError, match="must take batches"):
        plain.fit(X, Y, verbose=0)


def test_metrics_of_rows_with_computed_targets() -> None:
    class Real(kurve.Model):
        def test_step(self, data: Any) -> dict[str, Any]:
            found = self(data[0], training=False)
            self.rate.update_state(ops.ones_like(found), found)
            return {"rate": self.rate.result()}

    model = make(Real)
    model.rate = kurve.metrics.BinaryAccuracy()
    rates = [model.evaluate(X, Y, verbose=0) for _ in range(4)]
    assert rates == [np.mean(model.predict(X, verbose=0) > 0.5)] * 4


def test_class_weights_beside_batches() -> None:
    """The rows of each batch are weighted by their classes, as those of arrays."""
    seen: list[list[float]] = []

    class Seeing(kurve.Model):
        def call(self, x: Any) -> Any:
            return x

        def train_step(self, data: Any) -> dict[str, float]:
            _, _, weights = kurve.utils.unpack_x_y_sample_weight(data)
            seen.append(np.asarray(weights).tolist())
            return {"loss": 0.0}

    x, y = np.zeros((4, 1), np.float32), np.array([0, 1, 1, 0])
    model = Seeing()
    model.compile("sgd", "mse", run_eagerly=True)
    batches = [(x[:2], y[:2]), (x[2:], y[2:, None])]
    model.fit(iter(batches), class_weight={0: 2.0, 1: 3.0}, verbose=0)
    assert seen == [[2.0, 3.0], [3.0, 2.0]]
    with pytest.raises(ValueError, match="sample weights in a batch"):
        model.fit(iter([(x, y, y)]), class_weight={0: 2.0}, verbose=0)


class Watched(kurve.Model):
    """Names what it returns by its metrics, some of which `compile` does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)
        self.hits = kurve.metrics.SparseTopKCategoricalAccuracy(1, name="hits")
        self.score = kurve.metrics.Mean(name="score")

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def _measured(self, y: Any, y_pred: Any) -> dict[str, Any]:
        self.compiled_metrics.update_state(y, y_pred)
        self.hits.update_state(y, y_pred)
        self.score.update_state(1.0)
        return {m.name: m.result() for m in self.metrics}

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with kurve.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compiled_loss(y, y_pred)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        return self._measured(y, y_pred)

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        return self._measured(y, self(x, training=False))


@pytest.mark.parametrize("monitor", ["val_rate", "val_hits", "hits"])
def test_early_stopping_by_a_metric_of_a_custom_step(monitor: str) -> None:
    """The direction is that of the metric, before the first step is run."""
    loss = kurve.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = kurve.metrics.SparseCategoricalAccuracy(name="rate")
    model = Watched()
    model.compile(kurve.optimizers.SGD(0.0), loss, metrics=[rate])
    stop = kurve.callbacks.EarlyStopping(monitor, patience=2)
    y = np.arange(70) % 3
    history = model.fit(
        X, y, epochs=9, validation_split=0.2, verbose=0, callbacks=[stop]
    ).history
    assert len(history[monitor]) == 3 and stop.improves(2.0, 1.0)


def test_the_direction_of_a_mean_is_unknown() -> None:
    model = Watched()
    model.compile("sgd", kurve.losses.SparseCategoricalCrossentropy(from_logits=True))
    stop = kurve.callbacks.EarlyStopping("score")
    with pytest.raises(ValueError, match="unknown monitor"):
        model.fit(X, np.arange(70) % 3, verbose=0, callbacks=[stop])
