"""Errors and warnings that are also scikit-learn's, if it is in use."""

from __future__ import annotations

import sys
from typing import Any


class NotFittedError(ValueError, AttributeError):
    """An estimator was used before `fit`.

    In a program that has imported scikit-learn, the error raised is also a
    sklearn.exceptions.NotFittedError.
    """


def not_fitted(name: str, where: str) -> NotFittedError:
    """The error for an estimator that is not fitted."""
    return _not_fitted(
        f"[{where}] this {name} instance is not fitted yet. "
        f"Try fit(X, y) before {where}."
    )


def _not_fitted(message: str) -> NotFittedError:
    theirs = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", None)
    if theirs is None:
        return NotFittedError(message)

    # Pickle cannot import the class below, which is created at run time.
    def reduce(self: Any) -> Any:
        return _not_fitted, (str(self),)

    both = type("NotFittedError", (NotFittedError, theirs), {"__reduce__": reduce})
    error: NotFittedError = both(message)
    return error


def conversion_warning() -> type[UserWarning]:
    """scikit-learn's DataConversionWarning if it is loaded, else UserWarning."""
    module = sys.modules.get("sklearn.exceptions")
    return getattr(module, "DataConversionWarning", UserWarning)
