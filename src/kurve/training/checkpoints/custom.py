"""The checkpointer of a `fit` whose steps are Python.

The state that such a step may change is found by searching the model: its attributes,
and the functions and modules that its steps use. Of that state, a checkpoint holds

* all weights and other variables,
* the vectors, number of updates and learning rate of optimizers,
* the sums of metrics,
* the seeds, and how often they were used, of models, layers, seed generators, Kurve,
  and the global generators of NumPy and Python,
* attributes of the model that are numbers, strings, or structures of them.

A resumed fit first runs one step, so that all variables exist, and then sets them to
the values of the checkpoint. That step also counts as the first, uncompiled run of a
compiled step: the following ones are compiled, as they were before.
"""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core import rng
from kurve.engines.base import NUMERICS
from kurve.formulas.graph import is_variable
from kurve.layers.base import Layer
from kurve.metrics import Metric, RowMetric
from kurve.optimizers import Optimizer
from kurve.random import SeedGenerator
from kurve.training.checkpoints.checkpointer import Checkpointer
from kurve.training.checkpoints.identity import plain
from kurve.training.checkpoints.progress import TrainingProgress
from kurve.training.checkpoints.values import decode, encode
from kurve.training.tracing.outside import Outside
from kurve.training.tracing.seen import KEPT

if TYPE_CHECKING:
    from kurve.callbacks import BackupAndRestore, CallbackList
    from kurve.training.epochs import FitConfig
    from kurve.training.trainer import Trainer

MAX_OBJECTS = 100_000
"""Maximum number of objects searched for state."""


class OwnCheckpointer(Checkpointer):
    """Writes checkpoints of one `fit` with steps in Python, and resumes from the last.

    Args:
        options, model, hooks: see `Checkpointer`.
        try_step: runs a step of the fit, which is then undone.
    """

    def __init__(
        self,
        options: BackupAndRestore,
        model: Trainer,
        hooks: CallbackList,
        try_step: Callable[[TrainingProgress], None],
    ) -> None:
        self.done = 0  # steps
        self._try_step = try_step
        steps = "train_step", "test_step", "make_train_function", "make_test_function"
        self._around = [Outside(getattr(model, name)) for name in steps]
        self._parts: list[Any] = []
        self._attributes_before = frozenset(vars(model))
        super().__init__(options, model, hooks)
        if not rng.is_seeded():  # otherwise the same numbers could not be drawn again
            rng.set_random_seed(rng.next_seed() % 2**32)

    @property
    def _step(self) -> int:
        return self.done

    def count(self, steps: int) -> None:
        self.done += steps

    def _described(self, config: FitConfig) -> dict[str, Any]:
        self._look()
        described = config.data.described()
        validation = config.validation
        return plain(
            {
                "numerics version": NUMERICS,
                "engine": self.model._network.chosen_engine().name,
                "model": type(self.model).__qualname__,
                "data": {k: v for k, v in described.items() if k != "batches"},
                "validation": None if validation is None else validation.described(),
                "arguments": {
                    "steps": config.data.steps,
                    "shuffle": config.shuffle,
                    "initial_epoch": config.initial_epoch,
                    "validation_freq": config.validation_freq,
                    "batches": described["batches"],
                },
                "callbacks": [type(callback).__name__ for callback in self.callbacks],
            }
        )

    # ---------------------------------------------------------------- the state

    def _look(self) -> list[Any]:
        """Every object that steps may change, in an order that only depends on the
        program."""
        found: dict[int, Any] = {}
        waiting = [part for around in self._around for part in around._values()]
        waiting.append(self.model)
        while waiting and len(found) < MAX_OBJECTS:
            part = waiting.pop()
            if id(part) in found or not _matters(part):
                continue
            found[id(part)] = part  # which also keeps the id
            waiting += reversed(list(_inside(part)))
        self._parts = list(found.values())
        for part in self._parts:
            network = getattr(part, "_network", None)
            if isinstance(part, Layer) and network is not None and network.state:
                network.take_memory()
        return self._parts

    def _vectors(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for part in self._parts:
            for array in _arrays(part):
                found[f"array {len(found)}"] = array
        return found

    def _check_shapes(self, tensors: Mapping[str, np.ndarray]) -> None:
        """They are unknown before the first step."""

    def _facts(self) -> dict[str, Any]:
        tensors: dict[str, np.ndarray] = {}
        model, parts = self.model, self._parts
        self._more = tensors
        attributes = {}
        for name, value in vars(model).items():
            if name in KEPT or name in _HIDDEN or callable(value):
                continue
            try:
                attributes[name] = encode(value, f"attribute {name}", tensors)
            except TypeError:
                continue
        seeds = {"numpy": np.random.get_state(), "python": _python_state()}  # noqa: NPY002
        return {
            "seed": model._network.seed,
            "step": self.done,
            "attributes": attributes,
            "counts": [_counts(part) for part in parts],
            "updated": _updated(parts),
            "seeds": encode(seeds, "seeds", tensors),
            "kurve": rng.source_state(),
            "generators": [
                encode(part.bit_generator.state, "a generator", tensors)
                for part in parts
                if isinstance(part, np.random.Generator)
            ],
        }

    def _content(self, progress: TrainingProgress) -> Any:
        self._look()
        info, tensors = super()._content(progress)
        logs = encode(dict(progress.logs), "logs", self._more)
        return {**info, "logs": logs}, tensors | self._more

    def _progress(
        self, info: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
    ) -> TrainingProgress:
        progress = super()._progress(info, tensors)
        progress.logs = decode(info["logs"], tensors)
        return progress

    def _restore_state(
        self, info: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
    ) -> None:
        model = self.model
        self.done = int(info["step"])
        if self.done:
            self._try_step(self._progress(info, tensors))
        parts = self._look()
        counts = info["counts"]
        if len(counts) != len(parts):
            raise ValueError(f"it has {len(counts)} parts, the model {len(parts)}")
        _build_appliers(parts, info["updated"])
        for part, count in zip(parts, counts, strict=True):
            _set_counts(part, count)
        for name, array in self._vectors().items():
            if tensors[name].shape != array.shape:
                raise ValueError(
                    f"{name} has shape {tensors[name].shape}, the model's {array.shape}"
                )
            array[...] = tensors[name]
        for name, entry in info["attributes"].items():
            setattr(model, name, decode(entry, tensors))
        for name in set(vars(model)) - self._attributes_before - KEPT:
            if name not in info["attributes"] and _is_value(vars(model)[name]):
                delattr(model, name)  # the step that was tried has made it
        seeds = decode(info["seeds"], tensors)
        np.random.set_state(seeds["numpy"])  # noqa: NPY002
        version, words, gauss = seeds["python"]
        random.setstate((version, tuple(words), gauss))
        rng.set_source_state(info["kurve"])
        generators = [p for p in parts if isinstance(p, np.random.Generator)]
        for part, entry in zip(generators, info["generators"], strict=True):
            part.bit_generator.state = decode(entry, tensors)
        model._network.seed = int(info["seed"])
        model.stop_training = bool(info["stop_training"])
        for optimizer, entry in zip(
            self._optimizers(), info["learning_rate"], strict=True
        ):
            rate = self._rate_from(entry, optimizer)
            if rate is not None:
                optimizer.learning_rate = rate

    def _learning_rate(self) -> Any:
        """Those of all optimizers."""
        return [self._rate_of(optimizer) for optimizer in self._optimizers()]

    def _optimizers(self) -> list[Optimizer]:
        return [part for part in self._parts if isinstance(part, Optimizer)]


def _matters(part: Any) -> bool:
    """Whether a step may change a part or its contents."""
    if isinstance(part, _NOTHING):
        return False
    kinds = (Layer, Optimizer, Metric, SeedGenerator, np.random.Generator)
    return (
        isinstance(part, (*kinds, list, tuple, dict))
        or is_variable(part)
        or _is_of_user(part)
    )


_NOTHING = (
    type(None),
    bool,
    int,
    float,
    str,
    bytes,
    np.ndarray,
    np.generic,
    type,
    types.ModuleType,
    types.FunctionType,
    types.MethodType,
)
"""Types whose objects never matter."""


def _is_of_user(part: Any) -> bool:
    """Whether it is an instance of a class of the user's program."""
    package = type(part).__module__.partition(".")[0]
    return (
        hasattr(part, "__dict__")
        and package not in sys.stdlib_module_names
        and package not in ("kurve", "numpy", "pandas", "scipy", "sklearn")
    )


def _inside(part: Any) -> Iterator[Any]:
    if isinstance(part, dict):
        yield from part.values()
        return
    if isinstance(part, (list, tuple)):
        yield from part[:MAX_OBJECTS]
        return
    network = getattr(part, "_network", None)
    if isinstance(part, Layer):
        yield from part.variables
        if network is not None:
            yield from part.layers  # type: ignore[attr-defined]
            compilation = network.compilation
            yield None if compilation is None else compilation.optimizer
            yield part._tracker  # type: ignore[attr-defined]
            yield from part._output_trackers()  # type: ignore[attr-defined]
            yield from network.metrics
        yield from part.parts
    if isinstance(part, (Optimizer, SeedGenerator, np.random.Generator)):
        return
    if not is_variable(part) and not isinstance(part, type):
        for name, value in vars(part).items():
            if name not in KEPT and name not in _HIDDEN:
                yield value


_HIDDEN = frozenset(
    {
        "_network",
        "_stack",
        "_model",
        "_given",
        "_body",
        "_variables",
        "_tensors",
        "_own",
        "given_input_shape",
    }
)
"""Attributes of Kurve's objects that are not searched, because they lead elsewhere or
are handled separately."""


def _arrays(part: Any) -> Iterator[np.ndarray]:
    """The arrays of a part itself, which can be written to."""
    if is_variable(part):
        yield part.value
    elif isinstance(part, Optimizer) and part.applier is not None:
        yield from part.applier.arrays
    elif isinstance(part, RowMetric):
        if part._totals is not None:
            yield part._totals
    elif isinstance(part, Metric):
        yield from (variable.value for variable in part._variables)
    network = getattr(part, "_network", None)
    if isinstance(part, Layer) and network is not None and network.state is not None:
        yield from (network.state.slots, network.state.scalars)


def _counts(part: Any) -> list[int]:
    """The number of times that a part was used, and its other integers."""
    if isinstance(part, Optimizer):
        return [] if part.applier is None else [part.applier.state.step]
    if isinstance(part, SeedGenerator):
        return [part._seed, part._count]
    if isinstance(part, RowMetric):
        return [] if part._totals is None else [len(part._totals)]
    if isinstance(part, Layer):
        network = getattr(part, "_network", None)
        if network is None:
            return [part.drawn]
        steps = 0 if network.state is None else network.state.step
        return [part.drawn, network.seed, steps]
    return []


def _set_counts(part: Any, counts: list[Any]) -> None:
    numbers = [int(count) for count in counts]
    if isinstance(part, Optimizer) and part.applier is not None:
        part.applier.state.step = numbers[0] if numbers else 0
    elif isinstance(part, SeedGenerator):
        part._seed, part._count = numbers
    elif isinstance(part, RowMetric):
        part._totals = np.zeros(numbers[0]) if numbers else None
    elif isinstance(part, Layer):
        part.drawn = numbers[0]
        network = getattr(part, "_network", None)
        if network is not None:
            network.seed = numbers[1]
            if network.state is not None:
                network.state.step = numbers[2]


def _updated(parts: list[Any]) -> list[list[list[int]]]:
    """For each optimizer, the indices (among the parts) of the variables that it
    updates, and of those that follow them in its vectors."""
    numbers = {id(part): i for i, part in enumerate(parts)}
    found = []
    for optimizer in parts:
        if isinstance(optimizer, Optimizer):
            applier = optimizer.applier
            both = ([], []) if applier is None else (applier.variables, applier.others)
            found.append([[numbers.get(id(v), -1) for v in one] for one in both])
    return found


def _build_appliers(parts: list[Any], updated: Any) -> None:
    """Make the optimizers create vectors for those variables."""
    optimizers = [part for part in parts if isinstance(part, Optimizer)]
    for optimizer, known, now in zip(optimizers, updated, _updated(parts), strict=True):
        variables, others = ([parts[int(i)] for i in one] for one in known)
        if not variables:
            optimizer.applier = None
        elif known != now:
            optimizer.applier = None
            optimizer.build(variables)
            optimizer.applier.widen(others)


def _is_value(value: Any) -> bool:
    try:
        encode(value, "", {})
    except TypeError:
        return False
    return True


def _python_state() -> list[Any]:
    version, words, gauss = random.getstate()
    return [version, list(words), gauss]
