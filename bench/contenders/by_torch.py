"""PyTorch as a careful user would write it: eager or compiled, with the fused Adam."""

from __future__ import annotations

import numpy as np
import torch

from bench import cases
from bench.digits import Digits
from bench.recurrence import GATES, Sequences
from bench.two_heads import TwoHeads


class Contender:
    def __init__(self, compiled: bool = False, channels_last: bool = False) -> None:
        self.compiled, self.channels_last = compiled, channels_last
        self.versions = {"PyTorch": torch.__version__}

    def prepare(self, case: cases.Case) -> None:
        self.case = case
        x, y = case.data()
        if isinstance(case, TwoHeads):
            self.x, self.y = (tuple(map(torch.from_numpy, part)) for part in (x, y))
            self.forward = self._two_heads()
        elif isinstance(case, Digits):
            self.x, self.y = torch.from_numpy(x), torch.from_numpy(y).long()
            self.forward = self._convnet()
        else:
            self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
            self.forward = (
                self._recurrent()
                if isinstance(case, Sequences)
                else self._ensemble()
                if case.members
                else self._network()
            )
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
        case, values = self.case, self.case.weights()
        parts: list[torch.nn.Module] = []
        for i, o in case.shapes:
            parts += [torch.nn.Linear(i, o), torch.nn.ReLU()]
        net = torch.nn.Sequential(*parts[:-1])
        self.parameters = list(net.parameters())
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(torch.from_numpy(value.T))
        return net

    def _two_heads(self):
        linear = [torch.nn.Linear(i, o) for i, o in self.case.shapes]
        a, b, hidden, one, three = linear
        self.parameters = [p for layer in linear for p in layer.parameters()]
        with torch.no_grad():
            for parameter, value in zip(
                self.parameters, self.case.weights(), strict=True
            ):
                parameter.copy_(torch.from_numpy(value.T))

        def forward(x: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
            h = torch.cat([torch.relu(a(x[0])), torch.relu(b(x[1]))], 1)
            h = torch.relu(hidden(h))
            return one(h), three(h)

        return forward

    def _recurrent(self):
        """Where Keras has one bias, the second one of torch stays zero."""
        case, lstm = self.case, self.case.kind == "LSTM"
        layer = getattr(torch.nn, case.kind)(
            case.features, case.units, batch_first=True
        )
        dense = torch.nn.Linear(case.units, 1)
        kernel, recurrent, bias, last, _ = case.weights()
        order = range(4) if lstm else (1, 0, 2)  # torch: r z n; Keras: z r h

        def arranged(values: np.ndarray) -> torch.Tensor:
            parts = np.split(values.T, GATES[case.kind])
            return torch.from_numpy(np.concatenate([parts[k] for k in order]))

        biases = (bias, np.zeros_like(bias)) if lstm else bias
        with torch.no_grad():
            layer.weight_ih_l0.copy_(arranged(kernel))
            layer.weight_hh_l0.copy_(arranged(recurrent))
            layer.bias_ih_l0.copy_(arranged(biases[0]))
            layer.bias_hh_l0.copy_(arranged(biases[1]))
            dense.weight.copy_(torch.from_numpy(last.T))
            dense.bias.zero_()
        layer.bias_hh_l0.requires_grad_(not lstm)
        every = [*layer.parameters(), *dense.parameters()]
        self.parameters = [p for p in every if p.requires_grad]
        return lambda x: dense(layer(x)[0][:, -1])

    def _convnet(self):
        torch.manual_seed(cases.SEED)  # of the dropout
        nn, layout = torch.nn, torch.contiguous_format
        if self.channels_last:
            layout = torch.channels_last
        net = nn.Sequential(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(self.case.dropout),
            nn.Linear(1600, 10),
        )
        self.parameters = list(net.parameters())
        with torch.no_grad():
            for parameter, value in zip(
                self.parameters, self.case.weights(), strict=True
            ):
                if value.ndim == 4:
                    value = value.transpose(3, 2, 0, 1)
                elif value.ndim == 2:  # torch flattens channels first
                    value = value.reshape(5, 5, 64, 10).transpose(3, 2, 0, 1)
                    value = value.reshape(10, 1600)
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        self.network = net.to(memory_format=layout)

        def forward(x: torch.Tensor) -> torch.Tensor:
            x = x.permute(0, 3, 1, 2).contiguous(memory_format=layout)
            return net(x.float() / 255)

        return forward

    def _ensemble(self):
        """Stacked kernels (members, I, O): one batched product per layer."""
        every = [self.case.weights(k) for k in range(self.case.members)]
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
        if isinstance(self.case, Digits):
            return torch.nn.functional.cross_entropy(self.forward(x), y)
        if isinstance(self.case, TwoHeads):
            pairs = zip(self.forward(x), y, strict=True)
            return sum(torch.nn.functional.mse_loss(p, t) for p, t in pairs)
        if not self.case.members:
            return torch.nn.functional.mse_loss(self.forward(x), y)
        return ((self.forward(x) - y) ** 2).mean((1, 2)).sum()

    def keras_epsilon(self, on: bool) -> None:
        """torch adds epsilon after the bias correction, Keras before it. With
        epsilon / sqrt(1 - b2^t) in step t they are the same."""
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
            x, y = (cases.some_rows(part, rows) for part in (self.x, self.y))
            self.loss(x, y).backward()
            self.adam.step()
        self.adam.param_groups[0]["eps"] = cases.EPSILON

    def predict(self, x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            if isinstance(self.case, Digits):
                self.network.eval()
                y = torch.softmax(self.forward(torch.from_numpy(x)), 1)
                self.network.train()
                return y.numpy()
            if isinstance(self.case, TwoHeads):
                y = self.forward([torch.from_numpy(part) for part in x])
                return cases.side_by_side([part.numpy() for part in y])
            y = self.forward(torch.from_numpy(x))
            return (y.mean(0) if self.case.members else y).numpy()
