"""`kurve run` and `import kurve.as_keras`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import kurve
from kurve.as_keras.importing import install, uninstall
from kurve.as_keras.running import run
from tests.programs.conftest import SOURCES

Write = Callable[..., str]
ROOT = os.path.dirname(os.path.dirname(kurve.__file__))


def python(*words: str, cwd: str | Path = ".") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": ROOT, "MPLBACKEND": "Agg"},
        cwd=cwd,
        capture_output=True,
        text=True,
    )


def notebook(*cells: str) -> str:
    parts = [{"cell_type": "markdown", "source": ["# A title"]}]
    parts += [{"cell_type": "code", "source": c.splitlines(True)} for c in cells]
    return json.dumps({"cells": parts, "nbformat": 4})


def test_the_article_with_one_line_before_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text = "import kurve.as_keras\n" + (SOURCES / "article.py").read_text()
    (tmp_path / "article.py").write_text(text)
    done = python("article.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Epoch") == 10 and not done.stderr


def test_a_program_is_main_with_its_arguments(program: Write) -> None:
    pytest.importorskip("click")
    path = program(
        "import sys, helper\n"
        "if __name__ == '__main__':\n"
        "    print(sys.argv[1:], helper.dense().units, __file__ == sys.argv[0])\n"
        "    sys.exit(3)\n"
    )
    program(
        "from tensorflow.keras import layers\n"
        "def dense():\n    return layers.Dense(4)\n",
        "helper.py",
    )
    done = python("-m", "kurve", "run", path, "--epochs", "2", "-h")
    assert (done.returncode, done.stdout) == (3, "['--epochs', '2', '-h'] 4 True\n")
    assert python("-m", "kurve.as_keras", path).returncode == 3


@pytest.mark.usefixtures("answered")
def test_an_error_shows_the_programs_lines(
    program: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = program("import tensorflow as tf\n\ndef f():\n    tf.Session()\n\nf()\n")
    assert run(path) == 1
    error = capsys.readouterr().err
    assert f'"{path}", line 4, in f' in error and "as_keras" not in error
    assert "[tensorflow] Kurve has no tf.Session, because sessions" in error


@pytest.mark.usefixtures("answered")
def test_a_notebook(program: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Cells in their order, without commands for IPython and the shell; the value of a
    cell's last expression is printed."""
    path = program(
        notebook(
            "%matplotlib inline\n!pip install keras\nimport numpy as np\nfrom keras "
            "import layers, Sequential\nname = 'a' if True else \\\n  'b'",
            "%%time\nmodel = Sequential([layers.Dense(1, input_shape=(2,))])\n"
            "if True:\n    %load_ext autoreload\nmodel.count_params()",
            "%%bash\nexit 1",
            "print('%d of %s' % (1,\n  name))\nname;",
        ),
        "Untitled.ipynb",
    )
    assert run(path) == 0
    out, err = capsys.readouterr()
    assert out == "3\n1 of a\n"
    skipped = [line.partition(": skipped: ")[2] for line in err.splitlines()]
    assert skipped == [
        "%matplotlib inline",
        "!pip install keras",
        "%%time",
        "%load_ext autoreload",
        "%%bash and the rest of the cell",
    ]
    assert "Untitled.ipynb, cell 1, line 2" in err.splitlines()[1]


@pytest.mark.usefixtures("answered")
def test_a_notebook_saved_as_a_program(
    program: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = program("get_ipython().run_line_magic('matplotlib', 'inline')\nprint(1)\n")
    assert run(path) == 0
    out, err = capsys.readouterr()
    assert out == "1\n" and err == "kurve: skipped: run_line_magic matplotlib inline\n"


@pytest.mark.usefixtures("answered")
def test_an_error_in_a_notebook_shows_the_cells_line(
    program: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = program(notebook("x = 1", "y = 2\nz = x / 0"), "a.ipynb")
    assert run(path) == 1
    error = capsys.readouterr().err
    assert f'File "{path}, cell 2", line 2' in error and "z = x / 0" in error


def test_no_program_is_one_line() -> None:
    pytest.importorskip("click")
    done = python("-m", "kurve", "run", "nowhere.py")
    assert done.returncode == 2
    assert done.stderr == "kurve: No such file or directory: 'nowhere.py'\n"


def test_a_broken_notebook_is_one_line(program: Write) -> None:
    with pytest.raises(ValueError, match="a notebook must be JSON"):
        run(program("{", "a.ipynb"))


def test_refuses_when_keras_is_imported() -> None:
    module = type(sys)("keras")
    sys.modules["keras"] = module
    try:
        with pytest.raises(RuntimeError, match="before Keras and TensorFlow"):
            install()
    finally:
        del sys.modules["keras"]


def test_importing_kurve_answers_nothing() -> None:
    done = python(
        "-c",
        "import kurve, sys; print('kurve.as_keras' in sys.modules, len(sys.meta_path)"
        " == len([f for f in sys.meta_path if 'kurve' not in str(f)]))",
    )
    assert done.stdout == "False True\n"


@pytest.mark.usefixtures("answered")
@pytest.mark.parametrize(
    ("statement", "own"),
    [
        ("from keras.layers import Dense as it", "layers.Dense"),
        ("from tensorflow.keras.layers import Dense as it", "layers.Dense"),
        ("from tensorflow.python.keras.layers import Dense as it", "layers.Dense"),
        ("from keras.api.layers import Dense as it", "layers.Dense"),
        ("from keras.api._v2.keras.layers import Dense as it", "layers.Dense"),
        ("from keras.src.layers import Dense as it", "layers.Dense"),
        ("from keras._tf_keras.keras.layers import Dense as it", "layers.Dense"),
        ("from tf_keras.layers import Dense as it", "layers.Dense"),
        ("from tensorflow.compat.v1.keras.layers import Dense as it", "layers.Dense"),
        ("import tensorflow as tf; it = tf.keras.layers.Dense", "layers.Dense"),
        ("import tensorflow as t; it = t.compat.v2.keras.layers.Dense", "layers.Dense"),
        ("import tensorflow.keras as k; it = k.Model", "Model"),
        ("from tensorflow import keras; it = keras.Sequential", "Sequential"),
        (
            "from keras.optimizers.schedules import CosineDecay as it",
            "optimizers.schedules.CosineDecay",
        ),
        (
            "from tensorflow.python.keras.optimizer_v2.adam import Adam as it",
            "optimizers.Adam",
        ),
        ("import tensorflow as tf; it = tf.optimizers.SGD", "optimizers.SGD"),
        (
            "from keras.preprocessing.sequence import pad_sequences as it",
            "utils.pad_sequences",
        ),
        (
            "from keras_preprocessing.sequence import pad_sequences as it",
            "utils.pad_sequences",
        ),
    ],
)
def test_every_path_of_a_name_is_kurves(statement: str, own: str) -> None:
    names: dict[str, object] = {}
    exec(statement, names)
    expected: object = kurve
    for part in own.split("."):
        expected = getattr(expected, part)
    assert names["it"] is expected


@pytest.mark.usefixtures("answered")
def test_a_star_takes_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from tensorflow.keras.layers import *", names)
    assert names["Dense"] is kurve.layers.Dense and "annotations" not in names


@pytest.mark.usefixtures("answered")
@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("from keras.layers import Foo", r"\[kurve.layers\] unknown name"),
        ("from keras.layers import MaxNumBoundingBoxes", "Try np.pad"),
        ("import keras.applications.nasnet", "unknown name. Received: .nasnet"),
        ("import tensorflow.contrib.rnn", "sessions and placeholders"),
        ("import tensorflow as tf; tf.reduce_men", "Did you mean 'reduce_mean'"),
        ("import keras; keras.Modell", "Did you mean 'Model'"),
        ("import tensorflow as tf; tf.strings.ngrams", "engines compute with numbers"),
        ("import tensorflow as tf; tf.saved_model.save", "a SavedModel holds"),
    ],
)
def test_what_is_not_there_is_an_error_that_names_it(statement: str, text: str) -> None:
    with pytest.raises((ImportError, AttributeError), match=text):
        exec(statement, {})


def test_uninstalled_modules_are_gone() -> None:
    install()
    import tensorflow  # type: ignore[import-not-found]  # noqa: F401

    uninstall()
    assert not {"tensorflow", "keras"} & set(sys.modules)
