"""Programs for Keras 1 and 2: old spellings work; one warning names today's."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import callbacks, layers, losses, models, optimizers, regularizers, utils
from kurve.core.arguments import unpacked
from kurve.legacy import arguments, names
from kurve.legacy.logs import Logs
from tests.e2e import spellings

X = np.linspace(-1.0, 1.0, 48, dtype="float32").reshape(16, 3)
Y = (X.sum(axis=1) > 0).astype("float32")


def old(call: Any, *today: str) -> Any:
    """What a call in old spelling gives; its warnings are these, one for each text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    assert [w.category for w in caught] == [FutureWarning] * len(today)
    for warning, text in zip(caught, today, strict=True):
        assert text in str(warning.message)
        assert warning.filename == __file__
    return result


def classifier(metrics: Any = ("accuracy",), **more: Any) -> Any:
    utils.set_random_seed(3)
    stack = [kurve.Input((3,)), layers.Dense(1, activation="sigmoid")]
    model = kurve.Sequential(stack)
    model.compile("sgd", "binary_crossentropy", metrics=list(metrics), **more)
    return model


@pytest.fixture(autouse=True)
def _kernels_as_today() -> Iterator[None]:
    yield
    for name in ("Conv2D", "Conv2DTranspose", "Conv3D"):
        cls: Any = getattr(layers, name)
        cls.__init__ = getattr(cls.__init__, "_keras_1", cls.__init__)


# ------------------------------------------------------------ arguments

CALLS = {
    "Dense": (
        lambda: layers.Dense(output_dim=4, init="uniform", W_regularizer="l2", bias=0),
        "Try units=4, kernel_initializer='uniform', kernel_regularizer='l2', "
        "use_bias=0.",
        lambda: layers.Dense(
            4, kernel_initializer="uniform", kernel_regularizer="l2", use_bias=False
        ),
    ),
    "Conv2D": (
        lambda: layers.Conv2D(
            nb_filter=3, nb_row=2, nb_col=5, subsample=(2, 1), dim_ordering="tf"
        ),
        "Try filters=3, kernel_size=(2, 5), strides=(2, 1), "
        "data_format='channels_last'.",
        lambda: layers.Conv2D(3, (2, 5), (2, 1), data_format="channels_last"),
    ),
    "Convolution2D": (
        lambda: layers.Convolution2D(3, 2, 5, border_mode="same"),
        "Try padding='same'.",
        lambda: layers.Conv2D(3, (2, 5), padding="same"),
    ),
    "Conv1D": (
        lambda: layers.Convolution1D(nb_filter=3, filter_length=2, subsample_length=2),
        "Try filters=3, kernel_size=2, strides=2.",
        lambda: layers.Conv1D(3, 2, 2),
    ),
    "a shape of rows": (
        lambda: layers.Conv1D(3, 2, input_dim=4, input_length=9),
        "Try input_shape=(9, 4).",
        lambda: layers.Conv1D(3, 2, input_shape=(9, 4)),
    ),
    "Dropout": (
        lambda: layers.Dropout(p=0.25),
        "Try rate=0.25.",
        lambda: layers.Dropout(0.25),
    ),
    "keep_prob": (
        lambda: layers.Dropout(keep_prob=0.75),
        "Try rate=0.25.",
        lambda: layers.Dropout(0.25),
    ),
    "GaussianNoise": (
        lambda: layers.GaussianNoise(sigma=0.5),
        "Try stddev=0.5.",
        lambda: layers.GaussianNoise(0.5),
    ),
    "MaxPooling1D": (
        lambda: layers.MaxPooling1D(pool_length=3, stride=2),
        "Try pool_size=3, strides=2.",
        lambda: layers.MaxPooling1D(3, 2),
    ),
    "Embedding": (
        lambda: layers.Embedding(5, 2, init="zero", dropout=0.0),
        "Try embeddings_initializer='zero'.",
        lambda: layers.Embedding(5, 2, "zeros"),
    ),
    "BatchNormalization": (
        lambda: layers.BatchNormalization(mode=0, beta_init="one"),
        "Try beta_initializer='one'.",
        lambda: layers.BatchNormalization(beta_initializer="ones"),
    ),
    "SGD": (
        lambda: optimizers.SGD(lr=0.1, decay=0.0, momentum=0.9),
        "Try learning_rate=0.1.",
        lambda: optimizers.SGD(0.1, momentum=0.9),
    ),
    "decay": (
        lambda: optimizers.SGD(0.1, decay=0.5),
        "Try learning_rate=InverseTimeDecay(initial_learning_rate=0.1, ",
        lambda: optimizers.SGD(optimizers.schedules.InverseTimeDecay(0.1, 1, 0.5)),
    ),
    "Adam": (
        lambda: optimizers.Adam(lr=0.1, epsilon=None, decay=0.0),
        "Try learning_rate=0.1, epsilon=1e-07.",
        lambda: optimizers.Adam(0.1),
    ),
    "epsilon=None": (
        lambda: optimizers.RMSprop(epsilon=None),
        "Try epsilon=1e-07.",
        lambda: optimizers.RMSprop(),
    ),
    "reduction": (
        lambda: losses.Huber(reduction="auto"),
        "Try reduction='sum_over_batch_size'.",
        lambda: losses.Huber(),
    ),
    "L2": (lambda: regularizers.l2(l=0.1), "Try l2=0.1.", lambda: regularizers.L2(0.1)),
    "ThresholdedReLU": (
        lambda: layers.ThresholdedReLU(theta=0.5),
        "Try layers.ReLU(threshold=theta).",
        lambda: layers.ReLU(threshold=0.5),
    ),
    "TimeDistributedDense": (
        lambda: layers.TimeDistributedDense(5),
        "Try layers.Dense(units).",
        lambda: layers.Dense(5),
    ),
    "AtrousConvolution2D": (
        lambda: layers.AtrousConvolution2D(4, 3, 3, atrous_rate=(2, 2)),
        "Try layers.Conv2D(filters, kernel_size, dilation_rate=...).",
        lambda: layers.Conv2D(4, (3, 3), dilation_rate=(2, 2)),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_old_arguments_are_todays(name: str) -> None:
    call, fix, same = CALLS[name]
    made, plain = old(call, fix).get_config(), same().get_config()
    assert {**made, "name": ""} == {**plain, "name": ""}


CLASSES = {
    value.__name__: value
    for home in (layers, optimizers, regularizers, callbacks, models, kurve.constraints)
    for value in (getattr(home, name, None) for name in dir(home))
    if inspect.isclass(value)
}
BOTH = {
    ("Embedding", "input_length"),
    ("Embedding", "output_dim"),
    ("Permute", "dims"),
    ("ReversibleEmbedding", "output_dim"),
}
"""Arguments of today that are old ones of other layers."""

NOT_THERE = {"Conv3DTranspose"} - set(CLASSES)


def in_scope(scope: str) -> list[Any]:
    """What the rows of a scope hold for: classes, or a method or function."""
    found = [c for c in CLASSES.values() if scope in [b.__name__ for b in c.__mro__]]
    homes = (kurve.Sequential, models, utils, kurve.preprocessing.text)
    return found or [next(getattr(h, scope) for h in homes if hasattr(h, scope))]


def taken(call: Any) -> set[str]:
    function = call.__init__ if isinstance(call, type) else call
    return {*inspect.signature(function).parameters, *unpacked(function)}


@pytest.mark.parametrize("scope", sorted(set(arguments.ARGUMENTS) - NOT_THERE))
def test_the_table_agrees_with_todays_signatures(scope: str) -> None:
    """Today's name is an argument there; the old one is not, or is known to be one."""
    calls = in_scope(scope)
    for name, row in arguments.ARGUMENTS[scope].items():
        assert not row.today or any(row.today in taken(c) for c in calls), name
        still = {(c.__name__, name) for c in calls if name in taken(c)}
        assert still <= BOTH, name


def test_what_is_both_is_both() -> None:
    """No exception is left over."""
    for cls, name in BOTH:
        assert name in taken(CLASSES[cls])
        assert name in arguments.ARGUMENTS["Layer"]


def test_both_spellings_are_refused() -> None:
    with pytest.raises(TypeError, match="init is kernel_initializer in an older spell"):
        layers.Dense(3, init="zero", kernel_initializer="zeros")
    with pytest.raises(ValueError, match="no dropout: SpatialDropout1D has"):
        layers.Embedding(5, 2, dropout=0.5)


def test_unknown_arguments_stay_unknown() -> None:
    with pytest.raises(
        TypeError, match=r"\[Dense\] unknown argument. Received: 'inut'"
    ):
        layers.Dense(3, inut="zero")


def test_layers_of_ones_own_get_old_arguments_too() -> None:
    class Wide(layers.Dense):
        def __init__(self, units: int, **common: Any) -> None:
            super().__init__(units, **common)

    layer = old(lambda: Wide(2, init="zero"), "[Wide] init is a spelling of Keras")
    assert type(layer.kernel_initializer).__name__ == "Zeros"


def test_kernels_of_a_program_for_keras_1() -> None:
    assert layers.Conv2D(8, 3, 3).get_config()["strides"] == [3, 3]
    old(lambda: layers.Conv2D(8, 3, 3, border_mode="same"), "padding='same'")
    layer = old(lambda: layers.Conv2D(8, 3, 5), "Try 8, (3, 5), or strides=5")
    assert layer.get_config()["kernel_size"] == [3, 5]
    assert layer.get_config()["strides"] == [1, 1]
    assert layers.Conv2D(8, (3, 3)).get_config()["kernel_size"] == [3, 3]


def test_decay_is_keras_2s() -> None:
    """lr / (1 + decay n) after n updates."""
    model = classifier()
    rate = old(lambda: optimizers.SGD(lr=0.5, decay=0.1), "InverseTimeDecay")
    model.compile(rate, "binary_crossentropy")
    rates = model.optimizer.learning_rates(0, 4)
    np.testing.assert_allclose(rates, 0.5 / (1 + 0.1 * np.arange(4)), rtol=1e-6)


# ------------------------------------------------------------ methods


def test_fit_evaluate_and_predict_with_old_arguments() -> None:
    model, twin = classifier(), classifier()
    history = old(
        lambda: model.fit(X, Y, nb_epoch=2, verbose=0, workers=4), "Try epochs=2."
    )
    assert history.history == twin.fit(X, Y, epochs=2, verbose=0).history
    values = old(lambda: model.evaluate(X, Y, verbose=0, max_queue_size=3), "without")
    assert values == twin.evaluate(X, Y, verbose=0)
    out = old(lambda: model.predict(X, verbose=0, use_multiprocessing=True), "without")
    np.testing.assert_array_equal(out, twin.predict(X, verbose=0))


def test_show_accuracy_compiles_once_more() -> None:
    model = classifier(())
    history = old(
        lambda: model.fit(X, Y, nb_epoch=1, show_accuracy=True, verbose=0),
        "Try compile(metrics=['accuracy']).",
    )
    assert set(history.history) == {"loss", "accuracy"}


def test_compile_with_old_arguments() -> None:
    model = classifier()
    old(lambda: model.compile("sgd", "mse", metrics="mae"), "Try metrics=['mae'].")
    assert model.metrics_names == ["loss", "mae"]
    old(lambda: model.compile("sgd", "mse", class_mode="binary"), "without class_mode")


def batches() -> Iterator[Any]:
    while True:
        yield X[:8], Y[:8]
        yield X[8:], Y[8:]


def test_generators() -> None:
    model, twin = classifier(), classifier()
    history = old(
        lambda: model.fit_generator(
            batches(),
            samples_per_epoch=16,
            nb_epoch=2,
            verbose=0,
            validation_data=batches(),
            nb_val_samples=16,
        ),
        "Try fit.",
    )
    same = twin.fit(
        batches(),
        steps_per_epoch=2,
        epochs=2,
        verbose=0,
        validation_data=batches(),
        validation_steps=2,
    )
    assert history.history == same.history
    found = old(lambda: model.evaluate_generator(batches(), 2), "Try evaluate.")
    assert found == twin.evaluate(X, Y, batch_size=8, verbose=0)
    found = old(lambda: model.predict_generator(batches(), steps=2), "Try predict.")
    np.testing.assert_array_equal(found, twin.predict(X, verbose=0))


def test_classes_and_probabilities() -> None:
    model = classifier()
    p = model.predict(X, verbose=0)
    found = old(lambda: model.predict_classes(X), "Try numpy.argmax(model.predict(x)")
    np.testing.assert_array_equal(found, (p > 0.5).astype("int32"))
    assert found.dtype == np.int32
    found = old(lambda: model.predict_proba(X), "Try predict.")
    np.testing.assert_array_equal(found, p)
    three = kurve.Sequential([kurve.Input((3,)), layers.Dense(3, "softmax")])
    p = three.predict(X, verbose=0)
    found = old(lambda: three.predict_classes(X, batch_size=4), "numpy.argmax")
    np.testing.assert_array_equal(found, p.argmax(axis=-1))


def test_lr_of_an_optimizer() -> None:
    optimizer = optimizers.Adam(0.1)
    assert old(lambda: optimizer.lr, "Try learning_rate.") == 0.1

    def assign() -> None:
        optimizer.lr = 0.5

    old(assign, "Try learning_rate.")
    assert optimizer.learning_rate == 0.5


def test_metrics_of_loops_for_keras_2() -> None:
    mean = kurve.metrics.Mean()
    mean.update_state([1.0, 3.0])
    old(lambda: mean.reset_states(), "Try reset_state.")
    assert mean.result() == 0.0

    class Calls(kurve.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="calls")
            self.count = self.add_weight(name="count", initializer="zeros")

        def update_state(self, y: Any, p: Any, sample_weight: Any = None) -> None:
            self.count.assign_add(1.0)

        def result(self) -> Any:
            return self.count

        def reset_states(self) -> None:
            self.count.assign(-1.0)

    own = Calls()
    own.update_state(1, 1)
    own.reset_states()  # the class's own, without a warning
    assert own.result() == -1.0


def test_number_of_words() -> None:
    make = kurve.preprocessing.text.Tokenizer
    assert old(lambda: make(nb_words=7), "Try num_words=7.").num_words == 7


def test_attributes_that_never_were() -> None:
    model = classifier()
    with pytest.raises(
        AttributeError, match="'Sequential' object has no attribute 'fi"
    ):
        _ = model.fi
    with pytest.raises(AttributeError, match="YAML can execute code"):
        _ = model.to_yaml
    assert not hasattr(model, "_anything")
    empty = kurve.Sequential([layers.Dense(1)])
    with pytest.raises((AttributeError, RuntimeError, ValueError), match=r"\["):
        _ = empty.output  # the property's own error stays


# ------------------------------------------------------------ logs


def test_history_and_logs_know_acc() -> None:
    seen: list[float] = []

    class Old(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with pytest.warns(FutureWarning, match="'acc' is the name of 'accuracy'"):
                seen.append(logs.get("acc"))

    history = classifier().fit(
        X, Y, epochs=2, verbose=0, validation_split=0.25, callbacks=[Old()]
    )
    values = history.history
    assert seen == values["accuracy"]
    found = old(lambda: values["val_acc"], "Try 'val_accuracy'.")
    assert found == values["val_accuracy"]
    assert "acc" not in values
    assert values.get("nothing", 3) == 3
    with pytest.raises(KeyError):
        _ = values["nothing"]


@pytest.mark.parametrize(
    ("name", "today"),
    [
        ("acc", "accuracy"),
        ("val_acc", "val_accuracy"),
        ("out_acc", "out_accuracy"),
        ("val_mean_absolute_error", "val_mae"),
        ("lr", "learning_rate"),
    ],
)
def test_old_names_of_values(name: str, today: str) -> None:
    logs = Logs({today: 1.0})
    assert old(lambda: logs[name], f"Try {today!r}.") == 1.0
    assert Logs({name: 2.0, today: 1.0})[name] == 2.0


def test_callbacks_monitor_acc() -> None:
    callback = callbacks.EarlyStopping(monitor="acc", patience=50)
    model = classifier()
    old(
        lambda: model.fit(X, Y, epochs=2, verbose=0, callbacks=[callback]),
        "Try 'accuracy'.",
    )
    assert callback.best is not None


# ------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (utils, "np_utils", utils),
        (utils, "vis_utils", utils),
        (utils, "plot", utils.plot_model),
        (layers, "Deconv2D", layers.Conv2DTranspose),
        (losses, "mse", losses.mean_squared_error),
        (kurve.metrics, "kullback_leibler_divergence", losses.kl_divergence),
        (optimizers, "sgd", optimizers.SGD),
        (optimizers, "legacy", optimizers),
        (kurve, "objectives", losses),
        (kurve.constraints, "maxnorm", kurve.constraints.MaxNorm),
        (regularizers, "l1l2", regularizers.L1L2),
    ],
)
def test_old_names(module: Any, name: str, value: Any) -> None:
    assert old(lambda: getattr(module, name), f"{name} is a spelling of Keras") is value


@pytest.mark.parametrize("name", ["MaxoutDense", "Highway", "LocallyConnected2D"])
def test_layers_without_a_like_say_what_to_do(name: str) -> None:
    with pytest.raises(AttributeError, match=r"\w+ no longer exists: .*\. Try "):
        getattr(layers, name)


def test_every_name_of_the_tables_is_there() -> None:
    """But those of layers that recurrence has still to bring."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for module, table in names.NAMES.items():
            home = kurve.__name__ + (f".{module}" if module else "")
            for name in table:
                if name.startswith(("CuDNN", "Deconv3D", "Deconvolution3D")):
                    continue
                assert names.of_module(home, name) is not None
        for path in {*names.MODULES} - {"layers.merge"}:  # a function too
            home, _, name = f"kurve.{path}".rpartition(".")
            assert inspect.ismodule(names.of_module(home, name)), path


def test_merge() -> None:
    a, b = kurve.Input((3,)), kurve.Input((3,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        merge, merged = layers.merge, layers.Merge
    one, two = X[:4], X[4:8]
    for mode, result in {
        "sum": one + two,
        "mul": one * two,
        "ave": (one + two) / 2,
        "max": np.maximum(one, two),
        "concat": np.concatenate([one, two], 1),
        "dot": (one * two).sum(1, keepdims=True),
    }.items():
        model = old(
            lambda mode=mode: models.Model(input=[a, b], output=merge([a, b], mode)),
            "Try inputs=",
        )
        found = model.predict([one, two], verbose=0)
        np.testing.assert_allclose(found, result, rtol=1e-6)
    with pytest.raises(ValueError, match="unknown mode"):
        merge([a, b], mode="sun")
    with pytest.raises(TypeError, match="a stack has one input"):
        merged([classifier(), classifier()], mode="concat")


# ------------------------------------------------------------ files


@pytest.mark.parametrize("name", ["w.h5", "w.hdf5", "w.ckpt", "w", "w-01-0.25"])
def test_weights_under_old_names(name: str, tmp_path: Path) -> None:
    if "h" in name:
        pytest.importorskip("h5py")
    model, twin = classifier(), classifier()
    model.fit(X, Y, verbose=0)
    old(lambda: model.save_weights(tmp_path / name), ".weights.")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    twin.load_weights(tmp_path / name)
    np.testing.assert_array_equal(
        twin.predict(X, verbose=0), model.predict(X, verbose=0)
    )


@pytest.mark.parametrize("name", ["m", "m.tf"])
def test_models_under_old_names(name: str, tmp_path: Path) -> None:
    model = classifier()
    old(lambda: model.save(tmp_path / name), "m.kurve")
    twin = models.load_model(tmp_path / name)
    np.testing.assert_array_equal(
        twin.predict(X, verbose=0), model.predict(X, verbose=0)
    )
    with pytest.raises(ValueError, match="must end in"):
        model.save(tmp_path / "m.pkl")


def test_checkpoints_under_old_names(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    path = str(tmp_path / "w-{epoch:02d}-{val_acc:.2f}.hdf5")
    callback = old(
        lambda: callbacks.ModelCheckpoint(path, save_weights_only=True), ".weights.h5"
    )
    with pytest.warns(FutureWarning):
        classifier().fit(
            X, Y, epochs=1, verbose=0, validation_split=0.25, callbacks=[callback]
        )
    assert [path.name[:5] for path in tmp_path.iterdir()] == ["w-01-"]


# ------------------------------------------------------------ the page


def test_the_page_has_the_tables_of_the_room() -> None:
    """`python tests/e2e/spellings.py` writes them anew."""
    page = spellings.PAGE.read_text()
    assert spellings.generated(page) == page


# ------------------------------------------------------------ scikit-learn


def make(units: int = 4) -> Any:
    stack = [kurve.Input((3,)), layers.Dense(units, "relu")]
    model = kurve.Sequential([*stack, layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    return model


def test_wrappers_of_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV

    with pytest.warns(FutureWarning, match=r"Try kurve.Classifier and kurve.Regressor"):
        wrappers = kurve.wrappers
    estimator = wrappers.KerasClassifier(make, epochs=2, verbose=0)
    search = GridSearchCV(estimator, {"units": [2, 3]}, cv=2)
    labels = np.where(Y > 0, "up", "down")
    search.fit(X, labels)
    assert set(search.predict(X).ravel()) <= {"up", "down"}
    assert search.best_estimator_.predict_proba(X).shape == (16, 2)
    regressor = wrappers.KerasRegressor(make, units=2)
    regressor.fit(X, Y, epochs=1, verbose=0)
    assert regressor.predict(X).shape == (16,)
    assert regressor.score(X, Y) < 0
    with pytest.raises(ValueError, match=r"unknown argument. Received: 'unit'"):
        wrappers.KerasClassifier(make, unit=3)
