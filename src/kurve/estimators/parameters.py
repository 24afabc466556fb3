"""The arguments that regressor and classifier share, and scikit-learn's way with them:
the constructor only keeps them, `fit` checks them."""

from __future__ import annotations

import inspect
import sys
from typing import Any, Self

import numpy as np

from kurve import activations, optimizers
from kurve.core.progress import check_verbose
from kurve.engines import get_engine
from kurve.errors import lookup
from kurve.models import Sequential
from kurve.optimizers import Optimizer
from kurve.optimizers.schedules import LearningRateSchedule
from kurve.training.batching import check_count

SOLVERS = ("auto", "lm", "lbfgs")
MAX_MEMBERS = 10_000
MAX_WIDTH = 2**31


class Parameters:
    """What an estimator was told."""

    hidden_layer_sizes: Any
    activation: Any
    solver: Any
    members: int
    learning_rate: Any
    batch_size: Any
    max_epochs: Any
    early_stopping: bool
    validation_fraction: float
    patience: Any
    alpha: float
    dropout: float
    scale: bool
    missing: str
    warm_start: bool
    random_state: Any
    verbose: int
    engine: Any

    @classmethod
    def _parameter_names(cls) -> list[str]:
        names = list(inspect.signature(cls.__init__).parameters)
        return sorted(names[1:])

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor by name.

        Args:
            deep: as in scikit-learn; no argument has parameters of its own.
        """
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Change arguments of the constructor; they take effect at the next `fit`.

        Args:
            params: arguments by name.

        Raises:
            ValueError: a name that is no argument; nothing is changed.
        """
        known = self._parameter_names()
        for name in params:
            lookup("set_params", "parameter", name, dict.fromkeys(known))
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        usual = inspect.signature(type(self).__init__).parameters
        shown = []
        for name in usual:
            if name != "self":
                value, default = getattr(self, name), usual[name].default
                if value is not default and repr(value) != repr(default):
                    shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _check_parameters(self) -> None:
        """Refuse arguments of the constructor that make no sense.

        Raises:
            TypeError, ValueError: naming the argument.
        """
        name = type(self).__name__
        sizes = self.hidden_layer_sizes
        if isinstance(sizes, str):
            lookup(name, "hidden_layer_sizes", sizes, {"auto": None})
        elif not isinstance(sizes, Sequential):
            whole = isinstance(sizes, (tuple, list)) and all(
                isinstance(s, (int, np.integer))
                and not isinstance(s, bool)
                and 0 < s < MAX_WIDTH
                for s in sizes
            )
            if not whole:
                raise ValueError(
                    f"[{name}] hidden_layer_sizes must be a tuple of widths, a "
                    f"Sequential of hidden layers, or 'auto'. Received: {sizes!r}. "
                    "Try (64, 64)."
                )
        if isinstance(self.solver, str):
            known = [*SOLVERS, *(kind.lower() for kind in optimizers.CLASSES)]
            lookup(name, "solver", self.solver, dict.fromkeys(known))
        elif not isinstance(self.solver, Optimizer):
            raise TypeError(
                f"[{name}] solver must be a name or an object of kurve.optimizers. "
                f"Received: {self.solver!r}. Try solver='auto'."
            )
        if not (isinstance(self.activation, str) and self.activation == "auto"):
            activations.get(self.activation)
        counts = (
            ("members", 1, False),
            ("batch_size", 1, True),
            ("max_epochs", 1, True),
            ("patience", 0, True),
        )
        for argument, low, automatic in counts:
            value = getattr(self, argument)
            if not (automatic and isinstance(value, str) and value == "auto"):
                check_count(name, argument, value, low)
        if self.members > MAX_MEMBERS:
            raise ValueError(
                f"[{name}] members must be at most {MAX_MEMBERS}. "
                f"Received: members={self.members}. Try members=5."
            )
        for argument, above, high in (
            ("validation_fraction", 0.0, 1.0),
            ("dropout", -1e-300, 1.0),
            ("alpha", -1e-300, sys.float_info.max),
        ):
            value = getattr(self, argument)
            number = isinstance(value, (int, float, np.integer, np.floating))
            value = float(value) if isinstance(value, np.floating) else value
            if not number or isinstance(value, bool) or not above < value < high:
                limits = "above 0 and below 1" if above == 0.0 else "in [0, 1)"
                limits = "finite and at least 0" if high > 1.0 else limits
                raise ValueError(
                    f"[{name}] {argument} must be a number {limits}. "
                    f"Received: {value!r}. Try {argument}={max(above, 0.0) or 0.1}."
                )
        rate = self.learning_rate
        if isinstance(rate, str):
            lookup(name, "learning_rate", rate, {"auto": None})
        elif (
            not isinstance(rate, LearningRateSchedule)
            and optimizers.Adam(rate, name="adam").learning_rate == 0.0
        ):
            raise ValueError(
                f"[{name}] learning_rate must be above 0, because with 0 nothing is "
                f"learnt. Received: {rate!r}. Try learning_rate='auto'."
            )
        for argument in ("early_stopping", "scale", "warm_start"):
            value = getattr(self, argument)
            if not isinstance(value, (bool, np.bool_)):
                raise TypeError(
                    f"[{name}] {argument} must be True or False. "
                    f"Received: {value!r}. Try {argument}=True."
                )
        lookup(name, "missing", self.missing, {"error": None, "impute": None})
        check_verbose(self.verbose, name)
        if self.engine is not None:
            get_engine(self.engine)
        self._own_checks()

    def _own_checks(self) -> None:
        """Checks of the subclass's own parameters."""
