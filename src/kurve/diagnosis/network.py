"""Checks of the network: scales of its inputs and outputs, units, activations, loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from kurve.diagnosis import ops
from kurve.diagnosis.context import GOOD, Context
from kurve.diagnosis.ops import activation_of, ends_with_activation, is_linear
from kurve.diagnosis.report import Finding, listing, percent
from kurve.plan import Op
from kurve.plan.kinds import ACTIVATIONS, TRAINING_ONLY

LARGE = 5.0
SMALL = 0.1
OFFSET = 2.5
"""Limits of an input: its size (root mean square), its largest absolute value, and its
mean in standard deviations. Measured with two hidden layers of 64 relus and 1,500 steps
of Adam at a rate falling from 3e-3, on sin(2 z0) + z1 z2 of normal z: the unexplained
fraction was 0.005 for z itself, 0.008, 0.019 and 0.11 for 5, 10 and 100 z, 0.011 and
0.11 for 0.03 and 0.01 z, 0.014, 0.10 and 0.41 for z + 2, z + 3 and z + 5."""

SMALL_INPUTS = 0.01
"""Minimum fraction of small inputs for a finding."""

TARGET_LARGE = 10.0
TARGET_SMALL = 0.03
TARGET_OFFSET = 3.0
"""Limits of a target's standard deviation, and of its mean in units of that. In the
same setting the unexplained fraction was 0.005 for y itself, 0.014 and 0.11 for 10 and
100 y, 0.017 and 0.072 for 0.03 and 0.01 y, 0.018 and 0.084 for y + 3 and y + 10."""


def unscaled_inputs(context: Context) -> Iterator[Finding]:
    """Inputs of the first Dense layer far from mean 0 and size 1."""
    first = next((k for k, op in enumerate(context.ops) if op.kind == "dense"), None)
    if first is None:
        return
    before = _before(context, context.ops[first])
    if before is None or any(op.kind != "normalization" for op in before):
        return
    columns = context.rows.columns
    if before:
        if not context.built:  # its mean and variance are not known yet
            return
        out = context.op_outputs[context.ops.index(before[0])]
        columns = out.reshape(len(out), -1).astype(np.float64)
    mean, std = columns.mean(axis=0), columns.std(axis=0)
    low, high = columns.min(axis=0), columns.max(axis=0)
    size, largest = np.hypot(mean, std), np.maximum(-low, high)
    # A rare one of two values within -1 to 1 moves the mean but does no harm.
    binary = (largest <= 1.0) & np.all((columns == low) | (columns == high), axis=0)
    offset = np.abs(mean) / np.where(std > 0, std, np.inf)
    # The factor by which a limit is exceeded.
    excess = np.maximum(size / LARGE, SMALL / np.maximum(largest, 1e-30))
    excess = np.maximum(excess, np.where(binary, 0.0, offset / OFFSET))
    excess[low == high] = 0.0
    # A few small inputs among many, such as pixels at the edge, hardly matter.
    small = (excess > 1.0) & (largest < SMALL)
    if small.sum() < SMALL_INPUTS * len(small):
        excess[small] = 0.0
    bad = np.flatnonzero(excess > 1.0)
    if not len(bad):
        return
    worst = int(np.argmax(excess))
    among = "" if len(columns.T) == 1 else f" ({len(bad)} of {len(columns.T)} inputs)"
    if size[worst] <= LARGE and largest[worst] >= SMALL:
        scale = f"a mean of {offset[worst]:.3g} standard deviations{among}, where 0"
    else:
        scale = f"values of size {size[worst]:.3g}{among}, where 1"
    yield Finding(
        "unscaled_inputs",
        _severity(context),
        f"{context.names[worst]} enters the first Dense layer with {scale} is best. "
        "Biases start at 0, so the bends of that layer's units lie outside such data "
        "or at its edge, and a step in the weight of a large input has a large effect.",
        {
            "mean": float(mean[worst]),
            "std": float(std[worst]),
            "from": float(low[worst]),
            "to": float(high[worst]),
        },
        "normalization.adapt(x)  # the layer was not adapted to this data"
        if before
        else NORMALIZE,
    )


def _before(context: Context, op: Op) -> list[Op] | None:
    """The operations from the input to this one, last first; None if several values
    meet before it."""
    plan = context.plan
    assert plan is not None
    reads, found = plan.reads(plan.ops.index(op)), []
    while reads != (0,):
        if len(reads) != 1:
            return None
        before = reads[0] - plan.given
        if plan.ops[before].kind not in TRAINING_ONLY:
            found.append(plan.ops[before])
        reads = plan.reads(before)
    return found


NORMALIZE = (
    "normalization = layers.Normalization(); normalization.adapt(x)\n"
    "model = models.Sequential([normalization, ...])"
)


def unscaled_targets(context: Context) -> Iterator[Finding]:
    """Targets far from the initial outputs of a linear last layer, mean 0 and size
    1."""
    y = context.rows.targets
    linear_end = context.last_activation == "linear" and (
        not context.ops or context.ops[-1].kind == "dense"
    )
    if y is None or not linear_end:
        return
    mean, std = y.mean(axis=0), y.std(axis=0)
    known = np.where(std > 0, std, np.nan)
    excess = np.maximum(known / TARGET_LARGE, TARGET_SMALL / known)
    # A bias soon reaches 1, however many standard deviations that is.
    far = np.abs(mean) > 1.0
    excess = np.maximum(excess, np.where(far, np.abs(mean) / known, 0) / TARGET_OFFSET)
    if np.isnan(excess).all() or np.nanmax(excess) <= 1.0:
        return
    worst = int(np.nanargmax(excess))
    of = f"Target {worst} has" if y.shape[1] > 1 else "The targets have"
    yield Finding(
        "unscaled_targets",
        _severity(context),
        f"{of} mean {mean[worst]:.3g} and standard deviation {std[worst]:.3g}; the "
        "outputs of a new network have about 0 and 1. Far or large targets take many "
        "steps to reach, and small ones are lost in the noise of the first steps.",
        {"mean": float(mean[worst]), "std": float(std[worst])},
        "mean, std = y.mean(axis=0), y.std(axis=0)\n"
        "model.fit(x, (y - mean) / std)  # predictions: std * model.predict(x) + mean",
    )


def _severity(context: Context) -> str:
    """Depends on the possible harm: none for a good fit."""
    left = context.unexplained
    if left is None or not context.trained:
        return "warning"
    return "note" if left < GOOD else "serious" if left > 0.1 else "warning"


DEAD = 0.6
"""Fraction of a layer's relus. Two well trained layers of 64 had at most 0.53 (on a
curve with few bends), seven of 256 at most 0.33; learning rates ten times too high gave
0.7 to 0.97."""

SATURATED = 0.25
FLAT = 0.04
"""Fraction of a layer's units, and derivative over the largest derivative from which a
unit is saturated: tanh beyond 0.98, sigmoid beyond 0.01 or 0.99. Trained layers of 50
tanhs have no such unit on nine UCI data sets."""


def dead_units(context: Context) -> Iterator[Finding]:
    """relu units that are 0 on all rows: no gradient reaches them, so they stay 0."""
    if not context.built:
        return
    dead: dict[str, float] = {}
    for op, out in _hidden(context):
        if activation_of(op) in ("relu", "relu6") and not op.attrs.get(
            "negative_slope"
        ):
            dead[op.layer] = float((_units(out).max(axis=0) <= 0).mean())
    worst = max(dead.values(), default=0.0)
    if worst > DEAD:
        layers = [layer for layer, fraction in dead.items() if fraction > DEAD]
        yield Finding(
            "dead_units",
            _severity_of_units(context, worst),
            f"In {listing(layers)}, up to {percent(worst)} of the relu units are 0 on "
            "all rows. No gradient reaches them, so they stay dead. Causes: too high a "
            "learning rate, or unscaled inputs.",
            {f"dead in {layer}": percent(dead[layer]) for layer in layers[:8]},
            'layers.Dense(units, activation="leaky_relu")  # or a lower learning rate',
        )


def saturated_units(context: Context) -> Iterator[Finding]:
    """tanh, sigmoid and softsign units that are saturated on all rows."""
    if not context.built:
        return
    saturated: dict[str, float] = {}
    for op, out in _hidden(context):
        flatness = ACTIVATIONS[activation_of(op)].flatness
        if flatness is not None:
            slope = flatness(_units(out).astype(np.float64))
            saturated[op.layer] = float((slope.max(axis=0) < FLAT).mean())
    worst = max(saturated.values(), default=0.0)
    if worst > SATURATED:
        layers = [name for name, fraction in saturated.items() if fraction > SATURATED]
        yield Finding(
            "saturated_units",
            _severity_of_units(context, worst),
            f"In {listing(layers)}, up to {percent(worst)} of the units are at an end "
            "of their range on all rows, where the gradient is nearly 0, so they "
            "hardly learn. Causes: unscaled inputs, or too high a learning rate.",
            {f"saturated in {name}": percent(saturated[name]) for name in layers[:8]},
            NORMALIZE,
        )


def _severity_of_units(context: Context, fraction: float) -> str:
    """A good fit does not need the lost units."""
    left = context.unexplained
    if left is not None and left < GOOD:
        return "note"
    return "serious" if fraction > 0.9 else "warning"


def _hidden(context: Context) -> Iterator[tuple[Op, np.ndarray]]:
    """Operations before the last that end with an activation, and their outputs."""
    for op, out in list(zip(context.ops, context.op_outputs, strict=True))[:-1]:
        if ends_with_activation(op):
            yield op, out


def _units(out: np.ndarray) -> np.ndarray:
    """Reshape to (rows, units); units are on the last axis."""
    return out.reshape(-1, out.shape[-1])


def missing_activation(context: Context) -> Iterator[Finding]:
    """Consecutive Dense layers with only affine maps between them: together they are
    equivalent to one layer. A bottleneck (fewer units than on both sides) saves weights
    and is not a finding."""
    plan, pairs = context.plan, []
    read = Counter(v for i in context.path for v in plan.reads(i)) if plan else {}
    pending: dict[int, Op] = {}  # by the value that is an affine map of its output
    for i in context.path:
        assert plan is not None
        op, (value, *others) = plan.ops[i], plan.reads(i)
        alone = not others and read[value] == 1
        last = pending.get(value) if alone else None
        if op.kind == "dense":
            if last is not None:
                sides = last.in_shape[-1], op.out_shape[-1]
                if last.out_shape[-1] >= min(sides):  # not a bottleneck
                    pairs.append((last.layer, op.layer))
            last = op if activation_of(op) == "linear" else None
        elif op.kind not in TRAINING_ONLY and not is_linear(op):
            last = None
        if last is not None:
            pending[plan.given + i] = last
    if not pairs:
        return
    all_linear = all(is_linear(op) for op in context.ops)
    first = pairs[0][0]
    yield Finding(
        "missing_activation",
        "serious" if all_linear else "warning",
        "There is no activation between "
        f"{' and between '.join(map(' and '.join, pairs[:3]))}"
        f"{' and others' if len(pairs) > 3 else ''}: the product of two matrices is a "
        "matrix, so two such layers can do no more than one"
        + (", and the whole model is linear." if all_linear else "."),
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
    # Targets at the limit can be rounded.
    tolerance = 1e-6 * max(1.0, float(np.abs(y).max()))
    outside = (y < low - tolerance) | (y > high + tolerance)
    fraction = float(outside.any(axis=1).mean())
    if fraction == 0.0:
        return
    limits = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and above"
    yield Finding(
        "output_range",
        "serious" if fraction > 0.05 else "warning",
        f"The last layer's {activation_of(last)} gives values from {limits}, but "
        f"{percent(fraction)} of the targets lie outside. The model cannot reach them.",
        {"lowest target": float(y.min()), "highest target": float(y.max())},
        f"layers.Dense({last.out_shape[-1]})  # last, no activation",
    )


def loss_mismatch(context: Context) -> Iterator[Finding]:
    """A loss that does not match the last activation or the targets."""
    loss, rows = context.loss, context.rows
    if loss is None or not context.ops:
        return
    last, width = context.last_activation, context.ops[-1].out_shape[-1]
    cross = loss.kind.endswith("crossentropy")
    evidence = {"loss": loss.name, "last activation": last}

    def finding(severity: str, message: str, fix: str) -> Finding:
        return Finding("loss_mismatch", severity, message, evidence, fix)

    sparse = 'model.compile("adam", loss="sparse_categorical_crossentropy")'
    if last == "softmax" and width == 1:
        yield finding(
            "serious",
            "A softmax over one unit is always 1, so the output is constant.",
            'layers.Dense(1, activation="sigmoid")  # loss="binary_crossentropy"',
        )
    elif context.numbers_for_softmax:
        yield finding(
            "serious",
            f"y holds class numbers and the softmax gives {width} probabilities, but "
            f"the loss {loss.name} takes them for quantities: class 2 is not twice "
            "class 1.",
            sparse,
        )
    elif (
        cross and getattr(loss, "from_logits", False) and last in ("softmax", "sigmoid")
    ):
        yield finding(
            "serious",
            "The loss takes logits and applies the activation itself, but the last "
            f"layer has a {last} already: together they can never be certain of a "
            "class.",
            f"losses.{type(loss).__name__}()  # from_logits=False, the default",
        )
    elif cross and not getattr(loss, "from_logits", False):
        matching = ("sigmoid", "softmax") if loss.kind[0] == "b" else ("softmax",)
        if last not in matching:
            both = loss.kind[0] != "b" and last == "sigmoid"
            yield finding(
                "warning" if both else "serious",
                f"{loss.name} takes probabilities"
                + (" that add up to 1" if matching[0] == "softmax" else "")
                + f", but the last layer ends with {last}.",
                f'layers.Dense({width}, activation="{matching[0]}")',
            )
        elif loss.kind[0] == "b" and last == "softmax":
            yield finding(
                "warning",
                "A softmax chooses one of its units, but binary_crossentropy judges "
                "each unit independently.",
                'model.compile("adam", loss="categorical_crossentropy")',
            )
    elif not cross and not context.of_distribution and rows.labels is not None:
        kind = "categorical" if last == "softmax" else "binary"
        yield finding(
            "warning",
            f"y holds classes and the output probabilities, but the loss is "
            f"{loss.name}: little is learned from a row that is certainly wrong, "
            f"because the derivative of the {last} is nearly 0 there.",
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
