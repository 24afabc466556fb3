"""Tell praise from blame, where one word turns another round: "not bad" is praise.

    python sentiment.py [EPOCHS]    how often the networks see them; by default 10

The reviews are made up by a small grammar: sentences about films, food and hotels, half
of them with a negation ("never dull"), half with what was once so and no more counts.
Four words never stand behind a negation in the reviews to learn from. Three networks
read the words: their mean, windows of five of them, and a GRU, one after the other.

Prints how many new reviews each network understands: plain ones, those with a negation,
and those with one of the four words behind it. Writes sentiment.png.
"""

# %% Imports
import sys

import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import layers, models, utils

THINGS = ["film", "plot", "food", "soup", "room", "view", "staff", "price"]
GOOD = ["good", "great", "fun", "fresh", "clever", "perfect", "warm", "lovely"]
BAD = ["bad", "dull", "awful", "stale", "ugly", "boring", "cold", "rude"]
NOT = ["not", "never", "hardly", "by no means"]
MORE = ["", "really", "very", "quite", "so"]
utils.set_random_seed(1)
random = np.random.default_rng(1)


# %% The data
def clause(praise, negated, new):
    """A judgement; the last two words of a list are negated only if `new`."""
    words = GOOD if praise != negated else BAD
    if negated:
        words = words[-2:] if new else words[:-2]
    thing, negation = random.choice(THINGS), random.choice(NOT) if negated else ""
    return f"the {thing} is {negation} {random.choice(MORE)} {random.choice(words)}"


def reviews(count, negated, new=False):
    """Texts, a share of them with a negation at the end, and whether they praise."""
    texts, praise = [], random.random(count) < 0.5
    for good in praise:
        last = clause(good, random.random() < negated, new)
        before = clause(*random.random(2) < 0.5, False).replace(" is ", " was ")
        texts.append(f"once {before} now {last}" if random.random() < 0.5 else last)
    return texts, praise


texts, praise = reviews(4_000, 0.5)
tests = {
    "plain": reviews(1_000, 0.0),
    "negated": reviews(1_000, 1.0),
    "newly negated": reviews(1_000, 1.0, new=True),
}
vectorize = layers.TextVectorization(output_sequence_length=16)
vectorize.adapt(texts)


# %% The networks
def network(*middle, mask=True):
    """Layers between the vectors of words and the probability of praise."""
    return models.Sequential(
        [
            layers.Input(shape=(16,)),
            layers.Embedding(vectorize.vocabulary_size(), 16, mask_zero=mask),
            *middle,
            layers.Dense(1, activation="sigmoid"),
        ]
    )


networks = {
    "mean": network(layers.GlobalAveragePooling1D()),
    "Conv1D": network(
        layers.Conv1D(32, 5, activation="relu"),
        layers.GlobalMaxPooling1D(),
        mask=False,  # a convolution has none
    ),
    "GRU": network(layers.GRU(32)),
}

# %% Training
epochs = int(sys.argv[1]) if sys.argv[1:] else 10
print(f"{'':<8}" + "".join(f"{name:>15}" for name in tests))
losses, shares = {}, {}
for name, model in networks.items():
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(
        vectorize(texts), praise, batch_size=16, epochs=epochs, verbose=0
    )
    losses[name] = history.history["loss"]
    shares[name] = [
        model.evaluate(vectorize(new), good, verbose=0, return_dict=True)["accuracy"]
        for new, good in tests.values()
    ]
    print(f"{name:<8}" + "".join(f"{share:>15.1%}" for share in shares[name]))

# %% What the GRU believes after each word
sentence = "once the film was never boring now the plot is not so fresh"
words = sentence.split()
read = [" ".join(words[: n + 1]) for n in range(len(words))]
belief = networks["GRU"].predict(vectorize(read), verbose=0)[:, 0]

# %% The picture
figure = plt.figure(figsize=(9, 6), layout="constrained")
axes = figure.subplot_mosaic([["loss", "shares"], ["words", "words"]])
for number, (name, loss) in enumerate(losses.items()):
    axes["loss"].plot(np.arange(1, epochs + 1), loss, label=name)
    axes["shares"].bar(np.arange(3) + 0.25 * (number - 1), shares[name], 0.22)
axes["loss"].set(xlabel="epoch", ylabel="cross-entropy", ylim=(0, None))
axes["loss"].legend(frameon=False)
axes["shares"].set(ylabel="reviews understood", xticks=range(3), ylim=(0, 1))
axes["shares"].set_xticklabels(tests)
axes["shares"].axhline(0.5, color="0.4", ls=":")
axes["words"].bar(range(len(words)), belief - 0.5, bottom=0.5, color="C2")
axes["words"].set(ylabel="praise, says the GRU", xticks=range(len(words)), ylim=(0, 1))
axes["words"].set_xticklabels(words)
axes["words"].axhline(0.5, color="0.4", lw=1)
figure.savefig("sentiment.png")
print("Picture: sentiment.png")
