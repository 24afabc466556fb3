"""A call of `fit`: from arguments to engine jobs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from kurve.callbacks import BackupAndRestore, Callback, CallbackList, History
from kurve.callbacks.base import as_list
from kurve.callbacks.checkpoints import checked_freq
from kurve.core import processes
from kurve.core.arguments import check_count
from kurve.core.locks import exclusive_generator
from kurve.core.overrides import refuse_overrides
from kurve.core.progress import ProgressBar, check_verbose
from kurve.errors import path_name
from kurve.training.arguments import Call, EngineCall
from kurve.training.epochs import FitConfig, TrainingRun
from kurve.training.feeds import is_source
from kurve.training.steps import has_own_steps

if TYPE_CHECKING:
    from kurve.training.trainer import Trainer


@exclusive_generator("fit")
def fit_steps(
    model: Trainer,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: str | int = "auto",
    callbacks: Callback | Iterable[Callback] | None = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    class_weight: Mapping[int, float] | None = None,
    sample_weight: Any = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: int | Sequence[int] = 1,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_freq: str | int = "auto",
) -> TrainingRun:
    """`Trainer.fit` as a generator of jobs for the engine.

    Args, Raises: see `Trainer.fit`.
    """
    model._network.require_compiled("fit")
    call = call_of("fit", model, class_weight, batch_size, bool(shuffle))
    check_count("fit", "epochs", epochs, 0)
    check_count("fit", "initial_epoch", initial_epoch, 0)
    for name, count in (
        ("batch_size", batch_size),
        ("steps_per_epoch", steps_per_epoch),
        ("validation_batch_size", validation_batch_size),
        ("validation_steps", validation_steps),
    ):
        if count is not None:
            check_count("fit", name, count, 1)
    _check_validation_freq(validation_freq)
    callbacks = as_list(callbacks, "fit")
    by_itself = isinstance(verbose, str) and any(c.shows_progress() for c in callbacks)
    verbose = check_verbose(verbose, "fit")
    if by_itself:
        verbose = 0
    backup = _backup(checkpoint, checkpoint_freq, callbacks)
    split = validation_split if validation_data is None else 0.0
    if is_source(x):
        from kurve.training.streams import refuse_beside_batches

        refuse_beside_batches("fit", x, y=y, sample_weight=sample_weight)
        if split:
            raise ValueError(
                "[fit] validation_split needs rows, not batches. Received: "
                f"validation_split={split!r} and x of type {type(x).__name__}. "
                "Try validation_data."
            )
    training = call.to_train(x, y, sample_weight, split, steps_per_epoch)
    validation = call.to_validate(
        validation_data, validation_batch_size, validation_steps
    )
    if backup is not None:
        for feed in (training, validation):
            if feed is not None:
                feed.check_resumable()

    # The arguments are valid: the model changes from here on.
    call.prepare(training, validation)
    history = History()
    hooks = CallbackList(
        [*callbacks, history],
        model,
        {"epochs": epochs, "steps": training.steps, "verbose": verbose},
    )
    hooks.show(training.arrays())
    config = FitConfig(
        data=training,
        validation=validation,
        epochs=epochs,
        initial_epoch=initial_epoch,
        validation_freq=validation_freq,
        shuffle=bool(shuffle),
        verbose=verbose,
    )
    loop = call.loop(hooks, backup, config)
    with loop.checkpointer as checkpointer:
        checkpointer.validate(config)
        model.history, model.stop_training = history, False
        try:
            if checkpointer.finished:
                checkpointer.restore(loop.progress)
            else:
                yield from loop.run(config)
            loop.check_last_update(config.data)
        finally:
            training.close()
            if validation is not None:
                validation.close()
    return history


def run_to_completion(run: TrainingRun, model: Trainer) -> History:
    """Run all jobs of a training run on the model's engine, in order, together with
    other processes if there are any."""
    group = processes.active()
    try:
        job = next(run)
        while True:
            engine = model._network.engine
            assert engine is not None
            job.processes = group
            with nullcontext() if group is None else group.training():
                (error,) = engine.train([job])
            job = next(run) if error is None else run.throw(error)
    except StopIteration as end:
        history: History = end.value
        return history
    finally:
        run.close()


def evaluate(
    model: Trainer,
    x: Any,
    y: Any,
    batch_size: int | None,
    verbose: str | int,
    sample_weight: Any,
    steps: int | None,
    callbacks: Callback | Iterable[Callback] | None,
    return_dict: bool,
) -> Any:
    """`Trainer.evaluate`, once the kind of steps of the model is known.

    Args, Raises: see `Trainer.evaluate`.
    """
    verbose = check_verbose(verbose, "evaluate")
    if is_source(x):
        from kurve.training.streams import refuse_beside_batches

        refuse_beside_batches("evaluate", x, y=y, sample_weight=sample_weight)
        if steps is not None:
            check_count("evaluate", "steps", steps, 1)
    call = call_of("evaluate", model, batch_size=batch_size)
    feed = call.to_evaluate(x, y, sample_weight, steps)
    hooks = CallbackList(as_list(callbacks, "evaluate"), model, {"steps": feed.steps})
    bar = ProgressBar(feed.steps, verbose=verbose, title=None)
    try:
        loop = call.loop(hooks)
        logs = loop.test(feed)
        if bar.target is None or feed.ended:
            bar.target = loop.progress.tested
        bar.finish(logs)
    finally:
        bar.close()
        feed.close()
    if feed.ended and (steps is not None or not loop.progress.tested):
        feed.warn_ran_out()
    return call.returned(logs, return_dict)


def call_of(
    where: str,
    model: Trainer,
    class_weight: Mapping[int, float] | None = None,
    batch_size: int | None = None,
    shuffle: bool = False,
) -> Call:
    """The implementation of `fit` or `evaluate` for the model's kind of steps."""
    if has_own_steps(model):
        from kurve.training.custom_steps import OwnCall

        return OwnCall(model, class_weight, batch_size, shuffle)
    if where == "fit":
        refuse_overrides("fit", model)
    return EngineCall(model, class_weight, batch_size, shuffle)


def _backup(
    checkpoint: Any, freq: Any, callbacks: list[Callback]
) -> BackupAndRestore | None:
    """Where and how often to write checkpoints, or None."""
    backups = [c for c in callbacks if isinstance(c, BackupAndRestore)]
    freq = checked_freq("fit", "checkpoint_freq", freq)
    if checkpoint is not None:
        folder = path_name("fit", "checkpoint", checkpoint, "checkpoints")
        backups.append(BackupAndRestore(folder, freq, True, False))
    if len(backups) > 1:
        raise ValueError(
            "[fit] only one checkpoint folder can be used. Received: "
            f"{', '.join(repr(c.backup_dir) for c in backups)}. "
            "Try checkpoint=... or one BackupAndRestore."
        )
    return backups[0] if backups else None


def _check_validation_freq(value: Any) -> None:
    if isinstance(value, (list, tuple, set, range)):
        for epoch in value:
            check_count("fit", "validation_freq", epoch, 1)
    else:
        check_count("fit", "validation_freq", value, 1)
