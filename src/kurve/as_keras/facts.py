"""Metadata of the `keras` package."""

__all__ = ["version"]


def version() -> str:
    """The Keras version whose names and results Kurve matches."""
    from kurve.as_keras.importing import VERSIONS

    return VERSIONS["keras"]
