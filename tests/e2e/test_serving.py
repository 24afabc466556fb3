"""`kurve serve`: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the service is built on Starlette")
pytest.importorskip("uvicorn", reason="the service is built on Uvicorn")
pa = pytest.importorskip("pyarrow", reason="the service reads with pyarrow")
pytest.importorskip("narwhals", reason="the service reads through narwhals")

import uvicorn  # noqa: E402

import kurve  # noqa: E402
from kurve import serving  # noqa: E402

N = 120
X = np.linspace(0, 10, N)
TOWNS = np.array(["Rome", "Oslo", "Bonn"], object)[np.arange(N) % 3]
DAYS = [f"{1 + i % 28:02d}.{1 + i % 12:02d}.2020" for i in range(N)]
TABLE = pa.table({"x": X, "town": TOWNS, "day": DAYS})
Y = X + 2.0 * (TOWNS == "Rome")
ROW = {"x": 5.0, "town": "Rome", "day": "03.04.2020"}


@pytest.fixture(scope="module")
def model() -> Any:
    return kurve.Regressor((8,), solver="adam", max_epochs=30, random_state=0).fit(
        TABLE, Y
    )


class Answer:
    """What a server answers."""

    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text

    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """A service on a port of its own, in a thread."""

    def __init__(self, model: Any, **limits: Any) -> None:
        service = serving.Service(model, "towns.kurve")
        application = serving.application(service, serving.Limits(**limits))
        config = uvicorn.Config(application, port=0, log_level="error")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.should_exit = True
        self.thread.join()

    def ask(self, path: str, body: Any = None, **headers: str) -> Answer:
        data = body
        if body is not None and not isinstance(body, str):
            data = json.dumps(body)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        names.setdefault("content-type", "application/json")
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if data is None else data.encode(),
            names,
        )
        try:
            with urllib.request.urlopen(request) as found:
                return Answer(found.status, found.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode())


@pytest.fixture(scope="module")
def web(model: Any) -> Iterator[Client]:
    with Client(model) as client:
        yield client


def test_predictions_are_those_of_the_model(model: Any, web: Client) -> None:
    rows = [ROW, {"x": None, "town": "Paris", "day": None}, {**ROW, "extra": [1]}]
    found = web.ask("/predict?coverage=0.8", rows)
    assert found.status == 200, found.text
    answers = found.json()["predictions"]
    table = pa.table(
        {
            "x": pa.array([5.0, None, 5.0]),
            "town": ["Rome", "Paris", "Rome"],
            "day": pa.array(["03.04.2020", None, "03.04.2020"]),
        }
    )
    with pytest.warns(UserWarning, match="Paris"):
        mean = model.predict(table)
    with pytest.warns(UserWarning, match="Paris"):
        ends = model.predict_interval(table, coverage=0.8)
    np.testing.assert_array_equal([a["prediction"] for a in answers], mean)
    np.testing.assert_array_equal([[a["low"], a["high"]] for a in answers], ends)
    assert [a["extrapolates"] for a in answers] == [False, True, False]
    one = web.ask("/predict", ROW).json()["predictions"]
    assert one[0]["prediction"] == answers[0]["prediction"]
    text = "day,town,x\n03.04.2020,Rome,5\n,Paris,\n"
    found = web.ask("/predict", text, content_type="text/csv", accept="text/csv")
    lines = found.text.splitlines()
    assert lines[0] == "prediction,low,high,extrapolates"
    assert float(lines[1].split(",")[0]) == answers[0]["prediction"]
    assert float(lines[2].split(",")[0]) == answers[1]["prediction"]


def test_classes_have_probabilities() -> None:
    labels = np.where(X > 5, "high", "low")
    model = kurve.Classifier((4,), solver="adam", max_epochs=20, random_state=0)
    model.fit(X[:, None], labels)
    with Client(model) as web:
        (found,) = web.ask("/predict", {"x1": 9.0}).json()["predictions"]
        known = web.ask("/model").json()
    assert found["prediction"] == "high"
    assert sum(found["probabilities"].values()) == pytest.approx(1.0)
    assert known["classes"] == ["high", "low"]


@pytest.fixture(scope="module")
def few(model: Any) -> Iterator[Client]:
    with Client(model, max_rows=10, max_bytes=2000) as client:
        yield client


@pytest.mark.parametrize(
    ("content", "kind", "status", "text"),
    [
        ("{", "application/json", 400, "must be JSON"),
        ("[]", "application/json", 422, "there must be rows"),
        ("[1]", "application/json", 422, "Received: 1"),
        ('{"x": 1}', "application/json", 422, "Received: none named 'town'"),
        (json.dumps({**ROW, "x": "five"}), "application/json", 422, "'five'"),
        (json.dumps({**ROW, "town": [1]}), "application/json", 422, "single values"),
        (
            json.dumps({**ROW, "day": "soon"}),
            "application/json",
            422,
            "must hold dates",
        ),
        (json.dumps({**ROW, "x": 1e999}), "application/json", 422, "X must be finite"),
        ("x", "application/xml", 415, "application/json or text/csv"),
        ("x,town\n1,Rome\n", "text/csv", 422, "none named 'day'"),
        ("", "text/csv", 422, "must not be empty"),
        (json.dumps([ROW] * 11), "application/json", 413, "at most 10 rows"),
        (" " * 3000, "application/json", 413, "at most 2,000 bytes"),
    ],
)
def test_what_is_refused(
    few: Client, content: str, kind: str, status: int, text: str
) -> None:
    content = content.replace("Infinity", "1e999")
    found = few.ask("/predict", content, content_type=kind)
    assert (found.status, text in found.json()["error"]) == (status, True), found.text


def test_a_token(model: Any) -> None:
    with Client(model, token="a" * 20) as web:
        assert web.ask("/predict", ROW).status == 401
        assert web.ask("/model").status == 401
        wrong, right = "Bearer " + "b" * 20, "Bearer " + "a" * 20
        assert web.ask("/predict", ROW, authorization=wrong).status == 401
        assert web.ask("/predict", ROW, authorization=right).status == 200
        schema = web.ask("/openapi.json").json()
    assert schema["security"] == [{"token": []}]


def test_what_it_says_about_itself(web: Client) -> None:
    assert web.ask("/health").json() == {"status": "ok"}
    kinds = {f["name"]: f["kind"] for f in web.ask("/model").json()["features"]}
    assert kinds == {"x": "number", "town": "category", "day": "date"}
    schema = web.ask("/openapi.json").json()
    assert schema["openapi"].startswith("3.1") and "/predict" in schema["paths"]
    page = web.ask("/docs").text
    assert "towns.kurve" in page and "<script" not in page


def test_addresses() -> None:
    assert all(map(serving.is_loopback, ("127.0.0.1", "127.3.2.1", "::1", "localhost")))
    others = ("0.0.0.0", "10.0.0.1", "::", "example.org", "")
    assert not any(map(serving.is_loopback, others))


def test_a_process_that_ends_on_ctrl_c(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m.kurve")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "kurve", "serve", "m.kurve", "--port", str(port)]
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(600):
            try:
                url = f"http://127.0.0.1:{port}/predict"
                request = urllib.request.Request(
                    url, json.dumps(ROW).encode(), {"Content-Type": "application/json"}
                )
                with urllib.request.urlopen(request) as answer:
                    assert "prediction" in answer.read().decode()
                break
            except urllib.error.URLError:
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert f"http://127.0.0.1:{port}/" in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--host", "0.0.0.0"], "a token is required. Try --token "),
        (["--host", "0.0.0.0", "--token", "short"], "at least 16 characters"),
    ],
)
def test_other_machines_need_a_token(run: Any, words: list[str], text: str) -> None:
    done = run("serve", "m.kurve", *words)
    assert done.code == 2 and text in done.err
