"""`kurve.solvers.linear` against NumPy, compiled and not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, solvers, utils
from kurve.layers import Dense
from kurve.solvers import linear
from kurve.solvers.attempts import fast
from kurve.solvers.derivatives import Derivatives
from kurve.solvers.problems import Formula, FormulaProblem, unchanged

EPS = float(np.finfo(np.float64).eps)


@pytest.fixture(params=["compiled", "numpy"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(linear, "COMPILED", False)
    elif not linear.COMPILED:
        pytest.skip("kurve was installed without its compiled core")
    return request.param


@pytest.fixture
def threads() -> Iterator[None]:
    if not linear.COMPILED:
        pytest.skip("kurve was installed without its compiled core")
    before = kurve.get_threads()
    yield
    kurve.set_threads(before)


def positive(size: int, condition: float = 1e3, seed: int = 0) -> np.ndarray:
    """A symmetric matrix with eigenvalues from 1 down to 1 / condition."""
    random = np.random.default_rng(seed + size)
    q, _ = np.linalg.qr(random.normal(size=(size, size)))
    a = q * np.geomspace(1.0, 1.0 / condition, size) @ q.T
    return (a + a.T) / 2.0


def with_junk_below(a: np.ndarray) -> np.ndarray:
    """The same upper triangle above numbers that must not be read."""
    return np.triu(a) + np.tril(np.full_like(a, 1e9), -1)


def jacobian(
    n: int, size: int, gaps: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(n + size)
    rows = random.normal(size=(n, size + gaps)).astype(np.float32)
    columns = np.sort(random.permutation(size + gaps)[:size])
    return rows, random.uniform(0.0, 2.0, n), columns


@pytest.mark.parametrize("gaps", [0, 1, 40])
@pytest.mark.parametrize("n", [1, 5, 128, 300])
def test_products_of_a_jacobian(kind: str, n: int, gaps: int) -> None:
    random = np.random.default_rng(1)
    for size in (1, 7, 16, 33, 64, 97, 150):
        rows, sqrt_weights, columns = jacobian(n, size, gaps)
        matrix = rows[:, columns].astype(np.float64) * sqrt_weights[:, None]
        r, d = random.normal(size=n), random.normal(size=size)
        j = linear.Jacobian(rows, sqrt_weights, columns)
        gram = np.triu(np.ones((size, size)))
        j.add_gram(gram)
        np.testing.assert_allclose(
            np.triu(gram - 1.0), np.triu(matrix.T @ matrix), rtol=0, atol=1e-12 * n
        )
        np.testing.assert_allclose(j.vjp(r), matrix.T @ r, rtol=0, atol=1e-13 * n)
        np.testing.assert_allclose(j.jvp(d), matrix @ d, rtol=0, atol=1e-13 * size)


def test_every_size_is_solved(kind: str) -> None:
    """Against a known solution, and at some sizes also against NumPy's solution, whose
    threads are slow on small matrices."""
    largest = positive(200)
    for size in range(1, 201, 1 if kind == "compiled" else 33):
        a, random = largest[:size, :size], np.random.default_rng(size)
        x, shift = random.normal(size=size), random.uniform(0.0, 1e-2, size)
        b = np.einsum("ij,j->i", a, x)
        assert linear.quadratic_form(with_junk_below(a), x) == pytest.approx(
            np.sum(x * b), rel=1e-9
        )
        factor = linear.cholesky(with_junk_below(a), shift)
        assert factor is not None
        result = factor.solve(b + shift * x)
        assert np.sum((result - x) ** 2) < (1e5 * EPS) ** 2 * np.sum(x**2)
        if size % 33 == 1 or size > 198:
            matrix = a + np.diag(shift)
            exact = np.linalg.solve(matrix, b)
            np.testing.assert_allclose(factor.solve(b), exact, atol=1e-10)
            inverse = np.diag(np.linalg.inv(matrix))
            np.testing.assert_allclose(factor.inverse_diagonal(), inverse, rtol=1e-10)


@pytest.mark.parametrize("condition", [1e6, 1e10, 1e14])
@pytest.mark.parametrize("size", [10, 65, 200])
def test_ill_conditioned_matrices(kind: str, size: int, condition: float) -> None:
    """The residual is small whatever the condition; the solution has the digits that
    the condition leaves (Higham 2002, theorem 10.4)."""
    a = positive(size, condition)
    x = np.random.default_rng(size).normal(size=size)
    factor = linear.cholesky(with_junk_below(a), 0.0)
    assert factor is not None
    b = a @ x
    result = factor.solve(b)
    assert np.linalg.norm(a @ result - b) < 1e3 * EPS * np.linalg.norm(result)
    if condition < 1e14:
        error = np.linalg.norm(result - x) / np.linalg.norm(x)
        assert error < 10.0 * size * condition * EPS
        np.testing.assert_allclose(
            factor.inverse_diagonal(),
            np.diag(np.linalg.inv(a)),
            rtol=100.0 * size * condition * EPS,
        )


@pytest.mark.parametrize("size", [1, 20, 64, 65, 150])
def test_matrices_that_are_not_positive_definite(kind: str, size: int) -> None:
    for at in {0, size // 2, size - 1}:
        for bad in (0.0, -1.0, np.nan, np.inf):
            a = np.eye(size)
            a[at, at] = bad
            before = a.tobytes()
            assert linear.cholesky(a, 0.0) is None
            assert a.tobytes() == before
    semi = np.ones((size, size))
    assert (linear.cholesky(semi, 0.0) is None) == (size > 1)
    assert linear.cholesky(semi, 1e-6) is not None


def test_dot(kind: str) -> None:
    for n in (0, 1, 3, 8, 31, 64, 1000):
        x, y = np.random.default_rng(n).normal(size=(2, n))
        assert linear.dot(x, y) == pytest.approx(float(np.sum(x * y)), abs=1e-13 * n)


def test_the_same_bits_for_any_number_of_threads(threads: None) -> None:
    """At sizes at which every loop runs on several threads."""
    size, n = 1000, 2600
    rows, sqrt_weights, columns = jacobian(n, size, 8)
    seen = set()
    for number in (1, 2, 4):
        kurve.set_threads(number)
        j = linear.Jacobian(rows, sqrt_weights, columns)
        gram = np.zeros((size, size))
        j.add_gram(gram)
        factor = linear.cholesky(gram, 1e-3)
        assert factor is not None
        gradient = j.vjp(sqrt_weights)
        results = (
            np.triu(gram),
            gradient,
            j.jvp(gradient),
            factor.solve(gradient),
            factor.inverse_diagonal(),
        )
        seen.add(b"".join(result.tobytes() for result in results))
    assert len(seen) == 1


def test_blocks_of_rows_add_up_to_the_same_bits(threads: None) -> None:
    rows, sqrt_weights, columns = jacobian(300, 50)
    matrix, parts = np.zeros((50, 50)), np.zeros((50, 50))
    linear.Jacobian(rows, sqrt_weights, columns).add_gram(matrix)
    for part in (slice(0, 37), slice(37, 190), slice(190, 300)):
        linear.Jacobian(rows[part], sqrt_weights[part], columns).add_gram(parts)
    assert np.triu(matrix).tobytes() == np.triu(parts).tobytes()


@pytest.mark.parametrize("n", [1, 3, 256, 257, 1000])
def test_qr_of_columns(kind: str, n: int) -> None:
    random = np.random.default_rng(n)
    for count in (1, 2, 5, 9):
        columns = (
            random.normal(size=(count, n)) * np.geomspace(1.0, 1e8, count)[:, None]
        )
        multipliers = random.uniform(0.5, 2.0, count)
        r, norms = linear.qr(columns, multipliers)
        a = columns * multipliers[:, None]
        size = np.linalg.norm(a, axis=1)
        np.testing.assert_allclose(norms, size, rtol=1e-12)
        result, expected = r.T @ r, a @ a.T
        np.testing.assert_allclose(
            result, expected, rtol=0, atol=1e-12 * size.max() ** 2
        )
        assert (np.abs(result - expected) <= 1e-12 * np.outer(size, size)).all()
        assert (np.tril(r, -1) == 0.0).all()


@pytest.mark.parametrize("parameters", [1, 2, 3, 6, 20])
def test_steps_within_a_radius(kind: str, parameters: int) -> None:
    """The damped normal equations, with the damping that gives a step this length."""
    random = np.random.default_rng(parameters)
    a = random.normal(size=(40, parameters)) * np.geomspace(1.0, 1e4, parameters)
    y, scale = random.normal(size=40), random.uniform(0.5, 2.0, parameters)
    r, _ = linear.qr(np.array([*a.T, y]), np.ones(parameters + 1))
    svd = linear.ScaledSVD(r, scale, 1e-14)
    s = np.linalg.svd(a / scale, compute_uv=False)
    np.testing.assert_allclose(np.sort(svd.s)[::-1], s, rtol=1e-12)
    exact = -np.linalg.lstsq(a, y, rcond=None)[0]
    step, length, predicted, damping = svd.trust_region_step(np.inf)
    np.testing.assert_allclose(step, exact, rtol=1e-9)
    assert damping == 0.0
    assert length == pytest.approx(np.linalg.norm(scale * exact))
    fall = 0.5 * (y @ y - np.sum((y + a @ exact) ** 2))
    assert predicted == pytest.approx(fall)
    assert svd.projected_norm == pytest.approx(np.linalg.norm(a @ exact))
    for radius in (0.5 * length, 1e-3 * length):
        step, size, predicted, damping = svd.trust_region_step(radius)
        assert 0.999 * radius < size <= 1.1 * radius and damping > 0.0
        assert size == pytest.approx(np.linalg.norm(scale * step))
        gram = a.T @ a + damping * np.diag(scale**2)
        np.testing.assert_allclose(step, -np.linalg.solve(gram, a.T @ y), rtol=1e-6)
        fall = 0.5 * (y @ y - np.sum((y + a @ step) ** 2))
        assert predicted == pytest.approx(fall, rel=1e-6)


def test_held_parameters_and_those_without_influence_do_not_move(kind: str) -> None:
    random = np.random.default_rng(3)
    a, y = random.normal(size=(30, 4)), random.normal(size=30)
    a[:, 2] = 0.0
    r, norms = linear.qr(np.array([*a.T, y]), np.ones(5))
    scale = norms[:-1].copy()
    scale[1] = np.inf
    step, *_ = linear.ScaledSVD(r, scale, 1e-14).trust_region_step(np.inf)
    exact = -np.linalg.lstsq(a[:, [0, 3]], y, rcond=None)[0]
    np.testing.assert_allclose(step, [exact[0], 0.0, 0.0, exact[1]], atol=1e-12)


CURVES = {
    "line": (lambda x, a, b: a * x + b, [2.0, 1.0], [1.0, 1.0]),
    "decay": (lambda x, a, b, c: a * np.exp(-b * x) + c, [2.5, 1.3, 0.5], [1, 1, 1]),
    "wave": (lambda x, a, b, c: a * np.sin(b * x + c), [2.0, 1.5, 0.3], [1.0, 1.4, 0]),
    "pole": (lambda x, a, b: a * x / (b + x), [10.0, 1.5], [1.0, 1.0]),
    "nothing": (lambda x, a, b: a * x + 0.0 * b, [2.0, 1.0], [1.0, 1.0]),
    "away": (lambda x, a, b: a * np.exp(b * x), [2.0, 1.0], [1.0, 40.0]),
}


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("name", CURVES)
def test_the_compiled_loop_equals_the_other(
    name: str, noise: float, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    f, truth, p0 = CURVES[name]
    x = np.linspace(0.1, 4.0, 60)
    y = f(x, *truth) + noise * np.random.default_rng(0).normal(size=60)
    y, ended = np.asarray(y), []
    for compiled in (True, False):
        monkeypatch.setattr(linear, "COMPILED", compiled)
        formula = Formula(f, x, y.shape)
        bounds = np.full((2, len(p0)), np.inf) * [[-1.0], [1.0]]
        derivatives = Derivatives(formula, *bounds)
        problem = FormulaProblem(formula, y, unchanged, derivatives, *bounds)
        with np.errstate(all="ignore"):
            end = fast(problem, np.array(p0, float), 1000)
        assert end is not None
        ended.append((end, problem.calls))
    (one, calls), (other, other_calls) = ended
    assert one.stop.converged == other.stop.converged
    # The last step may depend on rounding, which depends on the instruction set.
    assert abs(calls - other_calls) <= 2
    if noise:
        assert one.linear == other.linear
    np.testing.assert_allclose(one.p, other.p, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        one.linearization.cost, other.linearization.cost, rtol=1e-6, atol=1e-20
    )
    np.testing.assert_allclose(
        one.linearization.norms, other.linearization.norms, rtol=1e-5, atol=1e-9
    )


def test_a_fit_has_the_same_bits_for_any_number_of_threads(threads: None) -> None:
    random = np.random.default_rng(0)
    x = np.linspace(0.0, 4.0, 30_000)
    y = 2.5 * np.exp(-1.3 * x) + 0.05 * random.normal(size=x.size)
    seen = set()
    for number in (1, 2, 4):
        kurve.set_threads(number)
        p, covariance = kurve.curve_fit(lambda x, a, b: a * np.exp(-b * x), x, y)
        seen.add(p.tobytes() + covariance.tobytes())
    assert len(seen) == 1


def test_wrong_arrays_are_rejected(threads: None) -> None:
    rows, sqrt_weights, columns = jacobian(5, 3)
    for wrong in (columns[::-1].copy(), columns + 1, columns - 1):
        with pytest.raises(ValueError, match="columns must ascend"):
            linear.Jacobian(rows, sqrt_weights, wrong)
    with pytest.raises(ValueError, match="sqrt_weights must have"):
        linear.Jacobian(rows, sqrt_weights[1:], columns)
    j = linear.Jacobian(rows, sqrt_weights, columns)
    with pytest.raises(ValueError, match="gram must have"):
        j.add_gram(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="must be square"):
        j.add_gram(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="r must have"):
        j.vjp(np.zeros(4))
    with pytest.raises(TypeError):
        j.add_gram(np.zeros((3, 3), np.float32))


@pytest.mark.parametrize("regularization", [None, "bayesian"])
def test_a_network_is_fitted_with_either(
    regularization: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first steps agree; rounding sends later ones along another path."""
    if not linear.COMPILED:
        pytest.skip("kurve was installed without its compiled core")
    x = np.linspace(-2.0, 2.0, 80)
    histories = []
    for compiled in (True, False):
        monkeypatch.setattr(linear, "COMPILED", compiled)
        utils.set_random_seed(3)
        model = Sequential([Input((1,)), Dense(6, "tanh"), Dense(1)])
        result = solvers.levenberg_marquardt(
            model, x, np.sin(2.0 * x), regularization=regularization, max_iterations=8
        )
        histories.append(result.history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-4)
