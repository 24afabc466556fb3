"""The steps of a model, which a subclass may override."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kurve.core.entries import entry
from kurve.training.trainable import Trainable


class Stepping(Trainable):
    """A model whose steps, losses and metrics a subclass may implement in Python; `fit`
    and similar methods then call them for each batch."""

    __call__: Callable[..., Any]

    _resolved: Any = None
    """What `metrics` was last resolved for."""
    _tracker: Any = None
    _trackers: Any = None
    """Mean losses of several outputs, see `_output_trackers`."""

    run_eagerly = False
    """Whether a subclass's `train_step` and `test_step` run as plain Python instead of
    being compiled as by `kurve.function`."""

    @property
    def _functions(self) -> dict[str, Any]:
        """The compiled steps by name."""
        found: dict[str, Any] = vars(self).setdefault("_compiled", {})
        return found

    @property
    def loss_tracker_(self) -> Any:
        """The mean loss since `reset_metrics`, for a model with custom steps."""
        if self._tracker is None:
            from kurve.metrics import Mean

            self._tracker = Mean(name="loss")
        return self._tracker

    def _output_trackers(self) -> list[Any]:
        """The mean loss of each output that has one, if several have."""
        network = self._network
        if network.compilation is None or not network.output_names:
            return []
        names = [name for name in network.goals.log_names.losses if name]
        if names != [tracker.name for tracker in self._trackers or ()]:
            from kurve.metrics import Mean

            self._trackers = [Mean(name=name) for name in names]
        return self._trackers or []

    @entry
    def train_step(self, data: Any) -> dict[str, Any]:
        """Run one update on a batch. Subclasses can override it, using `GradientTape`,
        `compute_loss` and `optimizer.apply`; `fit` then calls it for each batch.

        Args:
            data: x, (x, y) or (x, y, sample_weight).

        Returns:
            Numbers by name, for callbacks and the history.
        """
        from kurve.training import steps

        return steps.train_step(self, data)

    @entry
    def test_step(self, data: Any) -> dict[str, Any]:
        """Compute loss and metrics of a batch; see `train_step`.

        Args:
            data: x, (x, y) or (x, y, sample_weight).
        """
        from kurve.training import steps

        return steps.test_step(self, data)

    @entry
    def predict_step(self, data: Any) -> Any:
        """The outputs for a batch. A subclass may override it: `predict` then calls it
        for each batch, and concatenates the results.

        Args:
            data: x, (x, y) or (x, y, sample_weight).
        """
        from kurve.utils import unpack_x_y_sample_weight

        return self(unpack_x_y_sample_weight(data)[0], training=False)

    def make_train_function(self, force: bool = False) -> Any:
        """The function that `fit` calls with an iterator of batches: it takes the next
        batch, and returns the result of `train_step`. A subclass may override it, to
        use several batches in a step; it is stored as `train_function`.

        Args:
            force: whether to make another one if there is one.
        """
        from kurve.training.steps import make_function

        return make_function(self, "train", force)

    def make_test_function(self, force: bool = False) -> Any:
        """The same for `evaluate` and `test_step`.

        Args:
            force: whether to make another one if there is one.
        """
        from kurve.training.steps import make_function

        return make_function(self, "test", force)

    def make_predict_function(self, force: bool = False) -> Any:
        """The same for `predict` and `predict_step`.

        Args:
            force: whether to make another one if there is one.
        """
        from kurve.training.steps import make_function

        return make_function(self, "predict", force)

    @entry
    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of a batch: the losses of `compile`, plus those of layers and weight
        penalties. Subclasses can override it, with functions of `kurve.ops`.

        Args:
            x: the batch; unused by default.
            y: targets.
            y_pred: the model's predictions.
            sample_weight: weights of the rows.
            training: whether this is a training step.

        Raises:
            ValueError: the model has no loss.
        """
        from kurve.training import steps

        return steps.compute_loss(self, y, y_pred, sample_weight)

    @entry
    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Update the metrics with a batch; return their values by name.

        Args:
            x: the batch; unused by default.
            y: targets.
            y_pred: the model's predictions.
            sample_weight: weights of the rows.
        """
        from kurve.training import steps

        return steps.compute_metrics(self, y, y_pred, sample_weight)

    @property
    def compiled_loss(self) -> Any:
        """From Keras 2: `compiled_loss(y, y_pred, regularization_losses=self.losses)`
        is the loss of `compile`, and updates the mean loss."""
        from kurve.training import steps

        return steps.CompiledLoss(self)

    @property
    def compiled_metrics(self) -> Any:
        """From Keras 2: `compiled_metrics.update_state(y, y_pred)` updates the metrics
        of `compile`."""
        from kurve.training import steps

        return steps.CompiledMetrics(self)

    def get_metrics_result(self) -> dict[str, Any]:
        """The values of `metrics` by name."""
        from kurve.training import steps

        return steps.metrics_result(self)

    def reset_metrics(self) -> None:
        """Reset all `metrics`."""
        for metric in self.metrics:
            metric.reset_state()
