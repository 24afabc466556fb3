"""A model of two inputs and two outputs, lowered by hand: what `training` needs of a
network, without the layers that give it.

a (3,), b (2,) -> joined (5,) -> hidden (4,) tanh -> z (1,), y (2,)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.core.entries import entries
from kurve.engines import State, aligned_zeros
from kurve.plan import Head, Op, Plan, VariableSpec, aligned
from kurve.training.network import Network
from kurve.training.trainer import Trainer

INPUTS, OUTPUTS = ["a", "b"], ["z", "y"]
WIDTHS = {"hidden": (5, 4), "z": (4, 1), "y": (4, 2)}


def lowered() -> Plan:
    """The plan, whose activations and heads are those of the module's picture."""
    params: list[VariableSpec] = []
    ops = [
        Op(
            "concatenate",
            "joined",
            (3,),
            (5,),
            attrs={"axis": 0},
            inputs=(0, 1),
            more_shapes=((2,),),
        )
    ]
    for value, (name, (rows, columns)) in zip((2, 3, 3), WIDTHS.items(), strict=True):
        roles = {}
        for role, shape in (("kernel", (rows, columns)), ("bias", (columns,))):
            start = aligned(params[-1].end) if params else 0
            params.append(VariableSpec(f"{name}/{role}", shape, start, True))
            roles[role] = params[-1]
        attrs = {"activation": "tanh" if name == "hidden" else "linear", "alpha": 0.0}
        ops.append(
            Op(
                "dense",
                name,
                (rows,),
                (columns,),
                roles,
                attrs=attrs,
                inputs=(value,),
            )
        )
    heads = (Head(4, (1,)), Head(5, (2,)))
    return Plan(((3,), (2,)), tuple(ops), tuple(params), (), heads)


class TwoHeadNetwork(Network):
    """A network without layers."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(seed=1)
        self.input_structure, self.output_structure = inputs, outputs
        self.plan = plan = lowered()
        size = plan.params_size
        random = np.random.default_rng(0)
        params = aligned_zeros((size,))
        for spec in plan.params:
            values = random.normal(size=spec.size).astype(np.float32)
            params[spec.offset : spec.end] = values
        empty = aligned_zeros((0,))
        slots = aligned_zeros((0, size))
        self.state = State(params, empty, slots, np.zeros(0), 0, 1)

    @property
    def input_names(self) -> list[str]:
        return INPUTS

    @property
    def output_names(self) -> list[str]:
        return OUTPUTS

    def _replan(self) -> None:
        self.plan = lowered()

    def weights(self) -> list[np.ndarray]:
        """Views of all weights."""
        assert self.plan is not None and self.state is not None
        params = self.state.params
        return [params[s.offset : s.end].reshape(s.shape) for s in self.plan.params]


@entries
class TwoHeads(Trainer):
    """The model.

    Args:
        inputs, outputs: structures with the names in them.
    """

    def __init__(self, inputs: Any = ("a", "b"), outputs: Any = ("z", "y")) -> None:
        super().__init__()
        listed = [list(s) if isinstance(s, tuple) else s for s in (inputs, outputs)]
        self._network: TwoHeadNetwork = TwoHeadNetwork(*listed)


def data(rows: int = 24) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """x and y by name."""
    random = np.random.default_rng(3)
    x = {"a": random.normal(size=(rows, 3)), "b": random.normal(size=(rows, 2))}
    y = {"z": random.normal(size=(rows, 1)), "y": random.normal(size=(rows, 2))}
    return x, y
