// What takes long beside training, in a second thread: the loss landscape and what each
// layer adds.
import { DATA_SEED, makeData, normalNumbers, parted } from './data.js';
import { CELLS, cellsInOrder, pathDirections, randomDirection, squareAround } from './landscape.js';
import { makePlan, product, withHead } from './plan.js';
import { applyLines, bestLine, explained, targetsOf } from './readout.js';

/** @import { Engine, Rows, Snapshot } from './types.js' */

const MOST_ROWS = 1000;
const MOST_UNITS = 600;
const SLICE = 40; // ms of work between two looks at the messages
const newest = { landscape: 0, readout: 0 }; // an older job ends when another begins

const pause = () => new Promise((resolve) => setTimeout(resolve, 0));

/** At most 1000 rows, evenly spread. @param {Rows} rows @returns {Rows} */
function some(rows) {
  const every = Math.ceil(rows.rows / MOST_ROWS);
  const count = Math.ceil(rows.rows / every);
  const { inputs } = rows;
  const x = new Float32Array(count * inputs);
  for (let i = 0; i < count; i++)
    x.set(rows.x.subarray(i * every * inputs, (i * every + 1) * inputs), i * inputs);
  const y = Float32Array.from({ length: count }, (_, i) => rows.y[i * every]);
  return { ...rows, x, y, rows: count };
}

/** @param {Engine} engine @param {Snapshot} snapshot */
function restored(engine, { settings, params, buffers }) {
  const draw = (/** @type {number} */ purpose, /** @type {number} */ n) =>
    engine.uniform(DATA_SEED, purpose, settings.data.seed, n);
  const rows = some(parted(makeData(settings.data, draw), settings.held).trained);
  const { plan, values } = makePlan({ ...settings, dropout: 0 }, rows);
  const model = new engine.Model(JSON.stringify(plan));
  model.params.set(params);
  model.buffers.set(buffers);
  return { rows, plan, values, model, draw };
}

/**
 * The loss over a square of two directions: random ones, or along the path of training.
 * @param {Engine} engine
 * @param {Snapshot} snapshot
 * @param {(answer: object) => void} post
 */
export async function landscape(engine, snapshot, post) {
  const job = ++newest.landscape;
  const { params, states, id, along } = snapshot;
  const { rows, plan, model, draw } = restored(engine, snapshot);
  const data = new engine.Data(model, rows.rows, [rows.x], [rows.y]);
  try {
    const path = along ? pathDirections(params, states) : null;
    const normal = (/** @type {number} */ purpose) => (/** @type {number} */ n) =>
      Float64Array.from(normalNumbers(draw, purpose, n));
    const directions = path?.directions ?? [
      randomDirection(plan, params, normal(20)), randomDirection(plan, params, normal(21)),
    ];
    const square = squareAround(path?.path ?? []);
    const losses = new Float64Array(CELLS * CELLS).fill(NaN);
    const answer = () => ({
      kind: 'landscape', id, square, losses: losses.slice(), path: path?.path ?? [],
      rows: rows.rows, step: snapshot.step, along,
    });
    let start = performance.now();
    let shown = start;
    for (const [i, j] of cellsInOrder()) {
      const [a, b] = [i, CELLS - 1 - j].map(
        (at, k) => square[k][0] + ((square[k][1] - square[k][0]) * at) / (CELLS - 1),
      );
      const [p, q] = directions;
      model.params.set(params.map((v, n) => v + a * p[n] + b * q[n]));
      const [sum, weight] = model.test(data);
      losses[j * CELLS + i] = Number.isFinite(sum) ? sum / weight : Infinity;
      if (performance.now() - start < SLICE) continue;
      if (performance.now() - shown > 200) {
        post({ ...answer(), done: false });
        shown = performance.now();
      }
      await pause();
      if (job !== newest.landscape) return null;
      start = performance.now();
    }
    return { ...answer(), done: true };
  } finally {
    data.free();
    model.free();
  }
}

/**
 * How well y follows from the input and from each hidden layer by a straight line.
 * @param {Engine} engine
 * @param {Snapshot} snapshot
 */
export async function readout(engine, snapshot) {
  const job = ++newest.readout;
  const { id } = snapshot;
  const { rows, plan, values, model } = restored(engine, snapshot);
  const targets = targetsOf(rows.y, rows.classes);
  const gridX = rows.inputs === 1 && !rows.classes ? snapshot.gridX : null;
  /** @type {{name: string, share: number | null, curve: Float64Array | null}[]} */
  const layers = [];
  /** @param {string} name @param {number} width @param {(x: Float32Array) => Float32Array} outputs */
  const add = (name, width, outputs) => {
    if (width > MOST_UNITS) {
      layers.push({ name, share: null, curve: null });
      return;
    }
    const features = outputs(rows.x);
    const lines = bestLine(features, width, targets);
    const share = explained(applyLines(features, width, lines), targets);
    const curve = gridX ? applyLines(outputs(gridX), width, lines)[0] : null;
    layers.push({ name, share, curve });
  };
  add('the input', rows.inputs, (x) => x);
  try {
    for (const [i, value] of values.entries()) {
      await pause();
      if (job !== newest.readout) return null;
      const view = withHead(plan, value);
      const width = product(view.heads[0].shape);
      const part = new engine.Model(JSON.stringify(view));
      part.params.set(model.params.subarray(0, part.size));
      part.buffers.set(model.buffers);
      add(`layer ${i + 1}`, width, (x) => {
        const data = new engine.Data(part, x.length / rows.inputs, [x]);
        const found = part.predict(data);
        data.free();
        return found;
      });
      part.free();
    }
  } finally {
    model.free();
  }
  return { kind: 'readout', id, layers, classes: rows.classes !== null, step: snapshot.step };
}
