// Files of models (.kurve), as kurve.models.load_model reads them.
import { sha256 } from './sha256.js';
import { outputOf } from './plan.js';

const ZEROS = '0'.repeat(64);

/** The file of a worker's run: configuration and weights. */
export function modelFile({ settings, rows, plan, model, seed }) {
  const description = JSON.stringify({
    kind: 'model',
    model: { name: 'sequential', input_shape: [rows.inputs], layers: layersOf(settings, rows) },
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

function layersOf(settings, rows) {
  const layers = [];
  const add = (class_name, name, config) =>
    layers.push({ class_name, config: { name, trainable: true, ...config } });
  const dense = (units, activation, i, l2) =>
    add('Dense', i ? `dense_${i}` : 'dense', {
      units,
      activation,
      use_bias: true,
      kernel_initializer: { class_name: 'GlorotUniform', config: { seed: null } },
      bias_initializer: { class_name: 'Zeros', config: {} },
      kernel_regularizer: l2 > 0 ? { class_name: 'L2', config: { l2 } } : null,
      bias_regularizer: null,
      kernel_constraint: null,
      bias_constraint: null,
    });
  if (settings.normalize)
    add('Normalization', 'normalization', {
      axis: [-1], mean: null, variance: null, invert: false,
    });
  settings.layers.forEach(({ units, activation }, i) => {
    dense(units, activation, i, settings.l2);
    if (settings.dropout > 0) {
      const config = { rate: settings.dropout, noise_shape: null, seed: null };
      add('Dropout', i ? `dropout_${i}` : 'dropout', config);
    }
  });
  const { units, activation } = outputOf(rows);
  dense(units, activation, settings.layers.length, 0);
  return layers;
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
