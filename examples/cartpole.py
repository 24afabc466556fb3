"""Balance a pole on a cart by trial and error: DQN and REINFORCE.

    python cartpole.py [TRIES]     pushes for each method; by default 100000

A cart is pushed to the left or to the right to keep its pole upright and itself on the
track, for at most 500 steps. The equations are those of Barto, Sutton & Anderson
(1983), with the constants of Gymnasium's CartPole-v1.

DQN learns the long-run value of each push (Mnih et al. 2015). REINFORCE makes a push
more likely if things went better than usual after it (Williams 1992).

Prints how long each balances poles from new starts, and writes cartpole.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import Sequential, layers, optimizers, utils

utils.set_random_seed(1)
random = np.random.default_rng(1)
TRIES = int(sys.argv[1]) if sys.argv[1:] else 100_000
LIMIT, DISCOUNT = 500, 0.99


# %% The environment: several carts, so that one call decides for all of them
def starts(count):
    return random.uniform(-0.05, 0.05, (count, 4))


def pushed(states, right):
    """The states (n, 4) after a fiftieth of a second, and which carts have failed."""
    _, speed, angle, turning = states.T
    push, sin, cos = np.where(right, 10.0, -10.0), np.sin(angle), np.cos(angle)
    pull = (push + 0.05 * turning**2 * sin) / 1.1
    turn = (9.8 * sin - cos * pull) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    gain = np.stack([speed, pull - 0.05 * turn * cos / 1.1, turning, turn], axis=1)
    after = states + 0.02 * gain
    return after, (abs(after[:, 0]) > 2.4) | (abs(after[:, 2]) > np.pi / 15)


def network(activation):
    return Sequential(
        [
            layers.Input((4,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(2, activation=activation),
        ]
    )


def episodes(choose, count):
    """Play to the end: states (steps, n, 4), pushes, and which carts are in play."""
    states, alive, played = starts(count), np.ones(count, bool), []
    while alive.any() and len(played) < LIMIT:
        right = choose(states)
        played.append((states, right, alive))
        states, failed = pushed(states, right)
        alive = alive & ~failed
    return (np.array(part) for part in zip(*played, strict=True))


def held(model):
    """Steps for which each of 100 carts balances its pole by the best pushes."""
    *_, alive = episodes(lambda s: model.predict(s, verbose=0).argmax(axis=1), 100)
    return alive.sum(axis=0)


# %% REINFORCE: a push is weighted by the steps after it, compared with other runs
def reinforce():
    policy, curve, tries = network("softmax"), [], 0
    policy.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy")

    def choose(states):
        return random.random(len(states)) < policy.predict(states, verbose=0)[:, 1]

    while tries < TRIES:
        states, right, alive = episodes(choose, 16)
        to_come = np.zeros(alive.shape)
        for step in reversed(range(len(alive))):
            after = to_come[step + 1] if step + 1 < len(alive) else 0
            to_come[step] = alive[step] + DISCOUNT * after
        better = to_come[alive] - to_come[alive].mean()
        policy.train_on_batch(
            states[alive], right[alive], sample_weight=better / better.std()
        )
        tries += alive.sum()
        curve.append((tries, alive.sum(axis=0).mean()))
    return policy, curve


# %% DQN: a push is worth -1 if the pole falls, else the value of the best next push
def dqn(carts=4):
    worth, slow = network(None), network(None)
    worth.compile(optimizers.Adam(1e-3), "mse")
    memory, lengths, curve = np.zeros((50_000, 10)), [], []
    states, ages = starts(carts), np.zeros(carts, int)
    for step in range(TRIES // carts):
        right = worth.predict(states, verbose=0).argmax(axis=1)
        curious = random.random(carts) < max(0.05, 1 - step / 1_000)
        right = np.where(curious, random.integers(0, 2, carts), right)
        after, failed = pushed(states, right)
        known = (step + 1) * carts
        place = np.arange(known - carts, known) % len(memory)
        memory[place] = np.column_stack([states, after, right, failed])

        ages += 1
        over = failed | (ages == LIMIT)
        lengths += ages[over].tolist()
        states, ages = np.where(over[:, None], starts(carts), after), ages * ~over

        if step % 250 == 0:
            slow.set_weights(worth.get_weights())
            curve.append((known, np.mean(lengths[-50:] or [0])))
        rows = memory[random.integers(0, min(known, len(memory)), 128)]
        before, later, push, fell = np.split(rows, [4, 8, 9], axis=1)
        best = slow.predict(later, verbose=0).max(axis=1, keepdims=True)
        target = worth.predict(before, verbose=0)  # no error for the other push
        gain = np.where(fell, -1, DISCOUNT * best)
        np.put_along_axis(target, push.astype(int), gain, axis=1)
        worth.train_on_batch(before, target)
    return worth, curve


# %% How well both have learned
found = {"REINFORCE": reinforce(), "DQN": dqn()}
for name, (model, _) in found.items():
    steps = held(model)
    print(f"{name:<10} holds the pole for {steps.mean():.0f} of {LIMIT} steps")

# %% The picture
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for name, (_, curve) in found.items():
    left.plot(*np.transpose(curve), label=name)
left.set(xlabel="pushes tried", ylabel="steps until the pole falls")
left.legend(frameon=False)
angles, turnings = np.meshgrid(np.linspace(-0.2, 0.2, 80), np.linspace(-2, 2, 80))
still = np.zeros(angles.size)
states = np.stack([still, still, angles.ravel(), turnings.ravel()], axis=1)
share = found["REINFORCE"][0].predict(states, verbose=0)[:, 1].reshape(angles.shape)
image = right.pcolormesh(angles, turnings, share, cmap="RdBu_r", vmin=0, vmax=1)
right.set(xlabel="angle of the pole", ylabel="speed of turning")
figure.colorbar(image, label="REINFORCE pushes to the right")
figure.savefig("cartpole.png")
print("Picture: cartpole.png")
