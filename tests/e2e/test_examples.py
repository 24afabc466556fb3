"""The examples run as a user runs them, those of pictures on few data."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kurve import datasets

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


def run(folder: Path, name: str, *arguments: str | Path) -> str:
    """What the example printed in this folder; its pictures are there."""
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        cwd=folder,
        env={**environment, "KURVE_SEED": "1", "MPLCONFIGDIR": str(folder / "mpl")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stdout
    assert "\x1b" not in done.stdout
    return done.stdout


def check_pictures(folder: Path, output: str, *names: str) -> None:
    for name in names:
        assert name in output
        picture = (folder / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 5000


def test_script(tmp_path: Path) -> None:
    output = run(tmp_path, "sine.py")
    check_errors(output)
    names = ("sine_data.png", "10_10.png", "30_30.png", "better.png")
    check_pictures(tmp_path, output, *names)
    epochs = re.findall(r"^Epoch \d+/\d+ - .*loss: [\d.e+-]+$", output, re.M)
    assert len(epochs) == 10 + 30


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file as Keras's mnist.npz."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    (x, y), (x_test, y_test) = datasets.digits.load_data()
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="module")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first pictures of Fashion-MNIST, in its own format."""
    try:
        (x, y), (x_test, y_test) = datasets.fashion_mnist.load_data()
    except FileNotFoundError as missing:
        pytest.skip(f"Fashion-MNIST is not here: {missing}")
    folder = tmp_path_factory.mktemp("clothes")
    arrays = (x[:600], y[:600], x_test[:200], y_test[:200])
    for name, array in zip(datasets.fashion_mnist.FILES, arrays, strict=True):
        sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
        head = bytes([0, 0, 8, array.ndim]) + sizes
        (folder / name).write_bytes(gzip.compress(head + array.tobytes(), 1))
    return folder


def number(pattern: str, output: str) -> float:
    found = re.search(pattern, output, re.MULTILINE)
    assert found, output
    return float(found[1])


PICTURES = ("wrong.png", "confusion.png", "filters.png", "maps.png")


def test_digits(tmp_path: Path, digits: Path) -> None:
    output = run(tmp_path, "mnist.py", digits)
    assert output.startswith("MNIST: 1347 pictures to learn from, 450 for the test")
    assert number(r"test accuracy ([\d.]+)%", output) > 90.0
    check_pictures(tmp_path, output, *PICTURES)


def test_clothes(tmp_path: Path, clothes: Path) -> None:
    output = run(tmp_path, "mnist.py", clothes)
    assert output.startswith("Fashion-MNIST: 600 pictures")
    assert number(r"test accuracy ([\d.]+)%", output) > 70.0
    check_pictures(tmp_path, output, *PICTURES)


def test_digits_without_convolutions(tmp_path: Path, digits: Path) -> None:
    output = run(tmp_path, "mnist_mlp.py", digits)
    assert number(r"test accuracy ([\d.]+)%", output) > 88.0


def test_anomalies(tmp_path: Path, digits: Path) -> None:
    output = run(tmp_path, "anomalies.py", digits)
    assert number(r"area under the ROC curve ([\d.]+)", output) > 0.9
    check_pictures(tmp_path, output, "anomalies.png")


def test_forecast(tmp_path: Path) -> None:
    output = run(tmp_path, "forecast.py", "200")
    errors = {
        name: number(rf"^{name} +([\d.]+)%$", output)
        for name in ("the last month", "a year ago, grown", "LSTM", "Conv1D")
    }
    assert errors["LSTM"] < 0.75 * errors["the last month"]
    assert errors["Conv1D"] < 0.75 * errors["the last month"]
    check_pictures(tmp_path, output, "forecast.png")


def test_burgers(tmp_path: Path) -> None:
    output = run(tmp_path, "burgers.py", "40")
    adam = number(r"after Adam ([\d.e+-]+)", output)
    assert number(r"of least squares ([\d.e+-]+)", output) < 0.1 * adam
    assert number(r"relative error ([\d.]+)%", output) < 20.0
    check_pictures(tmp_path, output, "burgers.png")


def test_oscillator(tmp_path: Path) -> None:
    output = run(tmp_path, "oscillator.py")
    assert abs(number(r"damping +([\d.]+)", output) - 0.4) < 0.05
    assert abs(number(r"stiffness +([\d.]+)", output) - 9.0) < 0.3
    check_pictures(tmp_path, output, "oscillator.png")


def test_transformer(tmp_path: Path) -> None:
    output = run(tmp_path, "transformer.py", "5")
    errors = [
        number(rf"^{name} +([\d.]+)$", output)
        for name in ("the last value", "transformer")
    ]
    assert errors[1] < 0.75 * errors[0]
    assert number(r"verbs that agree +(\d+) of 32", output) > 24
    check_pictures(tmp_path, output, "transformer.png")


def test_segmentation(tmp_path: Path) -> None:
    output = run(tmp_path, "segmentation.py", "200")
    assert number(r"([\d.]+)% of the pixels are right", output) > 80.0
    found = re.findall(r"^(\w+) +intersection over union ([\d.]+)$", output, re.M)
    assert [name for name, _ in found] == ["nothing", "circle", "square", "triangle"]
    check_pictures(tmp_path, output, "segmentation.png")


def test_addition(tmp_path: Path) -> None:
    output = run(tmp_path, "addition.py", "3")
    assert number(r"([\d.]+)% of the sums are right", output) > 50.0
    check_pictures(tmp_path, output, "addition.png")


SKIPPED = (" *", r" *[\d.]+%", r" *[\d.]+% +[\d.]+%")
"""What stands before the first, the second and the third number of a row."""


def test_sentiment(tmp_path: Path) -> None:
    """The place of a word decides, and the GRU has not learned a rule but a list."""
    output = run(tmp_path, "sentiment.py")
    shares = {
        name: [number(rf"^{name} {skipped} +([\d.]+)%", output) for skipped in SKIPPED]
        for name in ("mean", "Conv1D", "GRU")
    }
    assert max(shares["mean"]) < 70.0
    assert min(shares["Conv1D"]) > 95.0
    assert min(shares["GRU"][:2]) > 95.0
    assert shares["GRU"][2] < 20.0
    check_pictures(tmp_path, output, "sentiment.png")


def test_points_of_two_networks(tmp_path: Path) -> None:
    output = run(tmp_path, "gan.py", "points", "2000")
    assert number(r"([\d.]+)% of the points lie in a spot", output) > 80.0
    counts = output.partition("in each: [")[2].partition("]")[0].split()
    assert len(counts) == 8 and min(map(int, counts)) > 50
    check_pictures(tmp_path, output, "gan_points.png")


def test_digits_of_two_networks(tmp_path: Path, digits: Path) -> None:
    output = run(tmp_path, "gan.py", "digits", "50", digits)
    assert output.startswith("MNIST: 1347 pictures")
    assert number(r"step 50: critic ([\d.]+)", output) < 0.75
    check_pictures(tmp_path, output, "gan_digits.png")


def test_diffusion(tmp_path: Path) -> None:
    output = run(tmp_path, "diffusion.py", "20")
    assert number(r"([\d.]+)% of the points of noise", output) < 20.0
    assert number(r"([\d.]+)% of the points made", output) > 70.0
    check_pictures(tmp_path, output, "diffusion.png")


def test_variational_autoencoder(tmp_path: Path, digits: Path) -> None:
    output = run(tmp_path, "vae.py", digits)
    assert number(r"of which ([\d.]+) for the drawing", output) < 230.0
    assert 1.0 < number(r"and ([\d.]+) for the place", output) < 10.0
    check_pictures(tmp_path, output, "vae.png")


def test_similar(tmp_path: Path, digits: Path) -> None:
    output = run(tmp_path, "similar.py", digits)
    for name in ("siamese", "triplet"):
        assert number(rf"^{name}: ([\d.]+)% of new digits lie nearest", output) > 55.0
    check_pictures(tmp_path, output, "similar.png")


def test_ranking(tmp_path: Path) -> None:
    output = run(tmp_path, "ranking.py")
    assert number(r"^guessed marks +([\d.]+)%", output) < 90.0
    assert number(r"^RankNet +([\d.]+)%", output) > 95.0
    check_pictures(tmp_path, output, "ranking.png")


def test_cart_pole(tmp_path: Path) -> None:
    output = run(tmp_path, "cartpole.py", "20000")
    assert number(r"^REINFORCE +holds the pole for (\d+) of 500", output) > 120
    assert number(r"^DQN +holds the pole for (\d+) of 500", output) > 60
    check_pictures(tmp_path, output, "cartpole.png")


def test_neural_differential_equation(tmp_path: Path) -> None:
    output = run(tmp_path, "neural_ode.py", "60")
    assert number(r"Off by ([\d.]+) after 20 steps", output) < 0.15
    assert number(r"Off by ([\d.]+) after 100 steps", output) < 0.5
    check_pictures(tmp_path, output, "neural_ode.png")


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
