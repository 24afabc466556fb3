"""Ensembles: members that train in parallel cannot as each would alone."""

import signal
import threading

import numpy as np
import pytest

import kurve
from kurve import callbacks, layers, models
from kurve.errors import NonFiniteError

X = np.linspace(-1, 1, 60)
Y = np.sin(3 * X)


def model(engine: str, **compile_arguments: object) -> models.Sequential:
    net = models.Sequential(
        [layers.Dense(8, activation="tanh"), layers.Dropout(0.1), layers.Dense(1)]
    )
    net.compile("adam", "mse", engine=engine, **compile_arguments)
    return net


def same(a: models.Sequential, b: models.Sequential) -> bool:
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return all((u == v).all() for u, v in pairs)


def test_members_have_the_bits_of_their_own_fit(engine: str) -> None:
    kurve.utils.set_random_seed(4)
    together = kurve.ensemble(model(engine), members=3)
    kurve.utils.set_random_seed(4)
    alone = kurve.ensemble(model(engine), members=3)
    arguments = {"epochs": 4, "validation_split": 0.2, "verbose": 0}
    histories = together.fit(X, Y, **arguments)
    for history, a, b in zip(histories, together.members, alone.members, strict=True):
        assert history.history == b.fit(X, Y, **arguments).history
        assert same(a, b)
    assert not same(together.members[0], together.members[1])


def test_prediction_is_mean_and_deviation(engine: str) -> None:
    committee = kurve.ensemble(model(engine), members=4)
    committee.fit(X, Y, epochs=2, verbose=0)
    each = committee.predict_members(X)
    mean, deviation = committee.predict(X, return_std=True)
    assert each.shape == (4, 60, 1)
    np.testing.assert_array_equal(mean, each.mean(axis=0))
    np.testing.assert_array_equal(deviation, each.std(axis=0))
    np.testing.assert_array_equal(committee.predict(X), mean)


def test_normalization_is_copied_and_the_model_left_alone(engine: str) -> None:
    norm = layers.Normalization()
    norm.adapt(X * 5 + 2)
    net = models.Sequential([norm, layers.Dense(1)])
    net.compile("sgd", "mse", engine=engine)
    before = net.get_weights()
    committee = kurve.ensemble(net, members=2)
    committee.fit(X, Y, verbose=0)
    assert all((a == b).all() for a, b in zip(before, net.get_weights(), strict=True))
    for member in committee.members:
        np.testing.assert_array_equal(member.get_weights()[0], before[0])


def test_each_member_stops_early_by_itself(engine: str) -> None:
    committee = kurve.ensemble(model(engine), members=3)
    stop = callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=0.02)
    histories = committee.fit(X, Y, epochs=60, callbacks=stop, verbose=0)
    epochs = [len(history.epoch) for history in histories]
    assert max(epochs) < 60
    assert stop.model is None  # the callback given is a pattern, not a part


def test_bootstrap_gives_members_other_rows(engine: str) -> None:
    kurve.utils.set_random_seed(1)
    committee = kurve.ensemble(model(engine), members=2)
    start = committee.members[0].clone()
    committee.fit(X, Y, bootstrap=True, verbose=0, shuffle=False)
    plain = kurve.ensemble(start, members=1)
    plain.fit(X, Y, verbose=0, shuffle=False)
    losses = [member.history.history["loss"] for member in committee.members]
    assert losses[0] != losses[1]


def test_resampled_rows_are_as_many_as_there_are_rows() -> None:
    counts = kurve.core.rng.resample_counts(7, 5000)
    assert counts.sum() == 5000
    assert 0.35 < np.mean(counts == 0) < 0.39  # 1 / e


def test_weights_of_each_member(engine: str) -> None:
    weights = np.ones((2, 60))
    weights[1, 30:] = 0
    kurve.utils.set_random_seed(2)
    committee = kurve.ensemble(model(engine), members=2)
    kurve.utils.set_random_seed(2)
    alone = kurve.ensemble(model(engine), members=2)
    committee.fit(X, Y, sample_weight=weights, verbose=0)
    for member, weight in zip(alone.members, weights, strict=True):
        member.fit(X, Y, sample_weight=weight, verbose=0)
    assert all(map(same, committee.members, alone.members))


def test_a_member_that_overflows_is_named(engine: str) -> None:
    committee = kurve.ensemble(model(engine), members=2)
    committee.fit(X, Y, verbose=0)
    kept = committee.members[1].get_weights()
    weights = np.ones((2, 60), np.float32)
    weights[1] = 3e38
    with pytest.raises(NonFiniteError) as caught:
        committee.fit(X, Y * 1e3, sample_weight=weights, verbose=0)
    assert caught.value.__notes__ == ["This is member 1 of the ensemble."]
    now = committee.members[1].get_weights()
    assert all((a == b).all() for a, b in zip(kept, now, strict=True))


def test_interrupt_leaves_usable_members(engine: str) -> None:
    committee = kurve.ensemble(model(engine), members=4)
    x = np.linspace(-1, 1, 4000)
    committee.fit(x, x, verbose=0)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        committee.fit(x, x, epochs=100_000, verbose=0)
    assert np.isfinite(committee.predict(x)).all()
    committee.fit(x, x, verbose=0)


@pytest.mark.parametrize(
    ("call", "kind", "parts"),
    [
        (lambda net: kurve.ensemble(net, members=0), ValueError, "members must be at"),
        (
            lambda net: kurve.ensemble(models.Sequential([layers.Dense(1)])),
            RuntimeError,
            "must be compiled first",
        ),
        (
            lambda net: kurve.ensemble(net, 3).fit(
                X, Y, sample_weight=np.ones((2, 60))
            ),
            ValueError,
            r"\(60,\) or \(3, 60\)",
        ),
        (
            lambda net: kurve.ensemble(net, 3).fit(X, Y[:-1]),
            ValueError,
            "same number of rows",
        ),
    ],
)
def test_wrong_calls(call: object, kind: type[Exception], parts: str) -> None:
    with pytest.raises(kind, match=parts):
        call(model("reference"))  # type: ignore[operator]


def test_log_shows_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    kurve.ensemble(model("reference"), 2).fit(X, Y, epochs=3)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("2 members")
    assert "loss: " in line
