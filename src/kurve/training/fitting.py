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
from kurve.core.progress import ProgressBar, check_verbose
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
from kurve.training.epochs import FitConfig, TrainingRun
from kurve.training.feeds import ArrayFeed, Feed, is_source
from kurve.training.inputs import (
    Data,
    build_for,
    check_data,
    unpack_batch,
    unpack_data,
)
from kurve.training.loop import TrainingLoop
from kurve.training.steps import has_own_steps

if TYPE_CHECKING:
    from kurve.training.own import OwnCall
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
    verbose = check_verbose(verbose, "fit")
    callbacks = as_list(callbacks, "fit")
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
    """`Trainer.evaluate`, once it is known which kind of steps the model has.

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
) -> EngineCall | OwnCall:
    """What a call of `fit` or `evaluate` needs for the model's kind of steps."""
    if has_own_steps(model):
        from kurve.training.own import OwnCall

        return OwnCall(model, class_weight, batch_size, shuffle)
    if where == "fit":
        refuse_overrides("fit", model)
    return EngineCall(model, class_weight, batch_size, shuffle)


Shapes = Sequence[Shape] | None
"""Sample shape of each input; None if the model is built."""


class EngineCall:
    """A call of `fit` or `evaluate` for a model with an engine's steps.

    Nothing is changed before `prepare`, or `to_evaluate`.

    Args:
        class_weight, batch_size, shuffle: as passed to `fit`.
    """

    def __init__(
        self,
        model: Trainer,
        class_weight: Mapping[int, float] | None = None,
        batch_size: int | None = None,
        shuffle: bool = False,
    ) -> None:
        self.model, self.network = model, model._network
        self.class_weight, self.batch_size = class_weight, batch_size
        self.shuffle = shuffle
        self.shapes: Shapes = None
        self.held_out: Data | None = None
        """The rows held out for validation."""

    def to_train(
        self, x: Any, y: Any, sample_weight: Any, split: float, steps: int | None
    ) -> Feed:
        """The training feed."""
        if is_source(x):
            from kurve.training.streams import StreamFeed

            name = "steps_per_epoch"
            feed = StreamFeed("fit", "x", x, steps, name, self.shuffle)
            self.shapes = self._first_shapes(feed, self.class_weight)
            return feed
        data = check_data("fit", self.network, x, y, sample_weight, self.class_weight)
        if split:
            count = split_rows(data.rows, split)
            self.held_out = data.part(count, data.rows)
            if self.class_weight is not None:  # class weights only apply to training
                self.held_out = self.held_out._replace(weights=None)
            data = data.part(0, count)
        self.shapes = data.shapes
        bounds = pass_bounds(data.rows, self.batch_size, steps, self.network.rows)
        steps = steps or len(bounds) - 1
        division = Division(data.rows, bounds, steps, self.shuffle, 0, 0)
        return ArrayFeed(Batches(*data, None, bounds), division)

    def to_validate(
        self, data: Any, batch_size: int | None, steps: int | None
    ) -> Feed | None:
        """The validation feed."""
        name, held_out = "validation_data", self.held_out
        if data is not None and is_source(data):
            from kurve.training.streams import StreamFeed

            feed = StreamFeed("fit", name, data, steps, "validation_steps")
            self._first_shapes(feed, None, self.shapes)
            return feed
        if data is not None:
            x, y, weights = unpack_data("fit", name, data)
            held_out = check_data(
                f"fit, {name}", self.network, x, y, weights, shapes=self.shapes
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
        where = f"{feed.where}, batch 1 of {feed.argument}"
        x, y, weights = unpack_batch(where, feed.peek())
        return check_data(
            where, self.network, x, y, weights, class_weight, shapes
        ).shapes

    def to_evaluate(
        self, x: Any, y: Any, sample_weight: Any, steps: int | None
    ) -> Feed:
        """The feed of `evaluate`, for which the model is built."""
        network = self.network
        feed: Feed
        if is_source(x):
            from kurve.training.streams import StreamFeed

            feed = StreamFeed("evaluate", "x", x, steps, "steps")
            if network.plan is None:
                where = "evaluate, batch 1 of x"
                first = unpack_batch(where, feed.peek())
                self.model._build_for(check_data(where, network, *first).x)
            elif not feed.resumable:
                feed.peek()  # refuses an empty one
        else:
            data = check_data("evaluate", network, x, y, sample_weight)
            bounds = evaluation_bounds(
                data.rows, self.batch_size, steps, "evaluate", network.rows
            )
            self.model._build_for(data.x)
            feed = ArrayFeed(Batches(*data, None, bounds))
        network.update_trainable()
        feed.check_for(network)
        return feed

    def prepare(self, training: Feed, validation: Feed | None) -> None:
        """Build the model, and check the feeds for it."""
        network = self.network
        if network.plan is None:
            assert self.shapes is not None
            build_for(self.model, self.shapes)
        network.training_state("fit")
        network.program()
        group = processes.active()
        if group is not None:
            group.synchronize(network)
        training.check_for(network, self.class_weight)
        if validation is not None:
            validation.check_for(network)

    def loop(
        self,
        hooks: CallbackList,
        backup: BackupAndRestore | None = None,
        config: FitConfig | None = None,
    ) -> TrainingLoop:
        """What runs the epochs, or the batches of `evaluate`."""
        if config is None:
            self.model._ready_program()
            return TrainingLoop(self.model, hooks)
        checkpointer = _checkpointer(self.model, backup, hooks)
        return TrainingLoop(self.model, hooks, checkpointer, config.initial_epoch)

    def returned(self, logs: dict[str, float], return_dict: bool) -> Any:
        """The result of `evaluate`; a list is in the order of `compile`."""
        return self.model._returned(logs, return_dict)


def _checkpointer(
    model: Trainer, backup: BackupAndRestore | None, hooks: CallbackList
) -> NullCheckpointer:
    """The checkpointer for `backup`, or one that does nothing."""
    _, state = model._network.require_built("fit")
    if backup is None:
        return NullCheckpointer(state.step)
    from kurve.training.checkpoints.checkpointer import Checkpointer

    return Checkpointer(backup, model, hooks)


def split_rows(rows: int, fraction: Any) -> int:
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
