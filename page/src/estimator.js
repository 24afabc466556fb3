// Files of estimators (.kurve): a model with the names of its columns and its labels, as
// `kurve predict`, `kurve evaluate` and kurve.estimators.load read them.
import { BIG, configOf, container } from './file.js';
import { layersOf } from './network.js';
import { moments, product } from './plan.js';

/** @import { Entry } from './file.js' */
/** @import { Rows, Training } from './types.js' */

const SAMPLE = 1000; // rows to measure distances to, at most
const NEIGHBOUR = 3;
const LEAST_NOISE = 1e-12;

/**
 * The file of a worker's run. Columns are scaled before the network, not by a layer.
 * @param {Pick<Training, "settings" | "rows" | "plan" | "model" | "seed" | "epochs">} run
 * @param {Float32Array} errors y minus its prediction, of rows held out (else of those
 *     trained on)
 * @param {boolean} heldOut
 */
export function estimatorFile({ settings, rows, plan, model, seed, epochs }, errors, heldOut) {
  const { inputs, names, classes } = rows;
  const layers = layersOf({ ...settings, normalize: false }, rows).map(configOf);
  const scale = scalesOf(rows, settings.normalize);
  const place = placeOf(rows, scale);
  const labels = classes && labelsOf(classes);
  if (labels) layers[layers.length - 1].config.activation = 'linear'; // logits
  const estimator = {
    class_name: classes ? 'Classifier' : 'Regressor',
    parameters: {
      activation: 'auto', alpha: 0, batch_size: settings.batch, dropout: settings.dropout,
      early_stopping: false, engine: null, hidden_layer_sizes: 'auto',
      learning_rate: settings.rate, max_epochs: epochs, members: 1, missing: 'auto',
      patience: 'auto', random_state: settings.seed, scale: settings.normalize, solver: 'auto',
      validation_fraction: 0.1, verbose: 0, warm_start: false,
      ...(classes ? { class_weight: null } : { interval: 'auto', likelihood: 'none' }),
    },
    columns: {
      names: names.slice(0, -1), width: inputs, numeric: Array.from({ length: inputs }, (_, i) => i),
      gaps: [], levels: [], common: [], impute: true,
    },
    model: { name: 'estimator', input_shape: [inputs], layers },
    members: 1, folds: 0, threshold: place.threshold, iterations: epochs, outputs: 1,
    target_names: names.slice(-1), seeds: [BIG], training: null,
    ...(labels ?? { likelihood: 'none', flat: true }),
  };
  /** @type {Entry[]} */
  const arrays = [
    doubles('inputs/mean', scale.mean),
    doubles('inputs/deviation', scale.deviation),
    doubles('inputs/low', place.low),
    doubles('inputs/high', place.high),
    doubles('columns/fills', place.middle),
  ];
  if (!classes) arrays.push(...errorsOf(rows, errors, heldOut));
  const scaled = (/** @type {ArrayLike<number>} */ values) =>
    Float32Array.from(values, (v, k) => (v - scale.mean[k]) / scale.deviation[k]);
  arrays.push(
    floats('novelty/low', scaled(place.low), [inputs]),
    floats('novelty/high', scaled(place.high), [inputs]),
    floats('novelty/sample', place.sample, [place.sample.length / inputs, inputs]),
    ...plan.params.map(({ shape, offset }, i) =>
      floats(`models/0/${i}`, model.params.slice(offset, offset + product(shape)), shape)),
  );
  return container({ kind: 'estimator', estimator }, seed, arrays);
}

/** @param {string} name @param {ArrayLike<number>} values @param {number[]} [shape] @returns {Entry} */
const doubles = (name, values, shape = [values.length]) =>
  [name, shape, new Uint8Array(Float64Array.from(values).buffer), 'F64'];
/** @param {string} name @param {Float32Array} values @param {number[]} shape @returns {Entry} */
const floats = (name, values, shape) =>
  [name, shape, new Uint8Array(Float32Array.from(values).buffer)];

/** What the layer Normalization does, if there is one. @param {Rows} rows @param {boolean} normalize */
function scalesOf(rows, normalize) {
  if (!normalize)
    return { mean: new Array(rows.inputs).fill(0), deviation: new Array(rows.inputs).fill(1) };
  const { mean, variance } = moments(rows);
  return { mean, deviation: variance.map((v) => Math.max(Math.sqrt(v), 1e-7)) };
}

/**
 * Where the rows lie: their range, their medians, and scaled ones to measure distances to.
 * @param {Rows} rows
 * @param {{mean: number[], deviation: number[]}} scale
 */
function placeOf({ x, rows, inputs }, { mean, deviation }) {
  const columns = Array.from({ length: inputs }, (_, k) =>
    Float64Array.from({ length: rows }, (_, i) => x[i * inputs + k]).sort());
  const every = Math.ceil(rows / SAMPLE);
  const count = Math.ceil(rows / every);
  const sample = new Float32Array(count * inputs);
  for (let i = 0; i < count; i++)
    for (let k = 0; k < inputs; k++)
      sample[i * inputs + k] = (x[i * every * inputs + k] - mean[k]) / deviation[k];
  return {
    low: columns.map((c) => c[0]),
    high: columns.map((c) => c[rows - 1]),
    middle: columns.map((c) => (c[(rows - 1) >> 1] + c[rows >> 1]) / 2),
    sample,
    threshold: farthest(sample, inputs),
  };
}

/**
 * The distance to the third neighbour that one of a hundred rows exceeds.
 * @param {Float32Array} sample
 * @param {number} inputs
 */
function farthest(sample, inputs) {
  const count = sample.length / inputs;
  const near = Math.min(NEIGHBOUR, count - 1);
  const distances = Float64Array.from({ length: count }, (_, i) => {
    const squares = Float64Array.from({ length: count }, (_, j) => {
      let sum = 0;
      for (let k = 0; k < inputs; k++)
        sum += (sample[i * inputs + k] - sample[j * inputs + k]) ** 2;
      return sum;
    });
    return Math.sqrt(squares.sort()[near]); // the first is the row itself
  }).sort();
  const rank = Math.ceil((count + 1) * 0.99);
  const found = rank <= count ? distances[rank - 1] : 2 * distances[count - 1];
  return found * (1 + 1e-5) + 1e-4;
}

/** @param {Rows} rows @param {Float32Array} errors @param {boolean} heldOut @returns {Entry[]} */
function errorsOf({ y }, errors, heldOut) {
  let square = 0;
  for (const e of errors) square += e ** 2 / errors.length;
  const noise = Math.max(square, LEAST_NOISE);
  const scores = Float64Array.from(errors, (e) => Math.abs(e) / Math.sqrt(noise)).sort();
  const sorted = Float64Array.from(y).sort();
  const found = [
    doubles('outputs/mean', [0]),
    doubles('outputs/deviation', [1]),
    doubles('outputs/low', sorted.slice(0, 1)),
    doubles('outputs/high', sorted.slice(-1)),
    doubles('noise', [noise]),
    doubles('spread', [1]),
  ];
  if (heldOut)
    found.push(
      doubles('conformal/scores', scores, [scores.length, 1]),
      doubles('conformal/weights', scores.map(() => 1), [scores.length, 1]),
    );
  return found;
}

/** Labels that are whole numbers are numbers, others text. @param {string[]} classes */
function labelsOf(classes) {
  const whole = classes.every((c) => String(Number(c)) === c && Number.isSafeInteger(Number(c)));
  return { classes: whole ? classes.map(Number) : classes, class_kind: whole ? 'i' : 'U' };
}
