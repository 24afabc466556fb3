"""LSTM and GRU: Kurve, PyTorch, JAX and Keras, in turn.

python -m bench.recurrence            prints Markdown
python -m bench.recurrence --write    writes docs/benchmarks/recurrence.md

Sequences of `steps` x `features` numbers, one recurrent layer of `units` units, whose
last output goes to Dense(1); mean squared error, Adam.
"""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import cases, machine, tables

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "recurrence.md"
RIVALS = ("PyTorch", "JAX", "Keras on JAX", "Keras on PyTorch")
SHAPES = [
    (32, 10, 1, 32),
    (32, 50, 8, 64),
    (64, 28, 28, 128),
    (1, 50, 8, 32),
    (256, 50, 8, 64),
]
"""(batch, steps, features, units)"""
GATES = {"LSTM": 4, "GRU": 3}
ROUNDS, TURN = 7, 0.15
ONE_THREAD = ", 1 thread"
FLOOR = """## What is possible

The floor is the time of a step's products at the best rate that PyTorch's library of
products (MKL) reaches with large square matrices on one thread. Beside it, how many
times the floor a step took on one thread. Where the next is below twice the floor, no
program that computes the same in float32 can be twice as fast."""


@dataclass(frozen=True)
class Sequences:
    """The model and its data; see `cases.Case`."""

    kind: str
    batch: int
    length: int
    features: int
    units: int
    steps: int = 20
    shuffle = False
    members = 0
    loss = "mse"

    @property
    def rows(self) -> int:
        return self.batch * self.steps

    @property
    def inputs(self) -> tuple[int, int]:
        return self.length, self.features

    @property
    def label(self) -> str:
        return (
            f"{self.kind}, batch {self.batch}, {self.length} x {self.features}, "
            f"{self.units} units"
        )

    @property
    def operations(self) -> float:
        """Of the products of a step, two for each multiply-add: the gates; back through
        the states; the gradients of both kernels."""
        width, inside = GATES[self.kind] * self.units, self.features + self.units
        turns = self.batch * self.length
        back = (turns - self.batch) * self.units
        return 2.0 * width * (2 * turns * inside + back)

    def model(self, of: Any) -> Any:
        """The model; `of` is a package like keras."""
        layers = of.layers
        recurrent = getattr(layers, self.kind)(self.units)
        return of.Sequential([layers.Input(self.inputs), recurrent, layers.Dense(1)])

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(cases.SEED)
        x = rng.uniform(-1, 1, (self.rows, *self.inputs)).astype(np.float32)
        return x, np.sin(x.sum((1, 2)))[:, None].astype(np.float32)

    def weights(self, member: int = 0) -> list[np.ndarray]:
        """Kernel, recurrent kernel and bias of the layer; kernel and bias of Dense."""
        rng, width = np.random.default_rng(cases.SEED), GATES[self.kind] * self.units
        bias = (2, width) if self.kind == "GRU" else (width,)
        shapes = (self.features, width), (self.units, width), bias, (self.units, 1)
        limit = self.units**-0.5
        drawn = [rng.uniform(-limit, limit, s).astype(np.float32) for s in shapes]
        return [*drawn, np.zeros(1, np.float32)]

    def checked(self, steps: int) -> Sequences:
        return self


def measured(contest: Any, case: Sequences) -> list[list[Any]]:
    """Rows of the table."""
    body = []
    for suffix in (ONE_THREAD, ""):
        names = [name + suffix for name in ("Kurve", *RIVALS)]
        times = contest.steps(case, names, ROUNDS, TURN)
        found = {
            "times": {
                name.removesuffix(ONE_THREAD): one.record()
                for name, one in times.items()
            }
        }
        threads = "1 thread" if suffix else "all"
        for name in found["times"]:
            figures = tables.figures(found["times"][name], 1e6)
            ratio = tables.versus(found, name)
            body.append([case.label, threads, name, *figures, ratio])
    return body


def product_rate() -> float:
    """The best operations a second of large products on one thread, by PyTorch (MKL),
    in processor time."""
    import torch

    torch.set_num_threads(1)
    best = 0.0
    for n in (512, 1024):
        a, b = torch.randn(n, n), torch.randn(n, n)
        out = torch.empty(n, n)
        for _ in range(25):
            start = time.process_time()
            torch.mm(a, b, out=out)
            best = max(best, 2.0 * n**3 / (time.process_time() - start))
    return best


def floors(body: list[list[Any]], rate: float) -> str:
    """What the products of a step would take at that rate, in microseconds, beside what
    a step took on one thread."""
    cases_of = [Sequences(kind, *shape) for kind in GATES for shape in SHAPES]
    lines = []
    for case in cases_of:
        took = {
            row[2]: float(str(row[3]).replace(",", ""))
            for row in body
            if row[0] == case.label and row[1] == "1 thread"
        }
        least = 1e6 * case.operations / rate
        own, rival = took["Kurve"], min(took[name] for name in RIVALS if name in took)
        cells = [f"{least:,.0f}", f"{own / least:.2f}", f"{rival / least:.2f}"]
        lines.append([case.label, *cells])
    return tables.rows(["model", "floor, us", "Kurve", "the next"], lines)


def page() -> str:
    from bench.contest import Contest

    watch, body, single = machine.Watch(), [], []
    with Contest(patience=60.0) as contest:
        for kind in GATES:
            for shape in SHAPES:
                body += measured(contest, Sequences(kind, *shape))
            case = Sequences(kind, *SHAPES[3])
            names = ["Kurve", *RIVALS]
            times = contest.predictions(case, 1, names, ROUNDS)
            found = {"times": {name: one.record() for name, one in times.items()}}
            for name in names:
                figures = tables.figures(found["times"][name], 1e6)
                single.append([kind, name, *figures, tables.versus(found, name)])
        versions = dict(contest.versions)
    rate = product_rate()
    busy = watch.shares(())["others"]
    about, today = machine.describe(), datetime.date.today().isoformat()
    shown = ", ".join(f"{n} {v}" for n, v in sorted(versions.items()))
    what = (__doc__ or "").split("\n\n")[-1].strip()
    columns = ["model", "threads", "", "us a step", "best round", "ratio"]
    table = tables.rows(columns, body)
    columns = ["layer", "", "us a row", "best round", "ratio"]
    one = tables.rows(columns, single)
    return f"""# Recurrent layers

Written by `python -m bench.recurrence --write` on {today}.

- processor: {about["processor"]}
- cores: {about["cores"]}
- versions: {shown}
- meanwhile other programs and the rivals used {100 * busy:.0f} % of the cores' time

{what}

All start from the same weights and take turns; before that, their predictions must
agree to 1e-5, and to 1e-3 after ten steps. A ratio above 1 means that Kurve is faster.

{table}

{FLOOR}

Here it is {rate / 1e9:.0f} thousand million operations a second.

{floors(body, rate)}

## The prediction of one row

50 steps of 8 numbers, 32 units; one call from Python.

{one}
"""


if __name__ == "__main__":
    # The workers get a case of this module by its name, which is not __main__ there.
    from bench.recurrence import page as page_of_module

    tables.show(page_of_module, PAGE, __doc__ or "")
