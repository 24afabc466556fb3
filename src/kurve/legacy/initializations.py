"""Functions of a shape, which Keras 1 called as `init(shape, name=...)`: today
kurve.initializers, whose objects are called with a shape"""

from __future__ import annotations

from typing import Any

from kurve import initializers


def uniform(shape: Any, scale: float = 0.05, name: Any = None, **_: Any) -> Any:
    """Uniform numbers from -scale to scale: today RandomUniform(-scale,
    scale)(shape)"""
    return initializers.RandomUniform(-scale, scale)(tuple(shape))


def normal(shape: Any, scale: float = 0.05, name: Any = None, **_: Any) -> Any:
    """Normal random numbers: today RandomNormal(stddev=scale)(shape)"""
    return initializers.RandomNormal(stddev=scale)(tuple(shape))


def identity(shape: Any, scale: float = 1.0, name: Any = None, **_: Any) -> Any:
    """A matrix: today Identity(gain=scale)(shape)"""
    return initializers.Identity(scale)(tuple(shape))


def orthogonal(shape: Any, scale: float = 1.1, name: Any = None, **_: Any) -> Any:
    """A matrix: today Orthogonal(gain=scale)(shape)"""
    return initializers.Orthogonal(scale)(tuple(shape))


def zero(shape: Any, name: Any = None, **_: Any) -> Any:
    """Zeros: today Zeros()(shape)"""
    return initializers.Zeros()(tuple(shape))


def one(shape: Any, name: Any = None, **_: Any) -> Any:
    """Ones: today Ones()(shape)"""
    return initializers.Ones()(tuple(shape))


def _scaled(of: str) -> Any:
    def draw(shape: Any, name: Any = None, **_: Any) -> Any:
        initializer: Any = initializers.get(of)
        return initializer(tuple(shape))

    draw.__name__, draw.__doc__ = of, f"Numbers: today initializers.get({of!r})(shape)"
    return draw


glorot_normal = _scaled("glorot_normal")
glorot_uniform = _scaled("glorot_uniform")
he_normal = _scaled("he_normal")
he_uniform = _scaled("he_uniform")
lecun_uniform = _scaled("lecun_uniform")
get = initializers.get
