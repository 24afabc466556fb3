"""The computation of a layer, and its masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kurve.core.arguments import check_flag
from kurve.core.entries import Entrance, entries
from kurve.core.overrides import is_own
from kurve.formulas.calls import graph_of
from kurve.layers.arguments import takes
from kurve.plan import Op, Shape, VariableSpec


@entries
class LayerFormula(Entrance):
    """The computation of a layer, as plan operations or as a formula, and its masks."""

    name: str

    if TYPE_CHECKING:

        def run(self, *args: Any, **kwargs: Any) -> Any: ...

    ignored: tuple[str, ...] = ()

    instead = "a layer of kurve.layers, or a custom one with call()"

    training_by_default = False
    """The default of `training` in a call."""

    one_formula = False
    """Whether `call`, although it takes `training`, is the same in training and
    prediction: its dropout consists of operations that know the mode."""

    parts_by_name = False
    """Whether weights of sublayers are named after the sublayers, not after the
    attributes that hold them."""

    takes_scalars = False
    """Whether a sample can be a scalar, of shape ()."""

    takes_vectors = False
    """Whether a call takes an array with a single axis, too, as one sample."""

    takes_several = False
    """Whether it is called with a list of inputs."""

    @property
    def has_formula(self) -> bool:
        """Whether it is written as a formula, `call`."""
        return type(self).call not in self.lowered_calls

    @property
    def lowered_calls(self) -> tuple[Any, ...]:
        """The `call` methods that append the operations of `lower`, and are not
        formulas."""
        return (LayerFormula.call,)

    @property
    def _takes_any(self) -> bool:
        """Whether it can be called with any structure of tensors; this depends on the
        formula."""
        return self.has_formula and is_own(type(self))

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The formula of the layer, written with functions of `kurve.ops`; subclasses
        can define it instead of `lower`."""
        graph = graph_of(args)
        assert graph is not None
        x = graph.as_tensor(args[0])
        mask = kwargs.get("mask", args[1] if len(args) > 1 else None)
        if mask is None or not self.takes_mask:
            return graph.lowered(self, x)
        with graph.within(self):
            return self.call_masked(x, mask)

    def call_masked(self, x: Any, mask: Any) -> Any:
        """The formula for a masked input, for a layer that uses `lower` for unmasked
        ones."""
        raise NotImplementedError

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        """The operations of this layer.

        Args:
            input_shape: of one sample.
            slots: position of each variable, by its short name.
            index: index of the layer in the model (the key of random streams).
        """
        if is_own(type(self)):
            raise NotImplementedError(
                f"[{type(self).__name__}] a custom layer must have a method call, its "
                f"formula. Received: {self!r} without it. "
                "Try def call(self, x): return ..."
            )
        raise NotImplementedError(
            f"[{type(self).__name__}] a layer must define its operations "
            f"in lower(). Received: {self!r}. Try {self.instead}."
        )

    @property
    def takes_mask(self) -> bool:
        """Whether the output depends on the input's mask."""
        if self.has_formula:
            return takes(self.call, "mask")
        return type(self).call_masked is not LayerFormula.call_masked

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the output: that of the input, unless a subclass overrides it.

        Args:
            inputs: the first argument of `call`.
            previous_mask: masks of `inputs`, in their structure: tensors of dtype
                "bool", usually (B, T), or None.
        """
        return previous_mask

    takes_mask_second = False
    """Whether the second argument of a call can be a mask."""

    mask_broadcasts = False
    """Whether a mask can be the same for all samples, by broadcasting."""

    _supports_masking: bool | None = None

    @property
    def supports_masking(self) -> bool:
        """Whether outputs get the mask from `compute_mask`; by default, if a subclass
        overrides `compute_mask`."""
        if self._supports_masking is None:
            return type(self).compute_mask is not LayerFormula.compute_mask
        return self._supports_masking

    @supports_masking.setter
    def supports_masking(self, value: bool) -> None:
        where = type(self).__name__
        self._supports_masking = check_flag(where, "supports_masking", value)

    @property
    def makes_masks(self) -> bool:
        """Whether outputs can have a mask even if no input has one."""
        overrides = type(self).compute_mask is not LayerFormula.compute_mask
        return overrides and is_own(type(self))

    _warned_of_mask = False
    """Whether the warning about dropped masks was issued."""
