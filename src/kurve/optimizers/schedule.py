"""The base class of learning rate schedules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from kurve.core.arguments import check_name, is_number
from kurve.core.entries import Entrance
from kurve.core.results import result


class LearningRateSchedule(Entrance):
    """Base class: `__call__(step)` returns the learning rate of a step, or of an array
    of steps.
    """

    def __call__(self, step: Any) -> np.ndarray:
        raise NotImplementedError

    def __init_subclass__(cls, **kwargs: Any) -> None:
        call: Any = vars(cls).get("__call__")
        if call is not None:
            cls.__call__ = _as_results(call)  # type: ignore[method-assign]
        super().__init_subclass__(**kwargs)

    name: str | None = None
    """A label without effect, as in Keras."""

    def _label(self, name: str | None) -> None:
        if name is not None:
            self.name = check_name(type(self).__name__, name)

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this schedule."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Create the schedule from `get_config`."""
        return cls(**config)


def _as_results(call: Callable[..., Any]) -> Callable[..., Any]:
    """The rates with the `numpy` method of Keras tensors."""

    @functools.wraps(call)
    def called(self: Any, step: Any) -> Any:
        return result(call(self, step))

    return called


def check_positive(
    schedule: LearningRateSchedule, zero: bool = False, **arguments: float
) -> None:
    """Refuse numbers that are not finite and above 0, or 0 with `zero`."""
    for name, value in arguments.items():
        if not (is_number(value) and (value > 0 or (zero and value == 0))):
            raise ValueError(
                f"[{type(schedule).__name__}] {name} must be finite and "
                f"{'at least' if zero else 'above'} 0. Received: {value!r}. "
                f"Try {name}={0.001 if zero else 100}."
            )
