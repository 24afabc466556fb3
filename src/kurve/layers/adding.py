"""Losses that layers add to a model."""

from __future__ import annotations

from typing import Any

from kurve.core.entries import entries
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.recording import active
from kurve.formulas.tensor import leaves
from kurve.layers.variable import Variable
from kurve.layers.weights import LayerWeights
from kurve.regularizers import L1L2


@entries
class LayerLosses(LayerWeights):
    """Losses added by a layer."""

    activity_regularizer: Any

    _losses: list[Any] = []  # noqa: RUF012 - replaced, never changed
    """Losses added by the last direct call."""

    @property
    def loss_owner(self) -> Any:
        """Whose `add_loss` its `call` calls."""
        return self

    def add_loss(self, loss: Any) -> None:
        """Add a term to the loss of models that contain this layer; for use in `call`.

        Args:
            loss: a tensor; its elements are summed.

        While a formula is traced, the term becomes part of it. Otherwise it is kept in
        `losses` until the next call.
        """
        graph = Graph.current
        if graph is None:
            self._losses = [*self._losses, *leaves(loss)]
            return
        from kurve.formulas.added_losses import add_loss

        for part in leaves(loss):
            add_loss(graph, graph.as_tensor(part))

    def add_metric(self, *args: Any, **kwargs: Any) -> None:
        """Refused, as in Keras 3: a metric is an argument of `compile`."""
        raise NotImplementedError(
            f"[{type(self).__name__}] add_metric does not exist since Keras 3. "
            f"Received: name={kwargs.get('name')!r}. Try metrics=[...] in compile, a "
            "further output of the model with a metric, or an attribute that is a "
            "Metric, with update_state(value) in train_step."
        )

    @property
    def losses(self) -> list[Any]:
        """Losses added by the layer and its sublayers: by the last direct call
        (`add_loss` and activity penalties, as one number), and by each trainable weight
        with a penalty."""
        owners = [self, *self.parts]
        return [
            *(term for owner in owners for term in owner._losses),
            *(_penalty(w) for w in self.trainable_weights if w.regularizer is not None),
        ]

    def penalize(self, graph: Graph, y: Any) -> None:
        """Add the penalty of the output to the loss."""
        if self.activity_regularizer is not None:
            from kurve.formulas.added_losses import add_loss, penalize

            for leaf in leaves(y):
                if not isinstance(leaf, Tensor):
                    continue
                penalty = self.activity_regularizer
                if isinstance(penalty, L1L2):
                    penalize(graph, leaf, penalty.l1, penalty.l2)
                    continue
                with graph.tracing():
                    add_loss(graph, penalty(leaf) / _rows(graph, leaf))


def _rows(graph: Graph, y: Tensor) -> Any:
    """The number of samples."""
    from kurve.formulas import functions as ops

    if graph.rows is not None:
        return float(graph.rows)
    one = ops.sum(y, list(range(1, y.ndim))) if y.ndim > 1 else y
    return ops.sum(ops.ones_like(one))


def _penalty(weight: Variable) -> Any:
    """The penalty of a weight, recorded on active gradient tapes."""
    from kurve.formulas import functions as ops

    rule = weight.regularizer
    assert rule is not None
    if not active.tapes and active.step is None:
        return float(rule(weight.value))
    if not isinstance(rule, L1L2):
        return rule(ops.add(weight, 0.0))
    terms: Any = rule.l1 * ops.sum(ops.absolute(weight)) if rule.l1 else 0.0
    return terms + rule.l2 * ops.sum(ops.square(weight)) if rule.l2 else terms
