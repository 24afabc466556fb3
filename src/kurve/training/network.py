"""The internals of a model: its layers, the plan they are lowered to, its state, and
the arguments of `compile`.

A model holds one as `model._network`. Methods that users can call or override are on
the model; the rest of the library (files, exchange, solvers, diagnosis, estimators)
works on the network, because a user's subclass can have attributes of any name.
"""

from __future__ import annotations

import contextlib
import math
import warnings
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.core.entries import warn
from kurve.engines import Engine, Program, State, aligned_zeros, get_engine
from kurve.legacy.logs import Logs
from kurve.losses import Loss
from kurve.metrics import RowMetric
from kurve.plan import Head, Plan, Shape
from kurve.plan.kinds import OPERATIONS, TRAINING_ONLY
from kurve.training.compilation import Compilation, Goal, Goals
from kurve.training.layout import Layout
from kurve.training.parts import Parts
from kurve.training.structure import Structure


class Network(Layout):
    """A layout, with everything needed for training.

    compilation: None before `compile`
    metrics:     of all outputs, resolved once the network is built
    engine:      the engine that compiled `program()`
    """

    def __init__(
        self, seed: int, trainable: bool = True, structure: Structure | None = None
    ) -> None:
        super().__init__(seed, trainable, structure)
        self.compilation: Compilation | None = None
        self.metrics: list[RowMetric] = []
        # Or, for masked outputs, versions that take the mask.
        self._measured = self.metrics
        self.engine: Engine | None = None
        self._goals: tuple[Plan | None, Goals] | None = None
        self._inputs: tuple[Plan, Parts] | None = None
        self._is_partial = False  # whether the program lacks a loss
        # For direct calls: what the plan was made for, and `plan_by_hand`.
        self._by_hand: list[tuple[Plan, Any, Any]] = []
        # Whether the user knows that a model without a plan is slow.
        self.runs_eagerly = False
        self.weighs_steps = False  # whether the steps of sequences have weights
        # The `trainable` flags when training started after `compile`.
        self._trained_flags: list[bool] | None = None

    # ---------------------------------------------------------------- compiling

    @property
    def inputs(self) -> Parts:
        if self._inputs is not None and self._inputs[0] is self.plan:
            return self._inputs[1]
        parts = Parts("input", tuple(self.input_names), self.input_structure)
        if self.plan is not None:
            self._inputs = self.plan, parts
        return parts

    @property
    def outputs(self) -> Parts:
        return Parts("output", tuple(self.output_names), self.output_structure)

    @property
    def goals(self) -> Goals:
        """The goals of the outputs.

        Raises:
            TypeError, ValueError: the compilation does not match the outputs.
        """
        if self._goals is None or self._goals[0] is not self.plan:
            assert self.compilation is not None
            self._goals = self.plan, Goals(self.compilation, self.outputs)
        return self._goals[1]

    def compile(self, compilation: Compilation) -> None:
        """Use a new compilation; resets the optimizer.

        Raises:
            TypeError, ValueError: it does not match the outputs; nothing was changed.
        """
        if self.output_names:
            Goals(compilation, self.outputs)
        self.set_compilation(compilation)
        self._forget_training()
        self._replan()

    def set_compilation(self, compilation: Compilation | None) -> None:
        """Use a compilation, but keep the optimizer's slots."""
        self.compilation, self._goals, self.metrics = compilation, None, []
        if compilation is not None:
            compilation.optimizer._network = weakref.ref(self)
            if self.output_names:
                self.metrics = [m for goal in self.goals for m, _ in goal.metrics]

    def forget_compile(self) -> None:
        """Return to the state before `compile`."""
        self.set_compilation(None)
        self._forget_training()

    def _forget_training(self) -> None:
        """Return to the state before the first update, except for the weights."""
        self._program = self._trained_flags = None
        self._family.clear()
        if self.state is not None:
            self.state.slots = aligned_zeros((0, len(self.state.params)))
            self.state.scalars = np.zeros(0)
            self.state.step = 0

    def require_compiled(self, where: str) -> Compilation:
        """The compilation.

        Raises:
            RuntimeError: before `compile`.
        """
        if self.compilation is None:
            raise RuntimeError(
                f"[{where}] the model must be compiled first. "
                "Try model.compile(optimizer='adam', loss='mse')."
            )
        return self.compilation

    def fit_targets(self, loss: Loss, y: Any, output: Shape) -> Any:
        """Targets for a loss that accepts any, once it is known how it takes these."""
        from kurve.losses.target_shapes import infer_target_shape

        y = loss.fitted(y, output)
        if output not in loss.targets:
            infer_target_shape(loss, np.shape(y)[1:], output)
            self._program = None
        return y

    def widen_targets(self, where: str, loss: Loss, y: Shape, output: Shape) -> None:
        """Let a loss compare an output with targets of more values, as in Keras.

        Args:
            y: the shape of the targets.
            output: the shape of one sample of the output.
        """
        from kurve.losses.target_shapes import wider_target

        target = wider_target(loss, y[1:], output)
        if target is None or loss.targets.get(output) == target:
            return
        warn(
            f"[{where}] y has {math.prod(target)} values per sample, but the model's "
            f"output {math.prod(output)}: each is compared with all that broadcast to "
            "it, as in Keras, and learns their mean or a compromise. Received: "
            f"y.shape={y} for outputs of shape {('n', *output)}. Try a last layer of "
            f"{target[-1]} units, or y with the columns that the model predicts."
        )
        loss.targets[output] = target
        self._program = None

    def require_loss(self, where: str) -> None:
        """Refuse a built model without anything to minimize.

        Raises:
            ValueError: no output has a loss, and no layer adds to it.
        """
        if self.penalized or any(goal.loss is not None for goal in self.goals):
            return
        raise ValueError(
            f"[{where}] a loss is needed, for an output or by add_loss in a layer. "
            "Received: a model that was compiled with loss=None. "
            "Try compile(optimizer='adam', loss='mse')."
        )

    def require_one_output(self, where: str) -> None:
        """Refuse several inputs or outputs.

        Raises:
            ValueError: there are several.
        """
        inputs, outputs = self.input_names, self.output_names
        if len(inputs) > 1 or len(outputs) > 1:
            raise ValueError(
                f"[{where}] the model must have one input and one output. Received: "
                f"inputs {', '.join(inputs)} and outputs {', '.join(outputs)}. "
                "Try fit, or a model with one of each."
            )

    def refuse_rows_together(self, where: str) -> None:
        """Refuse a loss that compares rows, where the engine's own step is needed.

        Raises:
            NotImplementedError: there is one.
        """
        if self.compilation is not None and self.compilation.across_rows:
            name = self.compilation.across_rows[0].name
            raise NotImplementedError(
                f"[{where}] the loss must be computed for each row separately. "
                f"Received: the loss {name!r}, which compares the rows of a batch. Try "
                "fit and evaluate, or compile with another loss, such as 'mse'."
            )

    def values(
        self, numbers: Iterable[int], inputs: tuple[np.ndarray, ...]
    ) -> dict[int, np.ndarray]:
        """Values of the plan by index, in inference mode.

        Args:
            inputs: (n, *shape) for each input of the plan.
        """
        plan, state = self.require_built("values")
        numbers = list(numbers)
        # Operations that change no values have no separate output in an engine.
        source = list(range(plan.given))
        for i, op in enumerate(plan.ops):
            same = op.kind == "reshape" or op.kind in TRAINING_ONLY
            source.append(source[plan.reads(i)[0]] if same else plan.given + i)
        found = dict(enumerate(inputs))
        needed = sorted({source[v] for v in numbers} - set(found))
        shapes = [plan.ops[v - plan.given].out_shape for v in needed]
        heads = tuple(Head(v, s) for v, s in zip(needed, shapes, strict=True))
        if heads:
            program = self.chosen_engine().compile(replace(plan, heads=heads))
            if plan.rows is not None:  # this call must not change states
                state = replace(state, buffers=state.buffers.copy())
            x: Any = inputs if len(inputs) > 1 else inputs[0]
            y: Any = program.predict(state, x)
            found.update(zip(needed, y if len(heads) > 1 else [y], strict=True))
        return {
            v: found[v]
            if v < plan.given
            else found[source[v]].reshape(-1, *plan.ops[v - plan.given].out_shape)
            for v in numbers
        }

    def chosen_engine(self) -> Engine:
        """The engine that `compile` chose, else the default one; the reference engine
        if the plan contains Python code."""
        if self.as_written:
            return get_engine("reference")
        chosen = None if self.compilation is None else self.compilation.engine
        return chosen or get_engine()

    @property
    def is_ready(self) -> bool:
        """Whether `program()` is compiled already."""
        return self._program is not None

    def program(self, training: bool = True) -> Program:
        """The plan with loss, metrics and optimizer, compiled by the engine.

        Args:
            training: False for predictions, which need no loss: a custom loss whose
                form depends on the data is then left out.
        """
        if training and self.as_written:
            self._warn_as_written()
        if self._program is None or (training and self._is_partial):
            assert self.plan is not None
            plan = self.plan
            self._is_partial = False
            if self.compilation is not None:
                from kurve.metrics.wide import of_wide_targets

                goals: Sequence[Goal] = self.goals
                pairs = zip(goals, plan.heads, strict=True)
                resolved = [goal.resolved(head.shape) for goal, head in pairs]
                self.metrics = [metric for each in resolved for metric in each]
                goals = [goal.summed for goal in self.goals]
                if not training and self.compilation.has_unknown_targets:
                    goals = self._predicting(goals)
                resolved = [
                    [metric for metric in each if not metric.counts_itself]
                    for each in resolved
                ]
                if any(self.masked):
                    resolved = _with_masks(resolved, self.masked)
                resolved = [
                    [of_wide_targets(metric, goal.loss, head.shape) for metric in each]
                    for each, goal, head in zip(
                        resolved, goals, plan.heads, strict=True
                    )
                ]
                plan = self.with_losses([goal.loss for goal in goals], resolved)
                self._measured = [metric for each in resolved for metric in each]
                labels = self.outputs.labels
                plan = self.compilation.completed(plan, goals, resolved, labels)
            self.engine = self.chosen_engine()
            self._program = self.engine.compile(plan)
        return self._program

    def _warn_as_written(self) -> None:
        """Warn once that training will be slow, unless the user has chosen eager
        execution."""
        if self.runs_eagerly or self.compilation is None:
            return
        self.runs_eagerly = True
        rule, _, rest = self.why_written.partition(" Received: ")
        received, _, remedy = rest.partition(" Try ")
        remedy = f"Try {remedy.rstrip('.')}; or" if remedy else "Try"
        warn(
            "[fit] the model runs eagerly, one function at a time on the arrays of "
            "each batch, which is many times slower than a compiled plan. "
            f"{rule} Received: {received} {remedy} "
            "model.compile(..., run_eagerly=True), which turns this warning off."
        )

    def _predicting(self, goals: Sequence[Goal]) -> list[Goal]:
        """The goals without the losses whose target shape depends on the data."""
        from kurve.losses.target_shapes import is_row_by_row

        assert self.plan is not None
        found = []
        for goal, head in zip(goals, self.plan.heads, strict=True):
            loss = goal.loss
            if loss is not None and loss.any_targets and not loss.targets:
                target = loss.target_shape(head.shape)
                if not is_row_by_row(loss, target, head.shape):
                    goal = Goal(None, goal.weight, goal.metrics)
                    self._is_partial = True
            found.append(goal)
        return found

    def with_losses(
        self,
        losses: Sequence[Loss | None],
        metrics: Sequence[Sequence[RowMetric]] = (),
    ) -> Plan:
        """The plan, with the formulas that compute losses and metrics of its
        outputs."""
        assert self.plan is not None
        rules = [*losses, *(metric for each in metrics for metric in each)]
        by_ops = any(rule is not None and rule.by_ops for rule in rules)
        by_ops = by_ops or any(self.masked)
        if not by_ops and not self.penalized:
            return self.plan
        plan, graph = self.lowered(self.plan.inputs, losses, metrics)
        if plan.buffers != self.plan.buffers:  # constants of formulas
            self._move_buffers(plan, graph)
            self.plan = replace(self.plan, buffers=plan.buffers)
        return plan

    def plan_by_hand(
        self, training: bool
    ) -> tuple[Plan, list[Any], list[Any], Program | None]:
        """The plan including losses added by layers, the variables of its vectors, and
        its program (see `with_output_gradients`), for direct calls of the model. The
        parameter vector is that of `state`.

        Args:
            training: whether layers run in training mode. If that makes a difference,
                or if outputs depend on other samples, there is no program.
        """
        assert self.plan is not None
        engine = self.chosen_engine()
        made_for = self._trainable_flags(), engine.name, training
        for made_of, known, found in self._by_hand:
            if made_of is self.plan and known == made_for:
                return found
        plan, graph = self.lowered(self.plan.inputs, [None] * len(self.plan.heads))
        compiled = None
        facts = [OPERATIONS[op.kind] for op in plan.ops]
        differs = any(f.training_only or f.updates_buffers for f in facts)
        if plan.rows is None and not (training and differs):
            from kurve.gradients.compiled import with_output_gradients

            with contextlib.suppress(ValueError):
                fixed = plan if training else plan.deterministic()
                compiled = engine.compile(with_output_gradients(fixed))
        made = plan, graph.params, graph.buffers, compiled
        self._by_hand = [*self._by_hand[-3:], (self.plan, made_for, made)]
        return made

    # ---------------------------------------------------------------- training

    def training_state(self, where: str = "fit") -> State:
        """The state with the optimizer's slots, which are created when first needed."""
        _, state = self.require_built(where)
        assert self.compilation is not None
        self.require_loss(where)
        flags = self._trainable_flags()
        if flags != self._trained_flags:
            self.check_trainable(where)
            self.update_trainable()
            self._trained_flags = flags
            plan, _ = self.require_built(where)
            if plan.params and not any(spec.trainable for spec in plan.params):
                warnings.warn(
                    f"[{where}] the model has no weights to train. Received: "
                    "trainable=False in all its layers. Try layer.trainable = True, "
                    "and compile(...) again.",
                    stacklevel=2,
                )
        self.claim_shared()
        if self.compilation.optimizer.applier is not None:
            self.take_memory()
        self.start_slots()
        return state

    def take_memory(self) -> None:
        """Take the optimizer's state from custom steps, if it is newer than the
        engine's."""
        if self.compilation is not None:
            from kurve.optimizers.applying import exchange_memory

            exchange_memory(self.compilation.optimizer)

    def start_slots(self) -> None:
        """Create the optimizer's slots, if there are none."""
        _, state = self.require_built("fit")
        assert self.compilation is not None
        optimizer = self.compilation.optimizer
        starts = optimizer.slot_starts
        if len(state.slots) != len(starts):
            state.slots = aligned_zeros((len(starts), len(state.params)))
            state.slots[...] = np.asarray(starts, np.float32)[:, None]
            state.scalars = np.asarray(optimizer.scalar_starts, np.float64)

    def use_average(self) -> None:
        """Set the trained weights to their moving average, if the optimizer keeps
        one."""
        optimizer = None if self.compilation is None else self.compilation.optimizer
        if optimizer is None or self.state is None or self.plan is None:
            return
        if optimizer.use_ema and self.state.step:
            average = self.state.slots[optimizer.slot_names.index("average")]
            for spec in self.plan.params:
                if spec.trainable:
                    part = slice(spec.offset, spec.end)
                    self.state.params[part] = average[part]

    def check_trainable(self, where: str) -> None:
        """Refuse to train if a `trainable` flag has changed since training started."""
        if self._trained_flags not in (None, self._trainable_flags()):
            raise ValueError(
                f"[{where}] the trainable weights must stay the same after training "
                "started, because the optimizer has state for them. Received: a "
                "`trainable` that was changed since. Try model.compile(...) again."
            )

    def logs(self, totals: np.ndarray) -> dict[str, float]:
        """Loss and metrics from the engine's accumulators, sorted by name as Keras
        passes them to callbacks and users."""
        assert self._program is not None
        plan, names, rows = self._program.plan, self.goals.log_names, totals[1]
        logs = {"loss": float(totals[0] / rows) if rows else float("nan")}
        start = 2
        if len(plan.heads) > 1:
            for name, total in zip(names.losses, totals[start:], strict=False):
                if name:
                    logs[name] = float(total / rows) if rows else float("nan")
        start = plan.metrics_start
        specs = iter(plan.metrics)
        for name, metric in zip(names.metrics, self._measured, strict=True):
            size = sum(next(specs).size for _ in range(metric.parts))
            logs[name] = metric.value(totals[start : start + size])
            start += size
        return Logs(sorted(logs.items()))


def _with_masks(
    metrics: Sequence[Sequence[RowMetric]], masked: Sequence[bool]
) -> list[list[RowMetric]]:
    """The metrics of each output, masked for outputs with a mask."""
    from kurve.metrics.masked import of_masked

    return [
        [of_masked(metric) if takes else metric for metric in each]
        for each, takes in zip(metrics, masked, strict=True)
    ]
