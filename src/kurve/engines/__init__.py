"""Engines run plans. `get_engine` returns the one to use."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

from kurve.core.arguments import is_integer
from kurve.core.entries import entry
from kurve.engines.base import Batches as Batches
from kurve.engines.base import Engine as Engine
from kurve.engines.base import Job as Job
from kurve.engines.base import Program as Program
from kurve.engines.base import State as State
from kurve.engines.base import aligned_copy as aligned_copy
from kurve.engines.base import aligned_zeros as aligned_zeros
from kurve.engines.base import run_job as run_job
from kurve.errors import lookup

MAX_THREADS = 64
"""The limit in `_core`."""

_loaded: dict[str, Engine] = {}
_default: list[str] = []


def _reference() -> Engine:
    from kurve.engines.reference import ReferenceEngine

    return ReferenceEngine()


def _native() -> Engine:
    try:
        from kurve.engines.native import NativeEngine
    except ImportError as error:
        warnings.warn(
            "[kurve] the compiled engine could not be loaded, so the slower reference "
            f"engine (pure NumPy) is used instead. Reason: {error}. Try "
            "reinstalling kurve with a C++ compiler present, or "
            "kurve.set_engine('reference') to choose it without this warning.",
            RuntimeWarning,
            stacklevel=2,
        )
        return get_engine("reference")
    return NativeEngine()


def _torch(device: str | None = None) -> Engine:
    try:
        from kurve.engines.torch import TorchEngine
    except ImportError as error:
        raise ImportError(
            "[get_engine] the torch engine needs PyTorch. "
            f"Received: {error}. Try pip install 'kurve[torch]'."
        ) from None
    return TorchEngine(device)


def _auto() -> Engine:
    from kurve.engines.auto import AutoEngine

    return AutoEngine(get_engine)


_ENGINES: dict[str, Callable[[], Engine]] = {
    "native": _native,
    "reference": _reference,
    "torch": _torch,
    "auto": _auto,
}


@entry
def get_engine(engine: str | Engine | None = None) -> Engine:
    """The engine with that name, or the current one.

    Args:
        engine: "native" (compiled), "reference" (NumPy), "torch" (PyTorch, on a GPU if
            there is one), "torch:cuda" and the like for a device, "auto" (the one of
            native and torch that proves faster in training), an engine object, or None
            for the one chosen by `set_engine` or the environment variable
            KURVE_ENGINE, else "native".

    Raises:
        ValueError: an unknown name, or a device that is not there.
        TypeError: neither a name nor an engine.
        ImportError: "torch" without PyTorch.

    Example:
        >>> kurve.get_engine("reference").name
        'reference'
    """
    if engine is None:
        engine = _default[0] if _default else os.environ.get("KURVE_ENGINE") or "native"
    if not isinstance(engine, str):
        if isinstance(engine, Engine):
            return engine
        raise TypeError(
            "[get_engine] engine must be a name or an object with name and compile. "
            f"Received: {engine!r}. Try engine='native'."
        )
    kind, _, device = engine.partition(":")
    if device and kind == "torch":
        return _loaded.get(engine) or _loaded.setdefault(engine, _torch(device))
    if kind in ("cuda", "gpu", "mps", "cpu"):
        raise ValueError(
            "[get_engine] a device belongs to the engine torch. Received: "
            f"{engine!r}. Try 'torch:{engine.replace('gpu', 'cuda')}'."
        )
    make: Callable[[], Engine] = lookup("get_engine", "engine", engine, _ENGINES)
    if engine not in _loaded:
        _loaded[engine] = make()
    return _loaded[engine]


@entry
def set_engine(engine: str) -> None:
    """Set the engine for all models compiled from now on.

    Args:
        engine: "native", "reference", "torch", "torch:cuda" and the like, or "auto".

    Raises:
        ValueError: an unknown name, or a device that is not there.
        ImportError: "torch" without PyTorch.

    Example:
        >>> kurve.set_engine("native")
        >>> kurve.get_engine().name
        'native'
    """
    get_engine(engine)
    _default[:] = [engine]


@entry
def set_threads(threads: int) -> None:
    """Set the number of threads of the native engine. Results do not depend on it.

    Args:
        threads: at least 1. The default is the number of cores available to this
            process (affinity and cgroup quota), or the environment variable
            KURVE_NUM_THREADS.

    Raises:
        ValueError: not an integer of at least 1.

    Example:
        >>> kurve.set_threads(2)
        >>> kurve.get_threads()
        2
    """
    if not is_integer(threads) or not 1 <= threads <= MAX_THREADS:
        raise ValueError(
            f"[set_threads] threads must be an integer from 1 to {MAX_THREADS}. "
            f"Received: {threads!r}. Try set_threads(1)."
        )
    get_engine("native")
    from kurve import _core

    _core.set_threads(int(threads))


@entry
def get_threads() -> int:
    """The number of threads that the native engine uses.

    Example:
        >>> kurve.set_threads(2)
        >>> kurve.get_threads()
        2
    """
    get_engine("native")
    from kurve import _core

    return int(_core.get_threads())
