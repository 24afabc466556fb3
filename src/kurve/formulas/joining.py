"""Plan optimization: unused values are dropped, biases are fused into the product
before them, and chains of elementwise operations become single tapes, which run as one
pass over their elements."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from kurve.formulas.fusing import with_activations
from kurve.formulas.limits import spend
from kurve.ops.elementwise import RULES
from kurve.ops.tape import MAX_LIVE, Builder, Instruction, Tape, gradient
from kurve.plan import Head, Op, Shape

MAX_INPUTS = 16
"""Maximum number of inputs of one tape, including variables."""

MAX_STEPS = 64
"""Maximum number of instructions in a joined tape: beyond this, the cost of one more
pass over the elements is negligible."""


def joined(
    ops: Sequence[Op], outside: int, heads: Sequence[Head]
) -> tuple[list[Op], list[Head]]:
    """Return the plan without unused values, and with each chain of maps of one shape
    joined into one.

    Args:
        outside: number of plan inputs and targets.
    """
    count = [0] * (outside + len(ops))
    for head in heads:
        for value in head.read:
            count[value] += 1
    for i in reversed(range(len(ops))):
        if count[outside + i] or ops[i].kind == "random":
            for value in set(ops[i].inputs):
                count[value] += 1
    new: list[Op | None] = [
        op if count[outside + i] else None for i, op in enumerate(ops)
    ]
    same = _with_biases(new, outside, count)
    chains: dict[int, _Chain] = {}
    for i, op in enumerate(new):
        if op is None:
            continue
        new[i] = op = replace(op, inputs=tuple(same[v] for v in op.inputs))
        if op.kind == "map":
            _join(new, chains, outside, count, outside + i)
    for value, chain in chains.items():
        new[value - outside] = chain.joined()
    with_activations(new, same, outside, heads)
    place = list(range(outside)) + [0] * len(ops)
    out: list[Op] = []
    for i, op in enumerate(new):
        if op is None:
            continue
        inputs = tuple(place[same[v]] for v in op.inputs)
        # Leave inputs empty in a stack: each op reads the previous one.
        if inputs == ((outside + len(out) - 1,) if out else (0,)):
            inputs = ()
        place[outside + i] = outside + len(out)
        out.append(replace(op, inputs=inputs))

    def moved(value: int) -> int:
        return place[same[value]]

    return out, [head.numbered(moved) for head in heads]


def _with_biases(new: list[Op | None], outside: int, count: Sequence[int]) -> list[int]:
    """Fuse biases added by maps into the products before them.

    Returns:
        For each value its replacement, usually itself.
    """
    same = list(range(len(count)))
    for i, op in enumerate(new):
        if op is None or op.tape is None or op.tape.code != _ADD:
            continue
        if len(op.inputs) != 1 or len(op.params) != 1 or op.in_shape != op.out_shape:
            continue
        value = same[op.inputs[0]]
        at = value
        while at >= outside and count[at] == 1:
            source = new[at - outside]
            assert source is not None
            if source.kind != "reshape":
                break
            at = same[source.inputs[0]]
        if at < outside or count[at] != 1:
            continue
        dense = new[at - outside]
        (bias,) = op.params.values()
        assert dense is not None
        own = bias.shape[-len(op.out_shape) :]
        while own and own[0] == 1:
            own = own[1:]
        if (
            dense.kind == "dense"
            and "bias" not in dense.params
            and dense.attrs["activation"] == "linear"
            and bias.size == dense.out_shape[-1]
            and op.out_shape[len(op.out_shape) - len(own) :] == own
        ):
            new[at - outside] = replace(dense, params={**dense.params, "bias": bias})
            new[i], same[outside + i] = None, value
    return same


_ADD = (Instruction("add", (0, 1)),)


def _join(
    new: list[Op | None],
    chains: dict[int, _Chain],
    outside: int,
    count: list[int],
    value: int,
) -> None:
    """Join a map with the maps only it reads: the longest is extended, the others are
    inlined into it."""
    op = new[value - outside]
    assert op is not None
    found: list[_Chain] = []
    for v in dict.fromkeys(op.inputs):
        inner = new[v - outside] if v >= outside else None
        if (
            inner is not None
            and inner.kind == "map"
            and count[v] == 1
            and inner.out_shape == op.out_shape
        ):
            found.append(chains.get(v) or _Chain(inner, v))
    found.sort(key=lambda chain: -len(chain.build.code))
    reads = {chain.end.value: set(chain.reads) for chain in found}
    while found and not found[0].extend((), op, value):
        del found[0]
    if not found:
        return
    longest, *others = found
    taken: list[_Chain] = []
    for other in others:
        longest.undo()
        if longest.extend((*taken, other), op, value):
            taken.append(other)
        else:
            longest.extend(taken, op, value)
    seen = set(op.inputs)
    for v in (longest.before.value, *(chain.end.value for chain in taken)):
        for again in reads[v] & seen:
            count[again] -= 1
        seen |= reads[v]
        chains.pop(v, None)
        new[v - outside] = None
    chains[value] = longest


class _End(NamedTuple):
    """The end of a chain: the last operation, its value and the register of its result;
    instructions and operands so far; upper bounds on the registers in use at a time, in
    the tape and in its gradient."""

    op: Op
    value: int
    register: int
    steps: int
    operands: int
    live: int
    live_in_gradient: int


class _Chain:
    """A chain of maps to be joined into one.

    operands: operands of the tape: values (with shapes), parameters and buffers, by
              register
    """

    def __init__(self, op: Op, value: int) -> None:
        self.operands: list[tuple[str, Any, Shape]] = []
        self.build = Builder(RULES, MAX_INPUTS)
        self.end = self.before = _End(op, -1, -1, 0, 0, 0, 0)
        self._write(op, value)

    @property
    def reads(self) -> list[int]:
        return [item for group, item, _ in self.operands if group == "value"]

    def extend(self, others: Sequence[_Chain], op: Op, value: int) -> bool:
        """Append an operation that reads the results of this chain and of others,
        unless the tape would become too large."""
        if self._is_large():
            return False
        before, inside = self.end, {self.end.value: self.end.register}
        for other in others:
            if len(self.operands) + len(other.operands) <= MAX_INPUTS:
                inside[other.end.value] = self._take(other)
        self._write(op, value, inside)
        self.before = before
        if self._is_large() or len(inside) < len(others) + 1:
            self.undo()
            return False
        return True

    def undo(self) -> None:
        """Undo the last `extend`."""
        self.end = self.before
        for step in self.build.code[self.end.steps :]:
            del self.build.known[step]
        del self.build.code[self.end.steps :], self.operands[self.end.operands :]

    def _take(self, other: _Chain) -> int:
        """Inline another chain; return the register of its result."""
        registers = [self._operand(*operand) for operand in other.operands]
        registers += [0] * (MAX_INPUTS - len(registers))  # never read
        end = other.end
        tape = other.build.finish([end.register])
        self.end = self.end._replace(
            live=self.end.live + end.live,
            live_in_gradient=self.end.live_in_gradient + end.live_in_gradient,
        )
        return self.build.inline(tape, registers)[0]

    def _write(self, op: Op, value: int, inside: Mapping[int, int] = {}) -> None:
        """Append an operation.

        Args:
            inside: registers of values computed in this chain.
        """
        assert op.tape is not None
        registers = [
            inside[v] if v in inside else self._operand("value", v, shape)
            for v, shape in zip(op.inputs, op.in_shapes, strict=True)
        ]
        for group, slots in (("param", op.params), ("buffer", op.buffers)):
            registers += [self._operand(group, s, s.shape) for s in slots.values()]
        spend(len(op.tape.code) // 8)
        if len(self.operands) <= MAX_INPUTS:
            (register,) = self.build.inline(op.tape, registers)
        else:
            register = -1
        steps = [step.name for step in op.tape.code]
        self.end = _End(
            op,
            value,
            register,
            len(self.build.code),
            len(self.operands),
            self.end.live + len(steps) + len(registers),
            self.end.live_in_gradient + sum(map(_registers_in_gradient, steps)),
        )

    def _operand(self, group: str, item: Any, shape: Shape) -> int:
        """The register of an operand."""
        for register, (known, other, _) in enumerate(self.operands):
            if known == group and other == item:
                return register
        self.operands.append((group, item, shape))
        return len(self.operands) - 1

    def _is_large(self) -> bool:
        """Whether the tape is too large."""
        end = self.end
        if len(self.build.code) > MAX_STEPS or len(self.operands) > MAX_INPUTS:
            return True
        if end.live > MAX_LIVE or end.live_in_gradient > MAX_LIVE:  # count exactly
            spend(len(self.build.code) // 8)
            live, live_in_gradient = _live(self._tape())
            self.end = end = end._replace(live=live, live_in_gradient=live_in_gradient)
        return end.live > MAX_LIVE or end.live_in_gradient > MAX_LIVE

    def _tape(self) -> Tape:
        """The tape, with values as its first inputs, then parameters, then buffers."""
        order = sorted(range(len(self.operands)), key=self._group)
        count = len(order)
        place = {k: order.index(k) for k in range(count)}
        tape = self.build.finish([self.end.register])
        moved = tuple(
            Instruction(
                step.name,
                tuple(place.get(a, a - MAX_INPUTS + count) for a in step.arguments),
                step.value,
            )
            for step in tape.code
        )
        (output,) = tape.outputs
        return Tape(count, moved, (place.get(output, output - MAX_INPUTS + count),))

    def _group(self, operand: int) -> int:
        return ("value", "param", "buffer").index(self.operands[operand][0])

    def joined(self) -> Op:
        """The operation that replaces the chain."""

        def items(group: str) -> list[Any]:
            return [item for known, item, _ in self.operands if known == group]

        shapes = [shape for group, _, shape in self.operands if group == "value"]
        return replace(
            self.end.op,
            in_shape=shapes[0],
            more_shapes=tuple(shapes[1:]),
            inputs=tuple(self.reads),
            params={f"input_{i}": spec for i, spec in enumerate(items("param"))},
            buffers={f"constant_{i}": spec for i, spec in enumerate(items("buffer"))},
            tape=self._tape(),
        )


@functools.lru_cache(maxsize=4096)
def _live(tape: Tape) -> tuple[int, int]:
    """The registers in use at a time in a tape, and in its gradient."""
    backward = gradient(tape, RULES, range(tape.inputs))
    return tape.live(), backward.scratch()


@functools.cache
def _registers_in_gradient(name: str) -> int:
    """Upper bound on the registers an instruction adds to a tape's gradient: its own,
    those of its rule, and sums of gradients."""
    arity = RULES[name].arity
    tape = Tape(arity, (Instruction(name, tuple(range(arity))),), (arity,))
    return 1 + len(gradient(tape, RULES, range(arity)).code) + 2 * arity
