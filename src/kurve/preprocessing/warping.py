"""Affine transformations of images, with filling outside.

Pixel (i, j) of the result is that of the input at A (i, j) + b, interpolated
between four neighbours. Edges are treated as in `scipy.ndimage.affine_transform`.
"""

from __future__ import annotations

import numpy as np

FILLS = dict.fromkeys(("nearest", "constant", "reflect", "wrap"))


def warped(
    x: np.ndarray,
    fill_mode: str,
    cval: float,
    order: int,
    theta: float,
    tx: float,
    ty: float,
    shear: float,
    zx: float,
    zy: float,
) -> np.ndarray:
    """Rotate, shift, shear and zoom an image (H, W, C).

    Args:
        x: the image.
        fill_mode, cval: see `ImageDataGenerator`.
        order: 1 for linear interpolation, 0 for the nearest pixel.
        theta, shear: angles in degrees.
        tx, ty: shifts down and to the right, in pixels.
        zx, zy: factors.
    """
    matrix = np.eye(3)
    if theta:
        angle = np.deg2rad(theta)
        c, s = np.cos(angle), np.sin(angle)
        matrix = matrix @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    if tx or ty:
        matrix = matrix @ np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    if shear:
        angle = np.deg2rad(shear)
        c, s = np.cos(angle), np.sin(angle)
        matrix = matrix @ np.array([[1, -s, 0], [0, c, 0], [0, 0, 1]])
    if zx != 1 or zy != 1:
        matrix = matrix @ np.diag([zx, zy, 1])
    if np.array_equal(matrix, np.eye(3)):
        return x
    h, w = x.shape[:2]
    middle = np.array([h / 2 - 0.5, w / 2 - 0.5])
    to, back = np.eye(3), np.eye(3)
    to[:2, 2], back[:2, 2] = middle, -middle
    # Keras's axes are x, y: the matrix works on swapped axes.
    matrix = (to @ matrix @ back)[[1, 0, 2]][:, [1, 0, 2]]
    rows, columns = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    i = matrix[0, 0] * rows + matrix[0, 1] * columns + matrix[0, 2]
    j = matrix[1, 0] * rows + matrix[1, 1] * columns + matrix[1, 2]
    return _sampled(x, i, j, fill_mode, cval, order)


def _sampled(
    x: np.ndarray, i: np.ndarray, j: np.ndarray, fill: str, cval: float, order: int
) -> np.ndarray:
    """The image at positions (i, j)."""
    h, w = x.shape[:2]
    inside = np.ones(i.shape, bool)
    if fill == "constant":
        inside = (i >= 0) & (i <= h - 1) & (j >= 0) & (j <= w - 1)
    i, j = _folded(i, h, fill), _folded(j, w, fill)
    if order == 0:
        top, left = np.floor(i + 0.5).astype(int), np.floor(j + 0.5).astype(int)
        found = x[_index(top, h, fill), _index(left, w, fill)]
        return np.where(inside[..., None], found, cval).astype(x.dtype)
    top, left = np.floor(i).astype(int), np.floor(j).astype(int)
    a, b = (i - top)[..., None], (j - left)[..., None]
    first, second = _index(top, h, fill), _index(top + 1, h, fill)
    one, two = _index(left, w, fill), _index(left + 1, w, fill)
    upper = x[first, one] * (1 - b) + x[first, two] * b
    lower = x[second, one] * (1 - b) + x[second, two] * b
    found = upper * (1 - a) + lower * a
    return np.where(inside[..., None], found, cval).astype(x.dtype)


def _folded(place: np.ndarray, size: int, fill: str) -> np.ndarray:
    """Map positions outside the image to positions inside."""
    if fill == "nearest":
        return np.clip(place, 0, size - 1)
    if fill == "reflect":  # d c b a | a b c d | d c b a
        place = np.mod(place + 0.5, 2 * size)
        return np.where(place > size, 2 * size - place, place) - 0.5
    if fill == "wrap" and size > 1:  # a period of size - 1, the ends being one
        outside = (place < 0) | (place > size - 1)
        return np.where(outside, np.mod(place, size - 1), place)
    return place


def _index(place: np.ndarray, size: int, fill: str) -> np.ndarray:
    return np.clip(place, 0, size - 1)
