"""`model.export("m.onnx")`, `.c` and `.plan.kurve`: models for other programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.core.files import replacing
from kurve.errors import path_name
from kurve.exchange.exported import ExportedModel, describe
from kurve.exchange.unrolled import none
from kurve.plan import Op


def export(
    model: Any, filepath: str | os.PathLike[str], format: str | None = None
) -> None:
    """Export a trained model to predict without Kurve and without Python.

    An ONNX model (opset 17) runs in onnxruntime and similar programs; its one input is
    float32 (N, *input_shape), N free; a graph keeps the names of its inputs and
    outputs. A C file is C99 without dependencies and contains its own test; the comment
    at its top explains how to compile and call it. A plan is for the C library of
    `include/kurve.h`, which supports all operations, uses threads, and returns the same
    bits as `predict`; it can hold a model, but not an estimator.

    ONNX and C files take raw rows: the scaling of an estimator is included, and its
    outputs are in the targets' units. A table with columns other than numbers keeps its
    columns: in ONNX one input (N, 1) each, float64, or strings for categories and
    texts, and seconds since 1970 for dates; in C an array of numbers and an array of
    texts, with dates as text. Outputs are "output" of a Sequential; "mean" and
    "deviation" of an Ensemble; "prediction", "deviation" and, of a network of
    quantiles, "quantiles" of a Regressor; "probabilities" and "label" of a Classifier.

    Args:
        model: Sequential, Model, Ensemble, Regressor or Classifier.
        filepath: ends in .onnx, .c or .plan.kurve. The file is written completely or
            not at all.
        format: "onnx", "c" or "plan", if the extension does not tell.

    Raises:
        RuntimeError: a model that is not built or not fitted.
        TypeError: unsupported model, such as an estimator as a plan.
        ValueError: unknown extension or format, a category of texts and numbers,
            weights that are not finite, an operation that cannot be written yet, or a
            model that is too large for the format.
        ImportError: onnx is not installed.
        OSError: the file cannot be written.
    """
    path = path_name("export", "filepath", filepath, "model.onnx")
    found = _format_of(path, format)
    if found == "plan":
        from kurve.exchange.plan_files import write_plan

        write_plan(model, path)
        return
    write = WRITERS[found]
    exported = describe(model, _has_node if found == "onnx" else none)
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


def _has_node(op: Op) -> bool:
    """Whether ONNX has a node for a recurrent operation."""
    from kurve.exchange.onnx_recurrence import has_node

    return has_node(op)


WRITERS: dict[str, Callable[[ExportedModel, str], bytes]] = {"onnx": _onnx, "c": _c}
ENDINGS = {".onnx": "onnx", ".c": "c", ".plan.kurve": "plan"}


def _format_of(path: str, format: str | None) -> str:
    """The format with that name, or that of the file extension."""
    if format is not None:
        if format not in ENDINGS.values():
            raise ValueError(
                "[export] format must be 'onnx', 'c' or 'plan'. "
                f"Received: format={format!r}. Try export('model.onnx')."
            )
        return format
    for ending, name in ENDINGS.items():
        if path.lower().endswith(ending):
            return name
    stem = path.removesuffix(".kurve")
    fix = f"{stem}.plan.kurve" if stem != path else f"{path}.onnx"
    raise ValueError(
        "[export] the file's name must end in '.onnx', '.c' or '.plan.kurve'. "
        f"Received: {path!r}. Try {fix!r}."
    )
