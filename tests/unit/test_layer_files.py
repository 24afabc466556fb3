"""Every layer comes back from a file as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Model, Sequential, layers, models

NEEDED: dict[str, dict[str, Any]] = {
    "Activation": {"activation": "gelu"},
    "Dense": {"units": 2},
    "Dropout": {"rate": 0.5},
    "FourierFeatures": {"frequencies": 2},
    "GaussianNoise": {"stddev": 0.1},
    "GaussianDropout": {"rate": 0.2, "seed": 3},
    "AlphaDropout": {"rate": 0.2},
    "RadialBasis": {"units": 3},
    "Rescaling": {"scale": 0.5},
    "Reshape": {"target_shape": (-1, 2)},
    "SpatialDropout1D": {"rate": 0.5},
    "SpatialDropout2D": {"rate": 0.5},
    "SpatialDropout3D": {"rate": 0.5},
    "RandomFlip": {},
    "RandomBrightness": {"factor": 0.1},
    "RandomContrast": {"factor": 0.1},
    "RandomColorDegeneration": {"factor": 0.2},
    "RandomErasing": {"fill_value": 1.0},
    "RandomHue": {"factor": 0.2},
    "RandomPosterization": {"factor": 4},
    "RandomSaturation": {"factor": (0.2, 0.8)},
    "RandomSharpness": {"factor": 0.4},
    "RandomCrop": {"height": 3, "width": 4},
    "CenterCrop": {"height": 3, "width": 4},
    "CategoryEncoding": {"num_tokens": 3, "output_mode": "one_hot"},
    "Discretization": {"bin_boundaries": [0.0, 1.0]},
    "IntegerLookup": {"vocabulary": [4, 2]},
    "Resizing": {"height": 3, "width": 4},
    "Permute": {"dims": (3, 1, 2)},
    "GroupNormalization": {"groups": 2},
    "EinsumDense": {
        "equation": "...x,xy->...y",
        "output_shape": 3,
        "activation": "relu",
        "bias_axes": "y",
    },
    "Embedding": {"input_dim": 5, "output_dim": 2},
    "ReversibleEmbedding": {"input_dim": 5, "output_dim": 2},
    "MelSpectrogram": {"fft_length": 16, "sequence_stride": 8, "num_mel_bins": 4},
    "RepeatVector": {"n": 3},
    "STFTSpectrogram": {"frame_length": 4},
    "SpectralNormalization": {"layer": layers.Dense(2)},
    "TimeDistributed": {"layer": layers.Conv1D(2, 3)},
    "GRU": {"units": 2, "recurrent_dropout": 0.2, "return_sequences": True},
    "LSTM": {"units": 2, "dropout": 0.5, "seed": 3},
    "SimpleRNN": {"units": 2, "activation": "softsign"},
    "RNN": {"cell": [layers.LSTMCell(2), layers.GRUCell(3, dropout=0.1)]},
    "Bidirectional": {"layer": layers.LSTM(2, return_sequences=True)},
    "Dot": {"axes": -1},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 3},
    "GroupQueryAttention": {
        "head_dim": 2,
        "num_query_heads": 4,
        "num_key_value_heads": 2,
    },
    "Pipeline": {"layers": [layers.RandomFlip(), layers.RandomRotation(0.1)]},
    "RandomRotation": {"factor": 0.1},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.1},
}


COLORS = (
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomGrayscale",
    "RandomHue",
    "RandomSaturation",
)
"""Layers of images with three channels."""


def arguments(name: str) -> dict[str, Any]:
    """What its constructor cannot do without."""
    if name in NEEDED:
        return NEEDED[name]
    if "Depthwise" in name:
        return {"kernel_size": 3}
    if "Adaptive" in name:
        return {"output_size": 2}
    return {"filters": 2, "kernel_size": 3} if "Conv" in name else {}


def shape_for(name: str) -> tuple[int, ...]:
    """Of one sample."""
    if name == "RepeatVector":
        return (6,)
    if name == "MelSpectrogram":
        return (64,)
    if "ConvLSTM" in name:
        return (3, *(4,) * int(name[8]), 2)
    if name in COLORS:
        return (6, 6, 3)
    sequential = ("Attention", "1D", "RNN", "LSTM", "GRU", "Bidirectional", "STFT")
    if any(text in name for text in sequential) or name == "Dot":
        return (6, 2)
    return (4, 4, 4, 2) if "3D" in name else (6, 6, 2)


def model_of(layer: Any, shape: tuple[int, ...]) -> Any:
    """A model of one input that ends with the layer and one output."""
    after = [layers.Flatten(), layers.Dense(1)]
    if not layer.takes_several:
        return Sequential([Input(shape), layer, *after])
    x = Input(shape)
    y = layer(x, x) if hasattr(layer, "use_gate") else layer([x, x])
    return Model(x, after[1](after[0](y)))


TEXTS = ("HashedCrossing", "Hashing", "StringLookup", "TextVectorization")
CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells")
ARRAYS = (
    "AugMix",
    "ContrastLimitedAdaptiveHistogramEqualization",
    "CutMix",
    "Equalization",
    "MixUp",
    "RandAugment",
    "RandomElasticTransform",
    "RandomPerspective",
    "RandomShear",
)
NO_MODELS = ("Lambda", *CELLS, *TEXTS, *ARRAYS)


@pytest.mark.filterwarnings("ignore:.*gets a masked input:UserWarning")
@pytest.mark.parametrize("name", [n for n in layers.CLASSES if n not in NO_MODELS])
def test_layers(name: str, tmp_path: Path) -> None:
    shape = shape_for(name)
    layer: Any = layers.CLASSES[name](**arguments(name))
    model = model_of(layer, shape)
    model.compile("adam", "mse", engine="reference")
    x = np.random.default_rng(1).normal(size=(4, *shape))
    if name in ("Embedding", "ReversibleEmbedding", "CategoryEncoding"):
        x = np.minimum(np.floor(abs(x)), 2)
    model.fit(x, np.zeros(4), verbose=0)
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve")
    assert again.get_config() == model.get_config()
    for one in (model, again):
        one.fit(x, np.ones(4), verbose=0)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
