"""Estimators with scikit-learn's conventions, for tables of numbers and texts."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kurve.estimators.base import Estimator as Estimator
from kurve.estimators.classifier import Classifier as Classifier
from kurve.estimators.errors import NotFittedError as NotFittedError
from kurve.estimators.regressor import Regressor as Regressor


def load(
    path: str | os.PathLike[str],
    custom_objects: Mapping[str, type] | None = None,
) -> Regressor | Classifier:
    """Load an estimator saved by `save`, ready to predict.

    Args:
        custom_objects: custom classes by name; see `kurve.models.load_model`.
        path: path of the file.

    Raises:
        ModelFileError: the file is damaged or not an estimator file.

    Example:
        >>> X = np.linspace(-1.0, 1.0, 40)[:, None]
        >>> model = kurve.Regressor((4,), max_epochs=5, random_state=0)
        >>> model.fit(X, X[:, 0]).save("line.kurve")
        >>> kurve.estimators.load("line.kurve").predict(X).shape
        (40,)
    """
    from kurve.estimators import files

    return files.load(path, custom_objects)
