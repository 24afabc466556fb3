// The layers of a network, which the plan, the file and the program are made of.

/** @import { Layer, Rows, Settings } from './types.js' */

export const ACTIVATIONS = [
  'relu', 'tanh', 'sigmoid', 'gelu', 'silu', 'elu', 'leaky_relu', 'sin', 'linear',
];

/**
 * Number of outputs, their activation and the loss.
 * @param {Pick<Rows, 'classes'>} data
 */
export function outputOf(data) {
  if (!data.classes)
    return { units: 1, activation: 'linear', loss: 'mean_squared_error', attrs: {} };
  const two = data.classes.length === 2;
  return {
    units: two ? 1 : data.classes.length,
    activation: two ? 'sigmoid' : 'softmax',
    loss: two ? 'binary_crossentropy' : 'sparse_categorical_crossentropy',
    attrs: two ? { from_logits: 0, label_smoothing: 0 } : { from_logits: 0 },
  };
}

/**
 * The layers with the names that Python gives them. `hidden` is the place in
 * settings.layers of a layer that a user chose.
 * @param {Settings} settings
 * @param {Pick<Rows, 'classes' | 'image'>} data
 * @returns {Layer[]}
 */
export function layersOf(settings, data) {
  /** @type {Layer[]} */
  const layers = [];
  /** @type {Record<string, number>} */
  const counts = {};
  /** @param {Omit<Layer, 'name'>} layer @param {string} [base] */
  const add = (layer, base = layer.kind) => {
    const count = counts[base] ?? 0;
    counts[base] = count + 1;
    layers.push({ ...layer, name: count ? `${base}_${count}` : base });
  };
  const { l2 } = settings;
  const flat = settings.layers.findIndex((layer) => layer.kind !== 'conv');
  if (data.image && flat !== 0 && settings.layers.length) add({ kind: 'reshape', shape: data.image });
  if (settings.normalize) add({ kind: 'normalization' });
  settings.layers.forEach(({ kind, units, activation }, hidden) => {
    if (kind === 'conv') {
      add({ kind: 'conv', units, activation, l2, hidden }, 'conv2d');
      add({ kind: 'pool' }, 'max_pooling2d');
    } else {
      if (data.image && hidden > 0 && hidden === flat) add({ kind: 'flatten' });
      add({ kind: 'dense', units, activation, l2, hidden });
    }
    if (settings.dropout > 0) add({ kind: 'dropout', rate: settings.dropout });
  });
  if (data.image && settings.layers.length && flat < 0) add({ kind: 'flatten' });
  const { units, activation } = outputOf(data);
  add({ kind: 'dense', units, activation, l2: 0 });
  return layers;
}
