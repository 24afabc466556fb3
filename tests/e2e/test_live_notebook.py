"""`LivePlot` in an executed notebook: one picture, which is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

CODE = """
import numpy as np
import kurve

x = np.linspace(-1, 1, 200)
model = kurve.Sequential(
    [kurve.Input((1,)), kurve.layers.Dense(32, "tanh"), kurve.layers.Dense(1)]
)
model.compile("adam", "mse")
history = model.fit(
    x, x**2, batch_size=10, epochs=60, callbacks=[kurve.callbacks.LivePlot()]
)
"""


@pytest.mark.filterwarnings("default")  # of Jupyter's own packages
def test_a_notebook_keeps_the_last_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    for folder in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(folder, str(tmp_path / folder))
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(CODE)]
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    (output,) = notebook.cells[0].outputs  # no lines of a progress bar
    assert output.output_type == "display_data"
    picture = output.data["text/html"]
    assert picture.startswith("<div>Epoch 60/60 - ")
    assert picture.count('stroke-width="2"') == 2  # the loss and the curve
