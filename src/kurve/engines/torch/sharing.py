"""Steps whose rows are divided among several processes, see `kurve.core.processes`.

Each process computes with its own rows; sums over all rows are added across the
processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kurve.core.processes import Processes
from kurve.engines.torch.common import Tensor


class Share:
    """This process's rows of a step.

    first, rows: index of its first row, and the number of rows
    batch:       rows of the whole step
    """

    def __init__(self, processes: Processes, batch: int, rows: tuple[int, int]) -> None:
        self.processes, self.batch = processes, batch
        self.first, self.rows = rows

    def add(self, sums: Tensor) -> Tensor:
        """Numbers added up over all processes."""
        if sums.is_cuda and self.processes.own_gpus:
            return self.processes.add_on_device(sums.clone())
        total = sums.to("cpu", torch.float64, copy=True).contiguous()
        self.processes.add(total.view(-1).numpy())
        return total.to(sums.device, sums.dtype)

    def add_gradient(self, sums: Sequence[Tensor], gradient: Tensor) -> list[Tensor]:
        """The same for some vectors, and in place for a gradient.

        Raises:
            KeyboardInterrupt: in all processes, if one of them got a Ctrl-C.
        """
        total = torch.cat([part.reshape(-1) for part in sums])
        if gradient.device.type == "cpu":
            self.processes.add_gradient(total.numpy(), gradient.numpy())
        elif gradient.is_cuda and self.processes.own_gpus:
            self.processes.add_on_device(total)
            self.processes.add_on_device(gradient)
        else:
            whole = total.to("cpu", torch.float64)
            on_host = gradient.cpu()
            self.processes.add_gradient(whole.numpy(), on_host.numpy())
            total.copy_(whole)
            gradient.copy_(on_host)
        parts = total.split([part.numel() for part in sums])
        return [new.view(old.shape) for new, old in zip(parts, sums, strict=True)]
