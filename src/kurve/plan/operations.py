"""The operations of a plan, and their variables."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kurve.core.arrays import Shape as Shape
from kurve.ops.tape import Tape
from kurve.plan.kinds import OPERATIONS

if TYPE_CHECKING:
    from kurve.ops.formula import Formula
    from kurve.plan import Plan

ALIGNMENT = 16
"""Variables start at multiples of this many float32 (64 bytes, one cache line)."""

Attr = float | int | str | bool


@dataclass(frozen=True)
class VariableSpec:
    """A variable: its position in a flat vector, and what the update needs.

    penalty: formula from the value to the penalty's gradient and the penalty (1,)
    constraint: formula from the updated value to the constrained value
    """

    name: str
    shape: Shape
    offset: int
    trainable: bool = True
    l1: float = 0.0
    l2: float = 0.0
    constraint: Formula | None = None
    penalty: Formula | None = None

    @functools.cached_property
    def size(self) -> int:
        return math.prod(self.shape)

    @functools.cached_property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Op:
    """One operation on a batch. Shapes are those of one sample, without the batch axis.

    kind           params / buffers           attrs
    -------------  -------------------------  ----------------------------------------
    dense          kernel (I, O), bias (O,)?  activation, alpha  (elementwise, fused),
                                              transposed? (then the kernel is (O, I))
    activation                                activation, alpha  (elementwise)
    softmax                                   (over the last axis)
    map            any / any                  (a tape: elementwise over its inputs, then
                                              the params, then the buffers)
    dropout                                   rate, stream (index of the random
                                              stream), seed?, shared?, channels?,
                                              alpha?
    gaussian_noise                            stddev, stream, seed?, multiply?
    normalization  mean (C,), variance (C,)   invert, epsilon
    scale          / scale (C,)?, offset      scale, offset  (numbers, for each one that
                   (C,)?                      is not a buffer)
    conv           kernel (h, w, I / groups,  activation, alpha, kernel_*, stride_*,
                   O), bias (O,)?             dilation_*, pad_*, groups
    conv_transpose kernel (h, w, O, I),       activation, alpha, kernel_*, stride_*,
                   bias (O,)?                 dilation_*, pad_*
    conv3d         kernel (d, h, w, I /       activation, alpha, kernel_*, stride_*,
                   groups, O), bias (O,)?     dilation_*, pad_*, groups
    pool                                      mode, pool_*, stride_*, pad_*
    global_pool                               mode  (per channel)
    reshape                                   (row-major)
    pad                                       pad_*
    upsample                                  size_*, interpolation
    batch_         gamma (C,)?, beta (C,)?;   momentum, epsilon, frozen
    normalization  moving_mean (C,),
                   moving_variance (C,)
    masked_batch_  as batch_normalization     (two inputs: the statistics use only the
    normalization                             rows where the second, a mask, is not 0)
    layer_         gamma, beta (the shape     epsilon, size (trailing elements
    normalization  standardized together)?    standardized together)
    reduce                                    mode, axis, count (of axes from there
                                              on, which out_shape may keep as 1)
    cumsum                                    axis, reverse (sum from each element on)
    permute                                   axes (input axes in output order)
    slice, place                              starts, sizes, steps
    affine_image                              what, its ranges, fill_mode, fill_value,
                                              interpolation, stream, seed?
    matmul                                    transpose_a, transpose_b  (two inputs
                                              (..., M, K) and (..., K, N))
    lstm           kernel (F, 4 H),           activation, recurrent_activation, alpha?,
                   recurrent_kernel (H, 4 H), recurrent_alpha?, reverse?, sequences?,
                   bias (4 H,)?               states?, masked?, initial?,
                                              recurrent_dropout?
    gru            kernel (F, 3 H),           as lstm, without states, plus reset_after
                   recurrent_kernel (H, 3 H),
                   bias (2, 3 H)? or (3 H,)?
    simple_rnn     kernel (F, H),             as lstm, without states and
                   recurrent_kernel (H, H),   recurrent_activation
                   bias (H,)?
    states         / state (B, ...)           (row b belongs to sample b of a batch)
    keep_states    / state_0 (B, ...), ...    (outputs its first input; the others
                                              become the states)
    scan           any / any                  turns, moving, carried, reverse,
                                              sequences, states  (a loop, see `Body`)
    ctc                                       blank  (the loss (...) of logits (..., T,
                                              C), labels (..., N), and how many labels
                                              (...) and steps (...) count)
    embedding      embeddings (N, D)          (its rows; NaN for a number that has none)
    variable       any (one) / or any         (the same for each sample)
    batch_reduce                              mode: "mean", "sum", "max"  (over all
                                              samples of the batch, in losses)
    random                                    distribution: "uniform" in (0, 1) or
                                              "normal", stream, seed?, shared? (the same
                                              for each sample; in prediction too)
    python         any / any                  code (what computes it, in Python; of the
                                              reference engine only)

    A plane is a sample (H, W, C), or (L, C) treated as height 1. `_*` stands for _h and
    _w, and in pad_* for _top, _bottom, _left and _right: zeros around a plane. For a
    volume (D, H, W, C) also for _d, _front and _back.
    A depthwise kernel (h, w, I, M) shares the memory layout of (h, w, 1, I M), groups =
    I. mode is "max" (padding never wins, and the gradient goes to the first
    maximum in row-major order) or "average" (padding does not count). The pad_* of
    conv_transpose are cropped from its full output, (H - 1) stride + (kernel - 1)
    dilation + 1; negative values at the bottom and right add zeros instead.

    reduce's mode is "sum", "mean", "prod", "logsumexp", "max", "min" (the gradient goes
    to the first) or "argmax" (the index of the first; no gradient). Element i of an
    axis of a slice is x[start + i step], 0 <= i < size; `place` is its adjoint:
    it scatters elements into zeros. Steps can be negative, axes of size 1 omitted.

    Recurrent ops read x (T, F) and the inputs their attrs enable: with masked, mask
    (T,), 0 or 1; with initial, h (H,) and, lstm, c (H,); with recurrent_dropout,
    factors (H,) of the h multiplied by recurrent_kernel, or (gates, H). The output is
    (T, H) with sequences, else (H,), or the width of h and c with states. Gates are in
    Keras's order: i f c o; z r h. gru's bias is (2, 3 H) with reset_after. Alpha
    defaults to 0 and flags default to off.

    A scan runs its body for `turns` steps. Its first `moving` inputs are sequences,
    with an axis of steps in front: step t reads element t or, with reverse, the t-th
    from the end. The next `carried` inputs are the initial states; each step reads the
    states that the previous one returned. The other inputs are the same in all steps.
    The output is that of the last step; with sequences, those of all steps, in order;
    with states, a vector that ends with the last states. In step t of the scan, `step`
    counts t 2^32 more for random numbers.

    States carry over from one batch to the next: `keep_states` writes them after each
    batch of training, testing or prediction, which must have B samples.

    The random numbers of a step are words of the stream (seed, purpose 0x10000 +
    stream, step), see `kurve.core.rng`; an op with its own seed uses it instead of the
    model's. Element e of a batch takes word e (uniform; dropout: with `shared`
    positions per word, channel c of `channels` in block b of a batch takes word b
    channels + c, blocks are whole samples if channels is not given) or words
    e & ~1 and e | 1 (gaussian_noise and normal: Box & Muller in float64), image b
    words 4 b and 4 b + 1 (affine_image: positions and weights in float64). In
    prediction the batch is all of x. For `variable` and `random`, only the input's
    number of samples matters. Formulas: `kurve.engines.reference`.

    attrs: each an `Attr` or a tuple of integers.
    body: of a scan.
    inputs: indices of the values that it reads: the plan's inputs are the first values,
        then come its targets, then the output of each op. Empty: the output of the
        previous op.
    more_shapes: shapes of the inputs after the first, whose shape is in_shape.
    """

    kind: str
    layer: str
    in_shape: Shape
    out_shape: Shape
    params: Mapping[str, VariableSpec] = field(default_factory=dict)
    buffers: Mapping[str, VariableSpec] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    tape: Tape | None = None
    inputs: tuple[int, ...] = ()
    more_shapes: tuple[Shape, ...] = ()
    body: Body | None = None

    def with_variables(
        self,
        params: Callable[[VariableSpec], VariableSpec],
        buffers: Callable[[VariableSpec], VariableSpec] = lambda spec: spec,
    ) -> Op:
        """A copy whose variables are replaced by the results of these functions."""
        body = self.body and self.body.mapped(
            lambda op: op.with_variables(params, buffers)
        )
        return replace(
            self,
            params={role: params(spec) for role, spec in self.params.items()},
            buffers={role: buffers(spec) for role, spec in self.buffers.items()},
            body=body,
        )

    def predicting(self) -> Op:
        """A copy that acts in training as it does in prediction."""
        facts = OPERATIONS[self.kind]
        if facts.training_only:
            return replace(self, kind="reshape", attrs={})
        if facts.updates_buffers:
            return replace(self, attrs={**self.attrs, "frozen": True})
        if self.body is not None:
            return replace(self, body=self.body.mapped(Op.predicting))
        return self

    @property
    def acts_in_training(self) -> bool:
        """Whether it acts differently in training than in prediction."""
        facts = OPERATIONS[self.kind]
        inner = () if self.body is None else self.body.ops
        return (
            facts.training_only
            or facts.updates_buffers
            or any(op.acts_in_training for op in inner)
        )

    @property
    def in_shapes(self) -> tuple[Shape, ...]:
        """Shapes of all inputs."""
        return (self.in_shape, *self.more_shapes)


@dataclass(frozen=True)
class Body:
    """What a scan does in each step: a graph of values like a plan's, with variables of
    the plan that contains the scan.

    inputs:  shapes of what a step reads: elements of sequences, states, and inputs that
             are the same in all steps
    outputs: numbers of the values that are the step's output and the new states; ops
             compute them
    """

    inputs: tuple[Shape, ...]
    ops: tuple[Op, ...]
    outputs: tuple[int, ...]

    @cached_property
    def plan(self) -> Plan:
        """The plan of a step, without variables."""
        from kurve.plan import Plan

        return Plan(self.inputs, self.ops, (), (), ())

    def mapped(self, change: Callable[[Op], Op]) -> Body:
        """A copy whose ops are replaced by the results of `change`."""
        return replace(self, ops=tuple(map(change, self.ops)))


def aligned(offset: int) -> int:
    """The next multiple of `ALIGNMENT` at or after `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def vector_size(slots: tuple[VariableSpec, ...]) -> int:
    """Length of a flat vector of these variables, including final padding."""
    return aligned(slots[-1].end) if slots else 0
