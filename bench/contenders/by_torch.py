"""PyTorch as a careful user writes it: eager or compiled, with the fused Adam."""

from __future__ import annotations

import numpy as np
import torch

from bench import cases


class Contender:
    def __init__(self, compiled: bool = False) -> None:
        self.compiled = compiled
        self.versions = {"PyTorch": torch.__version__}

    def prepare(self, case: cases.Case) -> None:
        self.case = case
        self.x, self.y = (torch.from_numpy(part) for part in cases.data(case))
        self.forward = self._ensemble() if case.members else self._network()
        self.adam = torch.optim.Adam(
            self.parameters,
            lr=cases.LEARNING_RATE,
            betas=(cases.BETA_1, cases.BETA_2),
            eps=cases.EPSILON,
            fused=True,
        )
        self.loss = self._loss
        if self.compiled:
            torch._dynamo.reset()
            self.loss = torch.compile(self._loss)
        self.keras_epsilon(False)

    def _network(self):
        case, values = self.case, cases.weights(self.case)
        parts: list[torch.nn.Module] = []
        for i, o in case.shapes:
            parts += [torch.nn.Linear(i, o), torch.nn.ReLU()]
        net = torch.nn.Sequential(*parts[:-1])
        self.parameters = list(net.parameters())
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(torch.from_numpy(value.T))
        return net

    def _ensemble(self):
        """Stacked kernels (members, I, O): one batched product a layer."""
        every = [cases.weights(self.case, k) for k in range(self.case.members)]
        self.parameters = [
            torch.nn.Parameter(torch.from_numpy(np.stack(values)))
            for values in zip(*every, strict=True)
        ]

        def forward(x: torch.Tensor) -> torch.Tensor:
            h = x.expand(self.case.members, *x.shape)
            kernels, biases = self.parameters[0::2], self.parameters[1::2]
            for layer, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
                h = torch.baddbmm(bias[:, None, :], h, kernel)
                if layer < len(kernels) - 1:
                    h = torch.relu(h)
            return h

        return forward

    def _loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if not self.case.members:
            return torch.nn.functional.mse_loss(self.forward(x), y)
        return ((self.forward(x) - y) ** 2).mean((1, 2)).sum()

    def keras_epsilon(self, on: bool) -> None:
        """torch adds epsilon behind the bias correction, Keras before it. With
        epsilon / sqrt(1 - b2^t) in step t the two are the same."""
        self.corrected = on

    def train(self, steps: int) -> None:
        batch, per_epoch = self.case.batch, self.case.steps
        for step in range(steps):
            number = step % per_epoch
            if self.case.shuffle and number == 0:
                order = torch.randperm(len(self.x))
            rows = slice(number * batch, (number + 1) * batch)
            if self.case.shuffle:
                rows = order[rows]
            if self.corrected:
                correction = 1 - cases.BETA_2 ** (step + 1)
                self.adam.param_groups[0]["eps"] = cases.EPSILON / correction**0.5
            self.adam.zero_grad()
            self.loss(self.x[rows], self.y[rows]).backward()
            self.adam.step()
        self.adam.param_groups[0]["eps"] = cases.EPSILON

    def predict(self, x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            y = self.forward(torch.from_numpy(x))
            return (y.mean(0) if self.case.members else y).numpy()
