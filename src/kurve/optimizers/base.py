"""The base class of optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kurve.core.arguments import (
    TypedDict,
    check_flag,
    check_name,
    is_count,
    is_integer,
    refuse_arguments,
)
from kurve.core.dtypes import FLOAT32_MAX
from kurve.core.naming import auto_name
from kurve.formulas.recording import refuse_in_steps
from kurve.optimizers import schedules
from kurve.optimizers.custom import OwnUpdates
from kurve.optimizers.rates import USUAL as USUAL
from kurve.optimizers.rates import LearningRates, name_of
from kurve.optimizers.rates import Rate as Rate
from kurve.optimizers.schedules import LearningRateSchedule
from kurve.plan import Attr, Spec, VariableSpec

if TYPE_CHECKING:
    from kurve.optimizers.updates import Terms
    from kurve.optimizers.values import Iterations


class ClippingArguments(TypedDict, total=False):
    """Arguments of optimizers that define `weight_decay` themselves."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None


class OptimizerArguments(ClippingArguments, total=False):
    """Arguments of every optimizer."""

    weight_decay: float | None


class Optimizer(OwnUpdates, LearningRates):
    """Base class of all optimizers.

    A subclass can have an `update_step`, and a `build` that adds the variables it
    needs. `fit` then runs Python steps, which takes longer.

    Args:
        learning_rate: a number of at least 0, a schedule of `optimizers.schedules`, or
            a function without arguments, called before each update.
        weight_decay: fraction of each weight, times the learning rate, subtracted
            before every update (decoupled: Loshchilov & Hutter 2019); None for none.
        clipnorm: maximum norm of each variable's gradient.
        clipvalue: maximum absolute value of gradient elements.
        global_clipnorm: maximum norm of all gradients together.
        use_ema: whether to keep a moving average of the weights, which replaces them at
            the end of `fit`.
        ema_momentum: decay of the average, in [0, 1].
        ema_overwrite_frequency: number of updates after which the average also replaces
            the weights; None for only at the end of `fit`.
        loss_scale_factor: Keras scales loss and gradients by it; has no effect here,
            because float32 does not need it.
        gradient_accumulation_steps: update the weights only once in this many steps, at
            least 2, with the mean of their gradients.
        name: derived from the class if None.

    Raises:
        TypeError: an argument that is not a number.
        ValueError: a number out of range, or more than one kind of clipping.
    """

    _has_name = True

    kind = ""
    attr_names: tuple[str, ...] = ()
    """Its attributes that are parameters of the formula."""
    ignored = (
        "stateless_apply",
        "compute_gradients",
        "minimize",
        "learning_rate",
    )
    instead = "an optimizer of kurve.optimizers, or a learning rate schedule"

    own_slots: Mapping[str, float] = MappingProxyType({})
    """Keras's names of the slots of the formula, with initial values."""
    interleaved: int | None = None
    """How many slots alternate in Keras's files, variable by variable; None for all."""
    scalar_starts: tuple[float, ...] = ()

    def __init__(
        self,
        learning_rate: Rate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        refuse_arguments(type(self), unknown)
        where = type(self).__name__
        self.name = auto_name(type(self)) if name is None else check_name(where, name)
        self.learning_rate = learning_rate
        self.weight_decay = self._number("weight_decay", weight_decay, 0.0, FLOAT32_MAX)
        self.clipnorm = self._number("clipnorm", clipnorm, 0.0, FLOAT32_MAX)
        self.clipvalue = self._number("clipvalue", clipvalue, 0.0, FLOAT32_MAX)
        self.global_clipnorm = self._number(
            "global_clipnorm", global_clipnorm, 0.0, FLOAT32_MAX
        )
        clips = [c for c in (clipnorm, clipvalue, global_clipnorm) if c is not None]
        if len(clips) > 1:
            raise ValueError(
                f"[{type(self).__name__}] only one of clipnorm, clipvalue and "
                f"global_clipnorm can be passed. Received: clipnorm={clipnorm}, "
                f"clipvalue={clipvalue}, global_clipnorm={global_clipnorm}. "
                "Try the one that matters most."
            )
        self.use_ema: bool
        self._flag(use_ema=use_ema)
        self.ema_momentum: float
        self._set(0.0, 1.0, ema_momentum=ema_momentum)
        self.ema_overwrite_frequency = self._count(
            "ema_overwrite_frequency", ema_overwrite_frequency, 1
        )
        self.loss_scale_factor = self._number(
            "loss_scale_factor", loss_scale_factor, 0.0, FLOAT32_MAX
        )
        self.gradient_accumulation_steps = self._count(
            "gradient_accumulation_steps", gradient_accumulation_steps, 2
        )
        self.excluded_names: frozenset[str] = frozenset()
        self.excluded_patterns: tuple[str, ...] = ()
        self._network: Any = None
        self.applier: Any = None
        self._made: list[Any] = []

    @property
    def trained(self) -> Optimizer:
        """The optimizer that a compiled model trains with: this one, unless it only
        wraps another one."""
        return self

    # ---------------------------------------------------------------- custom loops

    def build(self, variables: Sequence[Any]) -> None:
        """Create the slots for these variables, for `apply`; otherwise its first call
        does. A custom optimizer also adds its variables here.

        Args:
            variables: such as `model.trainable_weights`.

        Raises:
            TypeError, ValueError: not variables, or no variables.
        """
        from kurve.optimizers.applying import applier_of

        applier_of(self, list(variables))

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None
    ) -> None:
        """Update variables from gradients, in a custom loop.

        Args:
            grads: gradients of the variables, in order, as returned by
                `GradientTape.gradient`. A variable without a gradient (None) is not
                updated.
            trainable_variables: the variables; by default those of the first call.

        Raises:
            TypeError, ValueError: wrong number or shapes, no gradients at all, or
                variables unknown to the optimizer.
            NonFiniteError: a gradient or a new value is not finite; nothing is changed.

        Example:
            >>> layer = kurve.layers.Dense(1)
            >>> optimizer = kurve.optimizers.SGD(0.1)
            >>> with kurve.GradientTape() as tape:
            ...     loss = kurve.ops.mean(layer(np.ones((4, 2))) ** 2)
            >>> gradients = tape.gradient(loss, layer.trainable_weights)
            >>> optimizer.apply(gradients, layer.trainable_weights)
            >>> optimizer.iterations
            1
        """
        from kurve.optimizers.applying import apply

        apply(self, grads, trainable_variables)

    def apply_gradients(self, grads_and_vars: Any) -> None:
        """`apply` for pairs: zip(gradients, variables).

        Args:
            grads_and_vars: pairs of a gradient and its variable.

        Raises:
            TypeError, ValueError, NonFiniteError: as `apply`.
        """
        pairs = [tuple(pair) for pair in grads_and_vars]
        self.apply([g for g, _ in pairs], [v for _, v in pairs])

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Set variables updated by `apply` to their moving average, if the optimizer
        keeps one.

        Args:
            var_list: the variables.
        """
        if self.use_ema and self.applier is not None:
            self.applier.use_average(self, var_list)

    # ---------------------------------------------------------------- the formula

    def formula(self, terms: Terms) -> Any:
        """The new value of a variable, for optimizers without a formula in the engines.
        Written with NumPy functions on the terms; sets `terms.slots`."""
        raise NotImplementedError

    @property
    def has_formula(self) -> bool:
        """Whether engines compute `formula`."""
        return type(self).formula is not Optimizer.formula

    def slot_shapes(
        self, name: str, shape: tuple[int, ...]
    ) -> dict[str, tuple[int, ...] | None]:
        """Shapes of the formula's slots for that variable; None for no slot, () where
        Keras's files have a scalar instead."""
        return dict.fromkeys(self.own_slots, shape)

    def decay_of(self, name: str, shape: tuple[int, ...]) -> float | None:
        """The weight decay of a variable; None if it is excluded."""
        return self.weight_decay

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Keras's names of all slots kept by engines."""
        if self.is_written:
            return ()
        average = ("average",) * self.use_ema
        adding = ("gradient_accumulator",) * bool(self.gradient_accumulation_steps)
        return (*self.own_slots, *average, *adding)

    @property
    def slot_starts(self) -> tuple[float, ...]:
        """Initial values of the slots."""
        if self.is_written:
            return ()
        extra = len(self.slot_names) - len(self.own_slots)
        return (*self.own_slots.values(), *(0.0,) * extra)

    def places(
        self, trained: Sequence[VariableSpec], interleaved: int | None = None
    ) -> list[tuple[int, VariableSpec, tuple[int, ...]]]:
        """Slot index, variable and shape of each array, in Keras's order.

        Args:
            interleaved: see the attribute, which is the default.
        """
        own = list(self.own_slots)
        pair = self.interleaved if interleaved is None else interleaved
        pair = len(own) if pair is None else min(pair, len(own))
        order = [(k, v) for k in range(len(own), len(self.slot_names)) for v in trained]
        order += [(k, v) for v in trained for k in range(pair)]
        order += [(k, v) for k in range(pair, len(own)) for v in trained]
        found = []
        for k, v in order:
            shape = v.shape
            if k < len(own) and self.has_formula:
                here = self.slot_shapes(v.name, v.shape)[own[k]]
                if here is None:
                    continue
                shape = here
            found.append((k, v, shape))
        return found

    def spec_for(self, params: Sequence[VariableSpec]) -> Spec:
        """The optimizer in a plan with these variables."""
        more = self.use_ema or self.gradient_accumulation_steps or self.has_formula
        excludes = self.excluded_names or self.excluded_patterns
        if more or excludes or any(v.constraint is not None for v in params):
            from kurve.optimizers.updates import spec_of

            return spec_of(self, params)
        return self.spec

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Any] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Exclude some variables from weight decay, before training starts. As in
        Keras, files do not store this choice.

        Args:
            var_list: variables of the model, such as `layer.bias`.
            var_names: patterns to search for in their names, such as "bias".

        Raises:
            TypeError: not variables, or not names.
            ValueError: an invalid regular expression, or training has
                started.
        """
        import re

        network = self._owner()
        if network is not None and network.is_ready:
            raise ValueError(
                f"[{type(self).__name__}] weight decay can only be changed before "
                "training starts. Received: a model in training. "
                "Try model.compile(...) again."
            )
        names, patterns = list(var_list or ()), list(var_names or ())
        if not all(isinstance(getattr(v, "name", None), str) for v in names):
            raise TypeError(
                f"[{type(self).__name__}] var_list must hold variables. "
                f"Received: {var_list!r}. Try var_list=[layer.bias]."
            )
        if isinstance(var_names, str) or not all(isinstance(p, str) for p in patterns):
            raise TypeError(
                f"[{type(self).__name__}] var_names must be a list of names. "
                f"Received: {var_names!r}. Try var_names=['bias']."
            )
        try:
            for pattern in patterns:
                re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"[{type(self).__name__}] var_names must be regular expressions. "
                f"Received: {var_names!r}. Try var_names=['bias']."
            ) from error
        self.excluded_names = frozenset(v.name for v in names)
        self.excluded_patterns = tuple(patterns)

    # ---------------------------------------------------------------- variables

    def _owner(self) -> Any:
        """The network that it was last compiled for, if still alive."""
        return None if self._network is None else self._network()

    def _state(self) -> Any:
        if self.applier is not None:
            from kurve.optimizers.applying import exchange_memory

            exchange_memory(self)
            return self.applier.state
        network = self._owner()
        return None if network is None else network.state

    @property
    def built(self) -> bool:
        """Whether it has variables to update: those of a model, or those of `build`,
        which a custom `update_step` needs."""
        return super().built if self.is_written else self._state() is not None

    @property
    def iterations(self) -> Iterations:
        """The number of updates in the model it was compiled for."""
        refuse_in_steps("the number of updates")
        from kurve.optimizers.values import Iterations

        return Iterations(self, self.gradient_accumulation_steps or 1)

    @property
    def variables(self) -> list[Any]:
        """The step counter, the learning rate (unless it is a schedule) and, once
        training has started, the slots, in Keras's order."""
        from kurve.optimizers.values import Iterations, SlotVariable, slot_views

        found: list[Any] = [Iterations(self, 1)]
        if isinstance(self._learning_rate, float):
            found.append(self.learning_rate)
        if self.is_written:
            named = [] if self.applier is None else self.applier.named
            return found + [SlotVariable(name, view) for name, view in named]
        network, state = self.applier or self._owner(), self._state()
        if state is None or len(state.slots) != len(self.slot_starts):
            return found
        arrays = slot_views(self, network.plan.params, state.slots)
        numbers = [
            ("variable", state.scalars[i, ...]) for i in range(len(state.scalars))
        ]
        return found + [SlotVariable(name, view) for name, view in arrays + numbers]

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles do not belong to a model."""
        return {**vars(self), "_network": None, "applier": None}

    def attrs(self) -> dict[str, Attr]:
        """The parameters of the formula, for the plan."""
        return {name: getattr(self, name) for name in self.attr_names}

    @property
    def spec(self) -> Spec:
        """The optimizer in a plan; 0 means "not used"."""
        return Spec(
            self.kind,
            {
                **self.attrs(),
                "weight_decay": self.weight_decay or 0.0,
                "clipnorm": self.clipnorm or 0.0,
                "clipvalue": self.clipvalue or 0.0,
                "global_clipnorm": self.global_clipnorm or 0.0,
            },
        )

    def __repr__(self) -> str:
        shown = {**self._config(), "learning_rate": self._learning_rate}
        if not self.use_ema:
            del shown["ema_momentum"]
        args = [f"{k}={v!r}" for k, v in shown.items() if v not in (None, False)]
        return f"{type(self).__name__}({', '.join(args)})"

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this optimizer.

        Raises:
            ValueError: the learning rate is a function, which files cannot store.
        """
        rate: Any = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            rate = schedules.serialize(rate)
        elif not isinstance(rate, float):
            raise ValueError(
                f"[{type(self).__name__}] a learning rate that is a function cannot "
                f"be saved. Received: {name_of(rate)}. Try a schedule of "
                "kurve.optimizers.schedules, or a custom one."
            )
        return {**self._config(), "learning_rate": rate}

    def _config(self) -> dict[str, Any]:
        return {
            "learning_rate": None,
            "name": self.name,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            **self.attrs(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Optimizer:
        config = dict(config)
        rate = config.get("learning_rate")
        if isinstance(rate, Mapping):
            config["learning_rate"] = schedules.deserialize(rate)
        return cls(**config)

    def _count(self, name: str, value: int | None, low: int) -> int | None:
        """A number of steps, or None."""
        if value is None or is_count(value, low):
            return None if value is None else int(value)
        kind = TypeError if not is_integer(value) else ValueError
        raise kind(
            f"[{type(self).__name__}] {name} must be an integer of at least {low}, or "
            f"None. Received: {value!r}. Try {name}={10 * low}."
        )

    def _set(self, low: float, high: float, **numbers: float) -> None:
        for name, value in numbers.items():
            if value is None:
                raise TypeError(
                    f"[{type(self).__name__}] {name} must be a number. "
                    f"Received: {name}=None. Try {name}={USUAL[name]}."
                )
            setattr(self, name, self._number(name, value, low, high))

    def _flag(self, **flags: bool) -> None:
        for name, value in flags.items():
            setattr(self, name, check_flag(type(self).__name__, name, value))
