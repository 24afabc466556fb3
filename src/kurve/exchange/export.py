"""`model.export("m.onnx")` and `model.export("m.c")`: models for other programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.core.files import replacing
from kurve.errors import path_name
from kurve.exchange.exported import ExportedModel, describe


def export(
    model: Any, filepath: str | os.PathLike[str], format: str | None = None
) -> None:
    """Export a trained model to predict without Kurve and without Python.

    An ONNX model (opset 17) runs in onnxruntime and similar programs; its one input is
    float32 (N, *input_shape), N free; a graph has inputs and outputs with the same
    names as in Kurve. A C file is C99 without dependencies and contains its own test;
    the comment at its top explains how to compile and call it.

    Both take raw rows: the scaling of an estimator is included, and its outputs are in
    the targets' units. Outputs are "output" of a Sequential; "mean" and "deviation" of
    an Ensemble; "prediction", "deviation" and, of a network of quantiles, "quantiles"
    of a Regressor; "probabilities" and "label" of a Classifier.

    Args:
        model: Sequential, Model, Ensemble, Regressor or Classifier.
        filepath: ends in .onnx or .c. The file is written completely or not at all.
        format: "onnx" or "c", if the extension does not tell.

    Raises:
        RuntimeError: a model that is not built or not fitted.
        TypeError: unsupported model.
        ValueError: unknown extension or format, text columns, weights that are not
            finite, an operation that cannot be written yet, or a model that is too
            large for the format.
        ImportError: onnx is not installed.
        OSError: the file cannot be written.
    """
    path = path_name("export", "filepath", filepath, "model.onnx")
    write = WRITERS[_format_of(path, format)]
    exported = describe(model)
    for network in exported.networks:
        for op, arrays in zip(network.ops, network.arrays, strict=True):
            for role, array in arrays.items():
                if not np.isfinite(array).all():
                    raise ValueError(
                        "[export] all weights must be finite. Received: NaN or "
                        f"infinity in {role} of layer {op.layer!r}. "
                        "Try training again with a smaller learning rate."
                    )
    data = write(exported, path)
    with replacing(path) as file:
        file.write(data)


def _onnx(exported: ExportedModel, path: str) -> bytes:
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ImportError(
            "[export] ONNX models need the package onnx. "
            "Try pip install 'kurve[onnx]', or a file ending in .c."
        ) from None
    from kurve.exchange.onnx_model import serialized

    return serialized(exported, os.path.basename(path))


def _c(exported: ExportedModel, path: str) -> bytes:
    if exported.graph_inputs is not None:
        from kurve.exchange.c_graphs import in_rows

        exported = in_rows(exported)
    from kurve.exchange.c_source import source

    return source(exported, os.path.basename(path)).encode("ascii")


WRITERS: dict[str, Callable[[ExportedModel, str], bytes]] = {"onnx": _onnx, "c": _c}


def _format_of(path: str, format: str | None) -> str:
    """The format with that name, or that of the file extension."""
    if format is not None:
        if format not in WRITERS:
            raise ValueError(
                "[export] format must be 'onnx' or 'c'. "
                f"Received: format={format!r}. Try export('model.onnx')."
            )
        return format
    ending = os.path.splitext(path)[1].removeprefix(".").lower()
    if ending not in WRITERS:
        raise ValueError(
            "[export] the file's name must end in '.onnx' or '.c'. "
            f"Received: {path!r}. Try {path + '.onnx'!r}."
        )
    return ending
