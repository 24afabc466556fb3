"""The epochs of `fit`: callbacks, validation and checkpoints around the steps.

There are two kinds of steps: those of an engine (`kurve.training.loop`), and Python
steps of a model that overrides `train_step` (`kurve.training.custom_steps`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from kurve.callbacks import CallbackList, History
from kurve.core.progress import ProgressBar
from kurve.engines import Job
from kurve.errors import NonFiniteError
from kurve.legacy.logs import Logs
from kurve.training.checkpoints.progress import NullCheckpointer, TrainingProgress
from kurve.training.feeds import Feed
from kurve.training.trainable import Trainable

TrainingRun = Generator[Job, None, History]
"""A running `fit`: a generator that yields jobs for the caller to execute (who throws
their errors back) and returns the history, so that several can run in parallel."""


@dataclass(frozen=True, eq=False)
class FitConfig:
    """The checked arguments of `fit`.

    data:       the training batches
    validation: the validation batches, or None
    epochs, initial_epoch: numbers of the last and first epoch
    validation_freq, shuffle, verbose: as passed to `fit`
    """

    data: Feed
    validation: Feed | None
    epochs: int
    initial_epoch: int
    validation_freq: int | Sequence[int]
    shuffle: bool
    verbose: int

    def validates(self, epoch: int) -> bool:
        """Whether validation is due after this epoch, counted from 0."""
        if isinstance(self.validation_freq, int):
            return (epoch + 1) % self.validation_freq == 0
        return epoch + 1 in self.validation_freq


class EpochLoop:
    """Runs the epochs of `fit`, or the batches of `evaluate`; subclasses implement the
    steps.

    Args:
        hooks: the callbacks.
        checkpointer: writes checkpoints, if requested.
        progress: before the first epoch.
    """

    def __init__(
        self,
        model: Trainable,
        hooks: CallbackList,
        checkpointer: NullCheckpointer,
        progress: TrainingProgress,
    ) -> None:
        self.model, self.hooks, self.checkpointer = model, hooks, checkpointer
        self.progress = progress

    def run(self, config: FitConfig) -> Generator[Job, None, None]:
        """Run the epochs, starting where the checkpointer says."""
        model, hooks, checkpointer = self.model, self.hooks, self.checkpointer
        if checkpointer.resumes:
            hooks.params["resumed"] = True
        hooks.call("on_train_begin", {})
        self.progress = progress = checkpointer.restore(self.progress)
        logs: dict[str, Any] = hooks.last_logs()
        data = config.data
        data.permuted_from(checkpointer.first_step, model._network.seed)
        for epoch in range(
            progress.epoch, config.epochs if not progress.stopped else 0
        ):
            if not progress.started:
                hooks.call("on_epoch_begin", epoch, {})
                self.begin_epoch()
                progress.start_epoch()
            title = f"Epoch {epoch + 1}/{config.epochs}"
            bar = ProgressBar(
                data.steps,
                verbose=config.verbose,
                title=title,
                watch=hooks.watch(epoch, data.steps),
            )
            try:
                if progress.tested < 0:
                    index = epoch - config.initial_epoch
                    found = yield from self.train(data, index, bar)
                    if not progress.done and not model.stop_training:
                        progress.started = False
                        data.warn_ran_out()
                        break
                    logs = found
                    if bar.target is None or data.ended:
                        bar.target = progress.done
                else:
                    logs = self.epoch_logs()
                if config.validation is not None and config.validates(epoch):
                    results = self.test(config.validation)
                    if not progress.tested:
                        config.validation.warn_ran_out()
                        results = {}
                    results = {f"val_{name}": v for name, v in results.items()}
                    logs = Logs(sorted({**logs, **results}.items()))
                bar.finish(logs)
            finally:
                bar.close()
            hooks.call("on_epoch_end", epoch, logs)
            progress.end_epoch(model.stop_training)
            checkpointer.on_step_boundary(progress)
            if model.stop_training:
                break
            if data.ended and epoch + 1 < config.epochs:
                data.warn_ran_out()
                break
        checkpointer.end(progress)
        self.finish()
        hooks.call("on_train_end", logs)
        checkpointer.finish()

    def stop_for(self, error: NonFiniteError) -> None:
        """End the training after a step with non-finite numbers, if a callback asks for
        that; otherwise raise the error."""
        if not self.hooks.handles_non_finite():
            raise error
        print(f"\nTraining ends early: {error.what} is not finite.")
        self.model.stop_training = self.progress.non_finite = True

    # ---------------------------------------------------------------- the steps

    def begin_epoch(self) -> None:
        """Called after on_epoch_begin."""

    def train(
        self, data: Feed, epoch: int, bar: ProgressBar
    ) -> Generator[Job, None, dict[str, Any]]:
        """Run the steps of an epoch from `progress.done` on; return the logs of the
        epoch."""
        raise NotImplementedError

    def epoch_logs(self) -> dict[str, Any]:
        """The logs of the steps of this epoch."""
        raise NotImplementedError

    def test(self, data: Feed) -> dict[str, Any]:
        """Compute loss and metrics of all batches, and count them in
        `progress.tested`."""
        raise NotImplementedError

    def finish(self) -> None:
        """Called after the last epoch, before on_train_end."""

    def check_last_update(self, data: Feed) -> None:
        """Refuse weights for which the next step would fail."""
