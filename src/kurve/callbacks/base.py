"""The base class of callbacks, and callback lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kurve.core import processes
from kurve.core.entries import Entrance
from kurve.errors import unknown_argument

Logs = dict[str, float]


class Callback(Entrance):
    """Base class of callbacks. Override the hooks you need; the model is `self.model`,
    the arguments of `fit` are `self.params` ("epochs", "steps", "verbose", and
    "resumed", which is true in a `fit` that resumes from a checkpoint).

    A callback with state that persists between epochs or batches should also
    override `get_state` and `set_state`, so that checkpoints include it:

        def get_state(self):
            return {"seen": self.seen}

        def set_state(self, state):
            self.seen = state["seen"]

    Example:
        >>> class Counter(kurve.callbacks.Callback):
        ...     def on_train_begin(self, logs=None):
        ...         self.epochs = 0
        ...     def on_epoch_end(self, epoch, logs=None):
        ...         self.epochs += 1
        >>> counter = Counter()
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, callbacks=[counter], verbose=0)
        >>> counter.epochs
        3
    """

    writes_files = False
    """Whether only the first of several processes that train together calls it."""

    def __init__(self) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None: ...
    def on_train_end(self, logs: Logs | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_test_begin(self, logs: Logs | None = None) -> None: ...
    def on_test_end(self, logs: Logs | None = None) -> None: ...
    def on_predict_begin(self, logs: Logs | None = None) -> None: ...
    def on_predict_end(self, logs: Logs | None = None) -> None: ...
    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_end(batch, logs)

    def get_state(self) -> dict[str, Any]:
        """The state of this callback for a checkpoint: numbers, strings, None, lists,
        tuples, dictionaries and NumPy arrays. Called between steps."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the result of `get_state`, possibly in a new process. Called once,
        after `on_train_begin`; in the middle of an epoch, `on_epoch_begin` is not
        called again."""

    def has_batch_hooks(self, kind: str) -> bool:
        """Whether "train", "test" or "predict" must stop after every batch for this
        callback."""
        hooks = [f"on_{kind}_batch_begin", f"on_{kind}_batch_end"]
        if kind == "train":
            hooks += ["on_batch_begin", "on_batch_end"]
        return any(overrides(self, hook) for hook in hooks)

    def last_logs(self) -> Logs:
        """The logs of the last epoch, if the callback has them."""
        return {}

    def handles_non_finite(self) -> bool:
        """Whether a non-finite loss ends `fit` without an error."""
        return False

    def shows_progress(self) -> bool:
        """Whether it takes the place of the progress bar of fit(verbose="auto")."""
        return False

    def _see(self, rows: tuple[Any, Any] | None) -> None:
        """Called before `on_train_begin` with all rows (x, y) of the data, or None if
        they are not in memory."""

    def _wants_steps(self) -> bool:
        """Whether `_on_steps` is to be called in the next epoch."""
        return False

    def _on_steps(self, epoch: float, logs: Mapping[str, Any]) -> None:
        """Called from time to time within an epoch with the number of epochs done, such
        as 2.5, and the logs so far."""


class LambdaCallback(Callback):
    """A callback built from functions: `LambdaCallback(on_epoch_end=lambda epoch, logs:
    print(logs))`.

    Args:
        on_train_begin, on_train_end: called with (logs).
        on_epoch_begin, on_epoch_end: called with (epoch, logs).
        on_train_batch_begin, on_train_batch_end: called with (batch, logs).
        on_batch_begin, on_batch_end: the same.
        on_test_begin, on_test_end, on_predict_begin, on_predict_end: called with
            (logs).
        on_test_batch_begin, on_test_batch_end, on_predict_batch_begin,
            on_predict_batch_end: called with (batch, logs).
        others: attributes for the functions to use, as in Keras.

    Raises:
        TypeError: an unknown hook: an argument whose name begins with "on_".

    Example:
        >>> say = lambda logs: print("done")
        >>> callback = kurve.callbacks.LambdaCallback(on_train_end=say)
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, callbacks=[callback], verbose=0)
        done
        >>> len(history.epoch)
        3
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        on_batch_begin: Callable[..., Any] | None = None,
        on_batch_end: Callable[..., Any] | None = None,
        on_test_begin: Callable[..., Any] | None = None,
        on_test_end: Callable[..., Any] | None = None,
        on_test_batch_begin: Callable[..., Any] | None = None,
        on_test_batch_end: Callable[..., Any] | None = None,
        on_predict_begin: Callable[..., Any] | None = None,
        on_predict_end: Callable[..., Any] | None = None,
        on_predict_batch_begin: Callable[..., Any] | None = None,
        on_predict_batch_end: Callable[..., Any] | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        for name, value in others.items():
            if name.startswith("on_"):
                raise unknown_argument(type(self), name)
            setattr(self, name, value)
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            "on_batch_begin": on_batch_begin,
            "on_batch_end": on_batch_end,
            "on_test_begin": on_test_begin,
            "on_test_end": on_test_end,
            "on_test_batch_begin": on_test_batch_begin,
            "on_test_batch_end": on_test_batch_end,
            "on_predict_begin": on_predict_begin,
            "on_predict_end": on_predict_end,
            "on_predict_batch_begin": on_predict_batch_begin,
            "on_predict_batch_end": on_predict_batch_end,
        }
        for hook, function in given.items():
            if function is not None:
                setattr(self, hook, function)


def overrides(callback: Callback, hook: str) -> bool:
    """Whether a callback overrides a hook."""
    return hook in vars(callback) or (
        getattr(type(callback), hook) is not getattr(Callback, hook)
    )


def as_list(
    callbacks: Callback | Iterable[Callback] | None, where: str
) -> list[Callback]:
    """The callbacks argument of a method (one, several or None) as a list.

    Raises:
        TypeError: anything else.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        callbacks = [callbacks]
    given = list(callbacks)
    for callback in given:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"[{where}] callbacks must be objects of kurve.callbacks.Callback. "
                f"Received: {callback!r} of type {type(callback).__name__}. "
                "Try callbacks=[EarlyStopping()]."
            )
    return given


class CallbackList:
    """Several callbacks called in order."""

    def __init__(
        self, callbacks: list[Callback], model: Any, params: dict[str, Any]
    ) -> None:
        self.callbacks, self.params = callbacks, params
        self.calling = False
        """Whether a hook is running."""
        group = processes.active()
        others = group is not None and group.rank > 0  # the first one writes files
        self._called = [c for c in callbacks if not (others and c.writes_files)]
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)
        self.per_batch = {
            kind
            for kind in ("train", "test", "predict")
            if any(callback.has_batch_hooks(kind) for callback in callbacks)
        }

    def call(self, hook: str, *args: Any) -> None:
        """Call one hook, such as "on_epoch_end", of every callback."""
        self.calling = True
        try:
            for callback in self._called:
                getattr(callback, hook)(*args)
        finally:
            self.calling = False

    def show(self, rows: tuple[Any, Any] | None) -> None:
        """Show every callback the data of `fit`."""
        self.call("_see", rows)

    def watch(
        self, epoch: int, steps: int | None
    ) -> Callable[[int, Mapping[str, Any]], None] | None:
        """What a progress bar calls as it moves, or None."""
        if not any(c._wants_steps() for c in self._called):
            return None
        return lambda done, logs: self.call(
            "_on_steps", epoch + done / steps if steps else epoch + 0.5, logs
        )

    def last_logs(self) -> Logs:
        """The logs of the last epoch before this call, from a checkpoint."""
        return next((c.last_logs() for c in self.callbacks if c.last_logs()), {})

    def handles_non_finite(self) -> bool:
        return any(c.handles_non_finite() for c in self.callbacks)
