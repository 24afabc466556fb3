"""`kurve check`: what is missing in a program, by line, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from kurve.as_keras.checking import check
from tests.programs.conftest import SOURCES
from tests.programs.test_running import notebook, python

Write = Callable[..., str]

PROGRAM = """\
import tensorflow as tf
from tensorflow.keras import layers, Sequential
from keras.layers import Dense, Nonesuch
import keras.backend as K
try:
    import keras.applications
except ImportError:
    pass
import a_package_that_is_not_there
model = Sequential([layers.Dense(3, activation="reluu", unit=3)])
model.compile(loss="mse", optimizer="adm", metrics=["accuracy"])
model.fit_it(3)
model.fit([1], [2], epoch=3)
data = tf.data.Dataset.from_tensor_slices([1]).shuffle(3).batches(3)
def f(model, tf):
    tf.Session()
    model.anything()
with tf.compat.v1.Session() as s:
    print(tf.strings.ngrams("x"), [tf.nothing for x in range(3)])
K.meanx(1)
tf.reduce_mean(1, axes=3)
self.net = tf.keras.Model(1, 2)
self.net.unfit()
"""


def test_every_missing_name_with_its_line(program: Write) -> None:
    found = check(program(PROGRAM))
    assert [(f.place, f.name) for f in found] == [
        ("line 3", "keras.layers.Nonesuch"),
        ("line 9", "a_package_that_is_not_there"),
        ("line 10", "activation='reluu'"),
        ("line 10", "Dense(unit=)"),
        ("line 11", "optimizer='adm'"),
        ("line 12", "Sequential.fit_it"),
        ("line 13", "fit(epoch=)"),
        ("line 14", "Dataset.batches"),
        ("line 18", "tf.compat.v1.Session"),
        ("line 19", "tf.strings.ngrams"),
        ("line 19", "tf.nothing"),
        ("line 20", "keras.backend.meanx"),
        ("line 21", "reduce_mean(axes=)"),
        ("line 23", "Model.unfit"),
    ]
    text = "\n".join(map(str, found))
    assert "line 10: Dense(unit=): not in Kurve (unknown argument" in text
    assert "Did you mean 'units'?" in text and "engines compute with numbers" in text


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*.py")), ids=lambda p: p.name)
def test_programs_that_run_have_none(path: object) -> None:
    assert check(str(path)) == []


def test_modules_of_the_program_are_read_too(program: Write) -> None:
    program("import keras\nkeras.nothing\n", "mine.py")
    (finding,) = check(program("from mine import x\n"))
    assert (finding.place, finding.name) == ("mine.py, line 2", "keras.nothing")


def test_a_notebook_by_cell(program: Write) -> None:
    path = program(notebook("import keras", "%time\nkeras.nothing"), "a.ipynb")
    (finding,) = check(path)
    assert finding.place == "cell 2, line 2"


def test_syntax(program: Write) -> None:
    (finding,) = check(program("import keras\nprint 'hello'\n"))
    assert (finding.place, finding.name) == ("line 2", "syntax")


def test_the_command(program: Write) -> None:
    pytest.importorskip("click")
    path = program("import tensorflow as tf\nopen('made', 'w')\ntf.nothing\n")
    done: subprocess.CompletedProcess[str] = python("-m", "kurve", "check", path)
    assert done.returncode == 1
    assert done.stdout.startswith("line 3: tf.nothing: not in Kurve")
    path = program("import keras\n")
    done = python("-m", "kurve", "check", path)
    assert (done.returncode, done.stdout) == (0, f"{path}: runs\n")


def test_it_leaves_no_modules(program: Write) -> None:
    check(program("import keras, tensorflow\n"))
    assert not {"keras", "tensorflow"} & set(sys.modules)
