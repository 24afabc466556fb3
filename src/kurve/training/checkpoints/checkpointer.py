"""The checkpointer of a `fit` with checkpoints.

with Checkpointer(options, model, hooks) as checkpointer:
    checkpointer.validate(config)                  refuses a checkpoint of a different
    call hooks.call("on_train_begin", {})
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
from kurve.core import processes
from kurve.core.arguments import is_integer
from kurve.core.entries import warn
from kurve.engines import State
from kurve.errors import CheckpointError
from kurve.optimizers.schedules import CLASSES, LearningRateSchedule
from kurve.training.checkpoints.folder import Content, Folder, SharedFolder
from kurve.training.checkpoints.identity import difference, identity
from kurve.training.checkpoints.progress import NullCheckpointer, TrainingProgress
from kurve.training.checkpoints.signals import Signals
from kurve.training.checkpoints.values import decode, encode

if TYPE_CHECKING:
    from kurve.optimizers import Optimizer
    from kurve.training.epochs import FitConfig
    from kurve.training.trainer import Trainer

MAX_FRACTION = 0.01
"""Maximum fraction of time spent on checkpoints with save_freq="auto", not counting
those before the first step and after the last."""

MIN_SECONDS = 2.0
"""Minimum time between checkpoints with save_freq="auto"."""

POLL_SECONDS = 0.03
"""Duration of steps after which the checkpointer checks the clock and the signals."""

UNREADABLE = (KeyError, TypeError, ValueError, LookupError, ArithmeticError)
"""Errors from reading a file whose contents `_content` did not write."""


class Checkpointer(NullCheckpointer):
    """Writes checkpoints of one `fit`, and resumes from the last one.

    Raises:
        CheckpointInUseError: another fit uses the folder.
        CheckpointError: the checkpoint belongs to a different call, or cannot be read.
        OSError: the folder is not writable, before the first step. Later, this is only
            a warning, and the fit continues.
    """

    def __init__(
        self, options: BackupAndRestore, model: Trainer, hooks: CallbackList
    ) -> None:
        self.options, self.model, self.hooks = options, model, hooks
        self.callbacks: list[Callback] = [
            c for c in hooks.callbacks if not isinstance(c, BackupAndRestore)
        ]
        generations = 2 if options.double_checkpoint else 1
        group = processes.active()
        self.folder = (
            Folder(options.backup_dir, generations)
            if group is None
            else SharedFolder(options.backup_dir, generations, group)
        )
        self.signals = Signals(lambda: hooks.calling)
        super().__init__(self._step)
        self._contexts = ExitStack()
        self._identity: dict[str, Any] = {}
        self._found: Content | None = None
        self._last: Content | None = None
        self._saved_at, self._saved_step, self._cost = time.perf_counter(), 0, 0.0
        self._requested, self._requested_at = 0, 0.0
        self._pace = 0.0

    # ---------------------------------------------------------------- the state

    @property
    def state(self) -> State:
        return self.model._network.require_built("fit")[1]

    @property
    def _step(self) -> int:
        """How many updates have been done."""
        return self.state.step

    def _vectors(self) -> dict[str, np.ndarray]:
        """The numbers that training changes, by name."""
        names = "params", "buffers", "slots", "scalars"
        return {name: getattr(self.state, name) for name in names}

    def _facts(self) -> dict[str, Any]:
        """What else the state is, as JSON."""
        return {"seed": self.state.seed, "step": self.state.step}

    def _described(self, config: FitConfig) -> dict[str, Any]:
        """What the call must have in common with the one that wrote the checkpoint."""
        network, names = self.model._network, {}
        if len(network.output_names) > 1:  # in the history too
            names = {"names in logs": network.goals.log_names.in_order}
        return {
            **identity(
                network.program().plan,
                network.chosen_engine().name,
                config.data,
                config.validation,
                {
                    "steps": config.data.steps,
                    "shuffle": config.shuffle,
                    "initial_epoch": config.initial_epoch,
                    "validation_freq": config.validation_freq,
                },
                self.callbacks,
            ),
            **names,
        }

    def __enter__(self) -> Checkpointer:
        self._contexts.enter_context(self.folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._contexts.close()

    # ---------------------------------------------------------------- resuming

    def validate(self, config: FitConfig) -> None:
        self._identity = {
            **self._described(config),
            "learning rate": self._learning_rate(),
        }
        self._found = self.folder.newest()
        if self._found is None:
            return
        info, tensors = self._found
        try:
            before = dict(info["identity"])
            rates = [before["learning rate"], info["learning_rate"]]
        except UNREADABLE as error:
            raise self._unreadable(error) from error
        # A callback may have changed it before the interruption.
        if self._identity["learning rate"] in rates:
            before["learning rate"] = self._identity["learning rate"]
        if what := difference(before, self._identity):
            raise CheckpointError(
                f"[fit] the checkpoint in {self.folder.path!r} belongs to a different "
                f"call. Received: {what}. Try the same call as before, another "
                "folder, or deleting this one to start over."
            )
        try:
            progress = self._progress(info, tensors)
            self.first_step = int(info["first_step"])
            finished = info["finished"] is not None
            reached = progress.epoch + progress.started
        except UNREADABLE as error:
            raise self._unreadable(error) from error
        self._warn_of_another_processor(info)
        self._identity = before | {"learning rate": rates[0]}
        self.resumes = True
        if config.epochs < reached:
            raise CheckpointError(
                f"[fit] the checkpoint in {self.folder.path!r} belongs to a later "
                f"epoch. Received: epochs={config.epochs}, and a checkpoint of epoch "
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
                f"processor with {before}, and this one has {now}: training "
                "continues, but sums may be rounded differently from now on.",
                RuntimeWarning,
            )

    def _instruction_set(self) -> str | None:
        """The instruction set of the compiled engine; None for other engines."""
        if self.model._network.chosen_engine().name != "native":
            return None
        from kurve import _core

        return _core.isa()

    def restore(self, progress: TrainingProgress) -> TrainingProgress:
        """Restore model and callbacks from the checkpoint, if there is one, and return
        its progress; otherwise write the first checkpoint.

        Args:
            progress: the starting point without a checkpoint.
        """
        if not self.finished:
            self._contexts.enter_context(self.signals)
        if self._found is None:
            # Write now, not after the first epoch: a state that files cannot hold, or a
            # folder that is not writable, must fail before training starts.
            self._write(self._content(progress), time.perf_counter())
        else:
            info, tensors = self._found
            try:
                progress = self._progress(info, tensors)
                entries = info["callbacks"]
                if self.finished:
                    entries = info["finished"]["callbacks"]
                    tensors = tensors | {
                        name.removeprefix("finished/"): tensor
                        for name, tensor in tensors.items()
                        if name.startswith("finished/")
                    }
                states = [decode(entry, tensors) for entry in entries]
                self._restore_state(info, tensors)
                for callback, state in zip(self.callbacks, states, strict=True):
                    callback.set_state(state)
            except UNREADABLE as error:
                raise self._unreadable(error) from error
            self._found = None
            if self.hooks.params.get("verbose"):
                print(self._message(progress))
        self._saved_at, self._saved_step = time.perf_counter(), self._step
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
        self._check_shapes(tensors)
        return progress

    def _check_shapes(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Refuse numbers of another model."""
        for name, array in self._vectors().items():
            have, want = tensors[name].shape, array.shape
            if have != want:
                raise ValueError(f"{name} has shape {have}, in the model {want}")

    def _restore_state(
        self, info: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
    ) -> None:
        model, state = self.model, self.state
        seed, step = int(info["seed"]), int(info["step"])
        assert model.optimizer is not None
        rate = self._rate_from(info["learning_rate"], model.optimizer)
        for name in ("params", "buffers", "slots", "scalars"):
            getattr(state, name)[...] = tensors[name]
        model._network.seed, state.step = seed, step
        model.stop_training = bool(info["stop_training"])
        if rate is not None:
            model.optimizer.learning_rate = rate

    def _unreadable(self, error: BaseException) -> CheckpointError:
        return CheckpointError(
            "[fit] training cannot resume from the checkpoint in "
            f"{self.folder.path!r}. Received: {type(error).__name__}: {error}. "
            "Try another folder, or deleting this one to start over."
        )

    # ---------------------------------------------------------------- during training

    def steps_until_next(self, left: int) -> int:
        count = max(1, int(self._pace * POLL_SECONDS))
        if self._freq_is_steps:
            count = min(count, self._saved_step + self._freq - self._step)
        self._requested = max(1, min(count, left))
        self._requested_at = time.perf_counter()
        return self._requested

    def on_step_boundary(self, progress: TrainingProgress) -> None:
        now = time.perf_counter()
        if self._requested:
            self._pace = self._requested / max(now - self._requested_at, 1e-9)
            self._requested = 0
        if self.signals.pending is not None:
            number = self.signals.pending
            self._save(progress)
            if number == signal.SIGTERM and self.hooks.params.get("verbose"):
                print(f"\n[fit] SIGTERM: a checkpoint is in {self.folder.path!r}.")
            self.signals.deliver()
        elif self._is_due(progress, now):
            self._save(progress)

    def end(self, progress: TrainingProgress) -> None:
        """Keep the state after the last epoch. Nothing is written yet: if killed before
        `finish`, the steps since the last checkpoint are repeated."""
        if self.options.delete_checkpoint:
            return
        info, tensors = self._content(progress)
        optimizer = self.model.optimizer
        changes = optimizer is None or optimizer.use_ema
        if changes or any(overrides(c, "on_train_end") for c in self.callbacks):
            tensors = {name: tensor.copy() for name, tensor in tensors.items()}
        self._last = info, tensors

    def finish(self) -> None:
        """Write the final checkpoint, including changes by on_train_end, or delete the
        checkpoints."""
        if self.options.delete_checkpoint:
            self.folder.delete()
        else:
            self._write_end()
        self.signals.deliver()

    def _write_end(self) -> None:
        assert self._last is not None
        start, (info, tensors) = time.perf_counter(), self._last
        after: dict[str, np.ndarray] = {}
        callbacks = [
            encode(c.get_state(), f"finished/{i}", after)
            for i, c in enumerate(self.callbacks)
        ]
        for name, array in self._vectors().items():
            if not np.array_equal(tensors[name], array):
                after[name] = array
        tensors |= {f"finished/{name}": array for name, array in after.items()}
        content = {**info, "finished": {"callbacks": callbacks}}, tensors
        self._try_to_write(lambda: content, start)

    @property
    def _freq_is_steps(self) -> bool:
        return is_integer(self.options.save_freq)

    @property
    def _freq(self) -> int:
        return int(self.options.save_freq)

    def _is_due(self, progress: TrainingProgress, now: float) -> bool:
        freq = self.options.save_freq
        if freq == "auto":
            return now - self._saved_at >= max(MIN_SECONDS, self._cost / MAX_FRACTION)
        if freq == "epoch":
            return not progress.started
        if freq is False:
            return False
        return bool(self._step - self._saved_step >= self._freq)

    # ---------------------------------------------------------------- writing

    def _save(self, progress: TrainingProgress) -> None:
        self._try_to_write(lambda: self._content(progress), time.perf_counter())

    def _try_to_write(self, make: Callable[[], Content], start: float) -> None:
        """Write a checkpoint. If that fails, the previous one stays and training
        continues, which is more important."""
        try:
            self._write(make(), start)
        except (OSError, TypeError, ValueError) as error:
            self._saved_at, self._saved_step = time.perf_counter(), self._step
            self._cost = self._saved_at - start
            warn(
                f"[fit] no checkpoint could be written to {self.folder.path!r}: "
                f"{error}. Training continues; the previous checkpoint is unchanged.",
                RuntimeWarning,
            )

    def _write(self, content: Content, start: float) -> None:
        """Write a checkpoint; `start` is the time when work on it started."""
        self.folder.write(*content)
        self._saved_at, self._saved_step = time.perf_counter(), self._step
        self._cost = self._saved_at - start

    def _content(self, progress: TrainingProgress) -> Content:
        model = self.model
        tensors = {
            **self._vectors(),
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
        callback_tensors: dict[str, np.ndarray] = {}
        info = {
            "identity": self._identity,
            "instruction_set": self._instruction_set(),
            "cursor": position,
            **self._facts(),
            "first_step": self.first_step,
            "learning_rate": self._learning_rate(),
            "stop_training": bool(model.stop_training),
            "callbacks": [
                encode(
                    callback.get_state(),
                    f"callback {i} ({type(callback).__name__})",
                    callback_tensors,
                )
                for i, callback in enumerate(self.callbacks)
            ],
            "finished": None,
        }
        return info, tensors | callback_tensors

    def _learning_rate(self) -> Any:
        """The learning rate as JSON."""
        assert self.model.optimizer is not None
        return self._rate_of(self.model.optimizer)

    def _rate_of(self, optimizer: Optimizer) -> Any:
        """The learning rate, or the class and arguments of a schedule, as JSON."""
        rate = optimizer.given_rate
        if isinstance(rate, float):
            return float(rate)
        if not isinstance(rate, LearningRateSchedule):
            return {"function": getattr(rate, "__qualname__", type(rate).__name__)}
        config = rate.get_config()
        plain = {
            k: v
            for k, v in config.items()
            if v is None or type(v) in (bool, int, float, str, list)
        }
        return {"class_name": type(rate).__name__, "config": plain}

    def _rate_from(
        self, entry: Any, optimizer: Optimizer
    ) -> float | LearningRateSchedule | None:
        """The learning rate to set; None if it is set already."""
        if entry == self._rate_of(optimizer):
            return None
        if isinstance(entry, dict):
            return CLASSES[entry["class_name"]](**entry["config"])
        return float(entry)

    def _message(self, progress: TrainingProgress) -> str:
        """The message when a fit resumes."""
        found = f"Found a checkpoint in {self.folder.path!r}"
        if self.finished:
            return f"{found}: nothing is left to train."
        steps = (
            f", step {progress.done + 1}" if progress.started and progress.done else ""
        )
        return f"{found}: resuming at epoch {progress.epoch + 1}{steps}."
