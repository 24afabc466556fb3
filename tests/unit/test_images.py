"""Image layers: what they refuse, what a file holds of them, bytes, moving averages."""

from __future__ import annotations

import json
import pickle
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Sequential, layers
from kurve.engines import Batches, get_engine
from kurve.errors import NonFiniteError
from kurve.layers import (
    BatchNormalization,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    Rescaling,
    Reshape,
)

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "channels in the middle": (
        lambda: Conv2D(3, 3, data_format="channels_middle"),
        "[Conv2D] data_format must be 'channels_last' or 'channels_first'. Received: "
        "data_format='channels_middle'. Try data_format='channels_last'.",
    ),
    "filters": (
        lambda: Conv2D(0, 3),
        "[Conv2D] filters must be an integer of at least 1. Received: filters=0. "
        "Try filters=2.",
    ),
    "kernel": (
        lambda: Conv2D(3, (3, 3, 3)),
        "[Conv2D] kernel_size must be an integer of at least 1, or 2 of them. "
        "Received: kernel_size=(3, 3, 3). Try kernel_size=2.",
    ),
    "strides": (
        lambda: MaxPooling2D(2, strides=0),
        "[MaxPooling2D] strides must be an integer of at least 1, or 2 of them. "
        "Received: strides=0. Try strides=2.",
    ),
    "padding": (
        lambda: Conv2D(3, 3, padding="causal"),
        "[Conv2D] padding must be one of 'valid', 'same'. Received: 'causal'. "
        "Try padding='same' to keep the size.",
    ),
    "strides and dilation": (
        lambda: Conv1D(3, 3, strides=2, dilation_rate=2),
        "[Conv1D] only one of strides and dilation_rate can be above 1. Received: "
        "strides=(2,), dilation_rate=(2,). Try strides=1.",
    ),
    "groups of filters": (
        lambda: Conv2D(5, 3, groups=2),
        "[Conv2D] filters must be a multiple of groups. Received: filters=5, groups=2. "
        "Try filters=6.",
    ),
    "groups of channels": (
        lambda: Conv2D(4, 3, groups=2, name="c").build((None, 8, 8, 3)),
        "[Conv2D] layer 'c' splits the channels into 2 groups, so their number must "
        "be a multiple of it. Received: samples of shape (8, 8, 3). Try groups=1.",
    ),
    "no channels": (
        lambda: Conv2D(4, 3, name="c").build((None, 28, 28)),
        "[Conv2D] layer 'c' expected samples of shape (height, width, channels). "
        "Received: samples of shape (28, 28). Try x[..., None], an axis for one "
        "channel.",
    ),
    "rank": (
        lambda: GlobalAveragePooling2D(name="g").compute_output_shape((None, 3)),
        "[GlobalAveragePooling2D] layer 'g' expected samples of shape (height, width, "
        "channels). Received: samples of shape (3,). Try layers.Reshape before it.",
    ),
    "too small": (
        lambda: Conv2D(4, 3, dilation_rate=2, name="c").build((None, 4, 9, 1)),
        "[Conv2D] layer 'c' slides a window of 5 x 5 over its samples, which are too "
        "small. Received: samples of shape (4, 9, 1). Try padding='same', or "
        "fewer downsampling layers before it.",
    ),
    "other channels": (
        lambda: (
            [Conv2D(4, 3, name="c")(np.zeros((1, 5, 5, c))) for c in (3,)]
            and _called_twice(Conv2D(4, 3, name="c"))
        ),
        "[Conv2D] layer 'c' was built for samples of 3 channels. Received: 1 channels, "
        "in samples of shape (5, 5, 1). Try a new layer.",
    ),
    "output_padding": (
        lambda: Conv2DTranspose(3, 3, strides=2, output_padding=2),
        "[Conv2DTranspose] output_padding must be below strides. Received: "
        "output_padding=2, strides=2. Try output_padding=None.",
    ),
    "nothing left": (
        lambda: Conv2DTranspose(1, 2, 2, "same", 0, name="t").build((None, 1, 1, 1)),
        "[Conv2DTranspose] layer 't' would leave nothing. Received: samples of shape "
        "(1, 1, 1). Try output_padding=None.",
    ),
    "reshape": (
        lambda: Reshape((3, -1), name="r").build((None, 4)),
        "[Reshape] layer 'r' cannot arrange 4 elements as (3, -1). Received: samples "
        "of shape (4,). Try -1 for one axis.",
    ),
    "reshape twice free": (
        lambda: Reshape((-1, -1)),
        "[Reshape] target_shape must be a tuple of positive integers, without the "
        "batch axis; one of them can be -1. Received: target_shape=(-1, -1). "
        "Try Reshape((28, 28, 1)).",
    ),
    "momentum": (
        lambda: BatchNormalization(momentum=1.5),
        "[BatchNormalization] momentum must be in [0, 1). Received: momentum=1.5. "
        "Try momentum=0.99.",
    ),
    "epsilon": (
        lambda: layers.LayerNormalization(epsilon=-1),
        "[LayerNormalization] epsilon must be finite and at least 0. Received: "
        "epsilon=-1. Try epsilon=0.001.",
    ),
    "batch axis": (
        lambda: BatchNormalization(axis=4).build((None, 4, 4, 2)),
        "[BatchNormalization] axis must name axes of the input other than the batch "
        "axis. Received: axis=4 for shape (None, 4, 4, 2). Try axis=-1.",
    ),
    "layer axis": (
        lambda: layers.LayerNormalization(axis=[0, 3]).build((None, 4, 4, 2)),
        "[LayerNormalization] axis must name axes of the input other than the batch "
        "axis. Received: axis=(0, 3) for shape (None, 4, 4, 2). Try axis=-1.",
    ),
    "zero padding": (
        lambda: layers.ZeroPadding2D((1, 2, 3)),
        "[ZeroPadding2D] padding must be an integer, (rows, columns) or ((top, "
        "bottom), (left, right)), of at least 0. Received: padding=(1, 2, 3). "
        "Try padding=1.",
    ),
    "upsampling": (
        lambda: layers.UpSampling2D(2, interpolation="bicubic"),
        "[UpSampling2D] interpolation must be 'nearest' or 'bilinear'. Received: "
        "'bicubic'. Try interpolation='nearest'.",
    ),
    "scale": (
        lambda: Rescaling(float("nan")),
        "[Rescaling] scale must be a finite number, or one per channel. Received: "
        "scale=nan. Try Rescaling(1 / 255).",
    ),
    "scales": (
        lambda: Rescaling([1.0, 2.0]).build((None, 4, 4, 3)),
        "[Rescaling] scale must be a number, or one per channel (3). "
        "Received: 2 numbers, and samples of shape (4, 4, 3). Try scale=1.",
    ),
    "noise": (
        lambda: layers.GaussianNoise(-0.1),
        "[GaussianNoise] stddev must be in [0, 1]. Received: stddev=-0.1. "
        "Try stddev=0.1.",
    ),
    "spatial dropout": (
        lambda: layers.SpatialDropout2D(1.5),
        "[SpatialDropout2D] rate must be in [0, 1]. Received: rate=1.5. Try rate=0.5.",
    ),
    "translation": (
        lambda: layers.RandomTranslation(0.1, 2.0),
        "[RandomTranslation] width_factor must be a number in [-1, 1] or two numbers. "
        "Received: width_factor=2.0. Try width_factor=0.1.",
    ),
    "fill": (
        lambda: layers.RandomRotation(0.1, "mirror"),
        "[RandomRotation] fill_mode must be one of 'reflect', 'wrap', 'constant', "
        "'nearest'. Received: fill_mode='mirror'. Try fill_mode='reflect'.",
    ),
    "flip": (
        lambda: layers.RandomFlip("sideways"),
        "[RandomFlip] mode must be one of 'horizontal_and_vertical', 'horizontal', "
        "'vertical'. Received: mode='sideways'. Try mode='horizontal_and_vertical'.",
    ),
}


def _called_twice(layer: Conv2D) -> None:
    layer(np.zeros((1, 5, 5, 3)))
    layer(np.zeros((1, 5, 5, 1)))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, text = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(text)):
        call()


def digits(
    first: list[Any] | None = None, engine: str | None = None, **compiled: Any
) -> Sequential:
    kurve.utils.set_random_seed(1)
    model = Sequential(
        [
            Input((8, 8, 1)),
            *(first or [Rescaling(1 / 255)]),
            Conv2D(4, 3, activation="relu"),
            BatchNormalization(momentum=0.5),
            MaxPooling2D(),
            Flatten(),
            Dense(10, activation="softmax"),
        ]
    )
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, engine=engine, **compiled)
    return model


RANDOM = np.random.default_rng(1)
BYTES = RANDOM.integers(0, 256, (50, 8, 8, 1), dtype=np.uint8)
CLASSES = RANDOM.integers(0, 10, 50)


def test_bytes_and_floats_are_the_same_pictures(engine: str) -> None:
    """Through fit, validation_split, evaluate, predict and layer_outputs."""
    seen = []
    for x in (BYTES, BYTES.astype(np.float32)):
        model = digits(engine=engine)
        history = model.fit(
            x, CLASSES, validation_split=0.2, epochs=2, batch_size=16, verbose=0
        ).history
        outputs = model.layer_outputs(x[:3])
        seen.append(
            (
                history,
                model.evaluate(x, CLASSES, verbose=0),
                model.predict(x, verbose=0).tobytes(),
                [array.tobytes() for array in outputs.values()],
                [w.tobytes() for w in model.get_weights()],
            )
        )
    assert seen[0] == seen[1]


def test_bytes_stay_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The set that an engine gets is the caller's own memory."""
    model, seen = digits(), []
    engine = type(get_engine())
    train = engine.train

    def watch(self: Any, jobs: Any) -> Any:
        seen.extend(job.batches.x for job in jobs)
        return train(self, jobs)

    monkeypatch.setattr(engine, "train", watch)
    model.fit(BYTES, CLASSES, verbose=0)
    assert seen[0].dtype == np.uint8
    assert np.shares_memory(seen[0], BYTES)


def test_rows_of_bytes_become_floats() -> None:
    """A table of small whole numbers is no picture."""
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 3), np.uint8), np.zeros(4), verbose=0)


WRONG_PICTURES: dict[str, tuple[Any, str]] = {
    "one picture": (
        BYTES[0],
        "Received: x.shape=(8, 8, 1). Try x[None] for a single sample.",
    ),
    "channels first": (
        BYTES.transpose(0, 3, 1, 2),
        "Received: x.shape=(50, 1, 8, 8). Try x.transpose(0, 2, 3, 1), channels last.",
    ),
    "channels": (
        np.zeros((2, 8, 8, 3)),
        "Received: x.shape=(2, 8, 8, 3). Try Input(shape=(8, 8, 3)) in a new model.",
    ),
    "mixed sizes": (
        [np.zeros((8, 8, 1)), np.zeros((8, 8, 1)), np.zeros((9, 8, 1))],
        "[predict] x must hold images of one shape. Received: x[0].shape=(8, 8, 1), "
        "x[2].shape=(9, 8, 1). Try scaling or cropping them to one size first.",
    ),
    "empty": (
        np.zeros((0, 8, 8, 1), np.uint8),
        "[predict] x must not be empty. Received: x.shape=(0, 8, 8, 1). "
        "Try at least one row.",
    ),
    "not finite": (
        np.where(np.arange(64).reshape(1, 8, 8, 1) == 9, np.nan, 0.0),
        "[predict] x must be finite. Received: x[0, 1, 1, 0] = nan (1 such values in "
        "total). Try dropping these rows.",
    ),
}


@pytest.mark.parametrize("name", WRONG_PICTURES)
def test_wrong_pictures_are_refused(name: str) -> None:
    x, text = WRONG_PICTURES[name]
    with pytest.raises(ValueError, match=re.escape(text)):
        digits().predict(x)


def test_labels_out_of_range_are_refused() -> None:
    model = digits()
    with pytest.raises(ValueError, match=re.escape("Received: y[3] = 10")):
        model.fit(BYTES, np.where(np.arange(50) == 3, 10, 0), verbose=0)
    assert model.iterations == 0


WRAPPERS = ("SpectralNormalization", "TimeDistributed")


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in layers.CLASSES
        if n not in ("Lambda", "Bidirectional", "RNN", *WRAPPERS)
        and n not in ("StackedRNNCells", "Hashing", "HashedCrossing")
    ],
)
def test_configuration_is_json(name: str) -> None:
    """And makes an equal layer; arguments that JSON does not have are refused."""
    given: dict[str, Any] = {
        "Conv1D": {"filters": 3, "kernel_size": 2, "kernel_regularizer": "l2"},
        "Conv2D": {"filters": 3, "kernel_size": (2, 3), "strides": 2},
        "Conv3D": {"filters": 4, "kernel_size": (1, 2, 3), "groups": 2},
        "ConvLSTM1D": {"filters": 3, "kernel_size": 2},
        "ConvLSTM2D": {"filters": 3, "kernel_size": (2, 3), "dropout": 0.1},
        "ConvLSTM3D": {"filters": 3, "kernel_size": 2, "activation": "relu"},
        "Cropping3D": {"cropping": (1, (0, 2), 0)},
        "Dot": {"axes": [1, 2], "normalize": True},
        "Pipeline": {"layers": [layers.RandomFlip(seed=1)]},
        "ZeroPadding3D": {"padding": 2},
        "Conv1DTranspose": {"filters": 3, "kernel_size": 2},
        "Conv2DTranspose": {
            "filters": 3,
            "kernel_size": 2,
            "strides": 3,
            "output_padding": (1, 2),
        },
        "Conv3DTranspose": {"filters": 3, "kernel_size": 2, "strides": 2},
        **{
            f"Adaptive{mode}Pooling{axes}D": {"output_size": axes}
            for mode in ("Average", "Max")
            for axes in (1, 2, 3)
        },
        "DepthwiseConv1D": {"kernel_size": 2, "activation": "gelu"},
        "DepthwiseConv2D": {"kernel_size": 2, "depthwise_initializer": "he_normal"},
        "SeparableConv1D": {"filters": 3, "kernel_size": 2},
        "SeparableConv2D": {"filters": 3, "kernel_size": 2, "depth_multiplier": 2},
        "Dense": {"units": 2, "activation": kurve.activations.Activation("elu", 0.3)},
        "Activation": {"activation": "relu"},
        "Dropout": {"rate": 0.2},
        "GRU": {"units": 2, "reset_after": False, "use_cudnn": False},
        "GRUCell": {"units": 2, "recurrent_regularizer": "l2"},
        "LSTM": {"units": 2, "go_backwards": True, "recurrent_constraint": "max_norm"},
        "LSTMCell": {"units": 2, "recurrent_activation": "relu"},
        "SimpleRNN": {"units": 2, "dropout": 0.5, "zero_output_for_mask": True},
        "SimpleRNNCell": {"units": 2},
        "SpatialDropout1D": {"rate": 0.2},
        "SpatialDropout2D": {"rate": 0.2, "name": "drop"},
        "SpatialDropout3D": {"rate": 0.2},
        "CenterCrop": {"height": 3, "width": 4},
        "CategoryEncoding": {"num_tokens": 3},
        "Discretization": {"bin_boundaries": [0.0, 1.0]},
        "IntegerLookup": {"vocabulary": [4, 2]},
        "EinsumDense": {"equation": "ab,bc->ac", "output_shape": 3},
        "Embedding": {"input_dim": 5, "output_dim": 2},
        "ReversibleEmbedding": {"input_dim": 5, "output_dim": 2},
        "GroupQueryAttention": {
            "head_dim": 2,
            "num_query_heads": 4,
            "num_key_value_heads": 2,
        },
        "MultiHeadAttention": {"num_heads": 2, "key_dim": 3, "dropout": 0.1},
        "Permute": {"dims": (2, 1)},
        "RandomBrightness": {"factor": 0.1},
        "RandomContrast": {"factor": (0.1, 0.2)},
        "RandomColorDegeneration": {"factor": 0.2},
        "RandomErasing": {"fill_value": (1.0, 2.0)},
        "RandomHue": {"factor": 0.2},
        "RandomPosterization": {"factor": 4},
        "RandomSaturation": {"factor": (0.2, 0.8)},
        "RandomSharpness": {"factor": 0.4},
        "RandomCrop": {"height": 3, "width": 4, "seed": 1},
        "RepeatVector": {"n": 3},
        "Resizing": {"height": 3, "width": 4, "fill_value": 2.0},
        "FourierFeatures": {"frequencies": 3},
        "RadialBasis": {"units": 3},
        "Reshape": {"target_shape": (3, -1)},
        "Rescaling": {"scale": [1.0, 2.0], "offset": 1},
        "GaussianNoise": {"stddev": 0.3},
        "GaussianDropout": {"rate": 0.2, "seed": 5},
        "AlphaDropout": {"rate": 0.2, "noise_shape": [None, 1, 3]},
        "RandomZoom": {"height_factor": (-0.1, 0.2), "width_factor": 0.1},
        "RandomTranslation": {"height_factor": 0.1, "width_factor": (0.0, 0.2)},
        "RandomRotation": {"factor": 0.1, "fill_value": 2},
        "LayerNormalization": {"axis": (-2, -1)},
        "ZeroPadding2D": {"padding": ((1, 2), (3, 4))},
        "ZeroPadding1D": {"padding": (1, 2)},
        "UpSampling2D": {"size": (1, 2), "interpolation": "bilinear"},
    }.get(name, {})
    made = layers.CLASSES[name](**given)
    config = json.loads(json.dumps(made.get_config()))
    assert layers.CLASSES[name].from_config(config).get_config() == config


def test_files_and_pickles_hold_moving_averages(tmp_path: Path) -> None:
    model = digits()
    model.fit(BYTES, CLASSES, verbose=0)
    model.save(tmp_path / "digits.kurve")
    expected = model.predict(BYTES, verbose=0).tobytes()
    for twin in (
        kurve.models.load_model(tmp_path / "digits.kurve"),
        pickle.loads(pickle.dumps(model)),
    ):
        assert twin.predict(BYTES, verbose=0).tobytes() == expected
        twin.fit(BYTES, CLASSES, verbose=0, shuffle=False)
    assert model.layers[2].moving_mean.value.any()


def averages(model: Sequential) -> bytes:
    layer = model.layers[2]
    assert isinstance(layer, BatchNormalization)
    return layer.moving_mean.value.tobytes() + layer.moving_variance.value.tobytes()


def test_only_training_moves_averages(engine: str) -> None:
    model = digits(engine=engine)
    before = averages(model)
    model.evaluate(BYTES, CLASSES, verbose=0)
    model.predict(BYTES, verbose=0)
    rows = Batches(
        BYTES, CLASSES.astype(np.float32)[:, None], None, None, np.array([0, 50])
    )
    model._network.program().gradient(model._network.training_state(), rows, 0)
    assert averages(model) == before
    model.fit(BYTES, CLASSES, verbose=0)
    assert averages(model) != before


def test_a_frozen_layer_keeps_its_averages(engine: str) -> None:
    """And standardizes by them in training too, once `compile` has seen it."""
    model = digits(engine=engine)
    model.layers[2].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy", engine=engine)
    before = averages(model)
    loss = model.evaluate(BYTES, CLASSES, verbose=0)
    assert model.train_on_batch(BYTES, CLASSES) == pytest.approx(loss, rel=1e-5)
    assert averages(model) == before


@pytest.mark.parametrize("what", ["loss", "statistic"])
def test_a_step_that_is_not_finite_moves_no_average(engine: str, what: str) -> None:
    """A variance may overflow although nothing behind it does: what is divided by an
    infinite deviation is 0."""
    big = Rescaling(1e38 if what == "loss" else 1e18)
    model = digits([big], engine)
    if what == "statistic":
        model.layers[1].set_weights([np.full((3, 3, 1, 4), 1e3), np.zeros(4)])
    before, weights = averages(model), model.get_weights()
    with pytest.raises(NonFiniteError) as caught:
        model.fit(BYTES, CLASSES, verbose=0)
    if what == "statistic":
        assert "the new value of batch_normalization/moving_variance" in str(
            caught.value
        )
    assert averages(model) == before
    for now, then in zip(model.get_weights(), weights, strict=True):
        assert np.array_equal(now, then)
    assert model.iterations == 0


def test_members_of_an_ensemble_have_averages_of_their_own(engine: str) -> None:
    model = digits(engine=engine)
    model.fit(BYTES, CLASSES, verbose=0)
    committee = kurve.ensemble(model, members=2)
    fresh = {averages(member) for member in committee.members}
    assert fresh == {np.float32([0] * 4 + [1] * 4).tobytes()}
    trained = averages(model)
    committee.fit(BYTES, CLASSES, verbose=0)
    assert len({averages(member) for member in committee.members}) == 2
    assert averages(model) == trained


def test_batch_normalization_by_hand() -> None:
    """One step of a model whose update is 0: the averages are those of the formula."""
    x = np.random.default_rng(2).normal(3.0, 2.0, (40, 5, 2)).astype(np.float32)
    model = Sequential([Input((5, 2)), BatchNormalization(momentum=0.9)])
    model.compile(kurve.optimizers.SGD(1e-30), "mse")
    model.train_on_batch(x, x)
    _, _, mean, variance = model.get_weights()
    np.testing.assert_allclose(mean, 0.1 * x.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * x.var(axis=(0, 1)), rtol=1e-5)


def test_summary_counts_averages(capsys: pytest.CaptureFixture[str]) -> None:
    digits().summary()
    shown = capsys.readouterr().out
    assert "Trainable params: 418" in shown
    assert "Non-trainable params: 8" in shown
    assert "(MaxPooling2D)" in shown


def test_solvers_meet_no_chance() -> None:
    """Noise is off and batch normalization stands on its moving averages, so the loss
    that L-BFGS returns is that of `evaluate`."""
    random = np.random.default_rng(2)
    x, y = random.normal(size=(30, 5, 5, 1)), random.normal(size=30)
    kurve.utils.set_random_seed(1)
    noise = [
        layers.GaussianNoise(0.5),
        layers.RandomFlip(),
        layers.SpatialDropout2D(0.5),
    ]
    model = Sequential(
        [
            Input((5, 5, 1)),
            *noise,
            Conv2D(2, 3, activation="tanh"),
            BatchNormalization(moving_mean_initializer="ones"),
            Flatten(),
            Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    start, before = model.evaluate(x, y, verbose=0), model.get_weights()[4:6]
    result = kurve.solvers.lbfgs(model, x, y, max_iterations=20, verbose=0)
    assert result.loss == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-5)
    assert result.loss < 0.5 * start
    for mean, kept in zip(model.get_weights()[4:6], before, strict=True):
        assert np.array_equal(mean, kept)


def test_diagnosis_of_pictures() -> None:
    """Filters that are dead for every picture are found as units of a table's are."""
    model = digits()
    model.layers[1].set_weights([np.zeros((3, 3, 1, 4)), [-1.0, -1, -1, 1]])
    names = [finding.name for finding in model.diagnose(BYTES, CLASSES).findings]
    assert "dead_units" in names


def test_no_float_copy_of_the_set(engine: str) -> None:
    """Nor of its validation part: fit, evaluate and predict take less memory than a
    quarter of what the floats would."""
    x = np.zeros((4000, 40, 40, 1), np.uint8)
    y = np.arange(4000) % 3
    model = Sequential(
        [Input((40, 40, 1)), MaxPooling2D(20), Flatten(), Dense(3, "softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", engine=engine)
    model._network.program()
    tracemalloc.start()
    try:
        model.fit(
            x,
            y,
            batch_size=8,
            steps_per_epoch=20,
            validation_split=0.1,
            validation_steps=5,
            verbose=0,
        )
        model.evaluate(x, y, batch_size=8, steps=5, verbose=0)
        if engine == "native":
            model.predict(x, verbose=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes


@pytest.mark.parametrize(
    "layer",
    [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.1),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomZoom(0.2),
        layers.RandomCrop(4, 4),
        layers.CenterCrop(4, 4),
        layers.Resizing(4, 4),
        layers.RandomBrightness(0.2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_one_image_a_batch_or_a_dictionary(layer: layers.Layer) -> None:
    """One image, as a data set gives it before it makes batches."""
    image = np.random.default_rng(0).uniform(0, 255, (6, 8, 3)).astype(np.float32)
    one = layer(image)
    several = layer(image[None])
    assert one.shape == several.shape[1:]
    found = layer({"images": image[None], "labels": np.array([1])})
    assert found["images"].shape == several.shape and found["labels"].tolist() == [1]
    plain = layer(image[None], training=False)
    assert np.array_equal(layer(image, training=False), plain[0])
    with pytest.raises(NotImplementedError, match="bounding_boxes"):
        layer({"images": image[None], "bounding_boxes": {}})
