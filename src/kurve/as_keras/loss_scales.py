"""`LossScaleOptimizer`: what remains of it where all numbers are float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kurve import optimizers
from kurve.core.arguments import check_number
from kurve.core.registry import REGISTERED
from kurve.optimizers import Optimizer

__all__ = ["LossScaleOptimizer"]


class LossScaleOptimizer(Optimizer):
    """An optimizer whose loss is scaled, so that float16 gradients do not underflow.

    Kurve computes in float32, where powers of two change no digits of a gradient: the
    scale stays at its start, and a compiled model trains with the inner optimizer,
    which is then `model.optimizer`, and which its files hold. A gradient that is not
    finite is an error, as with the inner optimizer alone; Keras skips such a step.

    Args:
        inner_optimizer: the optimizer of the updates, or its name.
        initial_scale: the scale, above 0.
        dynamic_growth_steps: Keras's number of steps before it doubles the scale.
        name: derived from the class if None.
        dynamic: only True, or False with Keras 2's meaning.

    Raises:
        TypeError: not an optimizer, or an unknown argument.
        ValueError: a number out of range.
    """

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        dynamic: bool = True,
        **common: Any,
    ) -> None:
        self.inner_optimizer = optimizers.get(inner_optimizer)
        super().__init__(0.0, name=name, **common)
        where = type(self).__name__
        self.initial_scale = check_number(
            where, "initial_scale", initial_scale, 2.0**15, 2.0**-126, 2.0**127
        )
        self.dynamic_growth_steps = self._count(
            "dynamic_growth_steps", dynamic_growth_steps, 1
        )
        self.dynamic = dynamic

    @property
    def trained(self) -> Optimizer:
        return self.inner_optimizer.trained

    # ---------------------------------------------------------------- custom loops

    @property
    def dynamic_scale(self) -> float:
        """The factor of the loss."""
        return self.initial_scale

    loss_scale = dynamic_scale

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the scale, whose gradients `apply` divides by it."""
        return loss * self.initial_scale

    def get_scaled_loss(self, loss: Any) -> Any:
        """Keras 2's `scale_loss`, with `get_unscaled_gradients` before `apply`."""
        return self.scale_loss(loss)

    def get_unscaled_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """The gradients as they are: `apply` divides them by the scale."""
        return list(grads)

    def build(self, variables: Sequence[Any]) -> None:
        self.inner_optimizer.build(variables)

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None
    ) -> None:
        """Update variables from the gradients of a scaled loss."""
        unscaled = [None if g is None else g / self.initial_scale for g in grads]
        self.inner_optimizer.apply(unscaled, trainable_variables)

    # ---------------------------------------------------------------- the inner one's

    @property
    def learning_rate(self) -> Any:
        """That of the inner optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if hasattr(self, "initial_scale"):  # not the base class's argument
            self.inner_optimizer.learning_rate = value

    lr = learning_rate

    @property
    def iterations(self) -> Any:
        return self.inner_optimizer.iterations

    @property
    def built(self) -> bool:
        return bool(self.inner_optimizer.built)

    @property
    def variables(self) -> list[Any]:
        return list(self.inner_optimizer.variables)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner_optimizer": optimizers.serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LossScaleOptimizer:
        """Create the optimizer from `get_config`."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"LossScaleOptimizer({self.inner_optimizer!r})"


REGISTERED["LossScaleOptimizer"] = LossScaleOptimizer
