"""fit(checkpoint=) and BackupAndRestore: what is taken up again, and what is refused.

What is killed at random instants is in tests/faults/test_kill.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, callbacks, ensemble, layers, optimizers, utils
from kurve.errors import CheckpointError, CheckpointInUseError, NonFiniteError
from kurve.saving import read_header
from kurve.training.checkpoints import checkpointer as keepers
from kurve.training.checkpoints.identity import difference
from kurve.training.checkpoints.values import decode, encode
from tests.faults.wrong import snapshot

RNG = np.random.default_rng(2)
X = RNG.normal(size=(60, 2))
Y = np.sin(X[:, 0]) * X[:, 1]
WEIGHTS = RNG.uniform(0.5, 2.0, 60)


class Stop(Exception):
    """What a test ends a fit with."""


class StopAt(callbacks.Callback):
    """Ends the fit by an error in the midst of an epoch, once it has gone that far."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.iterations == self.steps:
            raise Stop


def model_of(
    seed: int = 1, optimizer: Any = "adam", units: int = 6, **compiled: Any
) -> Sequential:
    utils.set_random_seed(seed)
    model = Sequential(
        [
            Input((2,)),
            layers.Dense(units, "relu"),
            layers.Dropout(0.2),
            layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", **compiled)
    return model


def fit(model: Sequential, *used: callbacks.Callback, **options: Any) -> Any:
    x, y = options.pop("x", X), options.pop("y", Y)
    options = {"epochs": 3, "batch_size": 8, "verbose": 0, **options}
    history = model.fit(x, y, callbacks=list(used), **options).history
    state = model._network.state
    assert state is not None
    return history, [w.tobytes() for w in model.get_weights()], state.slots.tobytes()


def interrupted(at: int, path: Path, *used: callbacks.Callback, **options: Any) -> None:
    with pytest.raises(Stop):
        fit(
            model_of(),
            StopAt(at),
            *used,
            **{"checkpoint": path, "checkpoint_freq": 1, **options},
        )


NEVER = StopAt(-1)

CALLS: list[dict[str, Any]] = [
    {},
    {"shuffle": False, "steps_per_epoch": 5},
    {"validation_split": 0.25, "batch_size": None, "steps_per_epoch": 7},
    {"validation_data": (X, Y, WEIGHTS), "validation_steps": 3, "initial_epoch": 1},
    {"sample_weight": WEIGHTS, "validation_data": (X, Y), "validation_freq": [1, 3]},
]


@pytest.mark.parametrize("options", CALLS, ids=lambda o: ",".join(o) or "defaults")
@pytest.mark.parametrize("at", [1, 7, 8, 9])
def test_a_fit_goes_on_where_it_was(
    engine: str, tmp_path: Path, at: int, options: dict[str, Any]
) -> None:
    whole = fit(model_of(), **options)
    interrupted(at, tmp_path, **options)
    info = max(map(info_of, tmp_path.glob("*.kurve")), key=lambda i: i["sequence"])
    assert info["step"] == at - 1  # the callback had not yet come back
    model = model_of(seed=99)
    assert fit(model, NEVER, checkpoint=tmp_path, **options) == whole
    assert model.stop_training is False


def info_of(path: Path) -> dict[str, Any]:
    return read_header(path)[0]


def test_in_the_same_process_with_the_same_model(tmp_path: Path) -> None:
    """As after Ctrl-C in a notebook, though a callback has changed the rate."""

    def used() -> callbacks.Callback:
        return callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)

    whole = fit(model_of(), used())
    model = model_of()
    for at in (3, 11, 20):
        with pytest.raises(Stop):
            fit(model, used(), StopAt(at), checkpoint=tmp_path, checkpoint_freq=1)
    assert fit(model, used(), NEVER, checkpoint=tmp_path) == whole


def test_a_second_fit_of_a_trained_model(tmp_path: Path) -> None:
    """The order of the rows goes on after that of the first."""
    model = model_of()
    fit(model)
    whole = fit(model)
    model = model_of()
    fit(model)
    with pytest.raises(Stop):
        fit(model, StopAt(30), checkpoint=tmp_path, checkpoint_freq=1)
    assert fit(model_of(seed=4), NEVER, checkpoint=tmp_path) == whole


def test_the_seed_of_the_checkpoint_wins(tmp_path: Path) -> None:
    interrupted(5, tmp_path)
    model, other = model_of(seed=8), model_of()
    fit(model, NEVER, checkpoint=tmp_path)
    assert model._network.state is not None and other._network.state is not None
    assert model._network.state.seed == other._network.state.seed


# ------------------------------------------------------------------------- the end


def test_the_same_call_after_the_end_trains_no_more(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True)
    options = {"validation_split": 0.3, "epochs": 30}
    whole = fit(model_of(), stop, checkpoint=tmp_path, **options)
    assert len(whole[0]["loss"]) < 30
    again, model = callbacks.EarlyStopping("loss", patience=1), model_of(seed=7)

    def never() -> None:
        raise AssertionError("a hook was called")

    again.on_epoch_begin = again.on_train_end = never  # type: ignore[assignment]
    assert fit(model, again, checkpoint=tmp_path, verbose=2, **options) == whole
    assert "nothing is left to train" in capsys.readouterr().out
    assert model.history is not None and model.history.epoch == list(
        range(len(whole[0]["loss"]))
    )
    assert (again.best, again.stopped_epoch) == (stop.best, stop.stopped_epoch)
    # More epochs are no reason to go on where a callback had ended it.
    options["epochs"] = 40
    assert fit(model_of(), again, checkpoint=tmp_path, **options) == whole


def test_more_epochs_go_on(engine: str, tmp_path: Path) -> None:
    """Also where on_train_end had put other weights into the model."""

    def stop() -> callbacks.Callback:
        return callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)

    whole = fit(model_of(), stop(), epochs=6)
    fit(model_of(), stop(), epochs=3, checkpoint=tmp_path)
    assert fit(model_of(seed=5), stop(), epochs=6, checkpoint=tmp_path) == whole


def test_fewer_epochs_are_refused(tmp_path: Path) -> None:
    fit(model_of(), epochs=3, checkpoint=tmp_path)
    model = model_of()
    before = snapshot(model)
    with pytest.raises(
        CheckpointError,
        match=r"belongs to a later epoch. Received: epochs=2, and a checkpoint of "
        "epoch 3. Try epochs=3, or another folder",
    ):
        fit(model, epochs=2, checkpoint=tmp_path)
    assert snapshot(model)[0] == before[0]


def test_backup_and_restore_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    whole = fit(model_of())
    with pytest.raises(Stop):
        fit(model_of(), callbacks.BackupAndRestore(folder, 2), StopAt(13))
    assert sorted(os.listdir(folder)) == ["checkpoint-0.kurve", "checkpoint.lock"]
    backup = callbacks.BackupAndRestore(folder, "epoch", double_checkpoint=True)
    assert fit(model_of(seed=3), backup, NEVER) == whole
    assert os.listdir(tmp_path / "a") == []


def test_backup_and_restore_deletes_only_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    fit(model_of(), callbacks.BackupAndRestore(tmp_path))
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_backup_and_restore_can_keep(tmp_path: Path) -> None:
    def backup() -> callbacks.Callback:
        return callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)

    whole = fit(model_of(), backup())
    assert fit(model_of(seed=3), backup()) == whole


def test_how_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 steps in 3 epochs; one write before the first, one after the last."""

    def written(freq: Any) -> int:
        folder = tmp_path / str(freq)
        fit(model_of(), checkpoint=folder, checkpoint_freq=freq)
        return max(info_of(path)["sequence"] for path in folder.glob("*.kurve"))

    assert written("epoch") == 2 + 3
    assert written(5) == 2 + 4
    assert written("auto") == 2
    assert written(False) == 2
    monkeypatch.setattr(keepers, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(keepers, "MAX_FRACTION", np.inf)
    monkeypatch.setattr(keepers, "POLL_SECONDS", 0.0)
    (tmp_path / "auto").rename(tmp_path / "before")
    assert written("auto") == 2 + 24 + 3


# ------------------------------------------------------------------------- callbacks


def test_csv_logger_writes_no_line_twice(tmp_path: Path) -> None:
    def used(name: str) -> list[callbacks.Callback]:
        return [
            callbacks.CSVLogger(tmp_path / name),
            callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=1.0),
        ]

    fit(model_of(), *used("whole.csv"), epochs=6)
    with pytest.raises(Stop):
        fit(
            model_of(),
            *used("log.csv"),
            StopAt(37),
            epochs=6,
            checkpoint=tmp_path / "folder",
            checkpoint_freq=20,
        )
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5
    fit(model_of(), *used("log.csv"), NEVER, epochs=6, checkpoint=tmp_path / "folder")
    whole = (tmp_path / "whole.csv").read_bytes()
    assert (tmp_path / "log.csv").read_bytes() == whole


def test_csv_logger_whose_file_has_gone(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    with pytest.raises(Stop):
        fit(
            model_of(),
            callbacks.CSVLogger(log),
            StopAt(14),
            checkpoint=tmp_path / "folder",
            checkpoint_freq=1,
        )
    log.unlink()
    with pytest.warns(RuntimeWarning, match=r"log.csv' has lost lines since the check"):
        fit(model_of(), callbacks.CSVLogger(log), NEVER, checkpoint=tmp_path / "folder")
    assert len(log.read_text().splitlines()) == 2


def test_a_callback_is_told_that_the_fit_goes_on(tmp_path: Path) -> None:
    seen = []

    class Told(callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            seen.append(self.params.get("resumed"))

    with pytest.raises(Stop):
        fit(model_of(), Told(), StopAt(4), checkpoint=tmp_path, checkpoint_freq=1)
    fit(model_of(), Told(), NEVER, checkpoint=tmp_path)
    assert seen == [None, True]


def test_terminate_on_nan_ends_the_same_way(tmp_path: Path) -> None:
    """Killed in the validation that follows the step that was not finite."""

    class StopInTest(callbacks.Callback):
        batches = 0

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.batches += 1
            if self.batches == 2:
                raise Stop

    def run(*used: callbacks.Callback, **options: Any) -> Any:
        model = model_of(optimizer=optimizers.SGD(1e30))
        found = fit(
            model,
            callbacks.TerminateOnNaN(),
            *used,
            validation_data=(X, Y),
            validation_batch_size=20,
            **options,
        )
        return repr(found)

    quiet = StopInTest()
    quiet.batches = 9
    whole = run(quiet)
    with pytest.raises(Stop):
        run(StopInTest(), checkpoint=tmp_path, checkpoint_freq="auto")
    assert run(quiet, checkpoint=tmp_path) == whole


def test_without_that_callback_divergence_is_an_error_again(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(NonFiniteError):
            fit(model_of(optimizer=optimizers.SGD(1e30)), checkpoint=tmp_path)


class Remembers(callbacks.Callback):
    """Returns a state of one's choice."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state

    def get_state(self) -> Any:
        return self.state


def test_a_state_that_no_file_can_hold_is_refused_before_the_first_step(
    tmp_path: Path,
) -> None:
    model = model_of()
    with pytest.raises(TypeError) as caught:
        fit(model, Remembers({"seen": [1, {2, 3}]}), checkpoint=tmp_path)
    assert str(caught.value) == (
        "[fit] a checkpoint can hold numbers, strings, None, lists, tuples, "
        "dictionaries and NumPy arrays of numbers, 8 levels deep. Received: "
        "callback 0 (Remembers)['seen'][1] of type set. "
        "Try a get_state that returns a dictionary of these."
    )
    assert model.iterations == 0


VALUES = [
    {"a": None, "b": [True, 3, -(2**80), "text \u00e9"], 7: (1.5, ()), None: {}},
    [1e-310, -0.0, 2**62] + [0.1] * 20,
    [0.1] * 9,
    [float("nan"), float("inf"), -float("inf")] * 4,
    list(range(-5, 9)),
    [np.float32(0.1)] * 8,
    [np.float64(0.1), np.int8(-3), np.bool_(True)],
    {"$tuple": 3},
    {"x": {"$float": {}}},
    [],
    {},
    [2**70] * 9,
    ["", "$list"],
    np.arange(6.0).reshape(2, 3).T,
    np.array(3, np.int8),
    np.zeros((0, 4), np.float16),
    np.array([[True], [False]]),
    np.arange(3, dtype=np.uint64),
    {(1, "a"): 2},
]


def same(a: Any, b: Any) -> bool:
    """Equal in type, structure and every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(map(repr, a)) == list(map(repr, b)) and all(
            same(a[k], b[k]) for k in a
        )
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return repr(a) == repr(b)


@pytest.mark.parametrize("value", VALUES, ids=lambda v: repr(v)[:40])
def test_values_come_back_with_every_bit(tmp_path: Path, value: Any) -> None:
    from kurve.saving import read, write

    tensors: dict[str, np.ndarray] = {}
    entry = encode(value, "v", tensors)
    write(tmp_path / "v.kurve", {"v": entry}, tensors)
    info, found = read(tmp_path / "v.kurve")
    assert same(decode(info["v"], found), value)


class Odd(float):
    pass


@pytest.mark.parametrize(
    "value",
    [{1, 2}, 1j, np.array(["a"]), np.array([1j]), Odd(1.0), object(), b"raw", len],
    ids=lambda v: type(v).__name__,
)
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"Received: here\['k'\] of type "):
        encode({"k": value}, "here", {})


def test_values_that_hold_themselves_are_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(TypeError, match="8 levels deep"):
        encode(value, "here", {})


# ------------------------------------------------------------------------- refusals


def other_layers() -> Sequential:
    utils.set_random_seed(1)
    model = Sequential([Input((2,)), layers.Dense(6, "relu"), layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def frozen() -> Sequential:
    model = model_of()
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    return model


CHANGES: list[tuple[str, Callable[[], Sequential], dict[str, Any]]] = [
    ("data: x has different values", model_of, {"x": X + 1e-6}),
    ("data: y has different values", model_of, {"y": Y[::-1]}),
    ("data: x: shape[0] was 60, and is 59", model_of, {"x": X[:59], "y": Y[:59]}),
    (
        "arguments: batches has different values",
        model_of,
        {"batch_size": None, "steps_per_epoch": 8},
    ),
    ("data: weights is new", model_of, {"sample_weight": WEIGHTS}),
    ("validation is new", model_of, {"validation_data": (X, Y)}),
    ("arguments: steps was 8, and is 15", model_of, {"batch_size": 4}),
    ("arguments: steps was 8, and is 5", model_of, {"steps_per_epoch": 5}),
    ("arguments: shuffle was true, and is false", model_of, {"shuffle": False}),
    ("arguments: initial_epoch was 0, and is 1", model_of, {"initial_epoch": 1}),
    (
        "arguments: validation_freq was 1, and is [1, 2]",
        model_of,
        {"validation_freq": [1, 2]},
    ),
    ("model: layers[0]: output[0] was 6, and is 7", lambda: model_of(units=7), {}),
    ("model: layers were 3, and are 2", other_layers, {}),
    (
        "model: layers[0]: weights: kernel: trainable was true, and is false",
        frozen,
        {},
    ),
    (
        'model: optimizer: kind was "adam", and is "nadam"',
        lambda: model_of(optimizer="nadam"),
        {},
    ),
    (
        "learning rate was 0.001, and is 0.1",
        lambda: model_of(optimizer=optimizers.Adam(0.1)),
        {},
    ),
    ("model: metrics were 0, and are 1", lambda: model_of(metrics=["mae"]), {}),
]


@pytest.mark.parametrize(
    ("text", "make", "options"), CHANGES, ids=[c[0] for c in CHANGES]
)
def test_another_call_is_refused_by_name(
    tmp_path: Path, text: str, make: Callable[[], Sequential], options: dict[str, Any]
) -> None:
    """By every argument, and nothing is changed."""
    interrupted(5, tmp_path)
    model = make()
    before = snapshot(model)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointError) as caught:
        fit(model, NEVER, checkpoint=tmp_path, **options)
    assert str(caught.value) == (
        f"[fit] the checkpoint in {str(tmp_path)!r} belongs to a different call. "
        f"Received: {text}. Try the same call as before, another folder, or "
        "deleting this one to start over."
    )
    assert snapshot(model)[0] == before[0]
    assert model.iterations == 0 and model.history is None
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_other_callbacks_are_refused(tmp_path: Path) -> None:
    interrupted(5, tmp_path)
    with pytest.raises(CheckpointError, match="Received: callbacks were 2, and are 1"):
        fit(model_of(), checkpoint=tmp_path)


def test_another_engine_or_version_of_the_numbers_is_refused(
    native: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kurve
    from kurve.training.checkpoints import identity

    kurve.set_engine("reference")
    interrupted(5, tmp_path)
    kurve.set_engine("native")
    text = 'engine was "reference", and is "native"'
    with pytest.raises(CheckpointError, match=text):
        fit(model_of(), NEVER, checkpoint=tmp_path)
    kurve.set_engine("reference")
    monkeypatch.setattr(identity, "NUMERICS", 999)
    with pytest.raises(CheckpointError, match=r"numerics version was .*, and is 999"):
        fit(model_of(), NEVER, checkpoint=tmp_path)


def test_another_processor_is_warned_of(
    native: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kurve

    kurve.set_engine("native")
    interrupted(5, tmp_path)
    monkeypatch.setattr(keepers.Checkpointer, "_instruction_set", lambda self: "neon")
    with pytest.warns(RuntimeWarning, match="on a processor with x86-64-v"):
        fit(model_of(), NEVER, checkpoint=tmp_path)


def test_differences_in_words() -> None:
    assert difference({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}) is None
    assert difference({"a": 1}, {}) == "a is missing now"
    long = difference("x" * 99, "y")
    assert long is not None and len(long) < 99


# ------------------------------------------------------------------------- the folder


def test_a_folder_in_use_is_refused_at_once(tmp_path: Path) -> None:
    """By another fit of this process, and by another process."""

    class Again(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with pytest.raises(CheckpointInUseError) as caught:
                fit(model_of(), checkpoint=tmp_path)
            assert str(caught.value) == (
                "[fit] only one fit at a time can use a checkpoint folder. "
                f"Received: {str(tmp_path)!r}, in use by another fit or process. Try "
                "another folder, or wait until it has ended."
            )
            code = (
                "import numpy as np, kurve, sys\n"
                "m = kurve.Sequential([kurve.layers.Dense(1)]); m.compile()\n"
            ).replace("m.compile()", "m.compile(loss='mse')")
            code += "m.fit(np.ones(9), np.ones(9), verbose=0, checkpoint=sys.argv[1])"
            done = subprocess.run(
                [sys.executable, "-c", code, str(tmp_path)],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 1
            assert "CheckpointInUseError" in done.stderr

    fit(model_of(), Again(), epochs=1, checkpoint=tmp_path)
    fit(model_of(), Again(), epochs=1, checkpoint=tmp_path)


def test_a_damaged_newest_checkpoint_falls_back(engine: str, tmp_path: Path) -> None:
    whole = fit(model_of())
    interrupted(9, tmp_path)
    newest = max(tmp_path.glob("*.kurve"), key=lambda p: info_of(p)["sequence"])
    good = newest.read_bytes()
    for damaged in (good[:-1], good[:40], b"", good[:-1] + bytes([good[-1] ^ 1])):
        newest.write_bytes(damaged)
        with (
            pytest.warns(
                RuntimeWarning,
                match=r"checkpoint-\d.kurve' cannot be read .* Training resumes from ",
            ),
            pytest.raises(Stop),
        ):
            fit(model_of(), StopAt(10), checkpoint=tmp_path, checkpoint_freq=99)
    with pytest.warns(RuntimeWarning, match="cannot be read"):
        assert fit(model_of(), NEVER, checkpoint=tmp_path) == whole


def test_only_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    interrupted(9, tmp_path)
    for path in tmp_path.glob("*.kurve"):
        path.write_bytes(b"nothing")
    with pytest.raises(
        CheckpointError,
        match=r"no checkpoint in .* can be read. Received: .*checkpoint-0.*checkpoint-1"
        r".*Try another folder, or deleting this one to start over",
    ):
        fit(model_of(), NEVER, checkpoint=tmp_path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    from kurve.saving import write

    write(tmp_path / "checkpoint-0.kurve", {"sequence": 1}, {})
    with pytest.raises(
        CheckpointError, match=r"cannot resume from .*Received: KeyError"
    ):
        fit(model_of(), checkpoint=tmp_path)


def test_a_folder_that_cannot_be_written_to_is_an_error_before_the_first_step(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    model = model_of()
    with pytest.raises(OSError, match="file"):
        fit(model, checkpoint=tmp_path / "file")
    assert model.iterations == 0


# ------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"checkpoint": ""}, ValueError, "[fit] checkpoint must name a folder."),
        ({"checkpoint": 3}, TypeError, "[fit] checkpoint must name a folder."),
        (
            {"checkpoint": "c", "checkpoint_freq": "batch"},
            ValueError,
            "[fit] checkpoint_freq must be 'auto', 'epoch', a number of steps above 0, "
            "or False. Received: 'batch'. Try checkpoint_freq='epoch'.",
        ),
        (
            {"checkpoint": "c", "checkpoint_freq": 0},
            ValueError,
            "[fit] checkpoint_freq",
        ),
        (
            {"checkpoint": "c", "checkpoint_freq": True},
            ValueError,
            "[fit] checkpoint_f",
        ),
        (
            {"checkpoint": "c", "callbacks": [callbacks.BackupAndRestore("d")]},
            ValueError,
            "[fit] only one checkpoint folder can be used. Received: 'd', 'c'.",
        ),
    ],
)
def test_wrong_arguments(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    kind: type[Exception],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = model_of()
    before = snapshot(model)
    with pytest.raises(kind) as caught:
        model.fit(X, Y, verbose=0, **options)
    assert str(caught.value).startswith(text)
    assert "Try " in str(caught.value)
    assert snapshot(model) == before
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ([""], ValueError, "[BackupAndRestore] backup_dir must name a folder."),
        ([None], TypeError, "[BackupAndRestore] backup_dir must name a folder."),
        (["d", "batch"], ValueError, "[BackupAndRestore] save_freq must be 'auto', "),
    ],
)
def test_wrong_arguments_of_the_callback(
    arguments: list[Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        callbacks.BackupAndRestore(*arguments)
    assert str(caught.value).startswith(text)


def test_an_ensemble_has_no_checkpoints(tmp_path: Path) -> None:
    committee = ensemble(model_of(), members=2)
    for options in (
        {"checkpoint": tmp_path},
        {"callbacks": callbacks.BackupAndRestore(tmp_path)},
    ):
        with pytest.raises(
            TypeError, match=r"members that train in parallel cannot write"
        ):
            committee.fit(X, Y, verbose=0, **options)


def test_in_another_thread(tmp_path: Path) -> None:
    """No handler of signals can be put in there, and none is."""
    whole, found = fit(model_of()), []
    thread = threading.Thread(
        target=lambda: found.append(fit(model_of(), checkpoint=tmp_path))
    )
    thread.start()
    thread.join()
    assert found == [whole]


def test_what_the_user_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(12, tmp_path)
    fit(model_of(), NEVER, checkpoint=tmp_path, verbose=2)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == (
        f"Found a checkpoint in {str(tmp_path)!r}: resuming at epoch 2, step 4."
    )
    assert out[1].startswith("Epoch 2/3 - 8/8 - ")
