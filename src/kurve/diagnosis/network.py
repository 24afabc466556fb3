"""What can be seen in the network: the size of its numbers, its units, its ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kurve.diagnosis import ops
from kurve.diagnosis.context import GOOD, Context
from kurve.diagnosis.ops import activation_of, is_linear
from kurve.diagnosis.report import Finding, listing, share
from kurve.kinds import ACTIVATIONS, LOSSES, OPERATIONS
from kurve.plan import Op

LARGE = 5.0
SMALL = 0.1
OFFSET = 2.5
"""Limits of an input: size (root of the mean square), largest absolute value, and mean
in deviations. Measured with two hidden layers of 64 relus, Adam falling from 3e-3,
1,500 steps, on sin(2 z0) + z1 z2 of normal z: the share left unexplained was 0.005 for
z itself, 0.008, 0.019 and 0.11 for 5, 10 and 100 z, 0.011 and 0.11 for 0.03 and 0.01 z,
0.014, 0.10 and 0.41 for z + 2, z + 3 and z + 5. The article's x has size 11.5."""

FAINT = 0.01
"""Share of the inputs that must be small before small ones are a finding."""

TARGET_LARGE = 10.0
TARGET_SMALL = 0.03
TARGET_OFFSET = 3.0
"""Limits of a target's deviation, and of its mean in deviations. In the same setting
the share was 0.005 for y itself, 0.014 and 0.11 for 10 and 100 y, 0.017 and 0.072 for
0.03 and 0.01 y, 0.018 and 0.084 for y + 3 and y + 10."""


def unscaled_inputs(context: Context) -> Iterator[Finding]:
    """Numbers that reach the first Dense layer and are far from mean 0 and size 1."""
    before = next((i for i, op in enumerate(context.ops) if op.kind == "dense"), None)
    if before is None or any(op.kind != "normalization" for op in context.ops[:before]):
        return
    columns = context.rows.columns
    if before > 0:
        if not context.built:  # its mean and variance are not there yet
            return
        out = context.op_outputs[before - 1]
        columns = out.reshape(len(out), -1).astype(np.float64)
    mean, deviation = columns.mean(axis=0), columns.std(axis=0)
    low, high = columns.min(axis=0), columns.max(axis=0)
    size, largest = np.hypot(mean, deviation), np.maximum(-low, high)
    # Of two values in -1 to 1, a rare one moves the mean and does no harm.
    switch = (largest <= 1.0) & np.all((columns == low) | (columns == high), axis=0)
    offset = np.abs(mean) / np.where(deviation > 0, deviation, np.inf)
    # By how much each limit is passed.
    excess = np.maximum(size / LARGE, SMALL / np.maximum(largest, 1e-30))
    excess = np.maximum(excess, np.where(switch, 0.0, offset / OFFSET))
    excess[low == high] = 0.0
    # Small ones among many, such as pixels at the edge, have next to nothing to say.
    faint = (excess > 1.0) & (largest < SMALL)
    if faint.sum() < FAINT * len(faint):
        excess[faint] = 0.0
    bad = np.flatnonzero(excess > 1.0)
    if not len(bad):
        return
    worst = int(np.argmax(excess))
    among = "" if len(columns.T) == 1 else f" ({len(bad)} of {len(columns.T)} inputs)"
    if size[worst] <= LARGE and largest[worst] >= SMALL:
        why = f"a mean of {offset[worst]:.3g} deviations{among}, where 0 is best"
    else:
        why = f"numbers of size {size[worst]:.3g}{among}, where 1 is best"
    yield Finding(
        "unscaled_inputs",
        _severity(context),
        f"{context.names[worst]} reaches the first Dense layer with {why}. Biases "
        "start at 0, so the bends of that layer's units start outside such data or "
        "at its edge, and steps in the weights of large inputs count many times.",
        {
            "mean": float(mean[worst]),
            "deviation": float(deviation[worst]),
            "from": float(low[worst]),
            "to": float(high[worst]),
        },
        "normalization.adapt(x)  # the layer has not seen this data"
        if before > 0
        else NORMALIZE,
    )


NORMALIZE = (
    "normalization = layers.Normalization(); normalization.adapt(x)\n"
    "model = models.Sequential([normalization, ...])"
)


def unscaled_targets(context: Context) -> Iterator[Finding]:
    """Targets that a last layer which starts around 0 with size 1 is far from."""
    y = context.rows.targets
    ends_free = context.last_activation == "linear" and (
        not context.ops or context.ops[-1].kind == "dense"
    )
    if y is None or not ends_free:
        return
    mean, deviation = y.mean(axis=0), y.std(axis=0)
    known = np.where(deviation > 0, deviation, np.nan)
    excess = np.maximum(known / TARGET_LARGE, TARGET_SMALL / known)
    # A bias reaches 1 soon, in whatever deviations that is.
    far = np.abs(mean) > 1.0
    excess = np.maximum(excess, np.where(far, np.abs(mean) / known, 0) / TARGET_OFFSET)
    if np.isnan(excess).all() or np.nanmax(excess) <= 1.0:
        return
    worst = int(np.nanargmax(excess))
    of = f"Target {worst} has" if y.shape[1] > 1 else "The targets have"
    yield Finding(
        "unscaled_targets",
        _severity(context),
        f"{of} mean {mean[worst]:.3g} and deviation {deviation[worst]:.3g}, where a "
        "new network puts out about 0 and 1. Far or large targets take many steps to "
        "reach, and small ones drown in the first steps.",
        {"mean": float(mean[worst]), "deviation": float(deviation[worst])},
        "mean, deviation = y.mean(axis=0), y.std(axis=0)\n"
        "model.fit(x, (y - mean) / deviation)  # and undo it after predict",
    )


def _severity(context: Context) -> str:
    """How much harm may have been done: none to a good fit."""
    left = context.unexplained
    if left is None or not context.trained:
        return "warning"
    return "note" if left < GOOD else "serious" if left > 0.1 else "warning"


DEAD = 0.6
"""Share of a layer's relus. Two layers of 64 that were trained well had at most 0.53
(on a curve with few bends), seven of 256 at most 0.33; learning rates ten times too
high gave 0.7 to 0.97."""

SATURATED = 0.25
FLAT = 0.04
"""Slope, in units of the largest: tanh beyond 0.98, sigmoid beyond 0.01 or 0.99. On
the nine UCI sets, trained layers of 50 tanhs have no unit as flat as that."""


def dead_units(context: Context) -> Iterator[Finding]:
    """relu units that are 0 on all rows: no gradient reaches them, so they stay so."""
    if not context.built:
        return
    shares: dict[str, float] = {}
    for op, out in _hidden(context):
        if activation_of(op) == "relu":
            shares[op.layer] = float((_units(out).max(axis=0) <= 0).mean())
    worst = max(shares.values(), default=0.0)
    if worst > DEAD:
        layers = [layer for layer, part in shares.items() if part > DEAD]
        yield Finding(
            "dead_units",
            _of_units(context, worst),
            f"In {listing(layers)}, up to {share(worst)} of the relu units are 0 on "
            "all rows. No gradient reaches them, so they stay dead. Causes: a learning "
            "rate that was too high, or unscaled inputs.",
            {f"dead in {layer}": share(shares[layer]) for layer in layers[:8]},
            'layers.Dense(units, activation="leaky_relu")  # or a lower learning rate',
        )


def saturated_units(context: Context) -> Iterator[Finding]:
    """tanh, sigmoid and softsign units that are at an end on all rows."""
    if not context.built:
        return
    shares: dict[str, float] = {}
    for op, out in _hidden(context):
        flatness = ACTIVATIONS[activation_of(op)].flatness
        if flatness is not None:
            slope = flatness(_units(out).astype(np.float64))
            shares[op.layer] = float((slope.max(axis=0) < FLAT).mean())
    worst = max(shares.values(), default=0.0)
    if worst > SATURATED:
        layers = [layer for layer, part in shares.items() if part > SATURATED]
        yield Finding(
            "saturated_units",
            _of_units(context, worst),
            f"In {listing(layers)}, up to {share(worst)} of the units are at an end of "
            "their range on all rows, where the slope is nearly 0. They hardly learn. "
            "Causes: unscaled inputs, or a learning rate that was too high.",
            {f"saturated in {layer}": share(shares[layer]) for layer in layers[:8]},
            NORMALIZE,
        )


def _of_units(context: Context, part: float) -> str:
    """A good fit can do without the units that it has lost."""
    left = context.unexplained
    if left is not None and left < GOOD:
        return "note"
    return "serious" if part > 0.9 else "warning"


def _hidden(context: Context) -> Iterator[tuple[Op, np.ndarray]]:
    """Operations before the last one that end with an activation, and their outputs."""
    for op, out in list(zip(context.ops, context.op_outputs, strict=True))[:-1]:
        if OPERATIONS[op.kind].activated:
            yield op, out


def _units(out: np.ndarray) -> np.ndarray:
    """(rows, units): units lie on the last axis."""
    return out.reshape(-1, out.shape[-1])


def missing_activation(context: Context) -> Iterator[Finding]:
    """Dense layers one after the other with nothing but affine maps between: together
    they are one. A narrow one in between (fewer units than on both sides) saves
    weights and is left alone."""
    pairs, open_one = [], None
    for op in context.ops:
        if op.kind == "dense":
            if open_one is not None:
                narrow = open_one.out_shape[-1] < min(
                    open_one.in_shape[-1], op.out_shape[-1]
                )
                if not narrow:
                    pairs.append((open_one.layer, op.layer))
            open_one = op if activation_of(op) == "linear" else None
        elif not is_linear(op):
            open_one = None
    if not pairs:
        return
    all_linear = all(is_linear(op) for op in context.ops)
    first = pairs[0][0]
    yield Finding(
        "missing_activation",
        "serious" if all_linear else "warning",
        f"Nothing stands between {' and between '.join(map(' and '.join, pairs[:3]))}"
        f"{' and others' if len(pairs) > 3 else ''}: the product of two matrices is a "
        "matrix, so such layers are no more than one"
        + (", and the whole model is a straight line." if all_linear else "."),
        {"such pairs": len(pairs)},
        f'layers.Dense(units, activation="relu", name="{first}")',
    )


def output_range(context: Context) -> Iterator[Finding]:
    """Targets that the last activation cannot reach."""
    y = context.rows.targets
    if y is None or not context.ops or context.numbers_for_softmax:
        return
    last = context.ops[-1]
    if last.kind == "normalization" and len(context.ops) > 1:  # undoes a scaling
        return
    low, high = ops.output_range(last)
    if (low, high) == (-np.inf, np.inf):
        return
    # Rounding of targets at the very end is no fault.
    room = 1e-6 * max(1.0, float(np.abs(y).max()))
    outside = (y < low - room) | (y > high + room)
    part = float(outside.any(axis=1).mean())
    if part == 0.0:
        return
    ends = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and above"
    yield Finding(
        "output_range",
        "serious" if part > 0.05 else "warning",
        f"The last layer's {activation_of(last)} gives numbers from {ends}, but "
        f"{share(part)} of the targets lie outside. The model cannot reach them.",
        {"lowest target": float(y.min()), "highest target": float(y.max())},
        f"layers.Dense({last.out_shape[-1]})  # last, no activation",
    )


def loss_mismatch(context: Context) -> Iterator[Finding]:
    """A loss that does not fit the last activation or the targets."""
    loss, rows = context.loss, context.rows
    if loss is None or not context.ops:
        return
    last, width = context.last_activation, context.ops[-1].out_shape[-1]
    cross = loss.kind.endswith("crossentropy")
    evidence = {"loss": loss.name, "last activation": last}

    def found(severity: str, message: str, fix: str) -> Finding:
        return Finding("loss_mismatch", severity, message, evidence, fix)

    sparse = 'model.compile("adam", loss="sparse_categorical_crossentropy")'
    if last == "softmax" and width == 1:
        yield found(
            "serious",
            "A softmax over one unit is 1 whatever goes in, so the output is constant.",
            'layers.Dense(1, activation="sigmoid")  # loss="binary_crossentropy"',
        )
    elif context.numbers_for_softmax:
        yield found(
            "serious",
            f"y holds class numbers and the softmax gives {width} probabilities, but "
            f"the loss {loss.name} compares numbers: class 2 is not twice class 1.",
            sparse,
        )
    elif (
        cross and getattr(loss, "from_logits", False) and last in ("softmax", "sigmoid")
    ):
        yield found(
            "serious",
            f"The loss takes logits and squashes them itself, but the last layer has a "
            f"{last} already: the two together can never be sure of a class.",
            f"losses.{type(loss).__name__}()  # from_logits=False, the default",
        )
    elif cross and not getattr(loss, "from_logits", False):
        fitting = ("sigmoid", "softmax") if loss.kind[0] == "b" else ("softmax",)
        wanted = fitting[0]
        if last not in fitting:
            both = loss.kind[0] != "b" and last == "sigmoid"
            yield found(
                "warning" if both else "serious",
                f"{loss.name} takes probabilities"
                + (" that add up to 1" if wanted == "softmax" else "")
                + f", but the last layer ends with {last}.",
                f'layers.Dense({width}, activation="{wanted}")',
            )
        elif loss.kind[0] == "b" and last == "softmax":
            yield found(
                "warning",
                "A softmax makes one choice among its units, but binary_crossentropy "
                "judges each unit by itself.",
                'model.compile("adam", loss="categorical_crossentropy")',
            )
    elif not cross and not LOSSES[loss.kind].distribution and rows.labels is not None:
        kind = "categorical" if last == "softmax" else "binary"
        yield found(
            "warning",
            f"y holds classes and the output probabilities, but the loss is "
            f"{loss.name}: a row that is surely wrong hardly teaches, because the "
            f"slope of the {last} is nearly 0 there.",
            f'model.compile("adam", loss="{kind}_crossentropy")',
        )


CHECKS = (
    unscaled_inputs,
    unscaled_targets,
    dead_units,
    saturated_units,
    missing_activation,
    output_range,
    loss_mismatch,
)
