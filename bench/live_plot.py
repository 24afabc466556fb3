"""What `LivePlot` costs in a notebook: processor time of `fit` with it and without.

python -m bench.live_plot     prints one line for 90 and one for 900 epochs

The article's network (7 x 256, Adam, 10 steps an epoch) on one thread, in the kernel of
an executed notebook, so that the pictures are really sent. Each round trains once with
the plot and once without, in alternating order; the figure is the median of the ratios.
Drawing alone is timed too: its share of a run does not depend on what else the machine
does meanwhile.
Needs nbclient, nbformat and ipykernel.
"""

from __future__ import annotations

ROUNDS = 5

CODE = """
import statistics, time
import numpy as np
import kurve
from kurve import layers

kurve.set_threads(1)
x = np.arange(0, 20, 0.1)
y = np.sin(x)


def seconds(epochs, callbacks):
    hidden = [layers.Dense(256, activation="relu") for _ in range(7)]
    model = kurve.Sequential([kurve.Input((1,)), *hidden, layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, y, steps_per_epoch=10, epochs=1, verbose=0)
    start = time.process_time()
    model.fit(x, y, steps_per_epoch=10, epochs=epochs, verbose=0, callbacks=callbacks)
    return time.process_time() - start


class Timed(kurve.callbacks.LivePlot):
    spent = 0.0

    def _draw(self, draw):
        start = time.process_time()
        super()._draw(draw)
        self.spent += time.process_time() - start


def ratio(epochs, i):
    times = {}
    for drawn in (i % 2, 1 - i % 2):
        plots = [Timed()] if drawn else []
        times[drawn] = seconds(epochs, plots)
        if drawn:
            share = plots[0].spent / times[1]
    return times[1] / times[0], times[0], share


seconds(1, [kurve.callbacks.LivePlot()])
for epochs in (90, 900):
    found = [ratio(epochs, i) for i in range(rounds if epochs < 100 else 3)]
    ratios, alone, shares = zip(*found)
    print(
        f"{epochs} epochs, {statistics.median(alone):.2f} s: "
        f"{100 * (statistics.median(ratios) - 1):+.2f} % with the plot "
        f"({100 * (min(ratios) - 1):+.2f} to {100 * (max(ratios) - 1):+.2f}), "
        f"of which drawing {100 * statistics.median(shares):.2f} %"
    )
"""


def main() -> None:
    import nbclient
    import nbformat

    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(f"rounds = {ROUNDS}\n{CODE}")]
    nbclient.NotebookClient(notebook, timeout=600).execute()
    for output in notebook.cells[0].outputs:
        if output.output_type == "stream":
            print(output.text, end="")


if __name__ == "__main__":
    main()
