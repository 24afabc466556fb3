"""The page of promises: what each is, and the figures of one run of its tests."""

from __future__ import annotations

import datetime
import platform
from dataclasses import dataclass

import kurve

PROMISES = {
    "kill": "`kill -9` at any instant of a checkpointed `fit`, then the same call: "
    "weights, optimizer, history and callbacks end bit for bit as without the kill",
    "terminate": "SIGTERM writes a checkpoint and exits with 143 within 2 s",
    "save": "a save leaves the old file or the new one, never a torn one, whichever "
    "operation fails or is lost",
    "round-trip": "`load` reads everything that `save` writes; what a file cannot hold "
    "is refused before training",
    "interrupt": "Ctrl-C in `fit` raises KeyboardInterrupt within 100 ms; the model is "
    "in the state after a whole step and can be trained further",
    "predict": "threads that call `predict` on one model get the right bits",
    "fit-twice": "`fit` during another `fit` of the same model is refused at once",
    "fork": "a process forked after `fit` trains and predicts",
    "core": "if one of two cores is taken away at times, a step on two threads takes "
    "at most 10 % longer than on one, with the same bits",
    "ending": "a program that ends while a thread computes keeps its own exit status",
    "memory": "a failed allocation raises MemoryError and changes nothing",
    "mutation": "a mutated model file is refused with one type of error, or is the "
    "same model; nothing crashes, hangs or takes more memory than 2 x file + 16 MiB",
    "exchange": "a mutated Keras file (.keras, .h5) is refused with the same error; "
    "one that Kurve wrote is never read as another model",
    "hostile": "a file that lies about its sizes is refused before memory is allocated",
    "wrong": "a wrong call is refused before the first step, naming argument, "
    "position, value and fix; the model is unchanged",
    "checks": "argument checks cost at most 2 % of `fit`",
    "finite": "a non-finite loss, gradient or update stops training before the update, "
    "naming the step, the quantity and the learning rate",
    "bits": "the same bits for 1 to 8 threads, any batch of `predict` and repeated "
    "runs, and as in the last release with the same numerics version",
    "loops": "repeatedly building, fitting, predicting and deleting models takes no "
    "more memory, threads or files",
    "estimators": "scikit-learn's `check_estimator` passes without expected failures",
}


@dataclass(frozen=True)
class Figure:
    """What one test measured for a promise."""

    promise: str
    text: str
    seconds: float


def written(figures: list[Figure], soak: bool) -> str:
    """The page, in Markdown.

    Raises:
        ValueError: a promise without a figure.
    """
    missing = set(PROMISES) - {figure.promise for figure in figures}
    if missing:
        raise ValueError(f"no test measured {', '.join(sorted(missing))}")
    command = "make soak" if soak else "the tests of `make test`"
    lines = [
        "# Reliability",
        "",
        "What Kurve promises when something goes wrong. Each figure was measured by a",
        "test in `tests/faults`; the page is written by "
        f"{'`' + command + '`' if soak else command}, here on",
        f"{datetime.date.today()} with Kurve {kurve.__version__}, "
        f"Python {platform.python_version()}, {platform.system()}.",
        "",
        "| promise | measured |",
        "| --- | --- |",
    ]
    for name, text in PROMISES.items():
        measured = "; ".join(f.text for f in figures if f.promise == name)
        lines.append(f"| {text} | {measured} |")
    seconds = sum(figure.seconds for figure in figures)
    lines += ["", f"The tests took {seconds / 60:.1f} minutes.", ""]
    return "\n".join(lines)
