"""The input of the checks: the data as tables, the model's plan and its predictions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import initializers
from kurve.core import rng
from kurve.core.arrays import as_numbers
from kurve.core.inside import network_of
from kurve.core.samples import as_samples, check_same_length
from kurve.diagnosis.ops import activation_of
from kurve.diagnosis.rows import (
    Rows,
    are_class_numbers,
    are_integers,
    are_one_hot,
    quality,
)
from kurve.engines import Batches, Job, State, aligned_zeros, run_job
from kurve.errors import NonFiniteError
from kurve.losses.targets import as_targets
from kurve.models.cloning import clone
from kurve.plan import Op, Plan, Shape
from kurve.plan.kinds import TRAINING_ONLY, facts_of_loss
from kurve.training.batching import pass_bounds
from kurve.training.inputs import unpack_data

if TYPE_CHECKING:
    from kurve.models import Model

UNIT_ROWS = 2048
"""Rows on which hidden units are checked: a unit that is 0 on all of them is useless on
the others too, and the outputs of eight layers of 256 units take 20 MB."""

GOOD = 0.01
"""Unexplained fraction below which a fit is good: unusual numbers did no harm and are
worth only a note."""

MAX_NUMBERS = 10_000_000
"""Maximum numbers of x to check (80 MB in float64); of larger data, every k-th row."""


class Context:
    """A model and its data, checked and prepared.

    model:      the model itself, never changed here
    plan:       its plan; the plan of a built clone if it is not built
    rows:       the training data
    validation: other data, or None
    names:      names of the D columns
    finite:     whether all outputs are finite
    task:       kind of targets, see `_task_of`
    numbers_for_softmax: whether targets are class indices for a softmax under a numeric
                loss: `fit` rejects them, and here they are a finding
    """

    def __init__(
        self,
        model: Model,
        x: Any,
        y: Any,
        validation_data: Sequence[Any] | None,
        columns: Sequence[str] | None,
    ) -> None:
        self.model, self.loss = model, model.loss
        plan = network_of(model).plan
        sample = None if plan is None else plan.input_shape
        samples = as_samples("diagnose", "x", x, sample)
        self.plan = plan or self._plan_of_clone(samples)
        self.numbers_for_softmax = False
        self.finite, self.task = True, ""
        self.rows = self._rows("diagnose", x, samples, y)
        self.validation = None
        if validation_data is not None:
            where = "diagnose, validation_data"
            other_x, other_y, _ = unpack_data(
                "diagnose", "validation_data", validation_data
            )
            other = as_samples(where, "x", other_x, samples.shape[1:])
            self.validation = self._rows(where, other_x, other, other_y)
        self.names = self._names(columns)

    # ---------------------------------------------------------------- preparation

    def _plan_of_clone(self, samples: np.ndarray) -> Plan | None:
        """The plan that the unbuilt model would have, without consuming a seed from the
        generator of later models."""
        if not self.model.layers:
            return None
        unbuilt = clone(self.model, seed=0)
        unbuilt.build((None, *samples.shape[1:]))
        return network_of(unbuilt).plan

    def _rows(self, where: str, x: Any, samples: np.ndarray, y: Any) -> Rows:
        """The data and, if the model is built, its predictions."""
        targets = self._targets(where, y)
        check_same_length(where, x=samples, y=targets)
        stride = -(-samples.size // MAX_NUMBERS)
        # Search for duplicates and leaks in float64, before rounding to float32.
        columns = as_numbers(where, "x", x)[::stride].astype(np.float64)
        samples = np.ascontiguousarray(samples[::stride])
        targets = np.ascontiguousarray(targets[::stride])
        rows = Rows(samples, columns.reshape(len(samples), -1), targets, stride)
        table = targets.reshape(len(targets), -1).astype(np.float64)
        # The task follows from the training data only.
        self.task = self.task or self._task_of(table)
        if self.task == "numbers":
            rows.targets = table
        elif self.task == "classes":
            rows.labels = table[:, 0].astype(int)
        elif self.task == "one_hot":
            rows.labels = table.argmax(axis=1)
        if self.built:
            output = network_of(self.model).program().predict(self.state, samples)
            rows.output = output.reshape(len(samples), -1).astype(np.float64)
            self._set_predictions(rows)
        return rows

    def _targets(self, where: str, y: Any) -> np.ndarray:
        array = as_numbers(where, "y", y)
        shape = self.output_shape
        if self.loss is None or shape is None:
            return as_samples(where, "y", y, None, np.float64)
        if (
            not self.loss.sparse
            and self.last_activation == "softmax"
            and len(shape) == 1
            and shape[0] > 1
            and (array.ndim == 1 or array.shape[1:] == (1,))
            and are_integers(array, shape[0])
        ):
            self.numbers_for_softmax = True
            return array.reshape(-1).astype(np.float32)
        return as_targets(where, y, self.loss, shape)

    def _task_of(self, y: np.ndarray) -> str:
        """What the targets (n, T) are: "numbers", "classes" (class numbers), "one_hot",
        or "other" (several yes-or-no answers per row, for instance)."""
        kind = "" if self.loss is None else self.loss.kind
        outputs = 0 if self.output_shape is None else int(np.prod(self.output_shape))
        soft, single = self.last_activation == "softmax", y.shape[1] == 1
        if kind == "sparse_categorical_crossentropy":
            return "classes" if single else "other"
        if self.numbers_for_softmax or (
            soft and single and are_class_numbers(y, outputs)
        ):
            return "classes"
        if kind == "categorical_crossentropy" or (soft and are_one_hot(y)):
            # A Dense layer on several axes has a class for each position.
            return "one_hot" if y.shape[1] == self.ops[-1].out_shape[-1] else "other"
        yes_or_no = single and bool(((y == 0) | (y == 1)).all())
        if kind == "binary_crossentropy":
            return "classes" if yes_or_no else "other"
        if self.last_activation == "sigmoid" and single and are_class_numbers(y, 2):
            return "classes"
        return "numbers"

    def _set_predictions(self, rows: Rows) -> None:
        output, n = rows.output, len(rows)
        assert output is not None
        if not np.isfinite(output).all():
            rows.output, self.finite = None, False
            return
        if rows.labels is not None:
            if output.shape[1] > 1:
                rows.predicted_labels = output.argmax(axis=1)
            else:
                logits = getattr(self.loss, "from_logits", False)
                rows.predicted_labels = (
                    output[:, 0] > (0.0 if logits else 0.5)
                ).astype(int)
            return
        if rows.targets is None:
            return
        count = rows.targets.shape[1]
        kind = "" if self.loss is None else self.loss.kind
        if kind == "gaussian_nll":  # [means, raw variances]
            rows.predicted = output[:, :count]
        elif kind == "pinball":  # output t * Q + q
            quantiles = np.asarray(getattr(self.loss, "quantiles", (0.5,)))
            middle = int(np.abs(quantiles - 0.5).argmin())
            rows.predicted = output.reshape(n, count, -1)[:, :, middle]
        elif output.shape == rows.targets.shape:
            rows.predicted = output

    def _names(self, columns: Sequence[str] | None) -> list[str]:
        count = self.rows.columns.shape[1]
        if columns is None:
            if count == 1:
                return ["x"]
            shape = self.rows.x.shape[1:]
            return [
                f"x[:, {', '.join(map(str, np.unravel_index(i, shape)))}]"
                for i in range(count)
            ]
        names = [str(name) for name in columns]
        if len(names) != count:
            raise ValueError(
                "[diagnose] columns must name each input. "
                f"Received: {len(names)} names for {count} inputs. "
                "Try columns=None."
            )
        return names

    # ---------------------------------------------------------------- the model

    @property
    def built(self) -> bool:
        return self.model.built

    @property
    def stepped(self) -> bool:
        """Whether its optimizer has trained it, in this process or before saving."""
        return self.model.iterations > 0 or self.model.history is not None

    @functools.cached_property
    def trained(self) -> bool:
        """Whether its weights differ from the initial ones, for whatever reason."""
        if self.stepped or not self.built:
            return self.stepped
        return any(
            variable.role == "param"
            and not np.array_equal(
                variable.value,
                initializers.draw(
                    variable.initializer, variable.shape, self.state.seed, stream
                ),
            )
            for stream, variable in enumerate(self.model.variables)
        )

    @property
    def state(self) -> State:
        state = network_of(self.model).state
        assert state is not None
        return state

    @functools.cached_property
    def path(self) -> list[int]:
        """Indices of the plan's operations that the output depends on, in order."""
        if self.plan is None:
            return []
        needed = {self.plan.heads[0].value}
        for i in reversed(range(len(self.plan.ops))):
            if self.plan.given + i in needed:
                needed.update(self.plan.reads(i))
        given = self.plan.given
        return [i for i in range(len(self.plan.ops)) if given + i in needed]

    @property
    def ops(self) -> tuple[Op, ...]:
        """The operations of prediction, in order."""
        if self.plan is None:
            return ()
        ops = [self.plan.ops[i] for i in self.path]
        return tuple(op for op in ops if op.kind not in TRAINING_ONLY)

    @property
    def output_shape(self) -> Shape | None:
        return None if self.plan is None else self.plan.output_shape

    @property
    def last_activation(self) -> str:
        """Name of the last operation's activation; "linear" if there is none."""
        return "linear" if not self.ops else activation_of(self.ops[-1])

    @functools.cached_property
    def op_outputs(self) -> list[np.ndarray]:
        """The output of each of `ops` for up to `UNIT_ROWS` rows of the data."""
        assert self.plan is not None
        stride = -(-len(self.rows) // UNIT_ROWS)
        x = np.ascontiguousarray(self.rows.x[::stride])
        numbers = [
            self.plan.given + i
            for i in self.path
            if self.plan.ops[i].kind not in TRAINING_ONLY
        ]
        values = network_of(self.model).values(numbers, (x,))
        return [values[v] for v in numbers]

    @property
    def unexplained(self) -> float | None:
        """The unexplained fraction of the worst target: 1 - R2 of a regression, the
        error rate of a classifier; None if unknown."""
        if self.rows.accuracy is not None:
            return 1.0 - self.rows.accuracy
        unexplained = self.rows.unexplained
        if unexplained is None or np.isnan(unexplained).all():
            return None
        return float(np.nanmax(unexplained))

    # ---------------------------------------------------------------- trial steps

    @property
    def steps_per_epoch(self) -> int:
        """As in the last `fit`; otherwise with batches of 32."""
        history, n = self.model.history, len(self.rows)
        steps = None if history is None else history.params.get("steps")
        return max(1, min(n, int(steps) // self.rows.stride if steps else -(-n // 32)))

    @property
    def of_distribution(self) -> bool:
        """Whether the outputs are parameters of a distribution; unknown for custom
        formula losses."""
        return self.loss is not None and facts_of_loss(self.loss.kind).distribution

    @property
    def can_train(self) -> bool:
        return self.built and self.loss is not None and not self.numbers_for_softmax

    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        assert self.model.optimizer is not None
        return self.model.optimizer.current_learning_rate(self.model.iterations)

    @functools.cached_property
    def loss_now(self) -> float:
        """Loss on all rows."""
        return self._loss_of(self.state, self.rows)

    def loss_of_zero(self) -> float | None:
        """Loss of a model whose output is 0, for regression losses."""
        rows = self.rows
        if rows.targets is None or rows.predicted is None or self.loss is None:
            return None
        if self.of_distribution:
            return None
        return self.loss(rows.targets, np.zeros_like(rows.targets))

    def would_gain(self, epochs: int) -> bool:
        """Whether more epochs would lower the validation loss."""
        rows = self.validation
        assert rows is not None
        before = self._loss_of(self.state, rows)
        after: list[float] = []
        self.trial(
            epochs,
            self.learning_rate(),
            lambda state: after.append(self._loss_of(state, rows)),
        )
        return bool(after) and min(after) < before

    def trial(
        self,
        epochs: int,
        rate: float,
        on_epoch_end: Callable[[State], None] | None = None,
    ) -> list[float]:
        """Train a copy of weights and optimizer at a constant learning rate.

        Args:
            on_epoch_end: called with the copy after each epoch.

        Returns:
            The loss on all rows after each epoch; infinite once it is not finite.
        """
        optimizer, state = self.model.optimizer, self.state
        assert optimizer is not None
        slots, scalars = state.slots, state.scalars
        if len(slots) != len(optimizer.slot_starts):
            starts = np.asarray(optimizer.slot_starts, np.float32)
            slots = np.repeat(starts[:, None], len(state.params), axis=1)
            scalars = np.asarray(optimizer.scalar_starts, np.float64)
        copy = replace(
            state,
            params=_aligned_copy(state.params),
            buffers=_aligned_copy(state.buffers),
            slots=_aligned_copy(slots),
            scalars=scalars.copy(),
        )
        network = network_of(self.model)
        program, engine = network.program(), network.engine
        assert engine is not None
        n, steps = len(self.rows), self.steps_per_epoch
        bounds = pass_bounds(n, None, steps)
        rates = np.full(steps, rate, np.float32)
        losses: list[float] = []
        for _ in range(epochs):
            order = rng.permutation(state.seed, copy.step, n)
            batches = Batches(self.rows.x, self.rows.y, None, order, bounds, rates)
            totals = np.zeros(program.plan.totals_size)
            try:
                job = Job(program, copy, batches, 0, steps, totals)
                run_job(engine, job)
            except NonFiniteError:
                return losses + [float("inf")] * (epochs - len(losses))
            losses.append(self._loss_of(copy, self.rows))
            if on_epoch_end is not None:
                on_epoch_end(copy)
        return losses

    def _loss_of(self, state: State, rows: Rows) -> float:
        program = network_of(self.model).program()
        totals = np.zeros(program.plan.totals_size)
        bounds = np.array([0, len(rows)])
        program.test(state, Batches(rows.x, rows.y, None, None, bounds), totals)
        loss = float(totals[0] / totals[1])
        return loss if np.isfinite(loss) else float("inf")

    # ---------------------------------------------------------------- words

    def summary(self) -> str:
        """The model's scores on the data, in one line."""
        parts = [
            f"{name}: {text}"
            for name, rows in (("data", self.rows), ("validation", self.validation))
            if rows is not None and (text := quality(rows))
        ]
        return "; ".join(parts)

    def left_out(self) -> list[str]:
        """What was not checked and why."""
        unchecked = []
        if self.rows.stride > 1:
            unchecked.append(
                f"all rows but 1 in {self.rows.stride}, because there are many"
            )
        if not self.built:
            return [
                *unchecked,
                "predictions, units and training, because the model is not built",
            ]
        if self.loss is None:
            return [
                *unchecked,
                "loss, steps and learning rate, because the model is not compiled",
            ]
        if not self.model.history or not self.model.history.history.get("loss"):
            unchecked.append("the loss curves, because the model has no history")
        if self.validation is None:
            unchecked.append("new data, because no validation_data was given")
        return unchecked


def _aligned_copy(array: np.ndarray) -> np.ndarray:
    copy = aligned_zeros(array.shape)
    copy[...] = array
    return copy
