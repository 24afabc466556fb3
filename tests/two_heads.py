"""A model of two inputs and two outputs.

a (3,), b (2,) -> joined (5,) -> hidden (4,) tanh -> z (1,), y (2,)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve import Input, Model
from kurve.formulas.tensor import replaced
from kurve.layers import Concatenate, Dense


class TwoHeads(Model):
    """The model.

    Args:
        inputs, outputs: structures with the names in them.
    """

    def __init__(self, inputs: Any = ("a", "b"), outputs: Any = ("z", "y")) -> None:
        listed = [list(s) if isinstance(s, tuple) else s for s in (inputs, outputs)]
        tensors = {"a": Input((3,), name="a"), "b": Input((2,), name="b")}
        joined = Concatenate(name="joined")([tensors["a"], tensors["b"]])
        hidden = Dense(4, "tanh", name="hidden")(joined)
        tensors |= {
            name: Dense(n, name=name)(hidden) for name, n in (("z", 1), ("y", 2))
        }
        super().__init__(*(replaced(s, lambda name: tensors[name]) for s in listed))
        self._network.seed = 1
        random = np.random.default_rng(0)
        self.set_weights([random.normal(size=w.shape) for w in self.weights])


def data(rows: int = 24) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """x and y by name."""
    random = np.random.default_rng(3)
    x = {"a": random.normal(size=(rows, 3)), "b": random.normal(size=(rows, 2))}
    y = {"z": random.normal(size=(rows, 1)), "y": random.normal(size=(rows, 2))}
    return x, y
