"""An encoder and a decoder, decoded step by step, and a stacked forecaster."""

import json

import numpy as np
from keras.layers import LSTM, Dense, Input, RepeatVector, TimeDistributed
from keras.models import Model, Sequential
from keras.utils import to_categorical

rng = np.random.RandomState(9)
n_features, n_in, n_out, units = 8, 4, 3, 10


def get_dataset(count):
    X1, X2, y = [], [], []
    for _ in range(count):
        source = rng.randint(1, n_features, size=n_in)
        target = source[:n_out][::-1]
        shifted = np.r_[0, target[:-1]]
        X1.append(to_categorical(source, num_classes=n_features))
        X2.append(to_categorical(shifted, num_classes=n_features))
        y.append(to_categorical(target, num_classes=n_features))
    return np.array(X1), np.array(X2), np.array(y)


encoder_inputs = Input(shape=(None, n_features))
encoder_outputs, state_h, state_c = LSTM(units, return_state=True)(encoder_inputs)
decoder_inputs = Input(shape=(None, n_features))
decoder_lstm = LSTM(units, return_sequences=True, return_state=True)
decoder_outputs, _, _ = decoder_lstm(decoder_inputs, initial_state=[state_h, state_c])
decoder_dense = Dense(n_features, activation="softmax")
train = Model([encoder_inputs, decoder_inputs], decoder_dense(decoder_outputs))
infenc = Model(encoder_inputs, [state_h, state_c])
state_inputs = [Input(shape=(units,)), Input(shape=(units,))]
outputs, h, c = decoder_lstm(decoder_inputs, initial_state=state_inputs)
infdec = Model([decoder_inputs] + state_inputs, [decoder_dense(outputs), h, c])

train.set_weights([rng.randn(*w.shape) * 0.3 for w in train.get_weights()])
train.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
X1, X2, y = get_dataset(60)
history = train.fit([X1, X2], y, epochs=3, batch_size=20, shuffle=False, verbose=0)


def predict_sequence(source):
    state = infenc.predict(source, verbose=0)
    target = np.zeros((1, 1, n_features))
    target[0, 0, 0] = 1.0
    output = []
    for _ in range(n_out):
        yhat, h, c = infdec.predict([target] + list(state), verbose=0)
        output.append(yhat[0, 0, :])
        state, target = [h, c], yhat
    return np.array(output)


decoded = predict_sequence(X1[:1])

series = np.array([10.0 * i for i in range(1, 31)]) / 300
windows = np.array([series[i : i + 5] for i in range(24)])[..., np.newaxis]
following = np.array([series[i + 5 : i + 7] for i in range(24)])
model = Sequential()
model.add(LSTM(6, activation="relu", return_sequences=True, input_shape=(5, 1)))
model.add(LSTM(6, activation="relu"))
model.add(RepeatVector(2))
model.add(LSTM(6, activation="relu", return_sequences=True))
model.add(TimeDistributed(Dense(1)))
model.set_weights([np.abs(rng.randn(*w.shape)) * 0.2 for w in model.get_weights()])
model.compile(optimizer="adam", loss="mse")
stacked = model.fit(windows, following[..., np.newaxis], epochs=3, shuffle=False, verbose=0)
print(
    json.dumps(
        {
            "history": history.history,
            "decoded": decoded.tolist(),
            "stacked": stacked.history["loss"],
            "forecast": model.predict(windows[-1:], verbose=0).ravel().tolist(),
        }
    )
)
