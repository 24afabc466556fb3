"""Initial values of variables. Names, defaults and formulas are Keras's.

An initializer without a seed draws from the random stream of its model and variable;
one with a seed gives the same values everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core import registry
from kurve.core.entries import entry
from kurve.core.later import absent as _absent
from kurve.core.naming import snake_case
from kurve.core.registration import restored
from kurve.errors import lookup
from kurve.initializers.base import Initializer as Initializer
from kurve.initializers.base import draw as draw
from kurve.initializers.base import finite as finite
from kurve.initializers.constants import Constant as Constant
from kurve.initializers.constants import Identity as Identity
from kurve.initializers.constants import Ones as Ones
from kurve.initializers.constants import Zeros as Zeros
from kurve.initializers.distributions import RandomNormal as RandomNormal
from kurve.initializers.distributions import RandomUniform as RandomUniform
from kurve.initializers.distributions import TruncatedNormal as TruncatedNormal
from kurve.initializers.fourier import STFT as STFT
from kurve.initializers.scaled import GlorotNormal as GlorotNormal
from kurve.initializers.scaled import GlorotUniform as GlorotUniform
from kurve.initializers.scaled import HeNormal as HeNormal
from kurve.initializers.scaled import HeUniform as HeUniform
from kurve.initializers.scaled import LecunNormal as LecunNormal
from kurve.initializers.scaled import LecunUniform as LecunUniform
from kurve.initializers.scaled import Orthogonal as Orthogonal
from kurve.initializers.scaled import SineUniform as SineUniform
from kurve.initializers.scaled import VarianceScaling as VarianceScaling

_ALL: list[type[Initializer]] = [
    Zeros,
    Ones,
    Constant,
    Identity,
    RandomUniform,
    RandomNormal,
    TruncatedNormal,
    VarianceScaling,
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
    Orthogonal,
    SineUniform,
    STFT,
]

CLASSES = {cls.__name__: cls for cls in _ALL}

_TABLE: dict[str, type[Initializer]] = (
    CLASSES
    | {snake_case(name): cls for name, cls in CLASSES.items()}
    | {"uniform": RandomUniform, "normal": RandomNormal, "zero": Zeros, "one": Ones}
    | {"IdentityInitializer": Identity, "OrthogonalInitializer": Orthogonal}
    | {"STFTInitializer": STFT}
)


@entry
def get(identifier: Any) -> Initializer | None:
    """An initializer for a name (with Keras's defaults), a class, a configuration, an
    array with the values, or a function (shape, dtype=None) -> values. None for None.

    Raises:
        ValueError: an unknown name, an array that is not finite.
        TypeError: any other type.
    """
    if identifier is None or isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, str):
        cls = lookup("initializers", "initializer", identifier, _TABLE)
        initializer: Initializer = cls()
        return initializer
    if isinstance(identifier, Mapping) and {"class_name", "config"} <= set(identifier):
        return deserialize(identifier)
    if isinstance(identifier, (np.ndarray, np.generic)):
        return Constant(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        return Initializer.of_function(identifier)()
    raise TypeError(
        "[initializers] an initializer must be a name, an object of "
        "kurve.initializers, an array, or a function (shape, dtype=None). "
        f"Received: {identifier!r}. Try 'glorot_uniform'."
    )


def of_weight(identifier: Any) -> Initializer:
    """Like `get`, for a layer: None means "glorot_uniform", as in Keras's
    `add_weight`."""
    return get(identifier) or GlorotUniform()


def serialize(initializer: Initializer | None) -> Any:
    """Class and configuration of an initializer; None for None."""
    return registry.entry(initializer, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Initializer:
    """The initializer from a result of `serialize`."""
    found: Initializer = restored(
        "initializers",
        "initializer",
        config,
        _TABLE,
        Initializer,
        get,
        Initializer.of_function,
    )
    return found


zeros, ones, constant, identity = Zeros, Ones, Constant, Identity
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal
STFTInitializer = stft = STFT
random_uniform, random_normal, truncated_normal = (
    RandomUniform,
    RandomNormal,
    TruncatedNormal,
)
variance_scaling, orthogonal = VarianceScaling, Orthogonal
sine_uniform = SineUniform
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal

__getattr__ = _absent(__name__)
