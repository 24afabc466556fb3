"""ONNX models predict what Kurve predicts: onnxruntime compared with Kurve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Model, layers
from kurve.engines import get_engine
from kurve.exchange.exported import ExportedModel, Network, SingleNetwork
from kurve.formulas import functions as ops
from kurve.formulas.calls import elementwise, recorded
from kurve.formulas.flow import scan
from kurve.formulas.tensor import FunctionCall
from kurve.layers import (
    Add,
    Attention,
    Concatenate,
    Dense,
    Dot,
    Embedding,
    Layer,
    MultiHeadAttention,
)
from kurve.ops.elementwise import RULES
from tests.engines.recurrence import Recurrent
from tests.unit.exchange import cases
from tests.unit.exchange.cases import assert_close

onnx = pytest.importorskip("onnx", reason="ONNX models need onnx")
runtime = pytest.importorskip("onnxruntime", reason="ONNX models run on onnxruntime")


def run(model: Any, x: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """onnxruntime's outputs for x."""
    path = folder / "model.onnx"
    model.export(path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(
        zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True)
    )


@pytest.mark.parametrize("name", cases.ACTIVATIONS)
def test_activations(name: str, engine: str, tmp_path: Path) -> None:
    model = cases.of_activation(name)
    x = cases.rows_of(model.input_shape)
    assert_close(run(model, x, tmp_path)["output"], model.predict(x, verbose=0))


@pytest.mark.parametrize("name", cases.SEQUENTIALS)
def test_layers(name: str, engine: str, tmp_path: Path) -> None:
    model = cases.sequential(name)
    x = cases.rows_of(model.input_shape)
    assert_close(run(model, x, tmp_path)["output"], model.predict(x, verbose=0))


@pytest.mark.parametrize("name", cases.PLANES)
def test_images(name: str, tmp_path: Path) -> None:
    model = cases.of_images(name)
    x = cases.rows_of(model.input_shape, 6)
    found = run(model, x, tmp_path)["output"]
    assert_close(found, model.predict(x, verbose=0), cases.IMAGES_CLOSE)


def test_digits(tmp_path: Path) -> None:
    model = cases.digits()
    x = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype(np.float32)
    found = run(model, x, tmp_path)["output"]
    assert_close(found, model.predict(x, verbose=0), cases.IMAGES_CLOSE)


@pytest.mark.parametrize("name", cases.ESTIMATORS)
def test_estimators(name: str, tmp_path: Path) -> None:
    model = cases.estimator(name)
    x = cases.rows_for(model)
    found = run(model, x.astype(np.float32), tmp_path)
    if hasattr(model, "classes_"):
        assert list(found) == ["probabilities", "label"]
        assert_close(found["probabilities"], model.predict_proba(x))
        assert found["label"].tolist() == model.predict(x).tolist()
        return
    mean, deviation = model.predict(x, return_std=True)
    bound = cases.BOUNDS.get(name, cases.CLOSE)
    assert_close(found["prediction"], mean.reshape(len(x), -1), bound)
    assert_close(found["deviation"], deviation.reshape(len(x), -1), bound)
    assert ("quantiles" in found) == (model.fitted_.head.likelihood == "quantile")


def test_quantiles_are_the_ends_of_intervals(tmp_path: Path) -> None:
    model = cases.estimator("quantiles, members")
    x, _ = cases.table()
    quantiles = run(model, x.astype(np.float32), tmp_path)["quantiles"]
    session = onnx.load(tmp_path / "model.onnx")
    levels = json.loads(
        {p.key: p.value for p in session.metadata_props}["kurve.quantiles"]
    )
    assert quantiles.shape == (len(x), 2, len(levels))
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    for low, high in ((0.1, 0.9), (0.025, 0.975)):
        model.set_params(interval="quantile")
        wanted = model.predict_interval(x, coverage=high - low)
        ends = quantiles[:, :, [levels.index(low), levels.index(high)]]
        for target in range(2):  # their units differ by a factor of a million
            assert_close(ends[:, target], wanted[:, target])


def test_a_committee_has_mean_and_deviation(engine: str, tmp_path: Path) -> None:
    committee = cases.committee()
    x = cases.rows_of((None, 3))
    mean, deviation = committee.predict(x, return_std=True)
    found = run(committee, x, tmp_path)
    assert_close(found["mean"], mean)
    assert_close(found["deviation"], deviation)


def test_any_number_of_rows(tmp_path: Path) -> None:
    model = cases.estimator("gaussian, members")
    x, _ = cases.table()
    for count in (1, 2, 160):
        found = run(model, x[:count].astype(np.float32), tmp_path)
        assert_close(found["prediction"], model.predict(x[:count]))


@pytest.mark.parametrize("name", ["squared error", "gaps", "classes"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_the_estimator_refuses_gives_no_number(
    name: str, bad: float, tmp_path: Path
) -> None:
    model = cases.estimator(name)
    x, _ = cases.table(4)
    x = x.astype(np.float32)
    x[2, 1] = bad
    found = next(iter(run(model, x, tmp_path).values()))
    if np.isnan(bad):  # a gap, which is filled in
        wanted = model.predict_proba(x) if name == "classes" else model.predict(x)
        assert_close(np.ravel(found[2]), np.ravel(wanted[2]))
    else:
        assert np.isnan(found[2]).all()
    assert np.isfinite(np.delete(found, 2, axis=0)).all()


def test_names_are_in_the_metadata(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="names come from a frame")
    pytest.importorskip("narwhals", reason="frames are read through narwhals")
    import kurve

    x, y = cases.table(40)
    frame = pandas.DataFrame(x, columns=["Länge", "b\n*/", "c"])
    target = pandas.Series(y, name="price")
    kurve.Regressor(**cases.FAST).fit(frame, target).export(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    props = {
        p.key: json.loads(p.value) for p in model.metadata_props if "model" not in p.key
    }
    assert props == {
        "kurve.columns": ["Länge", "b\n*/", "c"],
        "kurve.targets": ["price"],
    }
    assert (model.producer_name, model.producer_version) == ("Kurve", kurve.__version__)
    assert [o.version for o in model.opset_import] == [17]
    assert model.ir_version == 8


def test_the_reference_evaluator_agrees(tmp_path: Path) -> None:
    """The same graph in the reference evaluator of the format's authors."""
    from onnx.reference import ReferenceEvaluator

    model = cases.estimator("gaussian, members")
    x, _ = cases.table(20)
    model.export(tmp_path / "m.onnx")
    given = {"X": x.astype(np.float32)}
    found = ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, given)
    for actual, wanted in zip(found, model.predict(x, return_std=True), strict=True):
        assert_close(actual, wanted)


def run_graph(model: Any, given: dict[str, np.ndarray], folder: Path) -> list[Any]:
    """onnxruntime's outputs of a graph."""
    path = folder / "graph.onnx"
    model.export(path)
    session = runtime.InferenceSession(str(path), None, ["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(given)
    assert [o.name for o in session.get_outputs()] == model.output_names
    found: list[Any] = session.run(None, given)
    return found


def of_kurve(model: Any, given: dict[str, np.ndarray]) -> list[Any]:
    x = tuple(given.values())
    network = model._network
    program = get_engine("reference").compile(network.plan)
    y = program.predict(network.state, x if len(x) > 1 else x[0])
    return list(y) if isinstance(y, tuple) else [y]


def test_graphs(tmp_path: Path) -> None:
    a, b = Input((4,), name="a"), Input((3,), name="b")
    shared = Dense(3, "tanh")
    inner = Model(b, Add()([b, shared(b)]), name="inner")
    h = Concatenate()([inner(b), inner(shared(Dense(3)(a)))])
    h = ops.reshape(h, (-1, 2, 3))
    parts = [
        ops.transpose(h, (0, 2, 1))[:, ::-1, :1],
        ops.expand_dims(ops.cumsum(h, 2)[:, 1], -1),
        ops.pad(h, ((0, 0), (1, 0), (0, 0)))[:, :, 1:2],
    ]
    y = ops.concatenate(parts, axis=-1)
    outputs = [
        ops.sum(y, axis=(1, 2)),
        ops.mean(y, axis=1, keepdims=True),
        ops.max(y, axis=-1),
        ops.logsumexp(y, axis=1),
        ops.prod(y, axis=1),
        ops.cast(ops.argmax(y, axis=-1), "float32") * 1.0,
        Dense(2, "softmax", name="z")(ops.reshape(y, (-1, 9))),
    ]
    model = Model([a, b], outputs)
    rng = np.random.default_rng(3)
    given = {
        "a": rng.normal(size=(5, 4)).astype(np.float32),
        "b": rng.normal(size=(5, 3)).astype(np.float32),
    }
    expected = of_kurve(model, given)
    for found, wanted in zip(run_graph(model, given, tmp_path), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)
    kernels = onnx.load(tmp_path / "graph.onnx").graph.initializer
    assert sum(list(c.dims) == [3, 3] for c in kernels) == 1, "shared weights once"


class Placed(Layer):
    """Adds to each row a table of its own, and the same table as further columns."""

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=shape[1:], initializer="glorot_uniform")

    def call(self, x: Any) -> Any:
        alone = ops.zeros_like(x) + self.table
        return ops.concatenate([x + self.table, alone], axis=-1)


def test_products_and_tables(tmp_path: Path) -> None:
    """Attention over words with places, and products of two inputs."""
    words, a, b = (
        Input((6,), name="w"),
        Input((3, 4), name="a"),
        Input((3, 4), name="b"),
    )
    h = Placed()(Embedding(10, 4)(words))
    h = MultiHeadAttention(2, 3)(h, h)
    outputs = [
        Dense(2, name="z")(ops.reshape(h, (-1, 48))),
        Dot((2, 2))([a, b]),
        Dot((1, 1))([a, b]),
        ops.matmul(a, ops.transpose(b, (0, 2, 1))),
        Attention()([a, b]),
    ]
    model = Model([words, a, b], outputs)
    rng = np.random.default_rng(5)
    given = {
        "w": rng.integers(0, 10, (5, 6)).astype(np.float32),
        "a": rng.normal(size=(5, 3, 4)).astype(np.float32),
        "b": rng.normal(size=(5, 3, 4)).astype(np.float32),
    }
    expected = of_kurve(model, given)
    for found, wanted in zip(run_graph(model, given, tmp_path), expected, strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


class Decaying(layers.Layer):
    """A loop of any step, whose turns are written out."""

    def call(self, x: Any) -> Any:
        def step(h: Any, part: Any) -> Any:
            h = ops.tanh(0.5 * h + part)
            return h, ops.sum(h, -1, keepdims=True)

        h, sums = scan(step, x[:, 0], ops.transpose(x, (1, 0, 2)), reverse=True)
        return ops.concatenate([h, ops.transpose(sums, (1, 0, 2))[..., 0]], -1)


def test_loops(tmp_path: Path) -> None:
    x = Input((9, 3), name="x")
    cells = [layers.GRUCell(4), layers.LSTMCell(2)]
    model = Model(x, [Decaying()(x), layers.RNN(cells, return_sequences=True)(x)])
    assert sum(op.kind == "scan" for op in model._network.plan.ops) == 2
    given = {"x": np.random.default_rng(5).normal(size=(5, 9, 3)).astype(np.float32)}
    expected = of_kurve(model, given)
    for found, wanted in zip(run_graph(model, given, tmp_path), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


FORMULAS = [name for name in RULES if name not in ("constant", "arctan2")]


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name: str, tmp_path: Path) -> None:
    """Each instruction of a tape, over numbers for which it is defined."""
    rng = np.random.default_rng(4)
    x, y = Input((6,), name="x"), Input((6,), name="y")
    low, high = {
        "arccosh": (1.0, 3.0),
        "arcsin": (-1.0, 1.0),
        "arccos": (-1.0, 1.0),
        "arctanh": (-0.9, 0.9),
    }.get(name, (0.05, 3.0))
    if name in ("mod", "neg", "abs", "sign", "floor", "ceil", "round", "expm1", "relu"):
        low = -3.0
    values = rng.uniform(low, high, (2, 5, 6)).astype(np.float32)
    if name in ("and", "or", "not", "eq", "ne"):
        values = np.round(values / 3.0)
    if name == "expm1":
        values[0, 0] *= 1e-4
    if name == "mod":
        values[1] = np.abs(values[1]) + 0.5
    count = RULES[name].arity
    operands = [x, y, x][:count] if name != "where" else [x > 1.0, x, y]
    out = recorded(FunctionCall(lambda *given: elementwise(name, *given)), operands, {})
    model = Model([x, y], [out * 1.0, x + y])
    given = {"x": values[0], "y": values[1]}
    found, expected = run_graph(model, given, tmp_path), of_kurve(model, given)
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-5, atol=1e-6)


def recurrent_onnx(made: Recurrent, folder: Path) -> str:
    """A plan with a recurrent op as a file."""
    from kurve.exchange import onnx_model

    values, (op,) = made.state().params, made.plan.ops
    arrays = {
        role: values[v.offset : v.end].reshape(v.shape) for role, v in op.params.items()
    }
    names = [f"x{k}" for k in range(len(made.inputs))]
    stack = made.plan.is_stack
    exported = ExportedModel(
        "Model",
        op.in_shape,
        {"output": op.out_shape},
        None,
        (Network((op,), (arrays,), None if stack else made.plan),),
        SingleNetwork(),
        None,
        None,
        lambda x: {},
        None if stack else dict(zip(names, made.inputs, strict=True)),
    )
    path = folder / "recurrent.onnx"
    path.write_bytes(onnx_model.serialized(exported, "recurrent"))
    return str(path)


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "gru", "gru before", "simple_rnn"])
def test_recurrent(
    kind: str,
    bias: bool,
    reverse: bool,
    sequences: bool,
    initial: bool,
    tmp_path: Path,
) -> None:
    flags = {"initial": initial, "sequences": sequences, "reverse": reverse}
    if kind.startswith("gru"):
        flags["reset_after"] = kind == "gru"
    made = Recurrent(kind.split()[0], (5, 3, 4), plain=True, bias=bias, **flags)
    check_recurrent(made, tmp_path)


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "elu", "softsign", "softplus", "sigmoid"]
)
@pytest.mark.parametrize("kind", ["lstm", "gru", "simple_rnn"])
def test_activations_of_recurrent_nodes(kind: str, name: str, tmp_path: Path) -> None:
    own: dict[str, Any] = {"activation": name, "alpha": 0.3}
    check_recurrent(Recurrent(kind, (3, 2, 4), plain=True, **own), tmp_path)


def check_recurrent(made: Recurrent, folder: Path) -> None:
    path, xs = recurrent_onnx(made, folder), made.xs(6)
    session = runtime.InferenceSession(path, None, ["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, xs, strict=True)))
    program = get_engine("reference").compile(made.plan)
    assert_close(found, program.predict(made.state(), xs if len(xs) > 1 else xs[0]))
