"""Temporarily swap the weights with their moving average."""

from __future__ import annotations

from typing import Any

from kurve.callbacks.base import Callback, Logs
from kurve.core.arguments import check_flag
from kurve.core.inside import network_of


class SwapEMAWeights(Callback):
    """Evaluates and, with `swap_on_epoch`, saves the moving average kept by an
    optimizer with use_ema=True, while training continues on the weights.

    Average and weights are swapped before an evaluation (including validation) or
    prediction, and back afterwards. An evaluation that raises an error leaves them
    swapped.

    Args:
        swap_on_epoch: whether to also swap at the end of each epoch, before later
            callbacks in the list, until the next epoch begins: a later ModelCheckpoint
            then saves the average. EarlyStopping must come before it.

    Raises:
        TypeError: swap_on_epoch is neither True nor False.
        ValueError: on the first swap, an optimizer without use_ema=True.

    Example:
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(kurve.optimizers.SGD(0.1, use_ema=True), "mse")
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> swap = kurve.callbacks.SwapEMAWeights()
        >>> history = model.fit(
        ...     x, x, validation_data=(x, x), callbacks=[swap], verbose=0
        ... )
        >>> sorted(history.history)
        ['loss', 'val_loss']
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = check_flag(
            "SwapEMAWeights", "swap_on_epoch", swap_on_epoch
        )
        self._is_in_model = False

    def _put_average(self, into_model: bool) -> None:
        """Swap average and weights, unless already done."""
        if self._is_in_model is into_model:
            return
        self._is_in_model = into_model
        for weights, average in self._pairs():
            held = weights.copy()
            weights[...], average[...] = average, held

    def _pairs(self) -> Any:
        """Pairs of trained weight and average; none before the first step."""
        network = network_of(self.model)
        optimizer = network.require_compiled("SwapEMAWeights").optimizer
        if not optimizer.use_ema:
            raise ValueError(
                "[SwapEMAWeights] the optimizer must keep an average of the weights. "
                f"Received: {type(optimizer).__name__} with use_ema=False. "
                f"Try {type(optimizer).__name__}(use_ema=True)."
            )
        state, row = network.state, optimizer.slot_names.index("average")
        if state is None or not state.step or len(state.slots) <= row:
            return []
        assert network.plan is not None
        parts = [slice(v.offset, v.end) for v in network.plan.params if v.trainable]
        return [(state.params[part], state.slots[row][part]) for part in parts]

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._put_average(into_model=False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if not self.swap_on_epoch:
            return
        self._put_average(into_model=True)
        if epoch == self.params["epochs"] - 1 or self.model.stop_training:
            # fit ends with the contents of the average.
            self._is_in_model = False
            for weights, average in self._pairs():
                average[...] = weights

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._put_average(into_model=True)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._put_average(into_model=False)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._put_average(into_model=True)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._put_average(into_model=False)

    def get_state(self) -> dict[str, Any]:
        return {"is_in_model": self._is_in_model}

    def set_state(self, state: dict[str, Any]) -> None:
        self._is_in_model = bool(state["is_in_model"])
