"""Layers with Keras's names, arguments and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kurve.core import registry
from kurve.core.inside import is_model
from kurve.core.later import Classes, Later
from kurve.layers.absent import refuse
from kurve.layers.base import Layer as Layer
from kurve.layers.base import Variable as Variable

if TYPE_CHECKING:
    from kurve.layers.activations import ELU as ELU
    from kurve.layers.activations import Identity as Identity
    from kurve.layers.activations import LeakyReLU as LeakyReLU
    from kurve.layers.activations import PReLU as PReLU
    from kurve.layers.activations import ReLU as ReLU
    from kurve.layers.adaptive import (
        AdaptiveAveragePooling1D as AdaptiveAveragePooling1D,
    )
    from kurve.layers.adaptive import (
        AdaptiveAveragePooling2D as AdaptiveAveragePooling2D,
    )
    from kurve.layers.adaptive import (
        AdaptiveAveragePooling3D as AdaptiveAveragePooling3D,
    )
    from kurve.layers.adaptive import AdaptiveMaxPooling1D as AdaptiveMaxPooling1D
    from kurve.layers.adaptive import AdaptiveMaxPooling2D as AdaptiveMaxPooling2D
    from kurve.layers.adaptive import AdaptiveMaxPooling3D as AdaptiveMaxPooling3D
    from kurve.layers.attention import AdditiveAttention as AdditiveAttention
    from kurve.layers.attention import Attention as Attention
    from kurve.layers.audio import MelSpectrogram as MelSpectrogram
    from kurve.layers.audio import STFTSpectrogram as STFTSpectrogram
    from kurve.layers.augmentation import RandomFlip as RandomFlip
    from kurve.layers.augmentation import RandomRotation as RandomRotation
    from kurve.layers.augmentation import RandomTranslation as RandomTranslation
    from kurve.layers.augmentation import RandomZoom as RandomZoom
    from kurve.layers.bidirectional import Bidirectional as Bidirectional
    from kurve.layers.cells import SimpleRNNCell as SimpleRNNCell
    from kurve.layers.conv_lstm import ConvLSTM1D as ConvLSTM1D
    from kurve.layers.conv_lstm import ConvLSTM2D as ConvLSTM2D
    from kurve.layers.conv_lstm import ConvLSTM3D as ConvLSTM3D
    from kurve.layers.convolution import Conv1D as Conv1D
    from kurve.layers.convolution import Conv2D as Conv2D
    from kurve.layers.convolution import Conv3D as Conv3D
    from kurve.layers.core import Activation as Activation
    from kurve.layers.core import Dropout as Dropout
    from kurve.layers.core import Input as Input
    from kurve.layers.core import InputLayer as InputLayer
    from kurve.layers.cropping import Cropping1D as Cropping1D
    from kurve.layers.cropping import Cropping2D as Cropping2D
    from kurve.layers.cropping import Cropping3D as Cropping3D
    from kurve.layers.dense import Dense as Dense
    from kurve.layers.depthwise import DepthwiseConv1D as DepthwiseConv1D
    from kurve.layers.depthwise import DepthwiseConv2D as DepthwiseConv2D
    from kurve.layers.depthwise import SeparableConv1D as SeparableConv1D
    from kurve.layers.depthwise import SeparableConv2D as SeparableConv2D
    from kurve.layers.einsum import EinsumDense as EinsumDense
    from kurve.layers.embedding import Embedding as Embedding
    from kurve.layers.embedding import ReversibleEmbedding as ReversibleEmbedding
    from kurve.layers.encoding import CategoryEncoding as CategoryEncoding
    from kurve.layers.encoding import Discretization as Discretization
    from kurve.layers.fourier import FourierFeatures as FourierFeatures
    from kurve.layers.function import Lambda as Lambda
    from kurve.layers.gates import GRUCell as GRUCell
    from kurve.layers.gates import LSTMCell as LSTMCell
    from kurve.layers.group_query_attention import (
        GroupQueryAttention as GroupQueryAttention,
    )
    from kurve.layers.hashing import HashedCrossing as HashedCrossing
    from kurve.layers.hashing import Hashing as Hashing
    from kurve.layers.image_effects import AutoContrast as AutoContrast
    from kurve.layers.image_effects import RandomErasing as RandomErasing
    from kurve.layers.image_effects import RandomGaussianBlur as RandomGaussianBlur
    from kurve.layers.image_effects import RandomInvert as RandomInvert
    from kurve.layers.image_effects import RandomPosterization as RandomPosterization
    from kurve.layers.image_effects import RandomSharpness as RandomSharpness
    from kurve.layers.image_effects import Solarization as Solarization
    from kurve.layers.image_mixing import CutMix as CutMix
    from kurve.layers.image_mixing import Equalization as Equalization
    from kurve.layers.image_mixing import MixUp as MixUp
    from kurve.layers.image_mixing import RandomPerspective as RandomPerspective
    from kurve.layers.image_mixing import RandomShear as RandomShear
    from kurve.layers.image_policies import AugMix as AugMix
    from kurve.layers.image_policies import (  # noqa: F401
        ContrastLimitedAdaptiveHistogramEqualization,
    )
    from kurve.layers.image_policies import RandAugment as RandAugment
    from kurve.layers.image_policies import (
        RandomElasticTransform as RandomElasticTransform,
    )
    from kurve.layers.lookup import IntegerLookup as IntegerLookup
    from kurve.layers.lookup import StringLookup as StringLookup
    from kurve.layers.lstm import GRU as GRU
    from kurve.layers.lstm import LSTM as LSTM
    from kurve.layers.lstm import SimpleRNN as SimpleRNN
    from kurve.layers.masking import Masking as Masking
    from kurve.layers.merging import Add as Add
    from kurve.layers.merging import Average as Average
    from kurve.layers.merging import Concatenate as Concatenate
    from kurve.layers.merging import Dot as Dot
    from kurve.layers.merging import Maximum as Maximum
    from kurve.layers.merging import Minimum as Minimum
    from kurve.layers.merging import Multiply as Multiply
    from kurve.layers.merging import Subtract as Subtract
    from kurve.layers.merging import add as add
    from kurve.layers.merging import average as average
    from kurve.layers.merging import concatenate as concatenate
    from kurve.layers.merging import dot as dot
    from kurve.layers.merging import maximum as maximum
    from kurve.layers.merging import minimum as minimum
    from kurve.layers.merging import multiply as multiply
    from kurve.layers.merging import subtract as subtract
    from kurve.layers.multi_head_attention import (
        MultiHeadAttention as MultiHeadAttention,
    )
    from kurve.layers.noise import AlphaDropout as AlphaDropout
    from kurve.layers.noise import GaussianDropout as GaussianDropout
    from kurve.layers.noise import GaussianNoise as GaussianNoise
    from kurve.layers.noise import SpatialDropout1D as SpatialDropout1D
    from kurve.layers.noise import SpatialDropout2D as SpatialDropout2D
    from kurve.layers.noise import SpatialDropout3D as SpatialDropout3D
    from kurve.layers.normalization import Normalization as Normalization
    from kurve.layers.normalizing import GroupNormalization as GroupNormalization
    from kurve.layers.normalizing import RMSNormalization as RMSNormalization
    from kurve.layers.normalizing import UnitNormalization as UnitNormalization
    from kurve.layers.padding import ZeroPadding1D as ZeroPadding1D
    from kurve.layers.padding import ZeroPadding2D as ZeroPadding2D
    from kurve.layers.padding import ZeroPadding3D as ZeroPadding3D
    from kurve.layers.penalty import ActivityRegularization as ActivityRegularization
    from kurve.layers.piecewise import PiecewiseLinear as PiecewiseLinear
    from kurve.layers.pipeline import Pipeline as Pipeline
    from kurve.layers.pooling import AveragePooling1D as AveragePooling1D
    from kurve.layers.pooling import AveragePooling2D as AveragePooling2D
    from kurve.layers.pooling import AveragePooling3D as AveragePooling3D
    from kurve.layers.pooling import GlobalAveragePooling1D as GlobalAveragePooling1D
    from kurve.layers.pooling import GlobalAveragePooling2D as GlobalAveragePooling2D
    from kurve.layers.pooling import GlobalAveragePooling3D as GlobalAveragePooling3D
    from kurve.layers.pooling import GlobalMaxPooling1D as GlobalMaxPooling1D
    from kurve.layers.pooling import GlobalMaxPooling2D as GlobalMaxPooling2D
    from kurve.layers.pooling import GlobalMaxPooling3D as GlobalMaxPooling3D
    from kurve.layers.pooling import MaxPooling1D as MaxPooling1D
    from kurve.layers.pooling import MaxPooling2D as MaxPooling2D
    from kurve.layers.pooling import MaxPooling3D as MaxPooling3D
    from kurve.layers.radial import RadialBasis as RadialBasis
    from kurve.layers.random_colors import RandomBrightness as RandomBrightness
    from kurve.layers.random_colors import (
        RandomColorDegeneration as RandomColorDegeneration,
    )
    from kurve.layers.random_colors import RandomColorJitter as RandomColorJitter
    from kurve.layers.random_colors import RandomContrast as RandomContrast
    from kurve.layers.random_colors import RandomGrayscale as RandomGrayscale
    from kurve.layers.random_colors import RandomHue as RandomHue
    from kurve.layers.random_colors import RandomSaturation as RandomSaturation
    from kurve.layers.recurrent import RNN as RNN
    from kurve.layers.reshaping import Flatten as Flatten
    from kurve.layers.reshaping import Permute as Permute
    from kurve.layers.reshaping import RepeatVector as RepeatVector
    from kurve.layers.reshaping import Reshape as Reshape
    from kurve.layers.resizing import CenterCrop as CenterCrop
    from kurve.layers.resizing import RandomCrop as RandomCrop
    from kurve.layers.resizing import Resizing as Resizing
    from kurve.layers.scaling import BatchNormalization as BatchNormalization
    from kurve.layers.scaling import LayerNormalization as LayerNormalization
    from kurve.layers.scaling import Rescaling as Rescaling
    from kurve.layers.softmax import Softmax as Softmax
    from kurve.layers.specs import InputSpec as InputSpec
    from kurve.layers.spectral import SpectralNormalization as SpectralNormalization
    from kurve.layers.stacked import StackedRNNCells as StackedRNNCells
    from kurve.layers.text import TextVectorization as TextVectorization
    from kurve.layers.transposed import Conv1DTranspose as Conv1DTranspose
    from kurve.layers.transposed import Conv2DTranspose as Conv2DTranspose
    from kurve.layers.transposed import Conv3DTranspose as Conv3DTranspose
    from kurve.layers.upsampling import UpSampling1D as UpSampling1D
    from kurve.layers.upsampling import UpSampling2D as UpSampling2D
    from kurve.layers.upsampling import UpSampling3D as UpSampling3D
    from kurve.layers.wrapping import TimeDistributed as TimeDistributed
    from kurve.layers.wrapping import Wrapper as Wrapper

    AvgPool1D = AveragePooling1D
    AvgPool2D = AveragePooling2D
    AvgPool3D = AveragePooling3D
    Convolution1D = Conv1D
    Convolution1DTranspose = Conv1DTranspose
    Convolution2D = Conv2D
    Convolution2DTranspose = Conv2DTranspose
    Convolution3D = Conv3D
    Convolution3DTranspose = Conv3DTranspose
    GlobalAvgPool1D = GlobalAveragePooling1D
    GlobalAvgPool2D = GlobalAveragePooling2D
    GlobalAvgPool3D = GlobalAveragePooling3D
    GlobalMaxPool1D = GlobalMaxPooling1D
    GlobalMaxPool2D = GlobalMaxPooling2D
    GlobalMaxPool3D = GlobalMaxPooling3D
    MaxPool1D = MaxPooling1D
    MaxPool2D = MaxPooling2D
    MaxPool3D = MaxPooling3D
    SeparableConvolution1D = SeparableConv1D
    SeparableConvolution2D = SeparableConv2D

_MODULES = {
    "activations": "ELU Identity LeakyReLU PReLU ReLU",
    "adaptive": (
        "AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D "
        "AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D"
    ),
    "attention": "AdditiveAttention Attention",
    "audio": "MelSpectrogram STFTSpectrogram",
    "augmentation": "RandomFlip RandomRotation RandomTranslation RandomZoom",
    "bidirectional": "Bidirectional",
    "cells": "SimpleRNNCell",
    "conv_lstm": "ConvLSTM1D ConvLSTM2D ConvLSTM3D",
    "convolution": (
        "Conv1D Conv2D Conv3D Convolution1D=Conv1D Convolution2D=Conv2D "
        "Convolution3D=Conv3D"
    ),
    "core": "Activation Dropout Input InputLayer",
    "cropping": "Cropping1D Cropping2D Cropping3D",
    "dense": "Dense",
    "depthwise": (
        "DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D "
        "SeparableConvolution1D=SeparableConv1D SeparableConvolution2D=SeparableConv2D"
    ),
    "einsum": "EinsumDense",
    "embedding": "Embedding ReversibleEmbedding",
    "fourier": "FourierFeatures",
    "function": "Lambda",
    "gates": "GRUCell LSTMCell",
    "group_query_attention": "GroupQueryAttention",
    "multi_head_attention": "MultiHeadAttention",
    "lstm": "GRU LSTM SimpleRNN",
    "masking": "Masking",
    "merging": (
        "Add Average Concatenate Dot Maximum Minimum Multiply Subtract add average "
        "concatenate dot maximum minimum multiply subtract"
    ),
    "noise": (
        "AlphaDropout GaussianDropout GaussianNoise SpatialDropout1D SpatialDropout2D "
        "SpatialDropout3D"
    ),
    "normalization": "Normalization",
    "normalizing": "GroupNormalization RMSNormalization UnitNormalization",
    "padding": "ZeroPadding1D ZeroPadding2D ZeroPadding3D",
    "penalty": "ActivityRegularization",
    "piecewise": "PiecewiseLinear",
    "pooling": (
        "AveragePooling1D AveragePooling2D AveragePooling3D GlobalAveragePooling1D "
        "GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D "
        "GlobalMaxPooling2D GlobalMaxPooling3D MaxPooling1D MaxPooling2D MaxPooling3D "
        "MaxPool1D=MaxPooling1D MaxPool2D=MaxPooling2D MaxPool3D=MaxPooling3D "
        "AvgPool1D=AveragePooling1D AvgPool2D=AveragePooling2D "
        "AvgPool3D=AveragePooling3D GlobalMaxPool1D=GlobalMaxPooling1D "
        "GlobalMaxPool2D=GlobalMaxPooling2D GlobalMaxPool3D=GlobalMaxPooling3D "
        "GlobalAvgPool1D=GlobalAveragePooling1D GlobalAvgPool2D=GlobalAveragePooling2D "
        "GlobalAvgPool3D=GlobalAveragePooling3D"
    ),
    "image_effects": (
        "AutoContrast RandomErasing RandomGaussianBlur RandomInvert "
        "RandomPosterization RandomSharpness Solarization"
    ),
    "image_mixing": "CutMix Equalization MixUp RandomPerspective RandomShear",
    "image_policies": (
        "AugMix ContrastLimitedAdaptiveHistogramEqualization RandAugment "
        "RandomElasticTransform"
    ),
    "pipeline": "Pipeline",
    "radial": "RadialBasis",
    "random_colors": (
        "RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast "
        "RandomGrayscale RandomHue RandomSaturation"
    ),
    "recurrent": "RNN",
    "reshaping": "Flatten Permute RepeatVector Reshape",
    "resizing": "CenterCrop RandomCrop Resizing",
    "scaling": "BatchNormalization LayerNormalization Rescaling",
    "softmax": "Softmax",
    "specs": "InputSpec",
    "spectral": "SpectralNormalization",
    "stacked": "StackedRNNCells",
    "transposed": (
        "Conv1DTranspose Conv2DTranspose Conv3DTranspose "
        "Convolution1DTranspose=Conv1DTranspose Convolution2DTranspose=Conv2DTranspose "
        "Convolution3DTranspose=Conv3DTranspose"
    ),
    "upsampling": "UpSampling1D UpSampling2D UpSampling3D",
    "wrapping": "TimeDistributed Wrapper",
    "encoding": "CategoryEncoding Discretization",
    "hashing": "HashedCrossing Hashing",
    "lookup": "IntegerLookup StringLookup",
    "text": "TextVectorization",
}
"""The module of each name."""

__getattr__ = Later(__name__, _MODULES, refuse)
__dir__ = __getattr__.dir
__all__ = [*__getattr__.homes, "Layer", "Variable"]

CLASSES: Classes[Layer] = Classes(
    __name__, __getattr__.classes(["Input", "InputLayer", "InputSpec", "Wrapper"])
)
"""Layers by name, which files may refer to."""


def serialize(layer: Layer) -> dict[str, Any]:
    """Class and configuration of a layer, or of a model in a layer."""
    if is_model(layer):
        from kurve.layers.wrapping import described

        return described(layer)
    return registry.entry(layer, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Layer:
    """The layer from the result of `serialize`, not built; a layer is returned
    unchanged."""
    if isinstance(config, Layer):
        return config
    if "module" in config:  # as Keras writes it
        from kurve.core.registration import deserialize_keras_object

        found: Layer = deserialize_keras_object(config)
        return found
    name = config["class_name"]
    if name in ("Sequential", "Functional"):
        from kurve.layers.wrapping import of_description

        model: Layer = of_description(config)
        return model
    cls = registry.find("from_config", "layer", name, CLASSES, Layer)
    layer: Layer = cls.from_config(config["config"])
    return layer
