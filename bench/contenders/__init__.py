"""The contenders: one module each, with a class `Contender`.

    Contender(**options)     imports its library
    .versions                {name: version}
    .prepare(case)           a model with `case.weights()`, its data
    .train(steps)            starts with the first row
    .predict(x) -> (n, 1)    in the fastest way that the library offers
    .keras_epsilon(on)       only if its Adam adds epsilon elsewhere: use Keras's
    formula

The names here are those in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ONE_THREAD = {
    "KURVE_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NPROC": "1",  # XLA's pool
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


@dataclass(frozen=True)
class Entry:
    """The module of a contender, and how its process is started."""

    module: str
    options: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def _keras(backend: str, **options: object) -> Entry:
    return Entry("bench.contenders.by_keras", options, {"KERAS_BACKEND": backend})


ENTRIES: dict[str, Entry] = {
    "Kurve": Entry("bench.contenders.by_kurve"),
    "Kurve reference (NumPy)": Entry(
        "bench.contenders.by_kurve", {"engine": "reference"}
    ),
    "PyTorch": Entry("bench.contenders.by_torch"),
    "PyTorch compiled": Entry("bench.contenders.by_torch", {"compiled": True}),
    "PyTorch, channels last": Entry(
        "bench.contenders.by_torch", {"channels_last": True}
    ),
    "JAX": Entry("bench.contenders.by_jax"),
    "Keras on JAX": _keras("jax"),
    "Keras on JAX, 10 steps a call": _keras("jax", steps_per_execution=10),
    "Keras on TensorFlow": _keras("tensorflow"),
    "Keras on TensorFlow, 10 steps a call": _keras(
        "tensorflow", steps_per_execution=10
    ),
    "Keras on PyTorch": _keras("torch"),
    "scikit-learn": Entry("bench.contenders.by_sklearn"),
    "ceilings": Entry("bench.ceilings"),
    "ceilings beside": Entry("bench.ceilings"),
}

WHAT = {
    "Kurve": "`fit`, `predict`; the native engine",
    "Kurve reference (NumPy)": "the same with `engine='reference'`",
    "PyTorch": "eager, a loop in Python, `Adam(fused=True)`",
    "PyTorch compiled": "`torch.compile` of network and loss, `Adam(fused=True)`",
    "JAX": "all steps in one jitted loop, update by optax",
    "Keras on JAX": "`fit` with its defaults",
    "Keras on JAX, 10 steps a call": "`compile(steps_per_execution=10)`",
    "Keras on TensorFlow": "`fit` with its defaults",
    "Keras on TensorFlow, 10 steps a call": "`compile(steps_per_execution=10)`",
    "Keras on PyTorch": "`fit` with its defaults",
    "scikit-learn": "`MLPRegressor.partial_fit`",
}


def entry(name: str) -> Entry:
    """The entry of that name; the suffix ", 1 thread" gives its process one thread."""
    plain, _, threads = name.partition(", 1 thread")
    entry = ENTRIES[plain + threads]
    if plain + threads == name:
        return entry
    return Entry(entry.module, entry.options, entry.environment | ONE_THREAD)
