"""A call of `fit`: from its arguments to the jobs that the engine runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kurve.callbacks import BackupAndRestore, Callback, CallbackList, History
from kurve.callbacks.base import as_list
from kurve.callbacks.checkpoints import checked_freq
from kurve.core.locks import exclusive_generator
from kurve.core.overrides import refuse_overrides
from kurve.core.progress import check_verbose
from kurve.engines import Batches
from kurve.errors import path_name
from kurve.training.batching import check_count, evaluation_bounds, pass_bounds
from kurve.training.checkpoints.progress import NullCheckpointer
from kurve.training.inputs import check_data, unpack_data
from kurve.training.loop import FitConfig, TrainingLoop, TrainingRun

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
    validation_data: Sequence[Any] | None = None,
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
    """`Trainer.fit` as a generator of jobs, which the caller passes to the engine.

    Args, Raises: see `Trainer.fit`.
    """
    network = model._network
    network.require_compiled("fit")
    refuse_overrides("fit", model)
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
    verbose = check_verbose(verbose, "fit")
    callbacks = as_list(callbacks, "fit")
    backup = _backup(checkpoint, checkpoint_freq, callbacks)
    x, y, weights = check_data("fit", network, x, y, sample_weight, class_weight)
    validation = None
    if validation_data is not None:
        other_x, other_y, other_weights = unpack_data(
            "fit", "validation_data", validation_data
        )
        validation = check_data(
            "fit, validation_data",
            network,
            other_x,
            other_y,
            other_weights,
            sample_shape=x.shape[1:],
        )
    elif validation_split:
        count = _split(len(x), validation_split)
        held_out = None if weights is None else weights[count:]
        if class_weight is not None:  # class weights are for training only
            held_out = None
        validation = x[count:], y[count:], held_out
        x, y = x[:count], y[:count]
        weights = None if weights is None else weights[:count]
    validation_batches = None
    if validation is not None:
        validation_batches = Batches(
            *validation,
            None,
            evaluation_bounds(
                len(validation[0]),
                validation_batch_size or batch_size,
                validation_steps,
                "fit",
            ),
        )
    bounds = pass_bounds(len(x), batch_size, steps_per_epoch)
    steps = steps_per_epoch or len(bounds) - 1

    # The arguments are right: from here on the model changes.
    if network.plan is None:
        model.build((None, *x.shape[1:]))
    network.training_state("fit")
    network.program()
    history = History()
    hooks = CallbackList(
        [*callbacks, history],
        model,
        {"epochs": epochs, "steps": steps, "verbose": verbose},
    )
    config = FitConfig(
        data=Batches(x, y, weights, None, bounds),
        validation=validation_batches,
        epochs=epochs,
        initial_epoch=initial_epoch,
        steps=steps,
        validation_freq=validation_freq,
        shuffle=bool(shuffle),
        verbose=verbose,
    )
    with _checkpointer(model, backup, hooks) as checkpointer:
        loop = TrainingLoop(model, hooks, checkpointer, initial_epoch)
        checkpointer.validate(config)
        model.history, model.stop_training = history, False
        if checkpointer.finished:
            checkpointer.restore(loop.progress)
        else:
            yield from loop.run(config)
        loop.check_last_update(config.data)
    return history


def run_to_completion(run: TrainingRun, model: Trainer) -> History:
    """Let the model's engine do all jobs of a run, one after the other."""
    try:
        job = next(run)
        while True:
            engine = model._network.engine
            assert engine is not None
            (error,) = engine.train([job])
            job = next(run) if error is None else run.throw(error)
    except StopIteration as end:
        history: History = end.value
        return history
    finally:
        run.close()


def _checkpointer(
    model: Trainer, backup: BackupAndRestore | None, hooks: CallbackList
) -> NullCheckpointer:
    """The checkpointer for `backup`, or one that does nothing."""
    _, state = model._network.require_built("fit")
    if backup is None:
        return NullCheckpointer(state.step)
    from kurve.training.checkpoints.checkpointer import Checkpointer

    return Checkpointer(backup, model, hooks)


def _split(rows: int, fraction: Any) -> int:
    """Number of rows for training if this fraction is held out for validation.

    Raises:
        ValueError: no rows are left for one of the two.
    """
    if not isinstance(fraction, str) and 0.0 < fraction < 1.0:
        count = int(rows * (1.0 - fraction))
        if 0 < count < rows:
            return count
    raise ValueError(
        "[fit] validation_split must leave rows on both sides. Received: "
        f"validation_split={fraction!r} for {rows} rows. Try 0.2."
    )


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
            "[fit] one folder of checkpoints is enough. Received: "
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
