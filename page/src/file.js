// Files of models (.kurve), as kurve.models.load_model reads them.
import { sha256 } from './sha256.js';
import { layersOf } from './network.js';

/** @import { Layer, Training, Variable } from './types.js' */

/** @typedef {[name: string, shape: number[], bytes: Uint8Array, dtype?: 'F32' | 'F64']} Entry */

const ZEROS = '0'.repeat(64);
/** Stands for the seed in a description: a 64-bit number, which JavaScript's are not. */
export const BIG = 'KURVE-SEED';

/**
 * The file of a worker's run: configuration and weights.
 * @param {Pick<Training, "settings" | "rows" | "plan" | "model" | "seed">} run
 */
export function modelFile({ settings, rows, plan, model, seed }) {
  const description = {
    kind: 'model',
    model: { name: 'sequential', input_shape: [rows.inputs], layers: layersOf(settings, rows).map(configOf) },
    seed: BIG,
    step: model.step,
    compile: null,
  };
  /** @type {Entry[]} */
  const arrays = [];
  /** @param {Float32Array} from @param {Variable[]} list */
  const add = (from, list) => {
    for (const { name, shape, offset } of list) {
      const size = shape.reduce((a, b) => a * b, 1);
      const values = from.slice(offset, offset + size);
      arrays.push([`weights/${name}`, shape, new Uint8Array(values.buffer)]);
    }
  };
  add(model.buffers, plan.buffers);
  add(model.params, plan.params);
  return container(description, seed, arrays);
}

const TRAINABLE = {
  use_bias: true,
  kernel_initializer: { class_name: 'GlorotUniform', config: { seed: null } },
  bias_initializer: { class_name: 'Zeros', config: {} },
  bias_regularizer: null,
  kernel_constraint: null,
  bias_constraint: null,
};

/** @param {Layer} layer @returns {{class_name: string, config: any}} */
export function configOf({ kind, name, units, activation, l2, rate, shape }) {
  const regularizer = l2 ? { class_name: 'L2', config: { l2 } } : null;
  const trained = { activation, ...TRAINABLE, kernel_regularizer: regularizer };
  /** @type {Record<Layer['kind'], [string, object]>} */
  const forms = {
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
  };
  const [class_name, config] = forms[kind];
  return { class_name, config: { name, trainable: true, ...config } };
}

/** Files of models are ASCII up to the numbers. @param {string} unit */
const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** @param {object} description @param {bigint} seed @param {Entry[]} arrays */
export function container(description, seed, arrays) {
  const json = JSON.stringify(description)
    .replace(new RegExp(`("seeds?":\\[?)"${BIG}"`), `$1${seed}`) // no text can hold this
    .replace(/[^\x00-\x7f]/g, escaped);
  /** @type {Record<string, string>} */
  const metadata = { sha256: ZEROS, format: 'kurve 2', kurve: json };
  /** @type {Record<string, object>} */
  const entries = {};
  let end = 0;
  for (const [name, shape, bytes, dtype = 'F32'] of arrays) {
    metadata[`sha256:${name}`] = sha256(bytes);
    const data_offsets = [end, end + bytes.length];
    entries[name] = { dtype, shape, data_offsets };
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
