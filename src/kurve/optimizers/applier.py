"""The memory of an optimizer in custom loops, and one update of variables by it.

The variables, gradients and optimizer slots go to an engine as a plan whose loss is the
sum of weight x gradient, so that its gradient is the given one; clipping, weight decay,
averages and constraints then work as in `fit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.engines import (
    Batches,
    Job,
    Program,
    State,
    aligned_zeros,
    get_engine,
    run_job,
)
from kurve.errors import NonFiniteError
from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph
from kurve.formulas.recording import recording
from kurve.plan import Plan, Spec

if TYPE_CHECKING:
    from kurve.optimizers.base import Optimizer

ONE_ROW = np.array([0, 1])


class Applier:
    """The optimizer's state for variables updated in a custom loop.

    variables: in order
    others:    further variables that steps read but do not update
    state:     values as of the last update, optimizer slots, step

    Args:
        constrained: False if the caller applies the constraints of weights.
    """

    def __init__(
        self, optimizer: Optimizer, variables: Sequence[Any], constrained: bool = True
    ) -> None:
        self.variables, self.others = list(variables), list[Any]()
        self._constrained = constrained
        # Variables in a model's vector, which is also that of the state.
        self._views: list[tuple[Any, np.ndarray]] = []
        self._is_new = True
        self._places = {id(v): i for i, v in enumerate(self.variables)}
        self._programs: dict[tuple[Any, ...], Program] = {}
        self.plan = self._plan()
        size, starts = self.plan.params_size, optimizer.slot_starts
        slots = aligned_zeros((len(starts), size))
        slots[...] = np.asarray(starts, np.float32)[:, None]
        scalars = np.asarray(optimizer.scalar_starts, np.float64)
        buffers = aligned_zeros((0,))
        self.state = State(aligned_zeros((size,)), buffers, slots, scalars, 0, 0)

    def _plan(self) -> Plan:
        """The sum of weight x gradient, whose inputs are the gradients."""
        shapes = [variable.shape for variable in self.variables]
        graph = Graph([shape or (1,) for shape in shapes])
        with recording(()):
            total: Any = 0.0
            for tensor, variable in zip(graph.inputs, self.variables, strict=True):
                weight = graph.as_tensor(variable)
                if not variable.shape:
                    weight = ops.reshape(weight, (1,))
                axes = list(range(1, tensor.ndim))
                total = ops.sum(tensor * weight, axes) + total
            for variable in self.others:
                graph.place(variable, False)
        plan = graph.finish([total], [total])
        # This is not the user's loss: it excludes weight penalties.
        params = {v: replace(v, l1=0.0, l2=0.0, penalty=None) for v in plan.params}
        if not self._constrained:
            params = {v: replace(new, constraint=None) for v, new in params.items()}
        new = [op.with_variables(params.__getitem__) for op in plan.ops]
        return replace(plan, ops=tuple(new), params=tuple(params.values()))

    def widen(self, others: Sequence[Any]) -> None:
        """Add variables that are not updated."""
        known = {id(v) for v in (*self.variables, *self.others)}
        new = [v for v in others if id(v) not in known]
        if not new:
            return
        self.others += new
        self._views = []
        old, (count, size) = self.state, self.state.slots.shape
        self.plan = self._plan()
        self._programs.clear()
        slots = aligned_zeros((count, self.plan.params_size))
        slots[:, :size] = old.slots
        params = aligned_zeros((self.plan.params_size,))
        self.state = replace(old, params=params, slots=slots)

    def lie_in(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Share the vector of a model that has all variables at the same positions, so
        that nothing is copied.

        Args:
            pairs: pairs of position and variable.
        """
        if self._views:
            self._views, self.state.params = [], self.state.params.copy()
        views = [variable.value for _, variable in pairs]
        owner = pairs[0][1].owner
        if owner is None or owner.state is None:
            return
        vector = owner.state.params
        if vector.shape != self.state.params.shape:
            return
        first = vector.ctypes.data
        for (spec, _), view in zip(pairs, views, strict=True):
            if view.ctypes.data != first + 4 * spec.offset:
                return
        self.state.params = vector
        self._views = [(v, view) for (_, v), view in zip(pairs, views, strict=True)]

    def is_shared(self) -> bool:
        """Whether the vector is still shared with the model."""
        for variable, view in self._views:
            if len(variable._views) != 1 or variable._views[0][1] is not view:
                self._views = []
                self.state.params = self.state.params.copy()
                return False
        return bool(self._views)

    def index(self, where: str, variable: Any) -> int:
        """The index of a variable.

        Raises:
            ValueError: the optimizer does not know it.
        """
        place = self._places.get(id(variable))
        if place is None:
            names = ", ".join(v.name for v in self.variables)
            raise ValueError(
                f"[{where}] an optimizer only updates the variables it was first used "
                f"with: {names}. Received: {variable.name!r}. Try another optimizer "
                "for it, or optimizer.build(all_variables) at the start."
            )
        return place

    def fitting(self, where: str, gradient: Any, variable: Any) -> np.ndarray:
        """A gradient, checked to have the shape of its variable, in C order."""
        array = np.asarray(gradient, np.float32, order="C")
        if array.shape != variable.shape:
            raise ValueError(
                f"[{where}] a gradient must have the shape of its variable. "
                f"Received: {array.shape} for {variable.name} of shape "
                f"{variable.shape}. Try tape.gradient(loss, variables)."
            )
        return array

    @property
    def specs(self) -> Sequence[Any]:
        """The positions of the variables in the vectors."""
        return self.plan.params[: len(self.variables)]

    @property
    def arrays(self) -> list[np.ndarray]:
        """The arrays that an update changes besides the variables; they can be written
        to."""
        return [self.state.slots, self.state.scalars]

    def apply(
        self, optimizer: Optimizer, gradients: Sequence[Any], variables: Sequence[Any]
    ) -> None:
        """Update these variables; others are unchanged."""
        where = type(optimizer).__name__
        found: list[Any] = [None] * len(self.variables)
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is not None:
                array = self.fitting(where, gradient, variable)
                found[self.index(where, variable)] = array
        if self._is_new:  # its variables may fill the vector of their model
            self._is_new = False
            self.lie_in(list(zip(self.specs, self.variables, strict=True)))
        if not self.is_shared():
            for spec, variable in zip(self.specs, self.variables, strict=True):
                self.state.params[spec.offset : spec.end] = variable.value.ravel()
        program = self._program(optimizer, tuple(a is not None for a in found))
        rates = optimizer.learning_rates(self.state.step, 1)
        before = self.state.step
        try:
            update_by = getattr(program, "update_by", None)  # of an UpdatingProgram
            if update_by is not None:
                given = [*found, *(None for _ in self.others)]
                error = update_by(self.state, given, float(rates[0]))
                if error is not None:
                    raise error
            else:
                self._update_by_job(program, found, rates)
        finally:
            if self.state.step != before and not self._views:
                self._write(found)

    def _update_by_job(
        self, program: Program, found: Sequence[np.ndarray | None], rates: np.ndarray
    ) -> None:
        """One update by an engine that only trains: the gradients are inputs."""
        inputs = []
        for variable, array in zip(self.variables, found, strict=True):
            shape = variable.shape or (1,)
            if array is None:
                array = np.zeros(shape, np.float32)
            elif not np.isfinite(array).all():
                what = f"the gradient of {variable.name}"
                raise NonFiniteError(what, self.state.step, float(rates[0]))
            inputs.append(array.reshape(1, *shape))
        x: Any = tuple(inputs) if len(inputs) > 1 else inputs[0]
        batches = Batches(x, None, None, None, ONE_ROW, rates)
        totals = np.zeros(program.plan.totals_size)
        run_job(get_engine(), Job(program, self.state, batches, 0, 1, totals))

    def use_average(self, optimizer: Optimizer, variables: Sequence[Any]) -> None:
        """Set variables to their moving average."""
        row = self.state.slots[optimizer.slot_names.index("average")]
        for variable in variables if self.state.step else ():
            spec = self.plan.params[self.index(type(optimizer).__name__, variable)]
            variable.write(row[spec.offset : spec.end].reshape(spec.shape))

    def _program(self, optimizer: Optimizer, chosen: tuple[bool, ...]) -> Program:
        """The program that updates the selected variables."""
        engine = get_engine()
        key = chosen, engine.name
        if key not in self._programs:
            flags = (*chosen, *(False for _ in self.others))
            specs = {
                spec: replace(spec, trainable=flag)
                for spec, flag in zip(self.plan.params, flags, strict=True)
            }
            ops = tuple(op.with_variables(specs.__getitem__) for op in self.plan.ops)
            params = tuple(specs.values())
            plan = replace(self.plan, ops=ops, params=params)
            spec: Spec = optimizer.spec_for(params)
            self._programs[key] = engine.compile(replace(plan, optimizer=spec))
        return self._programs[key]

    def _write(self, found: Sequence[Any]) -> None:
        """Assign the new values to the variables. A Ctrl-C that arrives in between
        takes effect after all of them."""
        interrupt: KeyboardInterrupt | None = None
        while True:
            try:
                for spec, variable, array in zip(
                    self.plan.params, self.variables, found, strict=False
                ):
                    if array is not None:
                        new = self.state.params[spec.offset : spec.end]
                        variable.write(new.reshape(spec.shape))
                break
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt
