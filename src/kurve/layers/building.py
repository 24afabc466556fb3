"""Building layers: creating their weights for given input shapes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from kurve.core.entries import entries
from kurve.core.inside import is_model
from kurve.core.overrides import is_own
from kurve.formulas.calls import TRIALS, inferred
from kurve.formulas.needs import NeedsArrays
from kurve.formulas.recording import building
from kurve.formulas.tensor import KerasTensor, leaves, replaced
from kurve.formulas.trials import tried
from kurve.layers.adding import LayerLosses
from kurve.layers.arguments import check_batch_shape, check_size
from kurve.layers.masks import is_masked
from kurve.layers.shapes import (
    are_shapes,
    known,
    replaced_shapes,
    same_shape,
    sample_of,
    samples_in,
    tensors_for,
    tensors_of,
    trials,
)
from kurve.layers.weights import running
from kurve.plan import Shape


@entries
class LayerBuilding(LayerLosses):
    """Input and output shapes, and the creation of weights for them."""

    def build(self, input_shape: Sequence[Any]) -> None:
        """Create the variables for inputs of this shape, (None, ...) with the batch
        axis.

        Args:
            input_shape: shape of the input; a list for several inputs. Axes can be
                None if the weights do not depend on them.

        Raises:
            ValueError: a shape that does not fit the layer or its weights.
        """
        if self._building:  # called by a subclass's build()
            self._make_variables(sample_of(type(self), input_shape))
        else:
            self._build(sample_of(type(self), input_shape))

    def get_build_config(self) -> dict[str, Any] | None:
        """What `build_from_config` needs in order to build the layer again; None if it
        is not built."""
        shape = self.built_shape
        return None if shape is None else {"input_shape": replaced_shapes(shape)}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Build the layer as `get_build_config` says.

        Args:
            config: its result; shapes can be lists.
        """
        if config and config.get("input_shape") is not None:
            self.build(config["input_shape"])

    def save_assets(self, inner_path: str) -> None:
        """Write what the layer has besides weights, such as a vocabulary, for a .keras
        file. Custom layers can have such files; here there are none.

        Args:
            inner_path: an empty folder.
        """

    def load_assets(self, inner_path: str) -> None:
        """Read the files that `save_assets` wrote.

        Args:
            inner_path: a folder with them.
        """

    def _build(
        self, samples: Any, shapes: Mapping[str, Any] | None = None, infer: bool = True
    ) -> None:
        """Create the variables for a sample shape, or for those of several inputs.

        Args:
            shapes: arguments by name for a `build` with several arguments.
            infer: whether to build sublayers by a call with this single input.
        """
        if self.built_shape is not None:
            if infer:  # with several inputs, wait for the call
                self.check_input(samples)
            if self.has_formula:  # wait for the call
                self.built_shape = self.built_shape or samples
                return
        else:
            new = [part for part in self.parts if part.built_shape is None]
            try:
                with building():
                    if type(self).build is LayerBuilding.build:
                        self._make_variables(samples)
                    else:
                        self._build_as_written(samples, shapes)
                new = [part for part in self.parts if part.built_shape is None]
                if self.has_formula and new and not shapes and infer:
                    self._inferred(samples)
            except (TypeError, ValueError):
                self.built_shape, self._variables = None, []
                for part in new:
                    if not is_model(part):
                        part.unbuild()
                raise
        if isinstance(samples, tuple) and None not in samples and not shapes and infer:
            if self.has_formula and is_own(type(self)):
                ends = [
                    getattr(t, "sample", ()) for t in leaves(self._inferred(samples))
                ]
            else:
                ends = [self._output_sample(samples)]
            for shape in ends:
                check_size(type(self), "output", shape)
        self.built_shape = samples

    def _make_variables(self, samples: Any) -> None:
        """Call `make_variables` with numbers in place of unknown sizes, on which the
        weights must not depend."""
        before, found = self._variables, []
        for sizes in trials(samples):
            self._variables = []
            self.make_variables(known(samples, sizes))
            found.append(self._variables)
        self._variables = [*before, *found[-1]]
        if [v.shape for v in found[0]] != [v.shape for v in found[-1]]:
            raise ValueError(
                f"[{type(self).__name__}] the weights of {self.name!r} "
                "depend on an axis whose size is unknown. Received: "
                f"samples of shape {samples}. Try an Input with a fixed size."
            )

    run_as_written: Any
    _building = False
    """Whether `build` of a subclass is running."""

    def _build_as_written(
        self, samples: Any, shapes: Mapping[str, Any] | None = None
    ) -> None:
        """Call a subclass's `build` with shapes that include the batch axis."""
        self._building = True
        running.append(self)
        try:
            if shapes:
                names = inspect.signature(self.build).parameters
                self.build(**{k: v for k, v in shapes.items() if k in names})
            elif samples is None:
                build: Any = self.build
                build(*[None] * bool(inspect.signature(build).parameters))
            else:
                self.build(replaced_shapes(samples))
        finally:
            self._building = False
            running.pop()

    def unbuild(self) -> None:
        """Drop the variables after building the model has failed."""
        self.built_shape, self._variables = None, []
        for part in self.parts:
            if not is_model(part):
                part.unbuild()

    def make_variables(self, input_shape: Shape) -> None:
        """Call `add_weight` for each variable; `input_shape` is the sample shape."""
        if not self.has_formula:
            self.output_sample_shape(input_shape)  # checks the shape

    def check_input(self, input_shape: Shape) -> None:
        """Refuse samples that do not fit the layer's variables. A layer without
        variables accepts whatever a new one would."""
        if type(self).build is not LayerBuilding.build and self.has_formula:
            return  # the formula will tell
        if self.has_formula and is_own(type(self)) and not self._variables:
            return
        self.output_sample_shape(known(input_shape, TRIALS[0]))
        if self._variables and not same_shape(input_shape, self.built_shape):
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} was built for samples of "
                f"shape {self.built_shape}. Received: {input_shape}. Try a new layer."
            )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample."""
        if not self.has_formula:
            return input_shape
        out = self._inferred(input_shape)
        if out is None:
            raise TypeError(
                f"[{type(self).__name__}.call] the formula must return its result. "
                "Received: None. Try return at the end of call()."
            )
        if not isinstance(out, KerasTensor):
            raise TypeError(
                f"[{type(self).__name__}] the layer has no single output. "
                f"Received: {out!r}. Try layer(x) with Input(...) as x."
            )
        shape: Any = out.sample
        return shape

    def _inferred(self, samples: Any) -> Any:
        """The symbolic output for inputs of these shapes."""
        return self._symbolic_output((tensors_of(samples),), {})

    def _symbolic_output(self, args: Any, kwargs: Any) -> Any:
        """The symbolic output for symbolic tensors."""
        try:
            return inferred(self.run, args, kwargs)
        except NeedsArrays as error:
            return tried(self.run_as_written, args, kwargs, error)

    def compute_output_shape(self, input_shape: Any, *others: Any, **named: Any) -> Any:
        """Shape (B, ...) of the output for an input (B, ...); B can be None.

        Args:
            input_shape: shape of the input; a list for several inputs.
            others, named: shapes of further arguments of layers called with several,
                named as in query_shape=(None, 3, 4).
        """
        known_weights = self.built or type(self).build is LayerBuilding.build
        several = bool(others or named) or are_shapes(input_shape)
        if not several and (known_weights or not self.has_formula):
            batch, sample = check_batch_shape(type(self), input_shape)
            return (batch, *self._output_sample(sample))
        args = [tensors_for(type(self), shape) for shape in (input_shape, *others)]
        by_name = {
            name.removesuffix("_shape"): tensors_for(type(self), shape)
            for name, shape in named.items()
        }
        first = input_shape
        while are_shapes(first):
            first = next(iter(first))
        was_built = self.built_shape is not None
        try:
            out = self.compute_output_spec(*args, **by_name)
        finally:
            if not was_built:
                self.unbuild()
        return replaced(out, lambda tensor: (first[0], *tensor.sample))

    def _output_sample(self, sample: Any) -> tuple[int | None, ...]:
        """Shape of one output sample, with None for sizes that depend on unknown
        ones."""
        infer: Any = self.output_sample_shape
        if self.has_formula and is_own(type(self)):
            infer = functools.partial(LayerBuilding.output_sample_shape, self)
        if None not in leaves(sample):
            return infer(sample)
        shapes = [infer(known(sample, t)) for t in trials(sample)]
        return tuple(a if a == b else None for a, b in zip(*shapes, strict=True))

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The symbolic output for symbolic tensors, without a call in a model."""
        self._build_for_call(args, kwargs)
        return self._symbolic_output(args, kwargs)

    def _build_for_call(
        self, args: Any, named: Mapping[str, Any] | None = None
    ) -> None:
        """Build the layer for these tensors, if it is not built yet."""
        named = {k: v for k, v in (named or {}).items() if k != "mask"}
        first = args[0] if args else next(iter(named.values()))
        samples = samples_in(first)
        if samples is None:
            return
        if getattr(self, "input_spec", None) is not None:
            from kurve.layers.specs import check_inputs

            check_inputs(self, samples)
        # A formula that reads the mask cannot be traced without it.
        single = len(args) + len(named) == 1 and not is_masked(first)
        if self.built or type(self).build is LayerBuilding.build:
            self._build(samples, infer=single)
            return
        parameters = inspect.signature(self.build).parameters
        if len(parameters) < 2:
            self._build(samples, infer=single)
            return
        given = inspect.signature(self.call).bind_partial(*args, **named)
        shapes = {
            f"{name}_shape": replaced_shapes(samples_in(value))
            for name, value in given.arguments.items()
            if samples_in(value) is not None
        }
        self._build(samples, shapes)

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        return None if self.built_shape is None else (None, *self.built_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...] | None:
        if self.built_shape is None:
            return None
        return (None, *self._output_sample(self.built_shape))


def checked_build(build: Any) -> Any:
    """Wrap a subclass's `build`: check the shapes, then call the original, unless the
    layer is built already."""

    @functools.wraps(build)
    def outer(self: LayerBuilding, *args: Any, **kwargs: Any) -> None:
        if self._building:
            build(self, *args, **kwargs)
            return
        try:
            given = inspect.signature(build).bind(self, *args, **kwargs).arguments
        except TypeError:
            if self.built:  # by hand, with arguments that only the user knows
                return
            raise
        shapes = {k: v for k, v in list(given.items())[1:] if v is not None}
        if not shapes:  # the weights do not depend on a shape
            if not self.built:
                self._build_as_written(None)
                self.built_shape = ()
            return
        first = sample_of(type(self), next(iter(shapes.values())))
        several = len(inspect.signature(build).parameters) > 2
        self._build(first, shapes if several else None)

    return outer


def check_said_shape(layer: Any, args: Any, out: Any) -> None:
    """Refuse a custom layer whose `compute_output_shape` does not match the output of
    its `call`.

    Raises:
        ValueError: the number of axes, or a known size, is another one.
    """
    said_by = type(layer).compute_output_shape
    if not is_own(type(layer)) or said_by is LayerBuilding.compute_output_shape:
        return
    if len(args) != 1 or not all(isinstance(x, KerasTensor) for x in (*args, out)):
        return
    try:
        said = layer.compute_output_shape(tuple(args[0].shape))
    except Exception:  # nothing else calls it
        return
    if not isinstance(said, (tuple, list)):
        return
    given = tuple(out.shape)
    fits = len(said) == len(given) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int)
        for a, b in zip(said, given, strict=True)
    )
    if not fits:
        raise ValueError(
            f"[{type(layer).__name__}] compute_output_shape must return the shape "
            f"of call's output. Received: {tuple(said)} for an input of shape "
            f"{tuple(args[0].shape)}, where call returns {given}. Try leaving "
            "compute_output_shape out: the shape is then inferred from call."
        )
