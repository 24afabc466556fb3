"""The data arguments of `fit` and `evaluate` as feeds, and the loop that runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kurve.callbacks import BackupAndRestore, CallbackList
from kurve.core import processes
from kurve.engines import Batches
from kurve.plan import Shape
from kurve.training.batching import (
    Division,
    evaluation_bounds,
    pass_bounds,
)
from kurve.training.checkpoints.progress import NullCheckpointer
from kurve.training.epochs import EpochLoop, FitConfig
from kurve.training.feeds import Feed, feed_of, is_source
from kurve.training.inputs import build_for, check_data, unpack_batch, unpack_data
from kurve.training.loop import TrainingLoop
from kurve.training.rows import Data

if TYPE_CHECKING:
    from kurve.training.streams import StreamFeed
    from kurve.training.trainer import Trainer


Shapes = Sequence[Shape] | None
"""Sample shape of each input; None if the model is built."""


class Call:
    """A call of `fit` or `evaluate`: the part that differs between the two kinds of
    step. Nothing is changed before `prepare` or `to_evaluate`.

    Args:
        class_weight, batch_size, shuffle: as passed to `fit`.
    """

    held_out: Any = None
    """The rows held out for validation."""

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

    def to_train(
        self, x: Any, y: Any, sample_weight: Any, split: float, steps: int | None
    ) -> Feed:
        """The training feed."""
        raise NotImplementedError

    def to_validate(
        self, data: Any, batch_size: int | None, steps: int | None
    ) -> Feed | None:
        """The validation feed."""
        raise NotImplementedError

    def to_evaluate(
        self, x: Any, y: Any, sample_weight: Any, steps: int | None
    ) -> Feed:
        """The feed of `evaluate`."""
        raise NotImplementedError

    def prepare(self, training: Feed, validation: Feed | None) -> None:
        """Build the model, and check the feeds for it."""

    def loop(
        self,
        hooks: CallbackList,
        backup: BackupAndRestore | None = None,
        config: FitConfig | None = None,
    ) -> EpochLoop:
        """The loop that runs the epochs; without `config`, the batches of
        `evaluate`."""
        raise NotImplementedError

    def returned(self, logs: dict[str, Any], return_dict: bool) -> Any:
        """The result of `evaluate`."""
        raise NotImplementedError


class EngineCall(Call):
    """A call of `fit` or `evaluate` whose steps are run by an engine."""

    shapes: Shapes = None
    held_out: Data | None = None

    def to_train(
        self, x: Any, y: Any, sample_weight: Any, split: float, steps: int | None
    ) -> Feed:
        if is_source(x):
            from kurve.training.streams import StreamFeed

            name = "steps_per_epoch"
            feed = StreamFeed("fit", "x", x, steps, name, self.shuffle)
            self.shapes = self._first_shapes(feed, self.class_weight)
            return feed
        data = check_data(
            "fit",
            self.network,
            x,
            y,
            sample_weight,
            self.class_weight,
            by_batch=True,
        )
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
        return feed_of(Batches(*data, None, bounds), division)

    def to_validate(
        self, data: Any, batch_size: int | None, steps: int | None
    ) -> Feed | None:
        name, held_out = "validation_data", self.held_out
        if data is not None and is_source(data):
            from kurve.training.streams import StreamFeed

            feed = StreamFeed("fit", name, data, steps, "validation_steps")
            self._first_shapes(feed, None, self.shapes)
            return feed
        if data is not None:
            x, y, weights = unpack_data("fit", name, data)
            held_out = check_data(
                f"fit, {name}",
                self.network,
                x,
                y,
                weights,
                shapes=self.shapes,
                by_batch=True,
            )
        if held_out is None:
            return None
        size = batch_size or self.batch_size
        bounds = evaluation_bounds(held_out.rows, size, steps, "fit", self.network.rows)
        return feed_of(Batches(*held_out, None, bounds))

    def _first_shapes(
        self,
        feed: StreamFeed,
        class_weight: Mapping[int, float] | None,
        shapes: Shapes = None,
    ) -> Shapes:
        """Check the first batch of a feed, so that an invalid one changes nothing; a
        dataset is only asked for a batch if the model is not built."""
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
            data = check_data("evaluate", network, x, y, sample_weight, by_batch=True)
            bounds = evaluation_bounds(
                data.rows, self.batch_size, steps, "evaluate", network.rows
            )
            self.model._build_for(data.x)
            feed = feed_of(Batches(*data, None, bounds))
        network.update_trainable()
        feed.check_for(network)
        return feed

    def prepare(self, training: Feed, validation: Feed | None) -> None:
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
