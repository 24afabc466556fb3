// A training step of the tutorial's network: Kurve's WebAssembly beside TensorFlow.js's,
// on one thread, in turn, from the same weights on the same batches.
import { makeData } from '../../page/src/data.js';
import { loadEngine } from '../../page/src/engine.js';
import { initialize, makePlan, product } from '../../page/src/plan.js';
import { START } from '../../page/src/settings.js';

const STEPS = 10;

/**
 * @param bytes kurve.wasm
 * @param tf, layers, backend TensorFlow.js's packages
 * @param paths where its wasm files are
 * @param clock returns milliseconds
 */
export async function contest({ bytes, tf, layers, backend, paths, clock, rounds }) {
  const engine = await loadEngine(bytes);
  const rows = makeData(START.data);
  const { plan, weights } = makePlan(START, rows);
  const ours = new engine.Model(JSON.stringify(plan), 1n);
  initialize(ours, weights, engine.uniform, 1n);
  const data = new engine.Data(ours, rows.rows, [rows.x], [rows.y]);
  data.batches({ size: 20, shuffle: false });

  backend.setWasmPaths(paths);
  backend.setThreadsCount(1);
  await tf.setBackend('wasm');
  await tf.ready();
  const theirs = layers.sequential();
  for (let i = 0; i < 7; i++) {
    const input = i === 0 ? { inputShape: [1] } : {};
    theirs.add(layers.layers.dense({ units: 256, activation: 'relu', ...input }));
  }
  theirs.add(layers.layers.dense({ units: 1 }));
  theirs.compile({ optimizer: tf.train.adam(1e-3), loss: 'meanSquaredError' });
  const x = tf.tensor2d(rows.x, [rows.rows, 1]);
  const y = tf.tensor2d(rows.y, [rows.rows, 1]);
  theirs.setWeights(
    plan.params.map(({ offset, shape }) =>
      tf.tensor(ours.params.slice(offset, offset + product(shape)), shape),
    ),
  );

  // Relative difference of the loss over all rows.
  function difference() {
    const [sum, weight] = ours.test(data);
    const loss = theirs.evaluate(x, y, { batchSize: rows.rows }).dataSync()[0];
    return Math.abs((loss * weight) / sum - 1);
  }
  const differences = [difference()];
  const options = { epochs: 1, batchSize: 20, shuffle: false, verbose: 0, yieldEvery: 'never' };
  const rates = new Array(STEPS).fill(1e-3);
  const times = { ours: [], theirs: [] };
  for (let round = 0; round <= rounds; round++) {
    const start = clock();
    ours.train(data, rates);
    const between = clock();
    await theirs.fit(x, y, options);
    const end = clock();
    if (round === 0) {
      differences.push(difference());
      continue; // both compile
    }
    times.ours.push((between - start) / STEPS);
    times.theirs.push((end - between) / STEPS);
  }
  return report(times, differences, tf.version_core, rounds);
}

function report(times, differences, version, rounds) {
  const median = (a) => a.toSorted((p, q) => p - q)[Math.floor(a.length / 2)];
  const line = (name, all) =>
    `${name} ${median(all).toFixed(2)} ms a step (least ${Math.min(...all).toFixed(2)})`;
  const ratios = times.theirs.map((t, i) => t / times.ours[i]);
  const [before, after] = differences.map((d) => d.toExponential(1));
  return [
    `TensorFlow.js ${version}, ${rounds} rounds of ${STEPS} steps`,
    `relative difference of the losses: ${before} before training, ${after} after ${STEPS} steps`,
    line('Kurve', times.ours),
    line('TensorFlow.js', times.theirs),
    `ratio of each round: median ${median(ratios).toFixed(1)}, least ${Math.min(...ratios).toFixed(1)}`,
  ].join('\n');
}
