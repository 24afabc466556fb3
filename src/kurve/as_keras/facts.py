"""What `keras` itself says about itself."""

__all__ = ["version"]


def version() -> str:
    """The version of Keras whose names and numbers are Kurve's."""
    from kurve.as_keras.importing import VERSIONS

    return VERSIONS["keras"]
