"""Saves and loads while the shim makes one call to the system after the other fail.

    LD_PRELOAD=shim.so python -m tests.faults.io_faults FOLDER      prints JSON

Runs in a process of its own: see `test_saves.py`.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kurve
from kurve import models
from kurve.core import files
from kurve.estimators import load
from kurve.saving import ModelFileError
from tests.faults.fuzz import Loaded, small

shim = ctypes.CDLL(None)
ERRORS = (errno.EIO, errno.ENOSPC)


def other() -> kurve.Sequential:
    """As `small`, but with other numbers."""
    model = small()
    model.set_weights([w + 1.0 for w in model.get_weights()])
    return model


def estimator(seed: int) -> kurve.Regressor:
    x = np.random.default_rng(seed).normal(size=(30, 2))
    made = kurve.Regressor((2,), max_epochs=1, solver="adam", random_state=seed)
    return made.fit(x, x.sum(axis=1))


def armed(
    call: Callable[[], Any], nth: int, error: int, sticky: bool, short: bool = False
) -> tuple[BaseException | None, Any, bool]:
    """What a call raises and returns whose nth call to the system fails, and whether
    there was an nth one."""
    caught: BaseException | None = None
    result = None
    shim.shim_arm(nth, error, int(sticky), int(short))
    try:
        result = call()
    except Exception as found:
        caught = found
    reached = shim.shim_calls() >= nth
    shim.shim_arm(0, 0, 0, 0)
    return caught, result, reached


def saves(folder: Path, thing: Any, before: Any, ending: str) -> int:
    """Fail each call of a save, with an old file and without; how many there were."""
    path = folder / f"thing{ending}"
    method = "save_weights" if "weights" in ending else "save"
    save = lambda: getattr(thing, method)(path)  # noqa: E731
    save()
    new = path.read_bytes()
    getattr(before, method)(path)
    old = path.read_bytes()
    assert old != new
    content, count = Loaded(thing).content(), 0
    for start in (old, None):
        for error in ERRORS:
            for sticky in (False, True):
                nth = 0
                while True:
                    nth += 1
                    path.unlink(missing_ok=True)
                    if start is not None:
                        path.write_bytes(start)
                    files._cleaned.clear()
                    caught, _, reached = armed(save, nth, error, sticky)
                    there = path.read_bytes() if path.exists() else None
                    where = (ending, nth, error, sticky, caught)
                    assert os.listdir(folder) == ([path.name] if there else []), where
                    assert there in (start, new), where
                    assert Loaded(thing).content() == content, where
                    if caught is None:
                        assert there == new, where
                    else:
                        assert isinstance(caught, OSError), where
                        assert caught.errno == error, where
                        assert caught.filename, where
                    if not reached:
                        assert caught is None, where
                        break
                    count += 1
    caught, _, _ = armed(save, 0, 0, False, short=True)
    assert caught is None and path.read_bytes() == new, "short writes"
    nth = 1  # interrupted calls are repeated
    while armed(save, nth, errno.EINTR, False)[2]:
        assert path.read_bytes() == new
        nth += 1
    path.unlink()
    return count


def loads(
    folder: Path, thing: Any, ending: str, how: Callable[[Path], Any], target: Any
) -> int:
    """Fail each call of a load; a model that is loaded into stays as it was."""
    path = folder / f"thing{ending}"
    (thing.save_weights if "weights" in ending else thing.save)(path)
    count = 0
    for error in ERRORS:
        nth = 0
        while True:
            nth += 1
            before = None if target is None else Loaded(target).content()
            caught, _, reached = armed(lambda: how(path), nth, error, False)
            where = (ending, nth, error, caught)
            if not reached:
                assert caught is None, where
                break
            count += 1
            if caught is None:
                continue
            assert isinstance(caught, (OSError, ModelFileError)), where
            if target is not None:
                assert Loaded(target).content() == before, where
    caught, found, _ = armed(lambda: how(path), 0, 0, False, short=True)
    assert caught is None, "short reads"
    if target is None:
        assert Loaded(found).content() == Loaded(how(path)).content()
    path.unlink()
    return count


def main(folder: Path) -> None:
    kurve.set_engine("reference")
    model, before = other(), small()
    first, second = estimator(1), estimator(2)
    counts = {
        "save": saves(folder, model, before, ".kurve"),
        "save_weights": saves(folder, model, before, ".weights.kurve"),
        "estimator": saves(folder, first, second, ".kurve"),
        "load_model": loads(folder, model, ".kurve", models.load_model, None),
        "load_weights": loads(
            folder, model, ".weights.kurve", before.load_weights, before
        ),
        "load": loads(folder, first, ".kurve", load, None),
    }
    before.save(folder / "m.kurve")
    os.environ["KURVE_SHIM_LOG"] = str(folder.parent / "log")
    counts["old"] = len((folder / "m.kurve").read_bytes())
    (folder.parent / "old.kurve").write_bytes((folder / "m.kurve").read_bytes())
    files._cleaned.clear()
    model.save(folder / "m.kurve")
    (folder.parent / "new.kurve").write_bytes((folder / "m.kurve").read_bytes())
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
