"""Weighted bags: the default for tables that are not trained by Levenberg-Marquardt.

    size = bags.size_of(estimator, setup, rows)   None for a single network
    fitted = bags.train(session, size, ...)       the record of what was learned

The rows are divided into folds. For some folds, or all, a network of every kind in
`KINDS` is trained on the other folds, with early stopping on this one; all networks
train in parallel. The rows of these folds are thus predicted by networks that were not
trained on them, and these out-of-fold predictions determine the weight of each kind in
the mixture and its standard deviation.

Source: bags over folds, Breiman 1996; greedy selection with replacement, Caruana,
Niculescu-Mizil, Crew & Ksikes 2004; piecewise-linear features, Gorishniy, Rubachev &
Babenko 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.estimators import defaults, kernels
from kurve.estimators.fitted import Fitted, outputs_of
from kurve.estimators.novelty import Novelty
from kurve.estimators.targets import ClassTargets
from kurve.estimators.training import Rows, TrainingSetup, mean_history
from kurve.layers import PiecewiseLinear
from kurve.models import Sequential
from kurve.models.ensembles import train_members

if TYPE_CHECKING:
    from kurve.estimators.base import Estimator
    from kurve.estimators.fitting import FitSession, Sample

UNTOUCHED: dict[str, Any] = {
    "hidden_layer_sizes": "auto",
    "activation": "auto",
    "solver": "auto",
    "members": "auto",
    "alpha": 0.0,
    "dropout": 0.0,
    "warm_start": False,
    "likelihood": "auto",
    "monotone": None,
    "convex": False,
    "positive": False,
}
"""Arguments that describe a network or an ensemble: a bag is only made where they have
these values."""


@dataclass(frozen=True)
class Kind:
    """A kind of network in a bag.

    encoded: whether the numbers are encoded by `layers.PiecewiseLinear`
    decay:   weight decay of a regressor
    classes: weight decay of a classifier
    """

    encoded: bool
    decay: float
    classes: float


KINDS = (Kind(False, 0.0, 0.0), Kind(True, 0.1, 0.3), Kind(True, 0.4, 2.0))
"""Plain networks for smooth functions of many columns, encoded ones for steps, kinks
and fine resolution in one column, weakly and strongly regularized.

Measured on parts of the training rows of real tables. The third kind has 0.99 of the
RMSE (5 tables) and 0.98 of the log loss (10 tables), for 1.5 times the time: many
columns and few classes need a decay of 1 to 2.5 (0.88 of the log loss on spam mail),
many classes 0.3 or less, and the weights of the mixture adapt to that. Weight decay for
the plain kind gives 1.03 of the RMSE. A temperature fitted to the out-of-fold
predictions, clipping predictions to the range of y, and training on squared errors all
give 1.00, so none of them is used."""


@dataclass(frozen=True)
class Size:
    """The size of a bag: the rows are divided into `folds`, and the networks of each
    kind leave out `trained` of these, one each."""

    folds: int
    trained: int


@dataclass
class Held:
    """Rows, with the outputs of networks that were not trained on them.

    sample:  the rows
    outputs: (members, rows, units), in scaled units
    known:   (kinds, copies, rows, units) the outputs of all networks for some training
        rows, if `outputs` are those of one network of each kind
    """

    sample: Sample
    outputs: np.ndarray
    known: np.ndarray | None = None


def size_of(estimator: Estimator, setup: TrainingSetup, rows: int) -> Size | None:
    """The size of the bag for this many distinct rows; None for a single network."""
    chosen = any(
        name in vars(estimator) and not _is(getattr(estimator, name), value)
        for name, value in UNTOUCHED.items()
    )
    interval = getattr(estimator, "interval", "auto")
    if (
        estimator.effort == "fast"
        or chosen
        or interval not in ("auto", "gaussian")
        or setup.hyperparameters.solver is not None
        or rows < defaults.BAG_ROWS
    ):
        return None
    networks = defaults.BAG_NETWORKS[estimator.effort]
    if rows > defaults.MANY_ROWS:
        return Size(defaults.MANY_FOLDS, networks // 2)
    folds = min(defaults.BAG_FOLDS, rows // defaults.MIN_VALIDATION)
    return Size(folds, min(folds, networks))


def _is(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and value == default)


def train(
    session: FitSession,
    size: Size,
    sample: Sample,
    validation: Sample | None,
    executor: Any = None,
) -> Fitted[Any]:
    """Train a bag.

    Args:
        sample: the training rows.
        validation: the user's rows for early stopping, which replace the folds.
        executor: where to train; see `Ensemble.fit`.
    """
    whole = np.arange(len(sample))
    folds = [(whole, whole[:0])] * size.trained
    if validation is None:
        folds = divide(session, size, sample)
    session.learn_scales(sample)
    rows = session.scaled(sample)
    given = None if validation is None else session.scaled(validation)
    stops = bool(session.estimator.early_stopping) and (
        given is not None
        or min(len(held) for _, held in folds) >= defaults.MIN_VALIDATION
    )
    each: list[dict[str, Any]] = []
    for inside, held in folds:
        x, y, weights = _taken(rows, inside)
        seen = _taken(rows, held) if given is None else given
        each.append({"x": x, "y": y, "sample_weight": weights})
        each[-1]["validation_data"] = seen if stops else None
    least = min(len(inside) for inside, _ in folds)
    session.models = _build(session, rows[0], len(folds), least)
    session.check_file("fit")
    histories = train_members(
        session.models,
        each * len(KINDS),
        session.setup.callbacks(stops, executor),
        session.setup.verbose,
        executor,
        **session.setup.arguments(least),
    )
    known = rows[0] if given is None else np.concatenate([rows[0], given[0]])
    novelty = Novelty.learn(known, np.random.default_rng(session.next_seed()))
    iterations = max(len(history.epoch) for history in histories)
    fitted = session.fitted(novelty, mean_history(histories), iterations)
    if validation is not None and given is not None:
        outputs = fitted.outputs(given[0])
        each_kind = outputs.reshape(len(KINDS), len(folds), *outputs.shape[1:])
        return _weighed(session, fitted, validation, given, each_kind)
    held = np.concatenate([held for _, held in folds])
    parts = [
        np.concatenate(
            [
                fitted.members[kind * len(folds) + number]
                .predict(rows[0][out], verbose=0)
                .astype(np.float64)
                for number, (_, out) in enumerate(folds)
            ]
        )[None]
        for kind in range(len(KINDS))
    ]
    classify = isinstance(session.encoder, ClassTargets)
    thorough = session.estimator.effort == "best"
    if thorough and not classify and kernels.applies(*rows[0].shape):
        raw = fitted.outputs(rows[0]).mean(axis=0)[:, session.outputs :]
        machines = kernels.train(session, rows, raw, folds)
        if machines:
            fitted = replace(fitted, members=[*fitted.members, *machines])
            each_fold = zip(machines, folds, strict=True)
            outs = [outputs_of([m], rows[0][out])[0] for m, (_, out) in each_fold]
            parts.append(np.concatenate(outs)[None])
    return _weighed(
        session, fitted, sample.take(held), _taken(rows, held), np.stack(parts)
    )


def divide(
    session: FitSession, size: Size, sample: Sample
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The training rows and the held-out rows of each fold, stratified by class; the
    only row of a class is never held out."""
    order = session.generator.permutation(len(sample))
    fold_of = np.empty(len(sample), np.int64)
    if isinstance(session.encoder, ClassTargets):
        codes = sample.y[:, 0].astype(np.int64)
        order = order[np.argsort(codes[order], kind="stable")]
    fold_of[order] = np.arange(len(sample)) % size.folds
    if isinstance(session.encoder, ClassTargets):
        fold_of[np.bincount(codes)[codes] == 1] = -1
    return [
        (np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold))
        for fold in range(size.trained)
    ]


def _taken(rows: Rows, which: np.ndarray) -> Rows:
    x, y, weights = rows
    chosen = None if weights is None else weights[which]
    if chosen is not None and not chosen.any():
        chosen = None
    return x[which], y[which], chosen


def _build(
    session: FitSession, x: np.ndarray, copies: int, rows: int
) -> list[Sequential]:
    """The networks, grouped by kind, compiled for this many rows."""
    session.units, session.loss = session.encoder.output_layer(
        session.setup.hyperparameters.likelihood
    )
    classify = isinstance(session.encoder, ClassTargets)
    numbers = len(session.columns.numeric)
    encoder = None
    if numbers:
        encoder = PiecewiseLinear(defaults.BINS, columns=numbers)
        encoder.adapt(x)
    hyper = session.setup.hyperparameters
    steps = hyper.epochs * -(-rows // hyper.batch_size)
    models: list[Sequential] = []
    for kind in KINDS:
        setup = replace(
            session.setup,
            encoder=encoder if kind.encoded else None,
            decay=kind.classes if classify else kind.decay,
        )
        seeds = [session.next_seed() for _ in range(copies)]
        made = setup.build(x.shape[1], session.units, seeds)
        setup.compile(made, session.loss, steps)
        models += made
    return models


def _weighed(
    session: FitSession,
    fitted: Fitted[Any],
    sample: Sample,
    rows: Rows,
    outputs: np.ndarray,
) -> Fitted[Any]:
    """The calibrated record with the weight of each kind; networks of kinds with weight
    0 are dropped.

    Args:
        sample, rows: the held-out rows, unscaled and scaled.
        outputs: (kinds, copies, rows, units) the networks' outputs for them.
    """
    _, targets, weights = rows
    points = [fitted.head.points(part) for part in outputs]
    shares = greedy(points, lambda p: fitted.head.loss(p, targets, weights))
    kept = np.flatnonzero(shares)
    copies = len(fitted.members) // len(outputs)
    members = [
        model
        for kind in kept.tolist()
        for model in fitted.members[kind * copies : (kind + 1) * copies]
    ]
    session.models = members

    def mixed(count: int) -> np.ndarray:
        return np.repeat(shares[kept] / count, count)

    held = Held(sample, outputs[kept].reshape(-1, *outputs.shape[2:]))
    if outputs.shape[1] < copies:
        known = outputs_of(members, fitted.novelty.sample)
        held.known = known.reshape(len(kept), copies, *known.shape[1:])
    head = replace(fitted.head, weights=mixed(outputs.shape[1]))
    head = session.estimator._calibrated_bag(head, held)
    head = replace(head, weights=mixed(copies))
    return replace(fitted, members=members, head=head)


def greedy(
    points: Sequence[np.ndarray], loss: Callable[[np.ndarray], float]
) -> np.ndarray:
    """The weight of each prediction in the mixture: greedy selection with replacement.
    In each of `defaults.GREEDY_STEPS` steps, the prediction is added that gives the
    mean of those selected so far the lowest loss.

    Args:
        points: predictions of the same rows.
        loss: of a mixture.
    """
    counts = np.zeros(len(points))
    total = np.zeros_like(points[0])
    for step in range(1, defaults.GREEDY_STEPS + 1):
        losses = [loss((total + point) / step) for point in points]
        best = int(np.argmin(losses))
        counts[best] += 1
        total = total + points[best]
    return np.asarray(counts / counts.sum())
