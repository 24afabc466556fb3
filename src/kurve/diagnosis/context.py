"""What the checks look at: data as plain tables, the model's plan and predictions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import data, initializers
from kurve.core import registry, rng
from kurve.core.arrays import as_numbers
from kurve.diagnosis.ops import activation_of
from kurve.diagnosis.rows import Rows, are_one_hot, are_varied, are_whole, quality
from kurve.engines import Batches, State, aligned_zeros
from kurve.errors import NonFiniteError
from kurve.kinds import LOSSES, TRAINING_ONLY
from kurve.plan import Op, Plan, Shape
from kurve.training.batching import pass_bounds

if TYPE_CHECKING:
    from kurve.models import Sequential

UNIT_ROWS = 2048
"""Rows whose hidden units are looked at: a unit that is 0 on all of them is of no use
on the others either, and eight layers of 256 units stay below 20 MB."""

GOOD = 0.01
"""Share left unexplained below which a fit is good: what is odd about its numbers has
not hurt it, and is a note."""

MOST_NUMBERS = 10_000_000
"""Numbers of x (80 MB in float64) that are looked at; of larger data every k-th row."""


class Context:
    """A model and its data, checked and made ready.

    model:      the model itself; nothing here changes it
    plan:       its plan; that of a twin, if it is not built
    rows:       the data it was trained with
    validation: other data, or None
    names:      of the D columns
    """

    def __init__(
        self,
        model: Sequential,
        x: Any,
        y: Any,
        validation_data: Sequence[Any] | None,
        columns: Sequence[str] | None,
    ) -> None:
        self.model, self.loss = model, model.loss
        sample = model._plan.input_shape if model._plan is not None else None
        samples = data.as_samples("diagnose", "x", x, sample)
        self.plan = model._plan or self._plan_of_twin(samples)
        # Class numbers for a softmax under a loss of numbers: `fit` refuses them, and
        # here they are what is to be found.
        self.numbers_for_softmax = False
        self.finite, self.task = True, ""  # whether all outputs are; of the targets
        self.rows = self._rows("diagnose", x, samples, y)
        self.validation = None
        if validation_data is not None:
            where = "diagnose, validation_data"
            if not isinstance(validation_data, (tuple, list)) or len(
                validation_data
            ) not in (2, 3):
                raise TypeError(
                    "[diagnose] validation_data must be (x, y). Received: "
                    f"{type(validation_data).__name__}. Try validation_data=(x, y)."
                )
            other = data.as_samples(where, "x", validation_data[0], samples.shape[1:])
            self.validation = self._rows(
                where, validation_data[0], other, validation_data[1]
            )
        self.names = self._names(columns)

    # ---------------------------------------------------------------- making ready

    def _plan_of_twin(self, samples: np.ndarray) -> Plan | None:
        """The plan that the unbuilt model would have, without taking a seed of its
        own from the source that later models draw from."""
        if not self.model.layers:
            return None
        source = dict(rng._seed_source)
        try:
            with registry.collect_custom() as own:
                config = self.model.get_config()
            twin = type(self.model).from_config(config, own)
            twin.build((None, *samples.shape[1:]))
        finally:
            rng._seed_source.clear()
            rng._seed_source.update(source)
        return twin._plan

    def _rows(self, where: str, x: Any, samples: np.ndarray, y: Any) -> Rows:
        """The data with, where the model is built, its predictions."""
        checked = self._targets(where, y)
        data.check_same_length(where, x=samples, y=checked)
        stride = -(-samples.size // MOST_NUMBERS)
        # Duplicates and leaks are looked for in the numbers as given, not in float32.
        given = as_numbers(where, "x", x)[::stride].astype(np.float64)
        samples = np.ascontiguousarray(samples[::stride])
        checked = np.ascontiguousarray(checked[::stride])
        rows = Rows(samples, given.reshape(len(samples), -1), checked, stride)
        table = checked.reshape(len(checked), -1).astype(np.float64)
        # Validation data is what the training data is, whatever few values it has.
        self.task = self.task or self._task_of(table)
        if self.task == "numbers":
            rows.targets = table
        elif self.task == "classes":
            rows.labels = table[:, 0].astype(int)
        elif self.task == "one_hot":
            rows.labels = table.argmax(axis=1)
        if self.built:
            output = self.model._ready_program().predict(self.state, samples)
            rows.output = output.reshape(len(samples), -1).astype(np.float64)
            self._set_predictions(rows)
        return rows

    def _targets(self, where: str, y: Any) -> np.ndarray:
        array = as_numbers(where, "y", y)
        shape = self.output_shape
        if self.loss is None or shape is None:
            return data.as_samples(where, "y", y, None, np.float64)
        if (
            not self.loss.sparse
            and self.last_activation == "softmax"
            and len(shape) == 1
            and shape[0] > 1
            and (array.ndim == 1 or array.shape[1:] == (1,))
            and are_whole(array, shape[0])
        ):
            self.numbers_for_softmax = True
            return array.reshape(-1).astype(np.float32)
        return data.as_targets(where, y, self.loss, shape)

    def _task_of(self, y: np.ndarray) -> str:
        """What the targets (n, T) are: "numbers", "classes" (numbers of them),
        "one_hot", or "other" (several yes or no a row, say)."""
        kind = "" if self.loss is None else self.loss.kind
        outputs = 0 if self.output_shape is None else int(np.prod(self.output_shape))
        soft, single = self.last_activation == "softmax", y.shape[1] == 1
        if kind == "sparse_categorical_crossentropy":
            return "classes" if single else "other"
        if self.numbers_for_softmax or (soft and single and are_varied(y, outputs)):
            return "classes"
        if kind == "categorical_crossentropy" or (soft and are_one_hot(y)):
            # Dense layers on several axes have a class for each place.
            return "one_hot" if y.shape[1] == self.ops[-1].out_shape[-1] else "other"
        yes_or_no = single and bool(((y == 0) | (y == 1)).all())
        if kind == "binary_crossentropy":
            return "classes" if yes_or_no else "other"
        if self.last_activation == "sigmoid" and single and are_varied(y, 2):
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
                rows.guessed = output.argmax(axis=1)
            else:
                logits = getattr(self.loss, "from_logits", False)
                rows.guessed = (output[:, 0] > (0.0 if logits else 0.5)).astype(int)
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
        """Whether its optimizer has trained it, here or before it was saved."""
        return self.model.iterations > 0 or self.model.history is not None

    @functools.cached_property
    def trained(self) -> bool:
        """Whether its weights are others than the initial ones, by whatever means."""
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
        assert self.model._state is not None
        return self.model._state

    @property
    def ops(self) -> tuple[Op, ...]:
        """The operations of a prediction, in order."""
        if self.plan is None:
            return ()
        return tuple(op for op in self.plan.ops if op.kind not in TRAINING_ONLY)

    @property
    def output_shape(self) -> Shape | None:
        return None if self.plan is None else self.plan.output_shape

    @property
    def last_activation(self) -> str:
        """Name of the last operation's activation, "linear" where there is none."""
        return "linear" if not self.ops else activation_of(self.ops[-1])

    @functools.cached_property
    def op_outputs(self) -> list[np.ndarray]:
        """The output of each of `ops` for up to `UNIT_ROWS` rows of the data."""
        assert self.plan is not None
        stride = -(-len(self.rows) // UNIT_ROWS)
        x = np.ascontiguousarray(self.rows.x[::stride])
        outputs = []
        for i, op in enumerate(self.plan.ops):
            program = self.model.ready_engine().compile(self.plan.part(i, i + 1))
            x = program.predict(self.state, x)
            if op.kind not in TRAINING_ONLY:
                outputs.append(x)
        return outputs

    @property
    def unexplained(self) -> float | None:
        """How much of the targets is left unexplained, the worst of them: 1 - R2 of a
        regression, the share of wrong rows of a classifier; None if not known."""
        if self.rows.accuracy is not None:
            return 1.0 - self.rows.accuracy
        shares = self.rows.unexplained
        if shares is None or np.isnan(shares).all():
            return None
        return float(np.nanmax(shares))

    # ---------------------------------------------------------------- trial steps

    @property
    def steps_per_epoch(self) -> int:
        """As in the last `fit`, else batches of 32."""
        history, n = self.model.history, len(self.rows)
        steps = None if history is None else history.params.get("steps")
        return max(1, min(n, int(steps) // self.rows.stride if steps else -(-n // 32)))

    @property
    def can_train(self) -> bool:
        return self.built and self.loss is not None and not self.numbers_for_softmax

    def learning_rate(self) -> float:
        """That of the next step."""
        assert self.model.optimizer is not None
        return self.model.optimizer.current_learning_rate(self.model.iterations)

    @functools.cached_property
    def loss_now(self) -> float:
        """Loss on all rows."""
        return self._loss_of(self.state, self.rows)

    def loss_of_zero(self) -> float | None:
        """Loss of a model that puts out 0, for losses of numbers."""
        rows = self.rows
        if rows.targets is None or rows.predicted is None or self.loss is None:
            return None
        if LOSSES[self.loss.kind].distribution:
            return None
        return self.loss(rows.targets, np.zeros_like(rows.targets))

    def would_gain(self, epochs: int) -> bool:
        """Whether some more epochs would lower the loss on the validation data."""
        rows = self.validation
        assert rows is not None
        before = self._loss_of(self.state, rows)
        after: list[float] = []
        self.trial(
            epochs,
            self.learning_rate(),
            lambda copy: after.append(self._loss_of(copy, rows)),
        )
        return bool(after) and min(after) < before

    def trial(
        self,
        epochs: int,
        rate: float,
        each: Callable[[State], None] | None = None,
    ) -> list[float]:
        """Loss on all rows after each of some more epochs at a constant learning rate,
        on a copy of weights and optimizer; infinite once it is not finite.

        Args:
            each: called with the copy after each epoch.
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
        program = self.model._ready_program()
        n, steps = len(self.rows), self.steps_per_epoch
        bounds = pass_bounds(n, None, steps)
        rates = np.full(steps, rate, np.float32)
        losses: list[float] = []
        for _ in range(epochs):
            order = rng.permutation(state.seed, copy.step, n)
            batches = Batches(self.rows.x, self.rows.y, None, order, bounds, rates)
            totals = np.zeros(program.plan.totals_size)
            try:
                program.train(copy, batches, 0, steps, totals)
            except NonFiniteError:
                return losses + [float("inf")] * (epochs - len(losses))
            losses.append(self._loss_of(copy, self.rows))
            if each is not None:
                each(copy)
        return losses

    def _loss_of(self, state: State, rows: Rows) -> float:
        program = self.model._ready_program()
        totals = np.zeros(program.plan.totals_size)
        bounds = np.array([0, len(rows)])
        program.test(state, Batches(rows.x, rows.y, None, None, bounds), totals)
        loss = float(totals[0] / totals[1])
        return loss if np.isfinite(loss) else float("inf")

    # ---------------------------------------------------------------- in words

    def summary(self) -> str:
        """What the model does on the data, in a line."""
        parts = [
            f"{name}: {text}"
            for name, rows in (("data", self.rows), ("validation", self.validation))
            if rows is not None and (text := quality(rows))
        ]
        return "; ".join(parts)

    def left_out(self) -> list[str]:
        """What could not be looked at."""
        unseen = []
        if self.rows.stride > 1:
            unseen.append(f"all rows, because there are many: 1 in {self.rows.stride}")
        if not self.built:
            return [
                *unseen,
                "predictions, units and training, because the model is not built",
            ]
        if self.loss is None:
            return [
                *unseen,
                "loss, steps and learning rate, because the model is not compiled",
            ]
        if not self.model.history or not self.model.history.history.get("loss"):
            unseen.append("the course of training, because this model has no history")
        if self.validation is None:
            unseen.append("new data, because no validation_data was given")
        return unseen


def _aligned_copy(array: np.ndarray) -> np.ndarray:
    copy = aligned_zeros(array.shape)
    copy[...] = array
    return copy
