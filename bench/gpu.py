"""The torch engine and PyTorch's autograd in turn, on a GPU or on the CPU.

python -m bench.gpu                 on a GPU; writes docs/benchmarks/gpu.md and gpu.json
python -m bench.gpu --device cpu    on the CPU; writes docs/benchmarks/torch-on-cpu.md

Without a GPU, the first says so and ends. Nothing is downloaded: a wheel in dist/ is
unpacked to build/gpu, otherwise the importable package is used.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.gpu_networks import (
    NETWORKS,
    article,
    by_jax,
    by_kurve,
    by_torch,
    dense_by_jax,
    has_jax,
)

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "benchmarks"
PAGE = PAGES / "gpu.md"
ROUNDS = 9
CASES = {
    # name: inputs, hidden widths, batch, steps in a call
    "2 x 64, batch 32": (3, (64,) * 2, 32, 200),
    "7 x 256, batch 20": (3, (256,) * 7, 20, 100),
    "3 x 1024, batch 2048": (8, (1024,) * 3, 2048, 30),
}


def kurve_steps(
    engine: str, inputs: int, widths: tuple[int, ...], batch: int, steps: int
) -> Callable[[], float]:
    """Does the steps of one call and returns the mean loss."""
    import kurve
    from kurve.engines import Batches, Job, get_engine, run_job

    kurve.utils.set_random_seed(1)
    layers = [kurve.layers.Dense(width, "relu") for width in widths]
    model = kurve.Sequential([kurve.Input((inputs,)), *layers, kurve.layers.Dense(1)])
    model.compile("adam", "mse", engine=engine)
    program, state = model._network.program(), model._network.training_state()
    x, y, order = data(inputs, batch, steps)
    bounds = np.arange(steps + 1, dtype=np.int64) * batch
    rates = np.full(steps, 1e-3, np.float32)
    batches = Batches(x, y, None, order, bounds, rates)

    def run() -> float:
        totals = np.zeros(program.plan.totals_size)
        run_job(get_engine(engine), Job(program, state, batches, 0, steps, totals))
        return float(totals[0] / totals[1])

    return run


def torch_steps(
    device: str,
    compiled: bool,
    inputs: int,
    widths: tuple[int, ...],
    batch: int,
    steps: int,
) -> Callable[[], float]:
    """The same by a module, autograd and the fused Adam."""
    import torch

    parts: list[Any] = []
    for before, after in zip((inputs, *widths), widths, strict=False):
        parts += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    network = torch.nn.Sequential(*parts, torch.nn.Linear(widths[-1], 1)).to(device)
    adam = torch.optim.Adam(network.parameters(), 1e-3, eps=1e-7, fused=True)
    x, y, order = (torch.from_numpy(a).to(device) for a in data(inputs, batch, steps))

    def loss_of(rows: Any) -> Any:
        return torch.nn.functional.mse_loss(network(x[rows]), y[rows])

    forward = torch.compile(loss_of) if compiled else loss_of

    def run() -> float:
        total = torch.zeros((), device=device)
        for step in range(steps):
            loss = forward(order[step * batch : (step + 1) * batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.detach()
        return float(total) / steps

    return run


MEMBERS = {
    # name: members, inputs, hidden widths, batch, steps in a call
    "64 of 2 x 64, batch 32": (64, 3, (64,) * 2, 32, 200),
    "64 of 3 x 16, batch 32": (64, 3, (16,) * 3, 32, 200),
    "8 of 2 x 64, batch 32": (8, 3, (64,) * 2, 32, 200),
    "8 of 7 x 256, batch 20": (8, 3, (256,) * 7, 20, 50),
}


def ensemble_steps(
    engine: str,
    together: bool,
    count: int,
    inputs: int,
    widths: tuple[int, ...],
    batch: int,
    steps: int,
) -> Callable[[], float]:
    """Does the steps of all members and returns their mean loss."""
    import kurve
    from kurve.engines import Batches, Job, get_engine

    kurve.utils.set_random_seed(1)
    layers = [kurve.layers.Dense(width, "relu") for width in widths]
    model = kurve.Sequential([kurve.Input((inputs,)), *layers, kurve.layers.Dense(1)])
    model.compile("adam", "mse", engine=engine)
    x, y, order = data(inputs, batch, steps)
    bounds = np.arange(steps + 1, dtype=np.int64) * batch
    rates = np.full(steps, 1e-3, np.float32)
    jobs = []
    for m, member in enumerate(kurve.ensemble(model, count).members):
        program, state = member._network.program(), member._network.training_state()
        own = Batches(x, y, None, np.roll(order, m), bounds, rates)
        totals = np.zeros(program.plan.totals_size)
        jobs.append(Job(program, state, own, 0, steps, totals))

    def run() -> float:
        for job in jobs:
            job.totals[:] = 0.0
        for group in [jobs] if together else [[job] for job in jobs]:
            assert not any(get_engine(engine).train(group))
        return float(np.mean([job.totals[0] / job.totals[1] for job in jobs]))

    return run


def vmap_steps(
    device: str,
    count: int,
    inputs: int,
    widths: tuple[int, ...],
    batch: int,
    steps: int,
) -> Callable[[], float]:
    """The same by PyTorch's `vmap` of `grad`, and one fused Adam of stacked weights."""
    import torch
    from torch.func import functional_call, grad_and_value, stack_module_state, vmap

    def network() -> Any:
        parts: list[Any] = []
        for before, after in zip((inputs, *widths), widths, strict=False):
            parts += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        return torch.nn.Sequential(*parts, torch.nn.Linear(widths[-1], 1)).to(device)

    networks = [network() for _ in range(count)]
    weights, _ = stack_module_state(networks)
    adam = torch.optim.Adam(list(weights.values()), 1e-3, eps=1e-7, fused=True)
    x, y, order = (torch.from_numpy(a).to(device) for a in data(inputs, batch, steps))
    orders = torch.stack([order.roll(m) for m in range(count)])

    def loss_of(own: Any, rows: Any, wanted: Any) -> Any:
        found = functional_call(networks[0], own, (rows,))
        return torch.nn.functional.mse_loss(found, wanted)

    slopes = vmap(grad_and_value(loss_of))

    def run() -> float:
        total = torch.zeros((), device=device)
        for step in range(steps):
            rows = orders[:, step * batch : (step + 1) * batch]
            found, losses = slopes(weights, x[rows], y[rows])
            for name, weight in weights.items():
                weight.grad = found[name]
            adam.step()
            total += losses.mean().detach()
        return float(total) / steps

    return run


def data(inputs: int, batch: int, steps: int) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(1)
    x = random.normal(size=(batch * steps, inputs)).astype(np.float32)
    return x, np.sin(x.sum(1, keepdims=True)), random.permutation(len(x))


def replay_floor() -> float:
    """Milliseconds of a captured graph of 40 kernels that do almost nothing."""
    import torch

    x, graph = torch.zeros(1, device="cuda"), torch.cuda.CUDAGraph()
    x.add_(1)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for _ in range(40):
            x.add_(1)
    graph.replay()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(200):
        graph.replay()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / 200


Found = dict[str, dict[str, float]]
CLOCKS = (time.process_time, time.perf_counter)


def measured(device: str) -> tuple[Found, Found]:
    """Milliseconds a step, by case and program: of the processor, and by the clock."""
    found: tuple[Found, Found] = {}, {}
    for name, (inputs, widths, batch, steps) in CASES.items():
        if device == "cpu":
            steps = min(steps, 10_000 // batch)
        shape = inputs, widths, batch, steps
        programs = {
            "Kurve, torch engine": kurve_steps(f"torch:{device}", *shape),
            "PyTorch": torch_steps(device, False, *shape),
            "Kurve, native engine": kurve_steps("native", *shape),
        }
        if device != "cpu":
            programs["torch.compile"] = torch_steps(device, True, *shape)
            if has_jax(device):
                given = data(inputs, batch, steps)
                programs["JAX, jitted"] = dense_by_jax(*shape, given)
        measure(name, programs, steps, found)
    return found


def measured_networks(device: str) -> tuple[Found, Found]:
    """The same for networks with other layers."""
    found: tuple[Found, Found] = {}, {}
    for name, network in NETWORKS.items():
        programs = {
            "Kurve, torch engine": by_kurve(f"torch:{device}", network),
            "PyTorch": by_torch(device, False, network),
            "Kurve, native engine": by_kurve("native", network),
            "torch.compile": by_torch(device, True, network),
        }
        if has_jax(device):
            programs["JAX, jitted"] = by_jax(network)
        measure(name, programs, network.steps, found)
    return found


def measured_members(device: str) -> tuple[Found, Found]:
    """The same for a step of all members of an ensemble."""
    found: tuple[Found, Found] = {}, {}
    for name, (count, inputs, widths, batch, steps) in MEMBERS.items():
        if device == "cpu":
            steps = 20
        engine, shape = f"torch:{device}", (count, inputs, widths, batch, steps)
        programs = {
            "Kurve, torch engine": ensemble_steps(engine, True, *shape),
            "one by one": ensemble_steps(engine, False, *shape),
            "PyTorch's vmap": vmap_steps(device, *shape),
            "Kurve, native engine": ensemble_steps("native", True, *shape),
        }
        measure(name, programs, steps, found)
    return found


def measure(
    name: str,
    programs: dict[str, Callable[[], float]],
    steps: int,
    found: tuple[Found, Found],
) -> None:
    """Run all in turn, and note their times; what Kurve's compute must be equal."""
    times: dict[str, list[list[float]]] = {label: [] for label in programs}
    losses = {label: run() for label, run in programs.items()}
    ours = ("Kurve", "one by one")
    own = [loss for label, loss in losses.items() if label.startswith(ours)]
    np.testing.assert_allclose(losses["Kurve, torch engine"], own, rtol=1e-3)
    for _ in range(ROUNDS):
        for label, run in programs.items():
            start = [clock() for clock in CLOCKS]
            run()
            ends = [clock() for clock in CLOCKS]
            spent = [b - a for a, b in zip(start, ends, strict=True)]
            times[label].append([1e3 * seconds / steps for seconds in spent])
    for k, part in enumerate(found):
        part[name] = {
            label: statistics.median(turn[k] for turn in turns)
            for label, turns in times.items()
        }
        print(name, {k: round(v, 4) for k, v in part[name].items()}, flush=True)


def on_cpu() -> str:
    """The page of the figures on the CPU."""
    from bench import machine

    watch = machine.Watch()
    by_processor, by_clock = measured("cpu")
    members, _ = measured_members("cpu")
    busy = watch.shares(())["others"]
    about = machine.describe()
    ratios = {
        name: {
            "by processor time": row["PyTorch"] / row["Kurve, torch engine"],
            "by the clock": by_clock[name]["PyTorch"]
            / by_clock[name]["Kurve, torch engine"],
        }
        for name, row in by_processor.items()
    }
    import torch

    return f"""# The torch engine on the CPU

Written by `python -m bench.gpu --device cpu` on {datetime.date.today().isoformat()}.

- processor: {about["processor"]}
- PyTorch {torch.__version__}, one thread
- meanwhile other programs used {100 * busy:.0f} % of the cores' time

A dense network, mean squared error, Adam, float32. PyTorch is a `Sequential` with its
own autograd and `Adam(fused=True)`. All take turns; figures are medians of {ROUNDS}
rounds.

## How many times faster than PyTorch's autograd

{table(ratios, "")}

## Processor time

{table(by_processor)}

## Time by the clock

{table(by_clock)}

## Processor time of a step of all members of an ensemble

Where their weights fit into the processor's cache, members are trained together.

{table(members)}
"""


def table(found: Found, what: str = "milliseconds a step") -> str:
    labels = list(dict.fromkeys(label for row in found.values() for label in row))
    lines = [f"| {what} | " + " | ".join(labels) + " |"]
    lines.append("|---|" + "---:|" * len(labels))
    for name, row in found.items():
        cells = " | ".join(f"{row[k]:.3g}" if k in row else "" for k in labels)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def unpack() -> None:
    """Use the wheel in dist/, if there is one."""
    wheels = sorted((ROOT / "dist").glob("kurve-*.whl"))
    if wheels:
        to = ROOT / "build" / "gpu"
        options = ["--no-index", "--no-deps", "--quiet", "--upgrade", "--target"]
        pip = [sys.executable, "-m", "pip", "install", *options, str(to)]
        subprocess.run([*pip, str(wheels[-1])], check=True)
        sys.path.insert(0, str(to))
        os.environ["PYTHONPATH"] = str(to)


def tested() -> str:
    """The result of the engine tests on the GPU, in at most four minutes."""
    if not all(map(importlib.util.find_spec, ("pytest", "hypothesis"))):
        return "The tests did not run: pytest or hypothesis is missing."
    names = ["members", "primitives", "images", "recurrence", "graphs", "jacobian"]
    names += ["moves", "metric_kinds", "image_shapes", "agreement"]
    files = [f"tests/engines/test_{name}.py" for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-k", "torch or members", *files]
    environment = {**os.environ, "KURVE_TEST_DEVICE": "cuda"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe) as tests:
        try:
            output, _ = tests.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            tests.send_signal(signal.SIGINT)  # the tests so far are counted
            output, _ = tests.communicate()
    lines = output.decode().strip().splitlines()
    print("\n".join(lines[-20:]))
    return f"Tests of the engines on this device: {lines[-1]}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    device = parser.parse_args().device
    if importlib.util.find_spec("torch") is None:
        print("No figures: PyTorch is missing.")
        return
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        print("No figures: there is no GPU that PyTorch can use.")
        return
    if device == "cpu":
        torch.set_num_threads(1)
        (PAGES / "torch-on-cpu.md").write_text(on_cpu())
        return
    unpack()
    on_gpu()


def on_gpu() -> None:
    """Write the page and the JSON, again after every part, so that what is there stays
    if the time is over."""
    import torch

    card, floor = torch.cuda.get_device_name(), replay_floor()
    versions = f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
    page = [
        "# On a GPU",
        f"{card}, {versions}. Adam, float32; data on the device; medians, in turn, by "
        "`python -m bench.gpu`.",
        f"A captured graph of 40 kernels that do almost nothing takes {floor:.3g} ms.",
    ]
    facts: dict[str, Any] = {"card": card, "torch": torch.__version__, "floor": floor}
    parts: dict[str, tuple[str, Callable[[], tuple[Found, Found]]]] = {
        "steps": ("A step of a dense network:", lambda: measured("cuda")),
        "members": (
            "A step of all members of an ensemble:",
            lambda: measured_members("cuda"),
        ),
        "networks": ("A step of others:", lambda: measured_networks("cuda")),
    }
    for name, (text, figures) in parts.items():
        _, facts[name] = figures()
        page += [text, table(facts[name])]
        write(page, facts)
    facts["article"] = {e: article(e) for e in ("torch:cuda", "native") for _ in "ab"}
    seconds = ", ".join(f"{e} {s:.3g} s" for e, s in facts["article"].items())
    page.append(f"The article's run of 30 epochs of 30 steps: {seconds}.")
    write(page, facts)
    page.append(tested())
    write(page, facts)


def write(page: list[str], facts: dict[str, Any]) -> None:
    PAGE.write_text("\n\n".join(page) + "\n")
    PAGE.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
