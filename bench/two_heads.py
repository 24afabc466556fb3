"""Two inputs and two outputs: Kurve, PyTorch and Keras, in turn.

python -m bench.two_heads            prints Markdown
python -m bench.two_heads --write    writes docs/benchmarks/two_heads.md

Dense(width) of each input, joined by Concatenate, Dense(width), and from it two outputs
of 1 and 3 units; relu, mean squared errors, Adam.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import cases, machine, tables

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "two_heads.md"
NAMES = ("Kurve", "PyTorch", "PyTorch, 1 thread", "Keras on JAX", "Keras on TensorFlow")
POINTS = [(32, 32), (32, 256), (256, 32), (256, 256)]
"""(width, batch)"""
ROUNDS, TURN = 5, 0.15
INPUTS, OUTPUTS = (8, 4), (1, 3)


@dataclass(frozen=True)
class TwoHeads:
    """The model and its data; see `cases.Case`."""

    width: int
    batch: int
    steps: int = 2000
    shuffle = False
    members = 0
    loss = "mse"

    @property
    def rows(self) -> int:
        return self.batch * self.steps

    @property
    def shapes(self) -> list[tuple[int, int]]:
        w = self.width
        inner = [(size, w) for size in INPUTS] + [(2 * w, w)]
        return inner + [(w, size) for size in OUTPUTS]

    @property
    def label(self) -> str:
        return f"width {self.width}, batch {self.batch}"

    def model(self, of: Any) -> Any:
        """The model; `of` is a package like keras."""
        dense = of.layers.Dense
        xs = [of.layers.Input((size,)) for size in INPUTS]
        h = of.layers.Concatenate()(
            [dense(self.width, activation="relu")(x) for x in xs]
        )
        h = dense(self.width, activation="relu")(h)
        return of.Model(xs, [dense(size)(h) for size in OUTPUTS])

    def data(self) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        rng = np.random.default_rng(cases.SEED)
        x = [rng.uniform(-1, 1, (self.rows, n)).astype(np.float32) for n in INPUTS]
        total = sum(part.sum(1, keepdims=True) for part in x)
        return tuple(x), tuple(np.sin(total + np.arange(n, dtype="f")) for n in OUTPUTS)

    def weights(self, member: int = 0) -> list[np.ndarray]:
        return cases.glorot(self.shapes, member)

    def checked(self, steps: int) -> TwoHeads:
        return self


def page() -> str:
    from bench.contest import Contest

    watch, body = machine.Watch(), []
    with Contest(patience=60.0) as contest:
        for point in POINTS:
            case = TwoHeads(*point)
            times = contest.steps(case, NAMES, ROUNDS, TURN)
            found = {"times": {name: one.record() for name, one in times.items()}}
            for name in NAMES:
                figures = tables.figures(found["times"][name], 1e6)
                body.append([case.label, name, *figures, tables.versus(found, name)])
        versions = dict(contest.versions)
    busy = watch.shares(())["others"]
    about, today = machine.describe(), datetime.date.today().isoformat()
    shown = ", ".join(f"{n} {v}" for n, v in sorted(versions.items()))
    what = (__doc__ or "").split("\n\n")[-1].strip()
    table = tables.rows(["model", "", "us a step", "best round", "ratio"], body)
    return f"""# Two inputs and two outputs

Written by `python -m bench.two_heads --write` on {today}.

- processor: {about["processor"]}
- cores: {about["cores"]}
- versions: {shown}
- meanwhile other programs and the rivals used {100 * busy:.0f} % of the cores' time

{what}

All start from the same weights and take turns; before that, their predictions must
agree to 1e-5, and to 1e-3 after ten steps. A ratio above 1 means that Kurve is faster.

{table}
"""


if __name__ == "__main__":
    # The workers get a case of this module by its name, which is not __main__ there.
    from bench.two_heads import page as page_of_module

    tables.show(page_of_module, PAGE, __doc__ or "")
