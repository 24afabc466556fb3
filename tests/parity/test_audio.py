"""Spectrograms beside Keras: values, weights, files and training."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve

RNG = np.random.default_rng(0)
MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")


@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_stft(mode: str, expand: bool) -> None:
    x = RNG.normal(size=(2, 400, 2)).astype(np.float32)
    for padding, form in itertools.product(
        ("valid", "same"), ("channels_last", "channels_first")
    ):
        arguments: dict[str, Any] = {
            "mode": mode,
            "frame_length": 50,
            "frame_step": 20,
            "padding": padding,
            "expand_dims": expand,
            "data_format": form,
            "window": "hamming",
            "scaling": "spectrum",
            "periodic": True,
        }
        given = x if form == "channels_last" else x.transpose(0, 2, 1)
        expected = keras.layers.STFTSpectrogram(**arguments)(given)
        expected = keras.ops.convert_to_numpy(expected)
        found = kurve.layers.STFTSpectrogram(**arguments)(given)
        if mode == "angle":  # real and imaginary parts near 0 have any angle
            turns = np.abs(np.exp(1j * found) - np.exp(1j * expected))
            assert found.shape == expected.shape
            assert np.median(turns) < 1e-4 and turns.max() < 0.1
        else:
            np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("window", ["hann", "blackman", None, "numbers"])
@pytest.mark.parametrize("side", ["real", "imag"])
def test_initializer(side: str, window: Any) -> None:
    if window == "numbers":
        window = [0.5, 1.0, 2.0, 1.0, 0.25] * 6
    for scaling, periodic in (("density", False), ("spectrum", True), (None, True)):
        given = (side, window, scaling, periodic)
        expected = keras.initializers.STFT(*given)((30, 1, 33))
        found = kurve.initializers.STFT(*given)((30, 1, 33))
        np.testing.assert_allclose(found, np.asarray(expected), atol=2e-5)


def test_stft_trains_as_in_keras(tmp_path: Path) -> None:
    x = RNG.normal(size=(16, 120, 1)).astype(np.float32)
    y = x[:, :8].sum(axis=1)
    models = []
    for library in (keras, kurve):
        model = library.Sequential(
            [
                library.Input((120, 1)),
                library.layers.STFTSpectrogram("magnitude", 32, fft_length=32),
                library.layers.Flatten(),
                library.layers.Dense(1),
            ]
        )
        model.compile("sgd", "mse")
        models.append(model)
    models[1].set_weights(models[0].get_weights())
    histories = [
        model.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0).history
        for model in models
    ]
    np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], rtol=1e-4)
    models[1].save(tmp_path / "ours.keras")
    again = keras.models.load_model(tmp_path / "ours.keras")
    np.testing.assert_allclose(
        again.predict(x, verbose=0), models[1].predict(x, verbose=0), atol=1e-4
    )
    models[0].save(tmp_path / "theirs.keras")
    loaded = kurve.models.load_model(tmp_path / "theirs.keras")
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), models[0].predict(x, verbose=0), atol=1e-4
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {
            "power_to_db": False,
            "mag_exp": 1.0,
            "sequence_length": 300,
            "fft_length": 512,
            "sequence_stride": 100,
            "num_mel_bins": 20,
            "sampling_rate": 8000,
            "window": "hamming",
        },
        {"window": None, "top_db": 20.0, "ref_power": 2.0, "max_freq": 4000.0},
    ],
)
def test_mel(arguments: dict[str, Any]) -> None:
    """One signal at a time: Keras cuts off what lies below the loudest of a batch."""
    x = RNG.normal(size=(3, 3000)).astype(np.float32)
    layer = kurve.layers.MelSpectrogram(**arguments)
    theirs = keras.layers.MelSpectrogram(**arguments)
    expected = np.stack([keras.ops.convert_to_numpy(theirs(row)) for row in x])
    np.testing.assert_allclose(layer(x), expected, atol=2e-3)
    np.testing.assert_allclose(layer(x[0]), layer(x)[0], atol=1e-4)
    i = kurve.Input((3000,))
    model = kurve.Model(i, layer(i))
    np.testing.assert_allclose(model.predict(x, verbose=0), layer(x), atol=1e-4)
