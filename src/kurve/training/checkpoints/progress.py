"""Progress of a `fit`, and the interface of its checkpointer."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kurve.training.epochs import FitConfig


@dataclass
class TrainingProgress:
    """Progress of a `fit`, in whole steps.

    epoch:       number of the current epoch, or of the next one
    started:     whether on_epoch_begin was called for it
    done:        number of its finished steps
    totals:      their accumulators, as in `Engine.train`
    non_finite:  whether it ended because the loss or a gradient was not finite
    tested:      number of finished validation batches; -1 before on_test_begin
    test_totals: their accumulators
    stopped:     whether a callback has ended the training after the previous epoch
    logs:        what the last step returned, if steps are Python
    """

    epoch: int
    totals: np.ndarray
    test_totals: np.ndarray
    started: bool = False
    done: int = 0
    non_finite: bool = False
    tested: int = -1
    stopped: bool = False
    logs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def at(cls, epoch: int, totals_size: int) -> TrainingProgress:
        """Progress before the given epoch; `totals_size` is the plan's."""
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
    """Does nothing: the checkpointer of a fit without checkpoints."""

    finished = False
    """Whether the checkpoint belongs to a finished fit."""

    resumes = False
    """Whether there is a checkpoint to resume from."""

    first_step = 0
    """Number of updates before the first epoch."""

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
        """Called before anything is changed, to refuse a checkpoint of a different
        call."""

    def restore(self, progress: TrainingProgress) -> TrainingProgress:
        """Called after on_train_begin; returns where to start, `progress` or later."""
        return progress

    def steps_until_next(self, left: int) -> int:
        """How many of the `left` steps to run before `on_step_boundary`."""
        return left

    def count(self, steps: int) -> None:
        """Called after steps in Python."""

    def on_step_boundary(self, progress: TrainingProgress) -> None:
        """Called between steps, after the callbacks."""

    def end(self, progress: TrainingProgress) -> None:
        """Called after the last epoch, before on_train_end."""

    def finish(self) -> None:
        """Called after on_train_end."""
