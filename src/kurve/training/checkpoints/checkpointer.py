"""The checkpointer of a `fit` with checkpoints.

with Checkpointer(options, model, hooks) as checkpointer:
    checkpointer.validate(config)                  refuses what does not fit
    hooks.call("on_train_begin", {})
    progress = checkpointer.restore(progress)
    ...                                  epochs; `on_step_boundary` between whole steps
    checkpointer.end(progress)
    hooks.call("on_train_end", {})
    checkpointer.finish()
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.callbacks import BackupAndRestore, Callback, CallbackList
from kurve.callbacks.base import overrides
from kurve.core.entries import warn
from kurve.engines import State
from kurve.errors import CheckpointError
from kurve.optimizers.schedules import CLASSES, LearningRateSchedule
from kurve.training.checkpoints.folder import Content, Folder
from kurve.training.checkpoints.identity import difference, identity
from kurve.training.checkpoints.progress import NullCheckpointer, TrainingProgress
from kurve.training.checkpoints.signals import Signals
from kurve.training.checkpoints.values import decode, encode

if TYPE_CHECKING:
    from kurve.training.loop import FitConfig
    from kurve.training.trainer import Trainer

SHARE = 0.01
"""Most of the time that checkpoints may take where fit chooses when to write; those
before the first step and after the last come on top."""

AT_LEAST = 2.0
"""Seconds between two of them, at least."""

LOOK = 0.03
"""Seconds of steps after which the checkpointer looks at clock and signals."""

READABLE = (KeyError, TypeError, ValueError, LookupError, ArithmeticError)
"""What a file with other contents than `_content` writes makes of itself."""


class Checkpointer(NullCheckpointer):
    """Writes checkpoints of one `fit` of one model, and takes the last one up again.

    Raises:
        CheckpointInUseError: another fit uses the folder.
        CheckpointError: the checkpoint is of another call, or cannot be read.
        OSError: the folder cannot be written to, before the first step. Later that is a
            warning, and the fit goes on.
    """

    def __init__(
        self, options: BackupAndRestore, model: Trainer, hooks: CallbackList
    ) -> None:
        self.options, self.model, self.hooks = options, model, hooks
        self.callbacks: list[Callback] = [
            c for c in hooks.callbacks if not isinstance(c, BackupAndRestore)
        ]
        self.folder = Folder(options.backup_dir, 2 if options.double_checkpoint else 1)
        self.signals = Signals(lambda: hooks.calling)
        super().__init__(self.state.step)
        self._held = ExitStack()
        self._identity: dict[str, Any] = {}
        self._found: Content | None = None
        self._last: Content | None = None
        self._saved_at, self._saved_step, self._cost = time.perf_counter(), 0, 0.0
        self._asked, self._asked_at = 0, 0.0
        self._pace = 0.0

    @property
    def state(self) -> State:
        return self.model._network.require_built("fit")[1]

    def __enter__(self) -> Checkpointer:
        self._held.enter_context(self.folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._held.close()

    # ---------------------------------------------------------------- taking up

    def validate(self, config: FitConfig) -> None:
        self._identity = {
            **identity(
                self.model._network.program().plan,
                self.model._network.chosen_engine().name,
                config.data,
                config.validation,
                {
                    "steps": config.steps,
                    "shuffle": config.shuffle,
                    "initial_epoch": config.initial_epoch,
                    "validation_freq": config.validation_freq,
                },
                self.callbacks,
            ),
            "learning rate": self._learning_rate(),
        }
        self._found = self.folder.newest()
        if self._found is None:
            return
        info, tensors = self._found
        try:
            before = dict(info["identity"])
            rates = [before["learning rate"], info["learning_rate"]]
        except READABLE as error:
            raise self._unreadable(error) from error
        # A callback may have changed it before the fit of this process was interrupted.
        if self._identity["learning rate"] in rates:
            before["learning rate"] = self._identity["learning rate"]
        if what := difference(before, self._identity):
            raise CheckpointError(
                f"[fit] the checkpoint in {self.folder.path!r} is of another call. "
                f"Received: {what}. Try the call as it was, another folder, or delete "
                "this one to begin anew."
            )
        try:
            progress = self._progress(info, tensors)
            self.first_step = int(info["first_step"])
            finished = info["finished"] is not None
            reached = progress.epoch + progress.started
        except READABLE as error:
            raise self._unreadable(error) from error
        self._warn_of_another_processor(info)
        self._identity = before | {"learning rate": rates[0]}
        self.resumes = True
        if config.epochs < reached:
            raise CheckpointError(
                f"[fit] the checkpoint in {self.folder.path!r} has gone further. "
                f"Received: epochs={config.epochs}, and a checkpoint of epoch "
                f"{reached}. Try epochs={reached}, or another folder."
            )
        self.finished = finished and (
            progress.stopped or progress.epoch >= config.epochs
        )

    def _warn_of_another_processor(self, info: Mapping[str, Any]) -> None:
        before, now = info.get("instruction_set"), self._instruction_set()
        if before != now:
            warn(
                f"[fit] the checkpoint in {self.folder.path!r} was written on a "
                f"processor with {before}, and this one has {now}: training goes on, "
                "but sums may be rounded differently from here on.",
                RuntimeWarning,
            )

    def _instruction_set(self) -> str | None:
        """The one that the compiled engine uses; None for other engines."""
        if self.model._network.chosen_engine().name != "native":
            return None
        from kurve import _core

        return _core.isa()

    def restore(self, progress: TrainingProgress) -> TrainingProgress:
        """Make model and callbacks those of the checkpoint that was found, if one was,
        and return its place; else write the first one.

        Args:
            progress: where the fit begins without a checkpoint.
        """
        if not self.finished:
            self._held.enter_context(self.signals)
        if self._found is None:
            # Now, not after the first epoch: a state that no file can hold, or a folder
            # that cannot be written to, shall end a fit that has not begun.
            self._write(self._content(progress), time.perf_counter())
        else:
            info, tensors = self._found
            try:
                progress = self._progress(info, tensors)
                kept = info["callbacks"]
                if self.finished:
                    kept = info["finished"]["callbacks"]
                    tensors = tensors | {
                        name.removeprefix("finished/"): tensor
                        for name, tensor in tensors.items()
                        if name.startswith("finished/")
                    }
                states = [decode(entry, tensors) for entry in kept]
                self._take_state(info, tensors)
                for callback, state in zip(self.callbacks, states, strict=True):
                    callback.set_state(state)
            except READABLE as error:
                raise self._unreadable(error) from error
            self._found = None
            if self.hooks.params.get("verbose"):
                print(self._where(progress))
        self._saved_at, self._saved_step = time.perf_counter(), self.state.step
        return progress

    def _progress(
        self, info: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
    ) -> TrainingProgress:
        position = info["cursor"]
        progress = TrainingProgress(
            epoch=int(position["epoch"]),
            totals=tensors["totals"].copy(),
            test_totals=tensors["test_totals"].copy(),
            started=bool(position["begun"]),
            done=int(position["done"]),
            non_finite=bool(position["non_finite"]),
            tested=int(position["tested"]),
            stopped=bool(position["stopped"]),
        )
        state = self.state
        for name in ("params", "buffers", "slots", "scalars"):
            have, want = tensors[name].shape, getattr(state, name).shape
            if have != want:
                raise ValueError(f"{name} has shape {have}, the model's {want}")
        return progress

    def _take_state(
        self, info: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
    ) -> None:
        model, state = self.model, self.state
        seed, step = int(info["seed"]), int(info["step"])
        rate = self._rate_from(info["learning_rate"])
        for name in ("params", "buffers", "slots", "scalars"):
            getattr(state, name)[...] = tensors[name]
        model._network.seed, state.step = seed, step
        model.stop_training = bool(info["stop_training"])
        assert model.optimizer is not None
        if rate is not None:
            model.optimizer.learning_rate = rate

    def _unreadable(self, error: BaseException) -> CheckpointError:
        return CheckpointError(
            f"[fit] the checkpoint in {self.folder.path!r} cannot be taken up. "
            f"Received: {type(error).__name__}: {error}. "
            "Try another folder, or delete this one to begin anew."
        )

    # ---------------------------------------------------------------- on the way

    def steps_until_next(self, left: int) -> int:
        count = max(1, int(self._pace * LOOK))
        if self._freq_is_steps:
            count = min(count, self._saved_step + self._freq - self.state.step)
        self._asked = max(1, min(count, left))
        self._asked_at = time.perf_counter()
        return self._asked

    def on_step_boundary(self, progress: TrainingProgress) -> None:
        now = time.perf_counter()
        if self._asked:
            self._pace = self._asked / max(now - self._asked_at, 1e-9)
            self._asked = 0
        if self.signals.pending is not None:
            number = self.signals.pending
            self._save(progress)
            if number == signal.SIGTERM and self.hooks.params.get("verbose"):
                print(f"\n[fit] SIGTERM: a checkpoint is in {self.folder.path!r}.")
            self.signals.deliver()
        elif self._is_due(progress, now):
            self._save(progress)

    def end(self, progress: TrainingProgress) -> None:
        """Nothing is written yet: a kill before `finish` repeats the way from the last
        checkpoint to the end."""
        if self.options.delete_checkpoint:
            return
        info, tensors = self._content(progress)
        if any(overrides(callback, "on_train_end") for callback in self.callbacks):
            tensors = {name: tensor.copy() for name, tensor in tensors.items()}
        self._last = info, tensors

    def finish(self) -> None:
        """Write that nothing is left to do, with what on_train_end has changed; or
        delete the checkpoints."""
        if self.options.delete_checkpoint:
            self.folder.delete()
        else:
            self._write_end()
        self.signals.deliver()

    def _write_end(self) -> None:
        assert self._last is not None
        start, (info, tensors) = time.perf_counter(), self._last
        after: dict[str, np.ndarray] = {}
        kept = [
            encode(c.get_state(), f"finished/{i}", after)
            for i, c in enumerate(self.callbacks)
        ]
        for name in ("params", "buffers"):
            if not np.array_equal(tensors[name], getattr(self.state, name)):
                after[name] = getattr(self.state, name)
        tensors |= {f"finished/{name}": array for name, array in after.items()}
        content = {**info, "finished": {"callbacks": kept}}, tensors
        self._try_to_write(lambda: content, start)

    @property
    def _freq_is_steps(self) -> bool:
        freq = self.options.save_freq
        return isinstance(freq, int) and not isinstance(freq, bool)

    @property
    def _freq(self) -> int:
        return int(self.options.save_freq)

    def _is_due(self, progress: TrainingProgress, now: float) -> bool:
        freq = self.options.save_freq
        if freq == "auto":
            return now - self._saved_at >= max(AT_LEAST, self._cost / SHARE)
        if freq == "epoch":
            return not progress.started
        if freq is False:
            return False
        return bool(self.state.step - self._saved_step >= self._freq)

    # ---------------------------------------------------------------- writing

    def _save(self, progress: TrainingProgress) -> None:
        self._try_to_write(lambda: self._content(progress), time.perf_counter())

    def _try_to_write(self, make: Callable[[], Content], start: float) -> None:
        """Write a checkpoint. Where that cannot be done, the one before stays, and the
        training matters more."""
        try:
            self._write(make(), start)
        except (OSError, TypeError, ValueError) as error:
            self._saved_at, self._saved_step = time.perf_counter(), self.state.step
            self._cost = self._saved_at - start
            warn(
                f"[fit] no checkpoint could be written to {self.folder.path!r}: "
                f"{error}. Training goes on; the checkpoint before is as it was.",
                RuntimeWarning,
            )

    def _write(self, content: Content, start: float) -> None:
        """Write a checkpoint, whose making began at `start`."""
        self.folder.write(*content)
        self._saved_at, self._saved_step = time.perf_counter(), self.state.step
        self._cost = self._saved_at - start

    def _content(self, progress: TrainingProgress) -> Content:
        state, model = self.state, self.model
        tensors = {
            "params": state.params,
            "buffers": state.buffers,
            "slots": state.slots,
            "scalars": state.scalars,
            "totals": progress.totals,
            "test_totals": progress.test_totals,
        }
        position = {
            "epoch": progress.epoch,
            "begun": progress.started,
            "done": progress.done,
            "non_finite": progress.non_finite,
            "tested": progress.tested,
            "stopped": progress.stopped,
        }
        kept: dict[str, np.ndarray] = {}
        info = {
            "identity": self._identity,
            "instruction_set": self._instruction_set(),
            "cursor": position,
            "seed": state.seed,
            "step": state.step,
            "first_step": self.first_step,
            "learning_rate": self._learning_rate(),
            "stop_training": bool(model.stop_training),
            "callbacks": [
                encode(
                    callback.get_state(), f"callback {i} ({type(callback).__name__})",
                    kept,
                )
                for i, callback in enumerate(self.callbacks)
            ],
            "finished": None,
        }  # fmt: skip
        return info, tensors | kept

    def _learning_rate(self) -> Any:
        """The learning rate, or the class and arguments of a schedule, as JSON."""
        assert self.model.optimizer is not None
        rate = self.model.optimizer.learning_rate
        if not isinstance(rate, LearningRateSchedule):
            return rate
        config = rate.get_config()
        plain = {
            k: v
            for k, v in config.items()
            if v is None or type(v) in (bool, int, float, str, list)
        }
        return {"class_name": type(rate).__name__, "config": plain}

    def _rate_from(self, entry: Any) -> float | LearningRateSchedule | None:
        """What to set the learning rate to; None where it is so already."""
        if entry == self._learning_rate():
            return None
        if isinstance(entry, dict):
            return CLASSES[entry["class_name"]](**entry["config"])
        return float(entry)

    def _where(self, progress: TrainingProgress) -> str:
        """What a user reads at the begin of a fit that goes on."""
        found = f"Found a checkpoint in {self.folder.path!r}"
        if self.finished:
            return f"{found}: nothing is left to train."
        steps = (
            f", step {progress.done + 1}" if progress.started and progress.done else ""
        )
        return f"{found}: going on at epoch {progress.epoch + 1}{steps}."
