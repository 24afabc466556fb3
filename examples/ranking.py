"""Learn a ranking from comparisons: RankNet, where each judge uses a different scale.

    python ranking.py

Each of 300 judges tastes 12 wines and gives marks. All have the same taste, but some
are strict and some mild, and some separate wines by tenths of a mark, others by ten
marks. So a mark says little; which of two wines a judge prefers says a lot. RankNet
learns from such pairs (Burges et al. 2005): the difference of two scores tells how sure
it is about their order. Wines and judges are made up.

Prints how many pairs of new judges' wines are in the right order, and writes
ranking.png.
"""

# %% Imports
import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import Input, Model, Sequential, layers, utils

utils.set_random_seed(1)
random = np.random.default_rng(1)


# %% The data: sugar, acid, tannin, body, price; a good wine balances them
def judges(count, wines=12):
    """Wines (count, wines, 5), how good they are, and the marks that judges give."""
    wine = random.normal(size=(count, wines, 5))
    sugar, acid, tannin, body, _ = np.moveaxis(wine, -1, 0)
    good = -((sugar - acid) ** 2) + np.sin(2 * body) + 0.5 * tannin * body
    noisy = good + random.normal(0, 0.3, good.shape)
    width = np.exp(random.normal(0, 1.5, (count, 1)))
    return wine, good, width * noisy + random.normal(0, 20, (count, 1))


wine, _, marks = judges(300)
new, good, _ = judges(300)
first, second = np.triu_indices(12, 1)  # all pairs of a judge's wines
a, b = wine[:, first].reshape(-1, 5), wine[:, second].reshape(-1, 5)
better = (marks[:, first] > marks[:, second]).reshape(-1)


# %% Two networks: one predicts marks, one compares
def scorer():
    return Sequential(
        [
            Input((5,)),
            layers.Dense(64, activation="silu"),
            layers.Dense(64, activation="silu"),
            layers.Dense(1),
        ]
    )


marker, score = scorer(), scorer()
left, right = Input((5,)), Input((5,))
ranknet = Model([left, right], layers.Activation("sigmoid")(score(left) - score(right)))

# %% Training
marker.compile("adam", "mse")
ranknet.compile("adam", "binary_crossentropy", metrics=["accuracy"])
marker.fit(wine.reshape(-1, 5), marks.reshape(-1), epochs=60, verbose=0)
history = ranknet.fit([a, b], better, batch_size=128, epochs=10, verbose=2).history


# %% Pairs in the right order
def scores(network):
    return network.predict(new.reshape(-1, 5), verbose=0).reshape(good.shape)


def ordered(found):
    truth = good[:, first] > good[:, second]
    return np.mean((found[:, first] > found[:, second]) == truth)


print()
for name, network in {"guessed marks": marker, "RankNet": score}.items():
    print(f"{name:<14} {ordered(scores(network)):.1%} of the pairs in the right order")

# %% The picture
figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(11, 3.6), layout="constrained"
)
left.plot(np.arange(1, 11), history["loss"])
left.set(xlabel="epoch", ylabel="cross-entropy of pairs", ylim=(0, None))
for ax, network, title in (
    (middle, marker, "guessed marks"),
    (right, score, "scores of RankNet"),
):
    drinkable = good > -10
    ax.scatter(good[drinkable], scores(network)[drinkable], s=2, color="C1")
    ax.set(xlabel="how good the wine is", title=title)
figure.savefig("ranking.png")
print("Picture: ranking.png")
