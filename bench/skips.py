"""A network with skip connections and the same stack without them.

python -m bench.skips            prints Markdown
python -m bench.skips --write    writes docs/benchmarks/skips.md

Dense(256, relu), seven more of them, each with or without an Add of its input, and
Dense(1); mean squared error, Adam. Kurve on all cores, the two in turn.
"""

from __future__ import annotations

import datetime
import statistics
import time
from pathlib import Path

import numpy as np

import kurve
from bench import cases, machine, tables

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "skips.md"
BATCHES = (20, 32, 128, 512)
WIDTH, DEPTH = 256, 8
ROUNDS, TURN = 15, 0.2


def network(skips: bool) -> kurve.Model:
    x = kurve.Input((1,))
    h = kurve.layers.Dense(WIDTH, activation="relu")(x)
    for _ in range(DEPTH - 1):
        inner = kurve.layers.Dense(WIDTH, activation="relu")(h)
        h = kurve.layers.Add()([h, inner]) if skips else inner
    model = kurve.Model(x, kurve.layers.Dense(1)(h))
    model.compile(loss="mse", optimizer="adam")
    return model


def seconds_of(model: kurve.Model, batch: int, steps: int) -> float:
    """The processor time that the process needs for these steps."""
    x = np.random.default_rng(cases.SEED).uniform(0, 20, (batch * 20, 1))
    start = time.process_time()
    model.fit(x, np.sin(x), batch_size=batch, epochs=max(1, steps // 20), verbose=0)
    return (time.process_time() - start) / (max(1, steps // 20) * 20)


def page() -> str:
    watch, body = machine.Watch(), []
    for batch in BATCHES:
        models = [network(False), network(True)]
        once = [seconds_of(model, batch, 40) for model in models]
        steps = max(20, round(TURN / max(once)))
        pairs = [
            [seconds_of(model, batch, steps) for model in models] for _ in range(ROUNDS)
        ]
        plain, skips = 1e3 * np.median(pairs, axis=0)
        ratio = statistics.median(with_ / without for without, with_ in pairs)
        body.append([batch, f"{plain:.3f}", f"{skips:.3f}", f"{ratio:.2f}"])
    busy = watch.shares(())["others"]
    about, today = machine.describe(), datetime.date.today().isoformat()
    head = ["batch", "without, ms a step", "with, ms a step", "ratio"]
    what = (__doc__ or "").split("\n\n")[-1].strip()
    return f"""# Skip connections

Written by `python -m bench.skips --write` on {today}.

- processor: {about["processor"]}
- cores: {about["cores"]}
- meanwhile other programs used {100 * busy:.0f} % of the cores' time

{what}

Times are processor time, summed over the cores; the ratio is the median of the rounds'
ratios. An addition costs one pass over the values forward and one backward.

{tables.rows(head, body)}
"""


if __name__ == "__main__":
    tables.show(page, PAGE, __doc__ or "")
