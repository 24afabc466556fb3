"""1,797 handwritten digits that come with scikit-learn (Alpaydin, Kaynak 1998)."""

from __future__ import annotations

import numpy as np

from kurve.core.entries import entry
from kurve.datasets.files import Images

TEST = 450
"""Number of test images: the last ones, mostly by different writers."""


@entry
def load_data() -> Images:
    """(x_train, y_train), (x_test, y_test): 1,347 and 450 images in MNIST's form, (n,
    28, 28) uint8: 8 x 8 pixels, each enlarged to 3 x 3, padded with zeros.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "[load_data] the digits come with scikit-learn, which is not installed. "
            f'Received: {error}. Try pip install "kurve[sklearn]".'
        ) from None

    digits = load_digits()
    small = np.round(digits.images * (255.0 / 16.0)).astype(np.uint8)
    large = np.pad(small.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    y = digits.target.astype(np.uint8)
    return (large[:-TEST], y[:-TEST]), (large[-TEST:], y[-TEST:])
