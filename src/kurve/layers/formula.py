"""What a layer computes, and which of its steps count."""

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
    """What a layer computes: operations of a plan, or a formula; and its masks."""

    name: str

    if TYPE_CHECKING:

        def run(self, *args: Any, **kwargs: Any) -> Any: ...

    ignored: tuple[str, ...] = ("__call__",)

    instead = "a layer of kurve.layers, or one of your own with call()"

    training_by_default = False
    """`training` in a call without it."""

    one_formula = False
    """Whether `call`, though it takes `training`, is the same while a model is trained
    and when it predicts: what it drops are operations that know the mode."""

    parts_by_name = False
    """Whether weights of its parts are called by the names of the parts, and not of the
    attributes that they are."""

    takes_scalars = False
    """Whether a sample may be a single number, of shape ()."""

    takes_several = False
    """Whether it is called with a list of inputs."""

    @property
    def has_formula(self) -> bool:
        """Whether it is written as a formula, `call`."""
        return type(self).call not in self.lowered_calls

    @property
    def lowered_calls(self) -> tuple[Any, ...]:
        """The `call`s that append what `lower` says, and are no formulas."""
        return (LayerFormula.call,)

    @property
    def _takes_any(self) -> bool:
        """Whether it may be called with any structure of tensors: the formula says."""
        return self.has_formula and is_own(type(self))

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The formula of the layer, in functions of `kurve.ops`: a subclass may have
        one in place of `lower`."""
        graph = graph_of(args)
        assert graph is not None
        x = graph.as_tensor(args[0])
        mask = kwargs.get("mask", args[1] if len(args) > 1 else None)
        if mask is None or not self.takes_mask:
            return graph.lowered(self, x)
        with graph.within(self):
            return self.call_masked(x, mask)

    def call_masked(self, x: Any, mask: Any) -> Any:
        """The formula for an input with a mask, of a layer that has `lower` for those
        without."""
        raise NotImplementedError

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        """The operations of this layer.

        Args:
            input_shape: of one sample.
            slots: position of each variable, by its short name.
            index: number of the layer in the model (the key of random streams).
        """
        raise NotImplementedError(
            f"[{type(self).__name__}] a layer must say which operations it is made of, "
            f"by lower(). Received: {self!r}. Try {self.instead}."
        )

    @property
    def takes_mask(self) -> bool:
        """Whether the output depends on the input's mask."""
        if self.has_formula:
            return takes(self.call, "mask")
        return type(self).call_masked is not LayerFormula.call_masked

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Which steps of the output count: those of the input, unless a subclass says
        otherwise.

        Args:
            inputs: what `call` gets first.
            previous_mask: of `inputs`, in their structure: tensors of dtype "bool",
                mostly (B, T), or None.
        """
        return previous_mask

    _supports_masking: bool | None = None

    @property
    def supports_masking(self) -> bool:
        """Whether outputs get a mask, that of `compute_mask`; by default where a
        subclass has a `compute_mask` of its own."""
        if self._supports_masking is None:
            return type(self).compute_mask is not LayerFormula.compute_mask
        return self._supports_masking

    @supports_masking.setter
    def supports_masking(self, value: bool) -> None:
        where = type(self).__name__
        self._supports_masking = check_flag(where, "supports_masking", value)

    @property
    def makes_masks(self) -> bool:
        """Whether outputs may have a mask though no input has one."""
        overrides = type(self).compute_mask is not LayerFormula.compute_mask
        return overrides and is_own(type(self))

    _warned_of_mask = False
    """Whether it has been said that it drops masks."""
