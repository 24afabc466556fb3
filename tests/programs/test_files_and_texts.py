"""TensorFlow's functions of texts and files. Numbers are those of TensorFlow 2.16."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from kurve.as_keras.running import run

Write = Callable[..., str]

TEXTS = """
import json, tensorflow as tf
from tensorflow import keras
s = tf.strings
two = tf.constant(["Ab C", "d"])
vector = keras.layers.TextVectorization(
    standardize=lambda x: s.regex_replace(s.lower(x), "[[:punct:]]", ""),
    output_sequence_length=3)
vector.adapt(tf.data.Dataset.from_tensor_slices(["Hi you!", "hi me"]).batch(2))
data = tf.data.Dataset.from_tensor_slices((["HI", "me hi"], [0, 1])).batch(2)
numbers, _ = next(iter(data.map(lambda x, y: (vector(x), y))))
print(json.dumps([
    s.lower(two).numpy().tolist(), s.length(two).numpy().tolist(),
    s.split(two).to_tensor().numpy().tolist(),
    s.reduce_join([["a", "b"], ["c", "d"]], 1).numpy().tolist(),
    s.to_number(["1", "2.5"]).numpy().tolist(),
    str(s.regex_replace("a<br />b", "<br />", " ").numpy()),
    s.to_hash_bucket_fast(["A", "B"], 3).numpy().tolist(),
    s.substr("hello", 1, 3).numpy().decode(), s.join(["a", "b"], "-").numpy().decode(),
    numbers.numpy().tolist(),
]))
"""


@pytest.mark.usefixtures("answered")
def test_texts(program: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(program(TEXTS)) == 0
    assert json.loads(capsys.readouterr().out) == [
        ["ab c", "d"],
        [4, 1],
        [["Ab", "C"], ["d", ""]],
        ["ab", "cd"],
        [1.0, 2.5],
        "a b",
        [1, 0],
        "ell",
        "a-b",
        [[2, 0, 0], [4, 2, 0]],
    ]


RAGGED = """
import json, tensorflow as tf
from tensorflow.keras import layers
ids = layers.StringLookup(vocabulary=list("abc"), mask_token=None)
chars = layers.StringLookup(
    vocabulary=ids.get_vocabulary(), invert=True, mask_token=None)
found = ids(tf.strings.unicode_split(tf.constant(["abz", "c"]), "UTF-8"))
texts = tf.strings.reduce_join(chars(found), axis=-1)
print(json.dumps([found.to_list(), found.to_tensor().numpy().tolist(),
                  texts.numpy().tolist()]))
"""


@pytest.mark.usefixtures("answered")
def test_a_vocabulary_takes_rows_of_different_lengths(
    program: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(program(RAGGED)) == 0
    assert json.loads(capsys.readouterr().out) == [
        [[1, 2, 0], [3]],
        [[1, 2, 0], [3, 0, 0]],
        ["ab[UNK]", "c"],
    ]


FILES = """
import json, tensorflow as tf
data = tf.data.experimental.make_csv_dataset(
    "table.csv", 2, label_name="y", num_epochs=1, shuffle=False)
(x, y), rest = data
print(json.dumps([x["a"].numpy().tolist(), x["b"].numpy().tolist(),
                  y.numpy().tolist(), rest[1].numpy().tolist()]))
lines = tf.data.TextLineDataset("table.csv").skip(1)
print(json.dumps([str(line.numpy()) for line in lines]))
image = tf.io.decode_png(tf.io.read_file("picture.png"), channels=3)
print(json.dumps([list(image.shape), str(image.dtype), int(image[1, 2, 0])]))
"""


@pytest.mark.usefixtures("answered")
def test_files(
    program: Write,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pillow = pytest.importorskip("PIL.Image")
    path = program("a,b,y\n1,u,2\n3,v,4\n5,w,6\n", "table.csv")
    monkeypatch.chdir(path.rpartition("/")[0])
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    pillow.fromarray(pixels).save("picture.png")
    assert run(program(FILES)) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found == [
        [[1, 3], ["u", "v"], [2, 4], [6]],
        ["1,u,2", "3,v,4", "5,w,6"],
        [[3, 4, 3], "uint8", int(pixels[1, 2, 0])],
    ]
