"""Every layer for images, as built in Kurve and in Keras."""

from __future__ import annotations

from typing import NamedTuple

from twins import Call, call


def layer(name: str, **arguments: object) -> Call:
    return call(f"layers.{name}", **arguments)


IMAGE, SEQUENCE, VOLUME = (7, 6, 4), (9, 4), (5, 4, 6, 2)


class ImageCase(NamedTuple):
    """Layers for samples of one shape, between a 1 x 1 convolution, whose gradient
    shows that of their input, and a dense layer."""

    layers: list[Call]
    input_shape: tuple[int, ...] = IMAGE


def conv(**more: object) -> ImageCase:
    return ImageCase([layer("Conv2D", filters=6, **{"kernel_size": 3, **more})])


def conv1(**more: object) -> ImageCase:
    given = {"filters": 6, "kernel_size": 3, **more}
    return ImageCase([layer("Conv1D", **given)], SEQUENCE)


def volumes(name: str, **more: object) -> ImageCase:
    return ImageCase([layer(name, **more)], VOLUME)


def transposed(**more: object) -> ImageCase:
    return ImageCase(
        [layer("Conv2DTranspose", filters=3, **{"kernel_size": 3, **more})]
    )


_named = {"kernel_initializer": "he_normal", "bias_initializer": "ones"}
_depthwise = {"kernel_size": 3, "depth_multiplier": 2}
_separable = {"filters": 5, "kernel_size": 3}
CASES = {
    "Conv2D": conv(),
    "Conv2D activation": conv(activation="gelu", **_named),
    "Conv2D same": conv(padding="same", kernel_size=(4, 3)),
    "Conv2D SAME": conv(padding="SAME", kernel_size=2, strides=2),
    "Conv2D strides": conv(strides=(3, 2), activation="tanh"),
    "Conv2D strides, same": conv(strides=(2, 3), padding="same"),
    "Conv2D large strides, same": conv(kernel_size=2, strides=4, padding="same"),
    "Conv2D dilation": conv(dilation_rate=2),
    "Conv2D dilation, same": conv(dilation_rate=(2, 3), padding="same"),
    "Conv2D groups": conv(groups=2, use_bias=False),
    "Conv2D penalty": conv(kernel_regularizer="l2", bias_regularizer="l1"),
    "Conv2D softmax": conv(activation="softmax"),
    "Conv2D frozen": conv(trainable=False),
    "Conv2D channels_last": conv(data_format="channels_last"),
    "Conv1D": conv1(),
    "Conv1D same": conv1(padding="same", kernel_size=4, strides=2),
    "Conv1D causal": conv1(padding="causal", dilation_rate=2, activation="silu"),
    "Conv1D causal, strides": conv1(padding="causal", strides=2),
    "Conv1D groups": conv1(groups=2),
    "DepthwiseConv2D": ImageCase([layer("DepthwiseConv2D", kernel_size=3)]),
    "DepthwiseConv2D multiplied": ImageCase(
        [layer("DepthwiseConv2D", **_depthwise, padding="same", strides=2)]
    ),
    "DepthwiseConv2D dilation": ImageCase(
        [layer("DepthwiseConv2D", **_depthwise, dilation_rate=2, use_bias=False)]
    ),
    "DepthwiseConv1D": ImageCase(
        [layer("DepthwiseConv1D", **_depthwise, padding="same", activation="elu")],
        SEQUENCE,
    ),
    "SeparableConv2D": ImageCase([layer("SeparableConv2D", **_separable)]),
    "SeparableConv2D same": ImageCase(
        [
            layer(
                "SeparableConv2D",
                **_separable,
                padding="same",
                strides=2,
                depth_multiplier=3,
                activation="tanh",
            )
        ]
    ),
    "SeparableConv1D": ImageCase(
        [layer("SeparableConv1D", **_separable, use_bias=False)], SEQUENCE
    ),
    "SeparableConv1D same": ImageCase(
        [layer("SeparableConv1D", **_separable, padding="same", strides=2)], SEQUENCE
    ),
    "Conv2DTranspose": transposed(activation="tanh"),
    "Conv2DTranspose strides": transposed(strides=2, kernel_size=(2, 3)),
    "Conv2DTranspose same": transposed(strides=2, padding="same"),
    "Conv2DTranspose same, even": transposed(
        strides=(3, 2), kernel_size=4, padding="same"
    ),
    "Conv2DTranspose small kernel": transposed(strides=3, kernel_size=2),
    "Conv2DTranspose output_padding": transposed(
        strides=(2, 3), padding="same", output_padding=(1, 2)
    ),
    "Conv2DTranspose output_padding, valid": transposed(strides=3, output_padding=1),
    "Conv2DTranspose dilation": transposed(dilation_rate=2, use_bias=False),
    "Conv3DTranspose": volumes("Conv3DTranspose", filters=3, kernel_size=2, strides=2),
    "Conv3DTranspose same": volumes(
        "Conv3DTranspose",
        filters=2,
        kernel_size=(2, 3, 3),
        strides=(1, 2, 1),
        padding="same",
        activation="tanh",
    ),
    "AdaptiveAveragePooling1D": ImageCase(
        [layer("AdaptiveAveragePooling1D", output_size=4)], SEQUENCE
    ),
    "AdaptiveAveragePooling2D": ImageCase(
        [layer("AdaptiveAveragePooling2D", output_size=(3, 4))]
    ),
    "AdaptiveMaxPooling2D": ImageCase([layer("AdaptiveMaxPooling2D", output_size=3)]),
    "AdaptiveAveragePooling3D": volumes("AdaptiveAveragePooling3D", output_size=2),
    "AdaptiveMaxPooling3D": volumes("AdaptiveMaxPooling3D", output_size=(2, 3, 2)),
    "Conv1DTranspose": ImageCase(
        [layer("Conv1DTranspose", filters=3, kernel_size=3, strides=2, padding="same")],
        SEQUENCE,
    ),
    "MaxPooling2D": ImageCase([layer("MaxPooling2D")]),
    "MaxPooling2D overlapping": ImageCase(
        [layer("MaxPooling2D", pool_size=3, strides=1, padding="same")]
    ),
    "MaxPooling2D gaps": ImageCase(
        [layer("MaxPool2D", pool_size=(2, 1), strides=3, padding="same")]
    ),
    "MaxPooling1D": ImageCase([layer("MaxPooling1D", pool_size=3)], SEQUENCE),
    "AveragePooling2D": ImageCase([layer("AveragePooling2D", pool_size=2)]),
    "AveragePooling2D same": ImageCase(
        [layer("AveragePooling2D", pool_size=(3, 4), strides=2, padding="same")]
    ),
    # Only with as many zeros on either side: where they differ, Keras's torch backend
    # repeats the border, and its other backends do not.
    "AveragePooling1D same": ImageCase(
        [layer("AveragePooling1D", pool_size=3, strides=2, padding="same")], SEQUENCE
    ),
    "GlobalAveragePooling2D": ImageCase([layer("GlobalAveragePooling2D")]),
    "GlobalAveragePooling2D kept": ImageCase(
        [layer("GlobalAveragePooling2D", keepdims=True)]
    ),
    "GlobalMaxPooling2D": ImageCase([layer("GlobalMaxPooling2D")]),
    "GlobalMaxPooling2D kept": ImageCase([layer("GlobalMaxPooling2D", keepdims=True)]),
    "GlobalAveragePooling1D": ImageCase([layer("GlobalAveragePooling1D")], SEQUENCE),
    "GlobalMaxPooling1D": ImageCase(
        [layer("GlobalMaxPooling1D", keepdims=True)], SEQUENCE
    ),
    "Conv3D": volumes("Conv3D", filters=3, kernel_size=(3, 2, 3), activation="tanh"),
    "Conv3D same": volumes(
        "Conv3D", filters=3, kernel_size=(2, 3, 4), strides=(2, 1, 3), padding="same"
    ),
    "Conv3D dilation": volumes(
        "Conv3D", filters=4, kernel_size=2, dilation_rate=(2, 1, 3), groups=2
    ),
    "Conv3D penalty": volumes(
        "Conv3D", filters=2, kernel_size=2, use_bias=False, kernel_regularizer="l2"
    ),
    "MaxPooling3D": volumes("MaxPooling3D"),
    "MaxPooling3D same": volumes(
        "MaxPool3D", pool_size=(2, 3, 3), strides=(1, 2, 1), padding="same"
    ),
    "AveragePooling3D": volumes("AveragePooling3D", pool_size=(2, 1, 3), strides=1),
    "AveragePooling3D same": volumes(
        "AvgPool3D", pool_size=3, strides=1, padding="same"
    ),
    "GlobalMaxPooling3D": volumes("GlobalMaxPooling3D"),
    "GlobalAveragePooling3D kept": volumes("GlobalAveragePooling3D", keepdims=True),
    "ZeroPadding3D": volumes("ZeroPadding3D", padding=((1, 0), (0, 2), (1, 1))),
    "Cropping3D": volumes("Cropping3D", cropping=((1, 2), (0, 1), (2, 0))),
    "UpSampling3D": volumes("UpSampling3D", size=(2, 1, 3)),
    "Reshape": ImageCase([layer("Reshape", target_shape=(3, -1, 2))]),
    "ZeroPadding2D": ImageCase([layer("ZeroPadding2D"), *conv().layers]),
    "ZeroPadding2D pairs": ImageCase(
        [layer("ZeroPadding2D", padding=((1, 0), (2, 3))), *conv().layers]
    ),
    "ZeroPadding1D": ImageCase(
        [layer("ZeroPadding1D", padding=(2, 0)), *conv1().layers], SEQUENCE
    ),
    "UpSampling2D": ImageCase([layer("UpSampling2D"), *conv().layers]),
    "UpSampling2D bilinear": ImageCase(
        [layer("UpSampling2D", size=(2, 3), interpolation="bilinear"), *conv().layers]
    ),
    "UpSampling1D": ImageCase(
        [layer("UpSampling1D", size=3), *conv1().layers], SEQUENCE
    ),
    "BatchNormalization": ImageCase([layer("BatchNormalization"), *conv().layers]),
    "BatchNormalization numbers": ImageCase(
        [layer("BatchNormalization", momentum=0.7, epsilon=0.1), *conv().layers]
    ),
    "BatchNormalization bare": ImageCase(
        [layer("BatchNormalization", center=False, scale=False), *conv().layers]
    ),
    "BatchNormalization penalties": ImageCase(
        [
            layer("BatchNormalization", beta_regularizer="l2", gamma_regularizer="l1"),
            *conv().layers,
        ]
    ),
    "BatchNormalization frozen": ImageCase(
        [layer("BatchNormalization", trainable=False), *conv().layers]
    ),
    "BatchNormalization of a sequence": ImageCase(
        [layer("BatchNormalization"), *conv1().layers], SEQUENCE
    ),
    "BatchNormalization of rows": ImageCase(
        [
            layer("Flatten"),
            layer("Dense", units=5),
            layer("BatchNormalization"),
            layer("Activation", activation="tanh"),
        ]
    ),
    "LayerNormalization": ImageCase([layer("LayerNormalization"), *conv().layers]),
    "LayerNormalization axes": ImageCase(
        [layer("LayerNormalization", axis=[1, 2, 3], epsilon=0.01), *conv().layers]
    ),
    "LayerNormalization of a sequence": ImageCase(
        [layer("LayerNormalization", center=False), *conv1().layers], SEQUENCE
    ),
    "Rescaling": ImageCase([layer("Rescaling", scale=0.3, offset=-0.1)]),
    "Rescaling by channel": ImageCase(
        [layer("Rescaling", scale=[1.0, 2, -0.5, 0.25], offset=[0.0, 1, 0.5, -0.125])]
    ),
    "a convnet": ImageCase(
        [
            layer(
                "Conv2D", filters=5, kernel_size=3, activation="relu", padding="same"
            ),
            layer("MaxPooling2D"),
            layer("BatchNormalization"),
            layer("Conv2D", filters=4, kernel_size=2, activation="tanh"),
        ]
    ),
}
