"""Callbacks, called between epochs and batches. Names, arguments and behaviour are
Keras's.

The engine runs a whole epoch in one call. Only a callback that overrides a batch hook
makes `fit` stop after every batch.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

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
from kurve.core.later import Later as _Later

if _TYPE_CHECKING:
    from kurve.callbacks.averages import SwapEMAWeights as SwapEMAWeights
    from kurve.callbacks.live import LivePlot as LivePlot
    from kurve.callbacks.tensorboard import TensorBoard as TensorBoard

_REFUSED = {
    "RemoteMonitor": "Kurve does not send data over networks. Try a LambdaCallback",
    "ProgbarLogger": "fit shows a progress bar itself. Try fit(verbose=1)",
    "OrbaxCheckpoint": "it is JAX's format. Try ModelCheckpoint or BackupAndRestore",
}
"""Keras callbacks that Kurve lacks, and what to do instead."""


def _refuse(name: str) -> None:
    if name in _REFUSED:
        raise AttributeError(
            f"[kurve.callbacks] {name} is not supported: {_REFUSED[name]}. "
            f"Received: {name!r}."
        )


__getattr__ = _Later(
    __name__,
    {"averages": "SwapEMAWeights", "live": "LivePlot", "tensorboard": "TensorBoard"},
    _refuse,
)
__dir__ = __getattr__.dir
