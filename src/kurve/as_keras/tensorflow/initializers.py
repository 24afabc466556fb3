"""Initializers under TensorFlow's top-level names."""

from kurve.initializers import Constant as constant_initializer
from kurve.initializers import Ones as ones_initializer
from kurve.initializers import RandomNormal as random_normal_initializer
from kurve.initializers import RandomUniform as random_uniform_initializer
from kurve.initializers import TruncatedNormal as truncated_normal_initializer
from kurve.initializers import VarianceScaling as variance_scaling_initializer
from kurve.initializers import Zeros as zeros_initializer

__all__ = [
    "constant_initializer",
    "ones_initializer",
    "random_normal_initializer",
    "random_uniform_initializer",
    "truncated_normal_initializer",
    "variance_scaling_initializer",
    "zeros_initializer",
]
