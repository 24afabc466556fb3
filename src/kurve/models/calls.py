"""Calls of a model: on arrays, on symbolic tensors, and within another model."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.entries import entries
from kurve.core.results import result as _as_result
from kurve.errors import unknown_argument
from kurve.formulas import functions as ops
from kurve.formulas.calls import graph_of, inferred
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.operators import Symbolic
from kurve.formulas.recording import active
from kurve.formulas.tensor import KerasTensor, Node, leaves, replaced
from kurve.layers.arguments import takes
from kurve.layers.base import Layer
from kurve.layers.changes import changed
from kurve.layers.weights import SETTINGS
from kurve.models.facade import Facade
from kurve.training import Trainer
from kurve.training.parts import fits, up_to

_KEPT = frozenset({"drawn", "history", "name", "run_eagerly", "stop_evaluating"})
_KEPT |= {"stop_training", "trainable", "built_shape"}
"""Attributes that `call` does not depend on."""


@entries
class Calls(Facade, Layer):
    """The base class of `Model` that implements its calls."""

    _body: Any = None
    """The user's call() as a layer."""

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        body = own.get("_body")
        if body is None or name[0] == "_" or name not in own or name in _KEPT:
            super().__setattr__(name, value)
            return
        old = own[name]
        super().__setattr__(name, value)
        if isinstance(old, SETTINGS) and old != own[name]:
            changed(body)

    def __call__(
        self,
        x: Any = None,
        *others: Any,
        training: bool | None = None,
        mask: Any = None,
        **named: Any,
    ) -> Any:
        """Call the model: symbolic outputs for symbolic tensors, otherwise like
        `predict` without a progress bar.

        Args:
            x: as for `predict`, or symbolic tensors.
            training: whether to run in training mode; None means False. In a symbolic
                call, False means that these layers always run in inference mode; any
                other value, that they run in training mode while the outer model is
                trained.
            mask: masks of symbolic x, in the same structure.
            others, named: further arguments of a subclass's `call`.
        """
        if self.has_formula and (others or named):
            others, training, mask = self._sorted(others, training, mask, named)
            if others or named:
                given = (named if mask is None else {**named, "mask": mask},)
                return self._called_with((x, *others), training, *given)
        elif others:
            training, *rest = others
            if rest or self.has_formula:
                raise TypeError(
                    f"[{type(self).__name__}] the model is called with x and, by "
                    f"keyword, training. Received: {1 + len(others)} arguments. "
                    "Try model(x, training=True)."
                )
        if not isinstance(x, np.ndarray):
            named = {} if mask is None else {"mask": mask}
            for leaf in leaves(x):
                if isinstance(leaf, KerasTensor):
                    if training is not None:
                        named["training"] = bool(training)
                    return self._symbolic_call((x,), named)
                if isinstance(leaf, Tensor):
                    self._build_like(x)
                    run = functools.partial(self.run, x, training=training, **named)
                    return leaf.graph.called(self, training, run)
        if mask is not None:
            raise TypeError(
                f"[{type(self).__name__}] a model can only be called with a mask "
                "inside another model. Received: a mask for an array. Try Masking, or "
                "Embedding(..., mask_zero=True), as its first layer."
            )
        return Trainer.__call__(self, x, training, **named)

    def _sorted(
        self, others: tuple[Any, ...], training: Any, mask: Any, named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], Any, Any]:
        """Further arguments of call(), without training and mask by position."""
        import inspect

        names = list(inspect.signature(self.call).parameters)[1:]
        for name in named:
            if not takes(self.call, name):
                raise unknown_argument(type(self).call, name, type(self).__name__)
        if others and names[: len(others)] and names[len(others) - 1] == "training":
            others, training = others[:-1], others[-1]
        elif len(others) == 2 and names[:2] == ["training", "mask"]:
            (training, mask), others = others, ()
        return others, training, mask

    def _called_with(
        self, args: tuple[Any, ...], training: bool | None, named: dict[str, Any]
    ) -> Any:
        """The result of call() with more arguments than x: run eagerly for arrays,
        otherwise called like a layer."""
        from kurve.models.body import Body

        if training is not None and takes(self.call, "training"):
            named = {**named, "training": training}
        if not any(isinstance(leaf, Symbolic) for leaf in leaves((args, named))):
            before = active.training
            active.training = before if training is None else bool(training)
            try:
                args = replaced(args, _as_result)
                return self.call(*args, **replaced(named, _as_result))
            finally:
                active.training = before
        if self._body is None:
            self._body = Body(self)
        return self._body(*args, **named)

    def _symbolic_call(self, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        (x,) = args
        self._build_like(x)
        structure = self._network.structure
        if self._network.encodes and structure is None:
            for layer in self._network.layers:
                x = layer(x)
            return x
        if self._network.encodes and structure is not None:
            found = iter(structure.called(list(leaves(x))))
            return replaced(structure.outputs, lambda _: next(found))
        out = inferred(self.run, args, named)
        Node(self, args, named, out)
        return out

    def _build_like(self, x: Any) -> None:
        """Build the model for inputs like these, if it is not built yet."""
        if self._network.plan is None and self._network.build_for is not None:
            from kurve.models.body import shapes_of

            shapes = shapes_of(x)
            self.build(shapes)
            self._trace_call(shapes)  # if the user's build() did not

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Append the model to a plan under construction and return its outputs."""
        graph = graph_of(args, kwargs)
        assert graph is not None
        x = args[0]
        self._build_like(x)
        structure = self._network.structure
        tensors = list(leaves(x))
        if structure is not None:
            if isinstance(structure.inputs, Mapping) and isinstance(x, Mapping):
                missing = [name for name in structure.inputs if name not in x]
                if missing:
                    raise ValueError(
                        f"[{type(self).__name__}] the model {self.name!r} reads "
                        f"{', '.join(map(repr, structure.inputs))}. Received: a "
                        f"dictionary without {', '.join(map(repr, missing))}. "
                        "Try one with all of them."
                    )
                x = {name: x[name] for name in structure.inputs}  # it may have more
            if fits(structure.inputs, x):
                tensors = up_to(structure.inputs, x)
            if len(tensors) != len(structure.flat_inputs):
                raise ValueError(
                    f"[{type(self).__name__}] the model {self.name!r} has "
                    f"{len(structure.flat_inputs)} inputs. Received: {len(tensors)}. "
                    f"Try a list of {', '.join(structure.input_names)}."
                )
        mask = kwargs.get("mask")
        if mask is not None:
            tensors = self._with_masks(graph, tensors, list(leaves(mask)))
        found = iter(self._traced(graph, tensors, kwargs.get("training")))
        if structure is None:
            return next(found)
        return replaced(structure.outputs, lambda _: next(found))

    def _traced(
        self, graph: Graph, tensors: list[Any], training: bool | None
    ) -> list[Any]:
        """The outputs; with training=False, of layers that always run in inference
        mode, as in a pretrained model that a new one is built on."""
        first, before = len(graph.ops), graph.training
        if training is False:
            graph.training = False
        try:
            found = self._network.trace(tensors)
        finally:
            graph.training = before
        if training is False:
            for i in range(first, len(graph.ops)):
                graph.ops[i] = graph.ops[i].predicting()
        return found

    def _with_masks(
        self, graph: Graph, tensors: list[Any], masks: list[Any]
    ) -> list[Any]:
        """The inputs with other masks; None keeps a mask."""
        if len(masks) != len(tensors):
            raise ValueError(
                f"[{type(self).__name__}] mask must have one entry per input of the "
                f"model {self.name!r}, or None. Received: {len(masks)} for "
                f"{len(tensors)} inputs. Try a list of them."
            )
        found = []
        for tensor, mask in zip(tensors, masks, strict=True):
            if mask is not None:
                tensor = tensor.without_mask()
                tensor.mask = ops.cast(graph.as_tensor(mask), "bool")
            found.append(tensor)
        return found

    takes_mask = True
    """Always true: inside the model, the inputs have the mask."""
