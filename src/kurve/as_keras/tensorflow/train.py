"""`tf.train.Checkpoint`: the values of models, optimizers and variables in files.

A checkpoint `path` is the file `path.index`, an archive of NumPy arrays without
pickled objects. TensorFlow's own checkpoints cannot be read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.variables import Variable
from kurve.errors import MissingFileError
from kurve.layers.variable import Variable as Weight
from kurve.optimizers.base import Optimizer

__all__ = ["Checkpoint", "CheckpointManager", "latest_checkpoint"]


class Checkpoint:
    """Saves and restores the values of objects.

    Args:
        root: one more object.
        objects: models, layers, optimizers and variables, and lists and dictionaries of
            them. They are attributes of the checkpoint.
    """

    def __init__(self, root: Any = None, **objects: Any) -> None:
        if root is not None:
            objects = {"root": root, **objects}
        self._objects = objects
        for name, value in objects.items():
            setattr(self, name, value)
        self.save_counter = Variable(0, trainable=False, dtype="int64")

    def write(self, file_prefix: Any, options: Any = None) -> str:
        """Save to this path; its folder is created if needed."""
        path = os.fspath(file_prefix)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        counted = {"save_counter": self.save_counter, **dict(self._values())}
        arrays: Any = {key: np.asarray(v.numpy()) for key, v in counted.items()}
        with open(f"{path}.index", "wb") as file:
            np.savez(file, **arrays)
        return path

    def save(self, file_prefix: Any, options: Any = None) -> str:
        """Save to the path with a number that increases with each call."""
        self.save_counter.assign_add(1)
        path = self.write(f"{os.fspath(file_prefix)}-{int(self.save_counter)}")
        _remember(path, [path])
        return path

    def restore(self, save_path: Any, options: Any = None) -> Status:
        """Set the values to those of a checkpoint; nothing for None.

        Raises:
            MissingFileError: no such checkpoint.
            ValueError: its values do not fit.
        """
        if save_path is None:
            return Status()
        path = f"{os.fspath(save_path)}.index"
        if not os.path.isfile(path):
            raise MissingFileError(
                f"[tf.train.Checkpoint] the file must exist. Received: {path!r}. "
                "Try tf.train.latest_checkpoint(folder)."
            )
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        self._build(arrays)
        there = dict(self._values())
        for key, array in arrays.items():
            variable: Any = there.get(key)
            if key == "save_counter":
                variable = self.save_counter
            if variable is None:
                if self._has(key):
                    raise ValueError(
                        "[tf.train.Checkpoint] the objects must be built and have the "
                        f"variables of the checkpoint. Received: {key!r} in {path!r}, "
                        "which is not there. Try calling the model once before."
                    )
                continue
            variable.assign(array)
        return Status()

    read = restore

    def _has(self, key: str) -> bool:
        """Whether the object of a value belongs to this checkpoint."""
        return key.partition("/")[0] in self._objects

    def _values(self) -> Iterator[tuple[str, Any]]:
        for name, value in self._objects.items():
            yield from _values_of(name, value)

    def _build(self, arrays: Mapping[str, Any]) -> None:
        """Create the slots of an optimizer that has not trained yet."""
        weights = [
            v
            for thing in self._objects.values()
            for v in getattr(thing, "trainable_variables", [])
        ]
        for name, thing in self._objects.items():
            saved = sum(key.startswith(f"{name}/") for key in arrays)
            if not isinstance(thing, Optimizer):
                continue
            if not weights:  # `restore` says that a model is not built
                continue
            if saved > len(thing.variables) or (saved and not thing.built):
                thing.build(weights)


def _values_of(name: str, thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, Weight):
        yield name, thing
    elif isinstance(thing, Mapping):
        for key, part in thing.items():
            yield from _values_of(f"{name}/{key}", part)
    elif isinstance(thing, (list, tuple)):
        for i, part in enumerate(thing):
            yield from _values_of(f"{name}/{i}", part)
    else:
        found = thing.variables if isinstance(thing, Optimizer) else None
        if found is None:
            found = getattr(thing, "weights", [])
        yield from ((f"{name}/{i}", variable) for i, variable in enumerate(found))


class Status:
    """The result of `restore`: everything was restored, or an error was raised."""

    def assert_consumed(self) -> Status:
        return self

    assert_existing_objects_matched = assert_nontrivial_match = assert_consumed
    expect_partial = assert_consumed

    def initialize_or_restore(self, session: Any = None) -> None:
        """Done already."""


class CheckpointManager:
    """Keeps the newest checkpoints of a folder.

    Args:
        checkpoint: what to save.
        directory: the folder.
        max_to_keep: number of checkpoints to keep; None for all.
        checkpoint_name: prefix of their names.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        directory: Any,
        max_to_keep: int | None = None,
        keep_checkpoint_every_n_hours: Any = None,
        checkpoint_name: str = "ckpt",
        **settings: Any,
    ) -> None:
        self.checkpoint, self.directory = checkpoint, os.fspath(directory)
        self._most, self._name = max_to_keep, checkpoint_name
        self._saved = _listed(self.directory)

    @property
    def checkpoints(self) -> list[str]:
        """The paths, the oldest first."""
        return list(self._saved)

    @property
    def latest_checkpoint(self) -> str | None:
        """The newest path; None without one."""
        return self._saved[-1] if self._saved else None

    def save(self, checkpoint_number: Any = None, *others: Any, **more: Any) -> str:
        """Save, and delete the oldest if there are too many."""
        if checkpoint_number is None:
            self.checkpoint.save_counter.assign_add(1)
            checkpoint_number = self.checkpoint.save_counter
        name = f"{self._name}-{int(checkpoint_number)}"
        path = self.checkpoint.write(os.path.join(self.directory, name))
        self._saved = [p for p in self._saved if p != path] + [path]
        while self._most is not None and len(self._saved) > self._most:
            old = f"{self._saved.pop(0)}.index"
            if os.path.exists(old):
                os.remove(old)
        _remember(path, self._saved)
        return path

    def restore_or_initialize(self) -> str | None:
        """Restore the newest; its path, or None without one."""
        self.checkpoint.restore(self.latest_checkpoint)
        return self.latest_checkpoint


def latest_checkpoint(checkpoint_dir: Any, latest_filename: Any = None) -> str | None:
    """The newest checkpoint of a folder, None without one."""
    paths = _listed(os.fspath(checkpoint_dir))
    return paths[-1] if paths else None


def _remember(path: str, paths: list[str]) -> None:
    """Write the list of checkpoints to the folder's file "checkpoint", as TensorFlow
    does."""
    names = [os.path.basename(p) for p in paths]
    lines = [f'model_checkpoint_path: "{os.path.basename(path)}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    where = os.path.join(os.path.dirname(path), "checkpoint")
    with open(where, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _listed(folder: str) -> list[str]:
    try:
        with open(os.path.join(folder, "checkpoint"), encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return []
    newest = re.findall(r'^model_checkpoint_path: "(.*)"', text, re.MULTILINE)
    names = re.findall(r'^all_model_checkpoint_paths: "(.*)"', text, re.MULTILINE)
    names = [name for name in names if name not in newest] + newest
    paths = [os.path.join(folder, os.path.basename(name)) for name in names]
    return [path for path in paths if os.path.isfile(f"{path}.index")]
