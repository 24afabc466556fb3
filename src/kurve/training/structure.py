"""The structure of a functional model: the calls between its inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kurve.formulas.graph import Tensor
from kurve.formulas.tensor import KerasTensor, Node, leaves, replaced
from kurve.training.slicing import from_inputs


class Structure:
    """Calls in topological order.

    inputs, outputs: nested structures of symbolic tensors
    losses:          tensors added to the loss
    given:           the three as they were passed: in another model's graph, if some
                     inputs are results of calls
    nodes:           the calls, inputs first
    encoding:        calls that encode string arrays before the engine runs
    entries:         tensors passed to the engine: inputs, and results of encoding calls
    has_open_sizes:  whether sizes of the inputs are unknown
    operations:      layers, models and functions in Keras's order, which is that of the
                     weights: by distance from the outputs, farthest first, then in the
                     order in which they are reached going back from the outputs

    Raises:
        TypeError: not a symbolic tensor.
        ValueError: an output not reachable from the inputs, two layers with the same
            name, or a duplicate input.
    """

    def __init__(self, inputs: Any, outputs: Any, losses: Sequence[Any] = ()) -> None:
        self.inputs, self.outputs, self.losses = inputs, outputs, list(losses)
        self.given = inputs, outputs, list(losses)
        for what, structure in (("inputs", inputs), ("outputs", outputs)):
            parts = list(leaves(structure))
            if not parts or not all(isinstance(part, KerasTensor) for part in parts):
                raise TypeError(
                    f"[Model] {what} must be symbolic tensors, as returned by Input, "
                    "or a list or a dictionary of them. "
                    f"Received: {what}={structure!r}. Try x = Input(shape=(1,)) and "
                    "Model(x, Dense(1)(x))."
                )
        self.flat_inputs = list(leaves(inputs))
        self.flat_outputs = list(leaves(outputs))
        if len({id(tensor) for tensor in self.flat_inputs}) < len(self.flat_inputs):
            raise ValueError(
                "[Model] each input must be passed only once. "
                f"Received: inputs={inputs!r}. Try one Input for each."
            )
        self.nodes, first_met = self._visited(self.flat_outputs)
        if any(not t.history.node.is_input for t in self.flat_inputs):
            nodes, _ = self._visited([*self.flat_outputs, *losses])
            self.inputs, self.outputs, self.losses = from_inputs(
                nodes, inputs, outputs, list(losses)
            )
            self.flat_inputs = list(leaves(self.inputs))
            self.flat_outputs = list(leaves(self.outputs))
            self.nodes, first_met = self._visited(self.flat_outputs)
        self._first = self._before_encoding()
        self.encoding = [node for node in self.nodes if id(node) in self._first]
        self.entries = self._entries() if self.encoding else self.flat_inputs
        self.has_open_sizes = any(None in t.sample for t in self.entries)
        self._refuse_texts()
        self.operations = self._ordered(self.nodes, first_met)
        if any(
            t.mask_sample is not None for n in self.nodes for t in leaves(n.outputs)
        ):
            from kurve.training.masked_order import pass_keras_masks

            pass_keras_masks(self.nodes)
            shown = {id(operation) for operation in self.operations}
            again = self._ordered(*self._visited(self.flat_outputs, True))
            self.operations = [o for o in again if id(o) in shown]
        if losses:
            self.nodes, _ = self._visited([*self.flat_outputs, *self.losses])
            self.operations += self._only_for_losses()
        names: set[str] = set()
        for operation in self.operations:
            if operation.name in names:
                raise ValueError(
                    "[Model] layers must have distinct names. Received: two with the "
                    f"name {operation.name!r}. Try name='{operation.name}_2'."
                )
            names.add(operation.name)

    def with_losses(self, terms: Sequence[Any]) -> Structure:
        """The same with more tensors added to the loss: its own, or those of the graph
        that it was made from.

        Raises:
            TypeError, ValueError: tensors of neither.
        """
        try:
            return Structure(self.inputs, self.outputs, [*self.losses, *terms])
        except ValueError:
            inputs, outputs, losses = self.given
            if inputs is self.inputs:
                raise
            return Structure(inputs, outputs, [*losses, *terms])

    @property
    def inside(self) -> list[Node]:
        """The calls that the engine computes."""
        return [n for n in self.nodes if not n.is_input and id(n) not in self._first]

    def _before_encoding(self) -> set[int]:
        """The calls that are computed with arrays, before the engine runs: those that
        read strings, and all calls that these depend on, by their ids. Layers that
        training changes are not among them."""
        found: set[int] = set()
        for node in reversed(self.nodes):
            if node.encodes or id(node) in found:
                found.add(id(node))
                found |= {
                    id(parent)
                    for parent in node.parents
                    if not parent.is_input
                    and not getattr(parent.operation, "trainable_weights", ())
                }
        return found

    def _only_for_losses(self) -> list[Any]:
        """Layers whose weights do not affect the outputs."""
        known = {id(v) for o in self.operations for v in getattr(o, "variables", ())}
        found: dict[int, Any] = {}
        for node in self.nodes:
            own = {id(v) for v in getattr(node.operation, "variables", ())}
            if not own <= known:
                found[id(node.operation)] = node.operation
        return list(found.values())

    def _visited(
        self, tensors: Sequence[KerasTensor], with_masks: bool = False
    ) -> tuple[list[Node], dict[int, int]]:
        """The calls that these tensors depend on, in topological order; and when each
        operation was first reached going back, by id.

        Args:
            with_masks: whether to visit the functions by which Keras computes masks.
        """
        known = {id(tensor) for tensor in self.flat_inputs}
        nodes: list[Node] = []
        done: set[int] = set()
        first_met: dict[int, int] = {}
        # Depth first without recursion, because models can be deep. An entry is a node
        # and whether its parents have been visited.
        for output in tensors:
            stack = [(output, False)]
            while stack:
                tensor, after = stack.pop()
                node = tensor.history.node
                if id(node) in done:
                    continue
                if after:
                    done.add(id(node))
                    nodes.append(node)
                    continue
                if id(tensor) in known and not node.is_input:
                    continue  # an input inside another model's graph
                if node.is_input and id(tensor) not in known:
                    raise ValueError(
                        "[Model] an output needs an input that is not among the "
                        f"model's inputs. Received: the input "
                        f"{node.operation.name!r} is missing from inputs="
                        f"{[t.history.operation.name for t in self.flat_inputs]}"
                        f". Try adding it."
                    )
                first_met.setdefault(id(node.operation), len(first_met))
                stack.append((tensor, True))
                below = node.input_tensors
                if with_masks and node.seen is not None:
                    below = node.seen
                stack += [(t, False) for t in reversed(below)]
        return nodes, first_met

    def _ordered(self, nodes: list[Node], first_met: dict[int, int]) -> list[Any]:
        inside = {id(node) for node in nodes}
        node_depth: dict[int, int] = {}
        depth_of: dict[int, int] = {}
        by_id: dict[int, Any] = {}
        for node in reversed(nodes):
            key = id(node.operation)
            by_id[key] = node.operation
            depth = max(node_depth.get(id(node), 0), depth_of.get(key, 0))
            node_depth[id(node)] = depth_of[key] = depth
            for parent in node.keras_parents:
                if id(parent) in inside:
                    node_depth[id(parent)] = max(
                        depth + 1, node_depth.get(id(parent), 0)
                    )
        for tensor in self.flat_inputs:
            operation, key = tensor.history.operation, 0
            key = id(operation)
            if key not in by_id and tensor.history.node.is_input:
                by_id[key], depth_of[key], first_met[key] = operation, 0, -1
        order = sorted(by_id, key=lambda key: (-depth_of[key], first_met[key]))
        return [by_id[key] for key in order]

    def _entries(self) -> list[KerasTensor]:
        """The inputs and encoded inputs that other calls or the outputs need."""
        needed = {id(t) for node in self.inside for t in node.input_tensors}
        needed |= {id(tensor) for tensor in self.flat_outputs}
        made = [t for node in self.encoding for t in leaves(node.outputs)]
        found = [t for t in (*self.flat_inputs, *made) if id(t) in needed]
        known = {id(t) for t in (*self.flat_inputs, *made)}
        for node in self.encoding:
            for tensor in node.input_tensors:
                if id(tensor) not in known:
                    node.operation.refuse_model()
        return found

    def _refuse_texts(self) -> None:
        for tensor in self.entries:
            if tensor.dtype == "string":
                name = tensor.history.operation.name
                raise TypeError(
                    "[Model] engines compute with numbers; strings must be encoded by "
                    "StringLookup, TextVectorization, Hashing or HashedCrossing. "
                    f"Received: the input {name!r} of dtype='string' in another layer. "
                    "Try StringLookup(vocabulary=[...])(x)."
                )

    def encoded(self, arrays: Sequence[Any]) -> list[Any]:
        """Compute the arrays for `entries` from arrays for the inputs."""
        values = {id(k): a for k, a in zip(self.flat_inputs, arrays, strict=True)}
        for node in self.encoding:
            args, kwargs = replaced(
                (node.args, node.kwargs), lambda leaf: values.get(id(leaf), leaf)
            )
            call: Any = getattr(node.operation, "function", node.operation)
            out = call(*args, **kwargs)
            for k, a in zip(leaves(node.outputs), leaves(out), strict=True):
                values[id(k)] = a
        return [values[id(tensor)] for tensor in self.entries]

    def called(self, tensors: Sequence[KerasTensor]) -> list[KerasTensor]:
        """Repeat the calls on other symbolic tensors and return the outputs."""
        values = {id(k): t for k, t in zip(self.flat_inputs, tensors, strict=True)}
        for node in self.nodes:
            if node.is_input:
                continue
            args, kwargs = replaced(
                (node.args, node.kwargs), lambda leaf: values.get(id(leaf), leaf)
            )
            call: Any = getattr(node.operation, "function", node.operation)
            out = call(*args, **kwargs)
            for k, t in zip(leaves(node.outputs), leaves(out), strict=True):
                values.setdefault(id(k), t)
        return [values[id(tensor)] for tensor in self.flat_outputs]

    def on_arrays(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs, followed by the losses added by layers, for arrays passed for
        `entries`."""
        values = {id(k): a for k, a in zip(self.entries, arrays, strict=True)}

        def value(leaf: Any) -> Any:
            return values[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

        for node in self.inside:
            call: Any = getattr(node.operation, "function", node.operation)
            out = call(*replaced(node.args, value), **replaced(node.kwargs, value))
            for k, a in zip(leaves(node.outputs), leaves(out), strict=True):
                values.setdefault(id(k), a)
        return [values[id(t)] for t in (*self.flat_outputs, *self.losses)]

    def run(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for tensors of a plan under construction, passed for
        `entries`."""
        from kurve.formulas.added_losses import add_loss

        values = {id(k): t for k, t in zip(self.entries, tensors, strict=True)}

        def value(leaf: Any) -> Any:
            return values[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

        for node in self.inside:
            args, kwargs = replaced(node.args, value), replaced(node.kwargs, value)
            out = node.operation.run(*args, **kwargs)
            for k, t in zip(leaves(node.outputs), leaves(out), strict=True):
                values.setdefault(id(k), t)
        for loss in self.losses:
            add_loss(tensors[0].graph, values[id(loss)])
        given = {id(tensor) for tensor in self.entries}
        return [  # an output must be computed by an operation
            values[id(t)] * 1.0 if id(t) in given else values[id(t)]
            for t in self.flat_outputs
        ]

    @property
    def input_names(self) -> list[str]:
        return [tensor.history.operation.name for tensor in self.flat_inputs]

    @property
    def output_names(self) -> list[str]:
        """The names of the operations that compute the outputs; numbered for several
        outputs."""
        names = [tensor.history.operation.name for tensor in self.flat_outputs]
        return [
            f"{name}_{names[:i].count(name)}" if names.index(name) < i else name
            for i, name in enumerate(names)
        ]
