"""Ensembles: several models of the same architecture.

The members differ in their seeds (initial weights, shuffling, dropout) and optionally
in their sample weights or learning rates. Their mean predicts better than a single
model, and their disagreement shows where the prediction is uncertain.
Source: Hansen & Salamon 1990; Lakshminarayanan, Pritzel & Blundell 2017.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, overload

import numpy as np

from kurve.callbacks import BackupAndRestore, Callback, History
from kurve.callbacks.base import as_list
from kurve.core import rng
from kurve.core.arguments import check_count
from kurve.core.arrays import as_numbers
from kurve.core.entries import entries, entry
from kurve.core.executors import check_executor
from kurve.core.progress import ProgressBar, check_verbose
from kurve.core.samples import as_samples, as_weights
from kurve.engines import Job
from kurve.models import Sequential
from kurve.models.cloning import clone
from kurve.training import TrainingRun
from kurve.training.fitting import fit_steps
from kurve.training.steps import refuse_own_steps


@entry
def ensemble(model: Sequential, members: int = 5) -> Ensemble:
    """Create an ensemble of models with the layers and `compile` of `model`.

    Each member has its own initial weights; the adapted mean and variance of
    `Normalization` are copied. The model itself is not changed.

        committee = kurve.ensemble(model, members=8)
        committee.fit(x, y, epochs=100)
        mean, std = committee.predict(x, return_std=True)

    Args:
        model: compiled; built or not.
        members: number of models, at least 1.

    Raises:
        RuntimeError: the model is not compiled.
        ValueError: members below 1.

    Example:
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> members = kurve.ensemble(model, members=3)
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> histories = members.fit(x, 2.0 * x, epochs=2, verbose=0)
        >>> mean, std = members.predict(x, return_std=True)
        >>> std.shape
        (32, 1)
    """
    check_count("ensemble", "members", members, 1)
    model._network.require_one_output("ensemble")
    model._network.refuse_rows_together("ensemble")
    model._network.require_compiled("ensemble")
    return Ensemble([clone(model) for _ in range(members)])


@entries
class Ensemble:
    """Compiled models that train in parallel, one per core, and predict together.

    Args:
        members: models that share no layers; usually made by `kurve.ensemble`.
    """

    def __init__(self, members: Sequence[Sequential]) -> None:
        self.members = list(members)

    def fit(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        bootstrap: bool = False,
        callbacks: Callback | Iterable[Callback] | None = None,
        verbose: str | int = "auto",
        executor: Any = None,
        **arguments: Any,
    ) -> list[History]:
        """Train all members, with the same results as fitting each one alone.

        Args:
            x, y: see `Sequential.fit`.
            sample_weight: (n,) for all members, or (members, n).
            bootstrap: whether each member sees a bootstrap sample of the rows (as
                weights, on top of sample_weight). Source: Breiman 1996.
            callbacks: copied for every member, so that each can stop early
                independently.
            verbose: 0 silent, 1 progress bar of the epochs, 2 one line.
            executor: where to train, instead of on the cores of this process: anything
                with the `submit` of `concurrent.futures`, such as a process pool,
                loky's, mpi4py's, or a Dask client. What is passed must be picklable.
            arguments: any others of `Sequential.fit` except checkpoints.

        Returns:
            The history of each member.

        Raises:
            TypeError, ValueError: bad input; no member was changed.
            NonFiniteError: of one member; the others stop between steps. By an
                executor, the members that have been trained keep what they learned,
                and the others stay as they were.
        """
        verbose = check_verbose(verbose, "fit")
        callbacks = as_list(callbacks, "fit")
        if "checkpoint" in arguments or any(
            isinstance(callback, BackupAndRestore) for callback in callbacks
        ):
            raise TypeError(
                "[fit] members that train in parallel cannot write checkpoints. "
                "Received: checkpoint or BackupAndRestore for an ensemble. Try "
                "member.fit(..., checkpoint=f'member-{i}') for each in turn."
            )
        for name, given in (("x", x), *arguments.items()):
            if isinstance(given, Iterator):
                raise TypeError(
                    f"[fit] members that train in parallel cannot share {name}, "
                    f"whose batches can only be read once. Received: {name} of type "
                    f"{type(given).__name__}. Try a kurve.utils.PyDataset."
                )
        weights = self._weights(x, sample_weight, bootstrap)
        return train_members(
            self.members,
            [{"sample_weight": weight} for weight in weights],
            callbacks,
            verbose,
            executor,
            x=x,
            y=y,
            **arguments,
        )

    @overload
    def predict(self, x: Any, return_std: Literal[False] = False) -> np.ndarray: ...
    @overload
    def predict(
        self, x: Any, return_std: Literal[True]
    ) -> tuple[np.ndarray, np.ndarray]: ...
    def predict(
        self, x: Any, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The mean prediction of the members for x (n, *input_shape): (n,
        *output_shape); with return_std also their standard deviation, of the same
        shape."""
        each = self.predict_members(x)
        mean = each.mean(axis=0)
        return (mean, each.std(axis=0)) if return_std else mean

    def predict_members(self, x: Any) -> np.ndarray:
        """Every member's prediction: float32 (members, n, *output_shape).

        Args:
            x: (n, *input_shape).
        """
        return np.stack([member.predict(x, verbose=0) for member in self.members])

    def export(
        self, filepath: str | os.PathLike[str], format: str | None = None
    ) -> None:
        """Export all members, with their mean and standard deviation, for use without
        Kurve; see `Sequential.export`."""
        from kurve.exchange.export import export

        export(self, filepath, format)

    def _weights(self, x: Any, given: Any, bootstrap: bool) -> list[np.ndarray | None]:
        """The sample weights of each member."""
        if given is None and not bootstrap:
            return [None] * len(self.members)
        rows = len(as_samples("fit", "x", x, None))
        weights: np.ndarray = np.ones(rows, np.float32)
        if given is not None:
            weights = as_numbers("fit", "sample_weight", given)
        if weights.ndim < 2 or weights.shape == (rows, 1):
            weights = np.broadcast_to(
                as_weights("fit", weights, rows), (len(self.members), rows)
            )
        elif weights.shape != (len(self.members), rows):
            raise ValueError(
                f"[fit] sample_weight must have shape ({rows},) or "
                f"({len(self.members)}, {rows}), one row per member. "
                f"Received: shape {weights.shape}."
            )
        if not bootstrap:
            return list(weights)
        return [
            weight * rng.resample_counts(rng.next_seed(), rows) for weight in weights
        ]

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"<Ensemble of {len(self.members)} models>"


def train_members(
    members: Sequence[Sequential],
    each: Sequence[Mapping[str, Any]],
    callbacks: Sequence[Callback],
    verbose: int,
    executor: Any = None,
    **shared: Any,
) -> list[History]:
    """Train models side by side, each with the result of fitting it alone. They can
    differ in their architectures and optimizers.

    Args:
        each: the arguments of `Sequential.fit` that differ between the models.
        callbacks: copied for every model.
        verbose: 0, 1 or 2.
        executor: see `Ensemble.fit`.
        shared: the other arguments of `Sequential.fit`.

    Raises: see `Ensemble.fit`.
    """
    title = f"{len(members)} members"
    if executor is not None:
        from kurve.models import remote

        check_executor("fit", executor)
        bar = ProgressBar(len(members), verbose=verbose, title=title)
        try:
            histories = remote.fit(members, each, callbacks, executor, bar, **shared)
            bar.finish({})
        finally:
            bar.close()
        return histories
    epochs = int(shared.get("epochs", 1)) - int(shared.get("initial_epoch", 0))
    bar = ProgressBar(max(epochs, 0), verbose=verbose, title=title)
    progress = _Progress(bar)
    for member in members:
        refuse_own_steps("fit", member)
    runs = [
        fit_steps(
            member,
            callbacks=[*copy.deepcopy(list(callbacks)), progress.of_member(number)],
            verbose=0,
            **arguments,
            **shared,
        )
        for number, (member, arguments) in enumerate(zip(members, each, strict=True))
    ]
    try:
        histories = _drive(members, runs)
        bar.finish(progress.logs())
    finally:
        bar.close()
        for run in runs:
            run.close()
    return histories


def _drive(members: Sequence[Sequential], runs: list[TrainingRun]) -> list[History]:
    """Execute the jobs of all runs in rounds, one engine call per round."""
    histories: dict[int, History] = {}
    waiting: dict[int, Job] = {}

    def advance(number: int, step: Callable[[], Job]) -> None:
        try:
            waiting[number] = step()
        except StopIteration as end:
            histories[number] = end.value

    for number, run in enumerate(runs):
        advance(number, run.__next__)
    while waiting:
        jobs, numbers = list(waiting.values()), list(waiting)
        waiting.clear()
        engine = members[numbers[0]]._network.engine
        assert engine is not None
        errors = engine.train(jobs)
        for number, error in zip(numbers, errors, strict=True):
            if error is None:
                advance(number, runs[number].__next__)
            else:
                error.add_note(f"This is member {number} of the ensemble.")
                advance(number, partial(runs[number].throw, error))
    return [histories[number] for number in range(len(runs))]


class _Progress:
    """Progress of an ensemble: the epoch of the most advanced member, and the mean of
    all members' latest logs."""

    def __init__(self, bar: ProgressBar) -> None:
        self.bar = bar
        self.latest: dict[int, dict[str, float]] = {}
        self.done = 0

    def logs(self) -> dict[str, float]:
        names = list(dict.fromkeys(k for logs in self.latest.values() for k in logs))
        return {
            name: float(np.mean([m[name] for m in self.latest.values() if name in m]))
            for name in names
        }

    def of_member(self, number: int) -> Callback:
        progress = self

        class Report(Callback):
            """Reports the epochs of one member."""

            epochs = 0

            def on_epoch_end(
                self, epoch: int, logs: dict[str, float] | None = None
            ) -> None:
                self.epochs += 1
                progress.latest[number] = dict(logs or {})
                if self.epochs > progress.done:
                    progress.done = self.epochs
                    if progress.bar.wants_updates:
                        progress.bar.update(progress.done, progress.logs())

        return Report()
