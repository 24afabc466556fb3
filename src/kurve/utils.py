"""Small helpers with Keras's names."""

from kurve.rng import set_random_seed as set_random_seed
