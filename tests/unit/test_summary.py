"""The summary, against what Keras 3.15 prints for the same models."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

import kurve
from kurve.models.summary import format_bytes, summary_html, summary_text


@dataclass
class Variable:
    shape: tuple[int, ...]


@dataclass
class Dense:
    name: str
    output_shape: tuple[int | None, ...] | None = None
    trainable_weights: list[Variable] = field(default_factory=list)
    non_trainable_weights: list[Variable] = field(default_factory=list)

    def count_params(self) -> int:
        weights = self.trainable_weights + self.non_trainable_weights
        return sum(math.prod(variable.shape) for variable in weights)


@dataclass
class Model:
    layers: list[Dense]
    name: str = "sequential"
    optimizer_params: int = 0

    @property
    def trainable_weights(self) -> list[Variable]:
        return [v for layer in self.layers for v in layer.trainable_weights]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        return [v for layer in self.layers for v in layer.non_trainable_weights]

    def count_optimizer_params(self) -> int:
        return self.optimizer_params


def dense(name: str, inputs: int, units: int) -> Dense:
    weights = [Variable((inputs, units)), Variable((units,))]
    return Dense(name, (None, units), weights)


SMALL = Model([dense("dense", 1, 256), dense("dense_1", 256, 256)])

KERAS = """\
Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ dense (Dense)                   │ (None, 256)            │           512 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_1 (Dense)                 │ (None, 256)            │        65,792 │
└─────────────────────────────────┴────────────────────────┴───────────────┘
 Total params: 66,304 (259.00 KB)
 Trainable params: 66,304 (259.00 KB)
 Non-trainable params: 0 (0.00 B)"""


def test_text_is_the_table_of_keras() -> None:
    assert summary_text(SMALL, line_length=76, encoding="utf-8") == KERAS


def test_optimizer_counts_once_it_has_trained() -> None:
    trained = Model(SMALL.layers, optimizer_params=44)
    lines = summary_text(trained, encoding="utf-8").splitlines()
    assert lines[-4] == " Total params: 66,348 (259.17 KB)"
    assert lines[-1] == " Optimizer params: 44 (176.00 B)"


def test_width_follows_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert summary_text(SMALL, encoding="utf-8") == KERAS
    monkeypatch.setenv("COLUMNS", "300")
    assert len(summary_text(SMALL, encoding="utf-8").splitlines()[1]) == 88


def test_unbuilt_layers_have_a_question_mark() -> None:
    text = summary_text(Model([Dense("dense")]), line_length=76, encoding="utf-8")
    assert (
        "│ dense (Dense)                   │ ?                      │   0 (unbuilt) │"
    ) in text
    assert " Total params: 0 (0.00 B)" in text


def test_long_names_wrap_and_are_cut() -> None:
    layer = dense("a_very_long_layer_name_that_will_not_fit_into_the_column_x", 4, 3)
    text = summary_text(Model([layer]), line_length=76, encoding="utf-8")
    assert (
        "│ a_very_long_layer_name_that_wi… │ (None, 3)              │            15 │\n"
        "│ (Dense)                         │                        │               │\n"
    ) in text


def test_frozen_weights_are_counted_apart() -> None:
    frozen = Dense("frozen", (None, 1), [], [Variable((3, 1)), Variable((1,))])
    text = summary_text(Model([dense("dense", 4, 3), frozen]), line_length=76)
    assert " Total params: 19 (76.00 B)\n Trainable params: 15 (60.00 B)\n" in text
    assert text.endswith(" Non-trainable params: 4 (16.00 B)")


def test_ascii_where_the_stream_has_no_boxes() -> None:
    text = summary_text(SMALL, line_length=76, encoding="ascii")
    assert text.isascii()
    assert len({len(line) for line in text.splitlines()[1:-3]}) == 1


def test_too_narrow() -> None:
    with pytest.raises(ValueError, match=r"\[summary\] line_length .* Received: 10"):
        summary_text(SMALL, line_length=10)


def test_html_escapes_names() -> None:
    model = Model([dense("<script>", 1, 1)], name='"&')
    page = summary_html(model)
    assert "<script>" not in page
    assert "&lt;script&gt; (Dense)" in page
    assert "&quot;&amp;" in page
    assert page.count("<tr>") == 2


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.00 B"), (1023, "1023.00 B"), (1582084, "1.51 MB"), (2**45, "32.00 TB")],
)
def test_sizes(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("optimizer", "count"), [("adam", 44), ("sgd", 2), ("nadam", 45)]
)
def test_optimizer_params_are_those_of_keras(optimizer: str, count: int) -> None:
    net = kurve.Sequential(
        [kurve.Input(shape=(3,)), kurve.layers.Dense(4), kurve.layers.Dense(1)]
    )
    net.compile(optimizer, "mse", engine="reference")
    assert net.count_optimizer_params() == 0
    net.fit(np.zeros((4, 3)), np.zeros(4), verbose=0)
    assert net.count_optimizer_params() == count
