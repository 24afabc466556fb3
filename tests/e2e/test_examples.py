"""The sine example runs as a user runs it, as a script and as a notebook."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
LINE = re.compile(r"^(.+?) +(\d+\.\d{5}) +(\d+\.\d{5})$", re.MULTILINE)

pytest.importorskip("matplotlib", reason="the examples draw with matplotlib")


def check_errors(output: str) -> None:
    """The table tells the article's story: raw inputs fail far out, others do not."""
    errors = {
        name: (float(near), float(far)) for name, near, far in LINE.findall(output)
    }
    assert list(errors) == [
        "raw x, 10 epochs of 10 steps",
        "raw x, 30 epochs of 30 steps",
        "normalised x, 90 epochs of 10 steps",
    ]
    short, long, better = errors.values()
    assert short[1] > 0.2
    assert long[1] > 0.2
    assert max(better) < 0.05


def test_script(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "sine.py"],
        cwd=tmp_path,
        env={**environment, "KURVE_SEED": "1", "MPLCONFIGDIR": str(tmp_path / "mpl")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    check_errors(done.stdout)
    for name in ("sine_data.png", "10_10.png", "30_30.png", "better.png"):
        assert name in done.stdout
        picture = (tmp_path / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 5000
    epochs = re.findall(r"^Epoch \d+/\d+ - .*loss: [\d.e+-]+$", done.stdout, re.M)
    assert len(epochs) == 10 + 30
    assert "\r" not in done.stdout
    assert "\x1b" not in done.stdout


def test_script_is_the_article(tmp_path: Path) -> None:
    """Line by line, apart from imports, comments and what follows the two models."""
    lines = (EXAMPLES / "sine.py").read_text().splitlines()
    dense = 'model.add(layers.Dense(256, activation="relu"))'
    article = [
        "x = np.arange(0, 20, 0.1)",
        "y = np.sin(x)",
        "model = models.Sequential()",
        'model.add(layers.Dense(256, activation="relu", input_shape=(1,)))',
        *[dense] * 6,
        "model.add(layers.Dense(1))",
        'model.compile(loss="mse", optimizer="adam")',
        "hist = model.fit(x, y, steps_per_epoch=10, epochs=10)",
        "test_x = x + 0.05",
        "test_y = np.sin(test_x)",
        "pred_y = model.predict(test_x)",
        "model = models.Sequential()",
        'model.add(layers.Dense(256, activation="relu", input_shape=(1,)))',
        *[dense] * 6,
        "model.add(layers.Dense(1))",
        'model.compile(loss="mse", optimizer="adam")',
        "hist = model.fit(x, y, steps_per_epoch=30, epochs=30)",
        "pred_y = model.predict(test_x)",
    ]
    position = 0
    for wanted in article:
        assert wanted in lines[position:], wanted
        position = lines.index(wanted, position) + 1


@pytest.mark.filterwarnings("default")  # of Jupyter's own packages
def test_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("KURVE_SEED", "1")
    for folder in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(folder, str(tmp_path / folder))
    notebook = nbformat.read(EXAMPLES / "sine.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    check_errors(text)
    assert "Epoch 30/30\n" in text
    assert "\x1b" not in text
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 4


def test_notebook_is_the_script() -> None:
    """Each code cell holds lines of the script only, but for showing and installing."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    notebook = nbformat.read(EXAMPLES / "sine.ipynb", as_version=4)
    script = set((EXAMPLES / "sine.py").read_text().splitlines()) | {"plt.show()"}
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert "%pip install" in cells[0]
    for cell in cells[1:]:
        assert set(cell.splitlines()) <= script
