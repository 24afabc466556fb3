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
from kurve.core.locks import exclusive_generator
from kurve.core.overrides import refuse_overrides
from kurve.core.progress import check_verbose
from kurve.engines import Batches
from kurve.errors import path_name
from kurve.plan import Shape
from kurve.training.batching import (
    Division,
    check_count,
    evaluation_bounds,
    pass_bounds,
)
from kurve.training.checkpoints.progress import NullCheckpointer
from kurve.training.feeds import ArrayFeed, Feed, is_source
from kurve.training.inputs import Data, build_for, check_data, unpack_data
from kurve.training.loop import FitConfig, TrainingLoop, TrainingRun
from kurve.training.network import Network
from kurve.training.steps import refuse_own_steps

if TYPE_CHECKING:
    from kurve.training.streams import StreamFeed
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
    network = model._network
    network.require_compiled("fit")
    refuse_overrides("fit", model)
    refuse_own_steps("fit", model)
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
    given = _Given(network, class_weight, batch_size, bool(shuffle))
    training, shapes, held_out = given.to_train(
        x,
        y,
        sample_weight,
        validation_split if validation_data is None else 0.0,
        steps_per_epoch,
    )
    validation = given.to_validate(
        held_out, validation_data, shapes, validation_batch_size, validation_steps
    )
    if backup is not None:
        for feed in (training, validation):
            if feed is not None:
                feed.check_resumable()

    # The arguments are valid: the model changes from here on.
    if network.plan is None:
        assert shapes is not None
        build_for(model, shapes)
    network.training_state("fit")
    network.program()
    group = processes.active()
    if group is not None:
        group.synchronize(network)
    training.check_for(network, class_weight)
    if validation is not None:
        validation.check_for(network)
    history = History()
    hooks = CallbackList(
        [*callbacks, history],
        model,
        {"epochs": epochs, "steps": training.steps, "verbose": verbose},
    )
    config = FitConfig(
        data=training,
        validation=validation,
        epochs=epochs,
        initial_epoch=initial_epoch,
        validation_freq=validation_freq,
        shuffle=bool(shuffle),
        verbose=verbose,
    )
    with _checkpointer(model, backup, hooks) as checkpointer:
        loop = TrainingLoop(model, hooks, checkpointer, initial_epoch)
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


def _checkpointer(
    model: Trainer, backup: BackupAndRestore | None, hooks: CallbackList
) -> NullCheckpointer:
    """The checkpointer for `backup`, or one that does nothing."""
    _, state = model._network.require_built("fit")
    if backup is None:
        return NullCheckpointer(state.step)
    from kurve.training.checkpoints.checkpointer import Checkpointer

    return Checkpointer(backup, model, hooks)


Shapes = Sequence[Shape] | None
"""Sample shape of each input; None if the model is built."""


class _Given:
    """The data arguments of `fit`, from which feeds are made. Changes nothing."""

    def __init__(
        self,
        network: Network,
        class_weight: Mapping[int, float] | None,
        batch_size: int | None,
        shuffle: bool,
    ) -> None:
        self.network, self.class_weight = network, class_weight
        self.batch_size, self.shuffle = batch_size, shuffle

    def to_train(
        self, x: Any, y: Any, sample_weight: Any, split: float, steps: int | None
    ) -> tuple[Feed, Shapes, Data | None]:
        """The training feed, the sample shapes, and the rows held out for
        validation."""
        if is_source(x):
            from kurve.training.streams import StreamFeed, refuse_beside_batches

            refuse_beside_batches("fit", x, y=y, sample_weight=sample_weight)
            if split:
                raise ValueError(
                    "[fit] validation_split needs rows, not batches. Received: "
                    f"validation_split={split!r} and x of type {type(x).__name__}. "
                    "Try validation_data."
                )
            name = "steps_per_epoch"
            feed = StreamFeed("fit", "x", x, steps, name, self.shuffle)
            return feed, self._first_shapes(feed, self.class_weight), None
        data = check_data("fit", self.network, x, y, sample_weight, self.class_weight)
        held_out = None
        if split:
            count = _split(data.rows, split)
            held_out = data.part(count, data.rows)
            if self.class_weight is not None:  # class weights only apply to training
                held_out = held_out._replace(weights=None)
            data = data.part(0, count)
        bounds = pass_bounds(data.rows, self.batch_size, steps, self.network.rows)
        steps = steps or len(bounds) - 1
        division = Division(data.rows, bounds, steps, self.shuffle, 0, 0)
        return ArrayFeed(Batches(*data, None, bounds), division), data.shapes, held_out

    def to_validate(
        self,
        held_out: Data | None,
        data: Any,
        shapes: Shapes,
        batch_size: int | None,
        steps: int | None,
    ) -> Feed | None:
        """The validation feed."""
        name = "validation_data"
        if data is not None and is_source(data):
            from kurve.training.streams import StreamFeed

            feed = StreamFeed("fit", name, data, steps, "validation_steps")
            self._first_shapes(feed, None, shapes)
            return feed
        if data is not None:
            x, y, weights = unpack_data("fit", name, data)
            held_out = check_data(
                f"fit, {name}", self.network, x, y, weights, shapes=shapes
            )
        if held_out is None:
            return None
        size = batch_size or self.batch_size
        bounds = evaluation_bounds(held_out.rows, size, steps, "fit", self.network.rows)
        return ArrayFeed(Batches(*held_out, None, bounds))

    def _first_shapes(
        self,
        feed: StreamFeed,
        class_weight: Mapping[int, float] | None,
        shapes: Shapes = None,
    ) -> Shapes:
        """Check the first batch of a feed, so that a wrong one changes nothing; a
        dataset is only asked for it if the model is not built."""
        if feed.resumable and self.network.plan is not None:
            return None
        from kurve.training.streams import unpacked

        where = f"fit, batch 1 of {feed.argument}"
        x, y, weights = unpacked(where, feed.peek())
        return check_data(
            where, self.network, x, y, weights, class_weight, shapes
        ).shapes


def _split(rows: int, fraction: Any) -> int:
    """Number of training rows if this fraction is held out for validation.

    Raises:
        ValueError: one of the two would be empty.
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
