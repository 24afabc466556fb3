"""Where a `fit` is, and what it asks of whoever keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kurve.training.loop import FitConfig


@dataclass
class TrainingProgress:
    """Where a `fit` is, in whole steps.

    epoch:       number of the epoch that is under way, or is next
    started:     whether its on_epoch_begin was called
    done:        steps of it that are done
    totals:      what these have added up to, as `Engine.train` counts
    non_finite:  whether the epoch ended because of a loss or gradient that is not
    tested:      batches of its validation that are done; -1 before on_test_begin
    test_totals: what these have added up to
    stopped:     whether a callback has ended the training after the epoch before
    """

    epoch: int
    totals: np.ndarray
    test_totals: np.ndarray
    started: bool = False
    done: int = 0
    non_finite: bool = False
    tested: int = -1
    stopped: bool = False

    @classmethod
    def at(cls, epoch: int, totals_size: int) -> TrainingProgress:
        """Before an epoch; `totals_size` is that of the plan."""
        return cls(epoch, np.zeros(totals_size), np.zeros(totals_size))

    def start_epoch(self) -> None:
        self.started, self.done, self.non_finite, self.tested = True, 0, False, -1
        self.totals[:] = 0.0

    def start_test(self) -> None:
        self.tested = 0
        self.test_totals[:] = 0.0

    def end_epoch(self, stopped: bool) -> None:
        self.started, self.stopped = False, stopped
        self.epoch += 1


class NullCheckpointer:
    """Keeps nothing: the checkpointer of a fit without checkpoints."""

    finished = False
    """Whether the checkpoint found says that nothing is left to do."""

    resumes = False
    """Whether there is a checkpoint to go on from."""

    first_step = 0
    """Number of updates done before the first epoch."""

    def __init__(self, first_step: int = 0) -> None:
        self.first_step = first_step

    def __enter__(self) -> NullCheckpointer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None: ...

    def validate(self, config: FitConfig) -> None:
        """Called before anything is changed, to refuse what does not fit."""

    def restore(self, progress: TrainingProgress) -> TrainingProgress:
        """Called after on_train_begin: where to go on, `progress` or further on."""
        return progress

    def steps_until_next(self, left: int) -> int:
        """How many of the `left` steps to do before `on_step_boundary` is called."""
        return left

    def on_step_boundary(self, progress: TrainingProgress) -> None:
        """Called between whole steps, after all that callbacks have to do there."""

    def end(self, progress: TrainingProgress) -> None:
        """Called after the last epoch, before on_train_end."""

    def finish(self) -> None:
        """Called after on_train_end."""
