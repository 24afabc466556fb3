"""Files: `tf.io.read_file`, `tf.io.decode_png`, `tf.io.gfile`.

Images are read by Pillow.
"""

from __future__ import annotations

import glob as _glob
import io
import os
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.image import convert_image_dtype
from kurve.as_keras.tensorflow.values import as_tensor, kind

__all__ = [
    "decode_bmp",
    "decode_gif",
    "decode_image",
    "decode_jpeg",
    "decode_png",
    "gfile",
    "matching_files",
    "read_file",
    "write_file",
]


def _path(filename: Any) -> str:
    value = np.asarray(filename).item()
    return value.decode() if isinstance(value, bytes) else os.fspath(value)


def read_file(filename: Any, name: Any = None) -> Any:
    """The bytes of a file."""
    with open(_path(filename), "rb") as file:
        whole = np.empty((), object)
        whole[()] = file.read()
    return as_tensor(whole)


def write_file(filename: Any, contents: Any, name: Any = None) -> None:
    """Write bytes or a string."""
    value = np.asarray(contents).item()
    with open(_path(filename), "wb") as file:
        file.write(value.encode() if isinstance(value, str) else value)


def matching_files(pattern: Any, name: Any = None) -> Any:
    """The files that match a glob pattern, sorted."""
    return as_tensor(np.array(sorted(_glob.glob(_path(pattern))), str))


def decode_image(
    contents: Any,
    channels: Any = None,
    dtype: Any = "uint8",
    name: Any = None,
    expand_animations: Any = True,
    **others: Any,
) -> Any:
    """The image in a file's bytes: (H, W, C).

    Args:
        contents: result of `read_file`.
        channels: 1, 3 or 4; 0 or None for those of the image.
        dtype: "uint8", or "float32" for numbers from 0 to 1.
        expand_animations, others: ignored, because only the first frame is read.

    Raises:
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "[tf.io.decode_image] decoding images needs Pillow. Received: no module "
            "'PIL'. Try pip install kurve[images]."
        ) from error
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    with Image.open(io.BytesIO(np.asarray(contents).item())) as picture:
        own = "L" if picture.mode in ("1", "L", "I", "I;16") else "RGB"
        mode = modes.get(channels or 0, "RGBA" if picture.mode == "RGBA" else own)
        pixels = np.asarray(picture.convert(mode))
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if kind(dtype) == "uint8":
        return as_tensor(pixels.copy())
    return convert_image_dtype(pixels, dtype)


def decode_png(
    contents: Any, channels: Any = 0, dtype: Any = "uint8", name: Any = None
) -> Any:
    """See `decode_image`."""
    return decode_image(contents, channels, dtype)


def decode_jpeg(contents: Any, channels: Any = 0, *_: Any, **others: Any) -> Any:
    """See `decode_image`."""
    return decode_image(contents, channels)


decode_gif = decode_bmp = decode_jpeg


def _check_new(path: Any, overwrite: bool) -> None:
    """Refuse to replace a file without being told to."""
    if not overwrite and os.path.exists(path):
        raise FileExistsError(
            f"[tf.io.gfile] the file must not exist. Received: {os.fspath(path)!r}. "
            "Try overwrite=True."
        )


def _copy(src: Any, dst: Any, overwrite: bool) -> None:
    _check_new(dst, overwrite)
    shutil.copyfile(src, dst)


def _rename(src: Any, dst: Any, overwrite: bool) -> None:
    _check_new(dst, overwrite)
    os.replace(src, dst)


gfile = SimpleNamespace(
    GFile=open,
    copy=lambda src, dst, overwrite=False: _copy(src, dst, overwrite),
    exists=os.path.exists,
    glob=lambda pattern: sorted(_glob.glob(pattern)),
    isdir=os.path.isdir,
    join=os.path.join,
    listdir=os.listdir,
    makedirs=lambda path: os.makedirs(path, exist_ok=True),
    mkdir=lambda path: os.makedirs(path, exist_ok=True),
    remove=os.remove,
    rename=lambda src, dst, overwrite=False: _rename(src, dst, overwrite),
    rmtree=shutil.rmtree,
    stat=os.stat,
    walk=os.walk,
)
"""Files and folders."""
