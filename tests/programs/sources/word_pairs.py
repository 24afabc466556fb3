import json
import random

import numpy as np
from keras.layers import Dense, Dot, Embedding, Input, Reshape
from keras.models import Model
from keras.preprocessing.sequence import make_sampling_table, skipgrams
from keras.preprocessing.text import Tokenizer

text = "the cat sat on the mat and the dog sat on the cat while the mat was on the dog"
tokenizer = Tokenizer()
tokenizer.fit_on_texts([text])
ids = tokenizer.texts_to_sequences([text])[0]
words = len(tokenizer.word_index) + 1
random.seed(4)
pairs, labels = skipgrams(ids, words, window_size=2, shuffle=False)
kept, _ = skipgrams(
    ids, words, 1, negative_samples=0.5, sampling_table=make_sampling_table(words, 0.1), seed=2
)
target, context = (np.array(column)[:, None] for column in zip(*pairs))

a, b = Input(shape=(1,)), Input(shape=(1,))
word = Embedding(words, 4, input_length=1, name="words")
similar = Reshape((1,))(Dot(axes=-1)([word(a), word(b)]))
model = Model([a, b], Dense(1, activation="sigmoid")(similar))
model.compile(loss="binary_crossentropy", optimizer="rmsprop")
rng = np.random.RandomState(0)
model.set_weights([rng.randn(*w.shape) * 0.5 for w in model.get_weights()])
history = model.fit(
    [target, context], np.array(labels), epochs=3, batch_size=32, shuffle=False, verbose=0
)
print(
    json.dumps(
        {
            "pairs": pairs[:4] + pairs[-4:],
            "kept": kept[:6],
            "count": [len(pairs), sum(labels)],
            "loss": history.history["loss"],
            "word": model.get_layer("words").get_weights()[0][1].tolist(),
        }
    )
)
