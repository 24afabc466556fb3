"""Arguments shared by regressor and classifier. As in scikit-learn, the constructor
only stores them, and `fit` checks them."""

from __future__ import annotations

import inspect
import math
from typing import Any, Self

import numpy as np

from kurve import activations, optimizers
from kurve.core.arguments import (
    check_count,
    check_number,
    is_integer,
)
from kurve.core.progress import check_verbose
from kurve.engines import get_engine
from kurve.errors import lookup
from kurve.models import Sequential
from kurve.optimizers import Optimizer
from kurve.optimizers.schedules import LearningRateSchedule

SOLVERS = ("auto", "lm", "lbfgs")
MISSING = ("auto", "impute", "error")
EFFORTS = ("fast", "default", "best")
MAX_MEMBERS = 10_000
MAX_WIDTH = 2**31


class Parameters:
    """The arguments of an estimator's constructor."""

    hidden_layer_sizes: Any
    activation: Any
    solver: Any
    members: int | str
    effort: str
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
            deep: as in scikit-learn; no argument has nested parameters.
        """
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Change arguments of the constructor; they take effect at the next `fit`.

        Args:
            params: arguments by name.

        Raises:
            ValueError: an unknown name; nothing is changed.
        """
        known = self._parameter_names()
        for name in params:
            lookup("set_params", "parameter", name, dict.fromkeys(known))
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        arguments = inspect.signature(type(self).__init__).parameters
        shown = []
        for name in arguments:
            if name != "self":
                value, default = getattr(self, name), arguments[name].default
                if value is not default and repr(value) != repr(default):
                    shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _check_parameters(self) -> None:
        """Refuse invalid arguments of the constructor.

        Raises:
            TypeError, ValueError: naming the argument.
        """
        self._check_network()
        self._check_counts()
        self._check_fractions()
        self._check_options()
        self._check_specific()

    def _check_network(self) -> None:
        name = type(self).__name__
        sizes = self.hidden_layer_sizes
        if isinstance(sizes, str):
            lookup(name, "hidden_layer_sizes", sizes, {"auto": None})
        elif not isinstance(sizes, Sequential):
            valid = isinstance(sizes, (tuple, list)) and all(
                is_integer(size) and 0 < size < MAX_WIDTH for size in sizes
            )
            if not valid:
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

    def _check_counts(self) -> None:
        name = type(self).__name__
        for argument, low, automatic in (
            ("members", 1, True),
            ("batch_size", 1, True),
            ("max_epochs", 1, True),
            ("patience", 0, True),
        ):
            value = getattr(self, argument)
            if not (automatic and isinstance(value, str) and value == "auto"):
                check_count(name, argument, value, low)
        if not isinstance(self.members, str) and self.members > MAX_MEMBERS:
            raise ValueError(
                f"[{name}] members must be at most {MAX_MEMBERS}. "
                f"Received: members={self.members}. Try members=5."
            )

    def _check_fractions(self) -> None:
        name = type(self).__name__
        for argument, low, high, ends in (
            ("validation_fraction", 0.0, 1.0, "()"),
            ("dropout", 0.0, 1.0, "[)"),
            ("alpha", 0.0, math.inf, "[)"),
        ):
            value = getattr(self, argument)
            value = float(value) if isinstance(value, np.floating) else value
            check_number(name, argument, value, 0.1, low, high, ends)
        rate = self.learning_rate
        if isinstance(rate, str):
            lookup(name, "learning_rate", rate, {"auto": None})
        elif (
            not isinstance(rate, LearningRateSchedule)
            and optimizers.Adam(rate, name="adam").learning_rate == 0.0
        ):
            raise ValueError(
                f"[{name}] learning_rate must be above 0, because with 0 nothing is "
                f"learned. Received: {rate!r}. Try learning_rate='auto'."
            )

    def _check_options(self) -> None:
        name = type(self).__name__
        for argument in ("early_stopping", "scale", "warm_start"):
            value = getattr(self, argument)
            if not isinstance(value, (bool, np.bool_)):
                raise TypeError(
                    f"[{name}] {argument} must be True or False. "
                    f"Received: {value!r}. Try {argument}=True."
                )
        lookup(name, "effort", self.effort, dict.fromkeys(EFFORTS))
        lookup(name, "missing", self.missing, dict.fromkeys(MISSING))
        check_verbose(self.verbose, name)
        if self.engine is not None:
            get_engine(self.engine)

    def _check_specific(self) -> None:
        """Check the arguments that only a subclass has."""
