"""Writes digits.gz: the pixels and then the labels of scikit-learn's 1,797 digits, a byte
each. They are the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, 1998, UCI Machine Learning Repository, CC BY 4.0)."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
numbers = np.concatenate([digits.data.ravel(), digits.target]).astype(np.uint8)
file = Path(__file__).with_name("digits.gz")
file.write_bytes(gzip.compress(numbers.tobytes(), mtime=0))
