// Files of models (.kurve), as kurve.models.load_model reads them.
import { sha256 } from './sha256.js';
import { layersOf } from './network.js';

/** @import { Layer } from './types.js' */

const ZEROS = '0'.repeat(64);

/** The file of a worker's run: configuration and weights. */
export function modelFile({ settings, rows, plan, model, seed }) {
  const description = JSON.stringify({
    kind: 'model',
    model: { name: 'sequential', input_shape: [rows.inputs], layers: layersOf(settings, rows).map(configOf) },
    seed: 'SEED',
    step: model.step,
    compile: null,
  }).replace('"SEED"', String(seed)); // a 64-bit number, which JavaScript's are not
  const arrays = [];
  const add = (from, list) => {
    for (const { name, shape, offset } of list) {
      const size = shape.reduce((a, b) => a * b, 1);
      const values = from.slice(offset, offset + size);
      arrays.push([`weights/${name}`, shape, new Uint8Array(values.buffer)]);
    }
  };
  add(model.buffers, plan.buffers);
  add(model.params, plan.params);
  return container(description, arrays);
}

const TRAINABLE = {
  use_bias: true,
  kernel_initializer: { class_name: 'GlorotUniform', config: { seed: null } },
  bias_initializer: { class_name: 'Zeros', config: {} },
  bias_regularizer: null,
  kernel_constraint: null,
  bias_constraint: null,
};

/** @param {Layer} layer */
function configOf({ kind, name, units, activation, l2, rate, shape }) {
  const regularizer = l2 ? { class_name: 'L2', config: { l2 } } : null;
  const trained = { activation, ...TRAINABLE, kernel_regularizer: regularizer };
  const [class_name, config] = {
    reshape: ['Reshape', { target_shape: shape }],
    flatten: ['Flatten', {}],
    normalization: [
      'Normalization', { axis: [-1], mean: null, variance: null, invert: false },
    ],
    conv: [
      'Conv2D',
      {
        filters: units, kernel_size: [3, 3], strides: [1, 1], padding: 'same',
        data_format: 'channels_last', dilation_rate: [1, 1], groups: 1, ...trained,
      },
    ],
    pool: [
      'MaxPooling2D',
      { pool_size: [2, 2], strides: [2, 2], padding: 'valid', data_format: 'channels_last' },
    ],
    dropout: ['Dropout', { rate, noise_shape: null, seed: null }],
    dense: ['Dense', { units, ...trained }],
  }[kind];
  return { class_name, config: { name, trainable: true, ...config } };
}

function container(description, arrays) {
  const metadata = { sha256: ZEROS, format: 'kurve 2', kurve: description };
  const entries = {};
  let end = 0;
  for (const [name, shape, bytes] of arrays) {
    metadata[`sha256:${name}`] = sha256(bytes);
    const data_offsets = [end, end + bytes.length];
    entries[name] = { dtype: 'F32', shape, data_offsets };
    end += bytes.length;
  }
  const header = new TextEncoder().encode(
    JSON.stringify({ __metadata__: metadata, ...entries }),
  );
  const size = Math.ceil(header.length / 8) * 8;
  const file = new Uint8Array(8 + size + end).fill(32, 8, 8 + size);
  new DataView(file.buffer).setBigUint64(0, BigInt(size), true);
  file.set(header, 8);
  const digest = sha256(file.subarray(0, 8 + size));
  file.set(new TextEncoder().encode(digest), 8 + '{"__metadata__":{"sha256":"'.length);
  let at = 8 + size;
  for (const [, , bytes] of arrays) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}
