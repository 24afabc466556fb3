"""Callbacks: what happens between epochs and batches. Names, arguments and behaviour
are Keras's.

The engine runs a whole epoch in one call. Only a callback that overrides a batch hook
makes `fit` stop after every batch.
"""

import typing as _typing

from kurve.callbacks.base import Callback as Callback
from kurve.callbacks.base import CallbackList as CallbackList
from kurve.callbacks.base import LambdaCallback as LambdaCallback
from kurve.callbacks.checkpoints import BackupAndRestore as BackupAndRestore
from kurve.callbacks.checkpoints import ModelCheckpoint as ModelCheckpoint
from kurve.callbacks.history import CSVLogger as CSVLogger
from kurve.callbacks.history import History as History
from kurve.callbacks.monitor import EarlyStopping as EarlyStopping
from kurve.callbacks.monitor import TerminateOnNaN as TerminateOnNaN
from kurve.callbacks.rates import LearningRateScheduler as LearningRateScheduler
from kurve.callbacks.rates import ReduceLROnPlateau as ReduceLROnPlateau
from kurve.errors import no_attribute as _no_attribute

if _typing.TYPE_CHECKING:
    from kurve.callbacks.tensorboard import TensorBoard as TensorBoard


def __getattr__(name: str) -> _typing.Any:
    if name != "TensorBoard":
        raise _no_attribute(__name__, name, ("TensorBoard",))
    from kurve.callbacks.tensorboard import TensorBoard

    return globals().setdefault(name, TensorBoard)


def __dir__() -> list[str]:
    return sorted({*globals(), "TensorBoard"})
