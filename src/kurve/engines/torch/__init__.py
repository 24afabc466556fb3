"""The torch engine: plans run by PyTorch on a GPU, or on the CPU.

    kurve.set_engine("torch")              a GPU if there is one, else the CPU
    kurve.set_engine("torch:cuda:1")       a device by PyTorch's name
    compile(engine=TorchEngine("cuda", precision="tf32"))

It has neither autograd nor modules: each op has an explicit forward and backward
function, as in the reference engine, whose formulas they are. They are implemented
again rather than run with another array module, because the reference engine uses
operations that are readable in NumPy but slow or impossible on a GPU: selecting
elements with a mask, adding at indices in order, reading a number on the host. A step
avoids all of these, so it can be one CUDA graph.

* `elementwise`: tapes, formulas and activations.
* `layers`, `scaling`, `images`, `recurrence`: the ops, by kind.
* `losses`, `metrics`, `optimizers`: what is computed from their outputs.
* `program`: the passes of a plan, and the calls that use them.
* `training`, `device`, `host`: steps, on a GPU and on the CPU.
* `threads`: how many threads a call on the CPU uses.

On the same machine, device and PyTorch version, every run gives the same bits; between
devices, and between this engine and others, numbers agree up to rounding.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Container, Iterator, Sequence

import torch

from kurve.core.processes import from_environment
from kurve.engines.base import Job
from kurve.engines.torch.losses import LOSSES
from kurve.engines.torch.metrics import KINDS
from kurve.engines.torch.optimizers import OPTIMIZERS
from kurve.engines.torch.program import OPS, TorchProgram
from kurve.engines.torch.threads import threads_for
from kurve.errors import NonFiniteError
from kurve.plan import Op, OptimizerSpec, Plan

PRECISIONS = ("float32", "tf32", "bfloat16")
BLOCKS = {"cpu": 32, "mps": 256, "cuda": 1024}
"""Rows that a prediction computes at a time, on each kind of device: always the same
number, so that the bits of a row do not depend on the number of other rows."""


class TorchEngine:
    """Runs plans in PyTorch; see the module.

    Args:
        device: "cuda", "cuda:1", "mps", "cpu"; None for a GPU, or the CPU if there is
            none. "cuda" is PyTorch's current GPU, or that of the process's number in a
            program of torchrun.
        precision: "float32"; or "tf32" or "bfloat16", which round the factors of matrix
            products and convolutions to 10 or 7 bits: faster on a GPU, with errors in
            the fourth or third digit. "tf32" has no effect on other devices. Recurrent
            layers compute in float32 with "bfloat16".

    Raises:
        ValueError: an unknown device or precision, or a device that is not there.

    Example:
        >>> TorchEngine("cpu").name
        'torch:cpu'
    """

    def __init__(self, device: str | None = None, precision: str = "float32") -> None:
        if precision not in PRECISIONS:
            raise ValueError(
                f"[TorchEngine] precision must be one of {', '.join(PRECISIONS)}. "
                f"Received: precision={precision!r}. Try precision='float32'."
            )
        self.torch_device = _device(device)
        if self.torch_device.type == "cuda":  # so that products add in a fixed order
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self.name = "torch" if device is None else f"torch:{device}"
        self.precision = precision
        self.factors = torch.bfloat16 if precision == "bfloat16" else None
        self.block = BLOCKS[self.torch_device.type]

    def compile(self, plan: Plan) -> TorchProgram:
        used: list[tuple[str, str, Container[str]]] = []
        used += [("layer", kind, OPS) for kind in _kinds(plan.ops)]
        fused = [h.loss for h in plan.heads if h.loss and h.rows is None]
        used += [("loss", loss.kind, LOSSES) for loss in fused]
        used += [("metric", m.kind, KINDS) for m in plan.metrics if m.rows is None]
        optimizer = plan.optimizer
        by_rules = isinstance(optimizer, OptimizerSpec) and any(
            update.rule is not None for update in optimizer.updates
        )
        if optimizer is not None and not by_rules:
            used.append(("optimizer", optimizer.kind, OPTIMIZERS))
        for what, kind, known in used:
            if kind not in known:
                raise NotImplementedError(
                    f"[torch engine] the {what} {kind!r} is not implemented. "
                    "Try engine='native'."
                )
        return TorchProgram(plan, self)

    def train(self, jobs: Sequence[Job]) -> list[NonFiniteError | None]:
        from kurve.engines.torch.together import train_together

        return train_together(jobs, self)

    @contextlib.contextmanager
    def _running(self, work: float) -> Iterator[None]:
        """The context of a call: no autograd, sums in a fixed order, the requested
        precision, and as many threads as that work is worth; PyTorch's out-of-memory
        errors become MemoryError.

        Raises:
            MemoryError: the memory of the device does not suffice.
        """
        try:
            with torch.inference_mode(), self._settings(work):
                yield
        except RuntimeError as error:
            text = str(error)
            if "out of memory" in text or "can't allocate memory" in text:
                raise MemoryError(
                    f"[torch engine] the memory of {self.torch_device} does not "
                    f"suffice. Received: {text.splitlines()[0]} Try a smaller "
                    "batch_size, or engine='native'."
                ) from None
            raise

    @contextlib.contextmanager
    def _settings(self, work: float) -> Iterator[None]:
        """PyTorch's process-wide settings, for the duration of a call."""
        if self.torch_device.type != "cuda":
            with threads_for(work):
                yield
            return
        products, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        tf32 = self.precision == "tf32"
        with _setting, torch.cuda.device(self.torch_device):
            before = (
                products.allow_tf32,
                cudnn.allow_tf32,
                cudnn.deterministic,
                cudnn.benchmark,
            )
            products.allow_tf32 = cudnn.allow_tf32 = tf32
            cudnn.deterministic, cudnn.benchmark = True, False
            try:
                yield
            finally:
                (
                    products.allow_tf32,
                    cudnn.allow_tf32,
                    cudnn.deterministic,
                    cudnn.benchmark,
                ) = before


_setting = threading.RLock()
"""One call on a GPU at a time: its settings apply to the whole process, and no other
work may reach the GPU while a step is captured."""


def _device(name: str | None) -> torch.device:
    """The device with that name, or the first GPU, or the CPU if there is none."""
    has_mps = torch.backends.mps.is_available()
    if name is None:
        found = "mps" if has_mps else "cpu"
        name = "cuda" if torch.cuda.is_available() else found
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in BLOCKS:
        raise ValueError(
            "[TorchEngine] device must be 'cuda', 'cuda:1', 'mps', 'cpu' or None. "
            f"Received: device={name!r}. Try 'cuda', or None for what there is."
        )
    count = {"cuda": torch.cuda.device_count(), "mps": int(has_mps), "cpu": 1}
    there = count[device.type]
    if (device.index or 0) >= there:
        raise ValueError(
            f"[TorchEngine] the device must be there; of {device.type} there are "
            f"{there}, as PyTorch {torch.__version__} sees it. "
            f"Received: device={name!r}. Try device=None for what there is."
        )
    if device == torch.device("cuda"):
        return torch.device("cuda", _gpu(there))
    return device


def _gpu(count: int) -> int:
    """The number of the GPU to use: of the processes of torchrun, each has its own."""
    if "LOCAL_RANK" in os.environ:
        return from_environment("LOCAL_RANK", 0) % count
    return int(torch.cuda.current_device())


def _kinds(ops: Sequence[Op]) -> Iterator[str]:
    """The kinds of operations, including those in the bodies of loops."""
    for op in ops:
        yield op.kind
        yield from _kinds(op.body.ops if op.body else ())
