"""`kurve demo sine`: a failing and a successful fit, with plots."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from kurve.cli import console

POINTS = 200
SEED = 1


def sine(out: str, quiet: bool) -> None:
    """Fit sin(x) on [0, 20] from 200 points with a deep network on raw x and with
    `Regressor`. Writes data, plot, model and report to a folder.

    Args:
        out: the folder; created if missing.
        quiet: print nothing.
    """
    from kurve import layers, models
    from kurve.assessment import assess
    from kurve.core.files import write_text
    from kurve.estimators import Regressor
    from kurve.report import make_report, require_packages
    from kurve.tables import require_pyarrow
    from kurve.utils import set_random_seed

    require_packages("demo")
    require_pyarrow("demo")
    import pyarrow

    os.makedirs(out, exist_ok=True)
    say = console.say_nothing if quiet else console.say
    x = np.linspace(0.0, 20.0, POINTS, endpoint=False)
    y = np.sin(x)
    test_x = x[:-1] + 0.05
    test_y = np.sin(test_x)

    set_random_seed(SEED)
    errors: dict[str, tuple[np.ndarray, float]] = {}
    for steps in (10, 30):
        raw = models.Sequential([layers.Input(shape=(1,))])
        for _ in range(7):
            raw.add(layers.Dense(256, activation="relu"))
        raw.add(layers.Dense(1))
        raw.compile(loss="mse", optimizer="adam")
        start = time.monotonic()
        raw.fit(x, y, steps_per_epoch=steps, epochs=steps, verbose=0)
        name = f"raw x, {steps} epochs of {steps} steps"
        predicted = raw.predict(test_x, verbose=0)[:, 0]
        errors[name] = predicted, time.monotonic() - start

    train, test = pyarrow.table({"x": x}), pyarrow.table({"x": test_x})
    model = Regressor(random_state=SEED)
    start = time.monotonic()
    model.fit(train, y)
    model.target_names_ = ["sine"]
    seconds = time.monotonic() - start
    file = os.path.join(out, "sine.kurve")
    model.save(file)
    predicted = np.asarray(model.predict(test)).reshape(-1)
    errors["kurve.Regressor()"] = predicted, seconds

    title = "sin(x) from 200 points: test error (MSE)"
    say(f"{title:44}{'x <= 10':>10}{'x > 10':>10}{'time':>9}")
    near = test_x <= 10
    for name, (predicted, duration) in errors.items():
        error = (predicted - test_y) ** 2
        columns = f"{error[near].mean():10.2g}{error[~near].mean():10.2g}"
        say(f"{name:44}{columns}{duration:8.2f}s")

    assessments = assess(model, test, test_y, ["sine"], (train, y))
    page = make_report(
        model,
        train,
        y,
        test,
        test_y,
        target="sine",
        source="200 points of sin(x)",
        file=file,
        settings={"training": f"{seconds:.2f} s"},
        assessments=assessments,
    )
    rows = "".join(
        f"{a!r},{b!r}\n" for a, b in zip(x.tolist(), y.tolist(), strict=True)
    )
    write_text(os.path.join(out, "sine.csv"), "x,sine\n" + rows)
    _draw(os.path.join(out, "sine.png"), test_x, test_y, errors)
    write_text(os.path.join(out, "report.html"), page)
    written = ", ".join(("sine.csv", "sine.png", "sine.kurve", "report.html"))
    say(f"\nIn {out}: {written}")


def _draw(path: str, x: np.ndarray, truth: np.ndarray, errors: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    from kurve.core.files import replacing

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    panels = figure.subplots(1, len(errors), sharey=True)
    for panel, (name, (predicted, _)) in zip(panels, errors.items(), strict=True):
        panel.plot(x, predicted, color="tab:blue", linewidth=2.5, label="prediction")
        panel.plot(x, truth, "k--", linewidth=1, label="sin(x)")
        error = ((predicted - truth) ** 2).mean()
        panel.set(title=f"{name}\nMSE {error:.2g}", xlabel="x", ylim=(-1.4, 1.4))
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(
        handles=panels[0].get_lines(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)
