// A training step of the tutorial's network in Node: Kurve's WebAssembly beside
// TensorFlow.js's, on one thread, in turn. Prints processor time.
//   npm install; node step.mjs ../../build/wasm/kurve.wasm
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { loadEngine } from '../../page/src/engine.js';
import { initialize, makePlan } from '../../page/src/plan.js';
import { makeData } from '../../page/src/data.js';
import { START } from '../../page/src/settings.js';

const require = createRequire(import.meta.url);
const tf = require('@tensorflow/tfjs-core');
const layers = require('@tensorflow/tfjs-layers');
const backend = require('@tensorflow/tfjs-backend-wasm');

const ROUNDS = Number(process.argv[3] ?? 12);
const STEPS = 10;

const engine = await loadEngine(readFileSync(process.argv[2]));
const rows = makeData(START.data);
const { plan, weights } = makePlan(START, rows);
const ours = new engine.Model(JSON.stringify(plan), 1n);
initialize(ours, weights, engine.uniform, 1n);
const data = new engine.Data(ours, rows.rows, [rows.x], [rows.y]);
data.batches({ size: 20, shuffle: false });

const place = dirname(require.resolve('@tensorflow/tfjs-backend-wasm'));
backend.setWasmPaths(`${place}/`);
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
const x = tf.tensor2d(rows.x, [200, 1]);
const y = tf.tensor2d(rows.y, [200, 1]);
// The same weights, and so the same losses.
theirs.setWeights(
  plan.params.map(({ offset, shape }) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return tf.tensor(ours.params.slice(offset, offset + size), shape);
  }),
);

function timed(body) {
  const start = process.cpuUsage();
  const result = body();
  const end = () => {
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1000 / STEPS;
  };
  return result instanceof Promise ? result.then((r) => [end(), r]) : [end(), result];
}

const times = { ours: [], theirs: [] };
const differences = [];
for (let r = 0; r <= ROUNDS; r++) {
  const rates = new Array(STEPS).fill(1e-3);
  const [own, { losses }] = timed(() => ours.train(data, rates));
  const options = { epochs: 1, batchSize: 20, shuffle: false, verbose: 0, yieldEvery: 'never' };
  const [other, { history }] = await timed(() => theirs.fit(x, y, options));
  const mean = losses.reduce((a, b) => a + b, 0) / STEPS;
  if (r === 0) differences.push(Math.abs(history.loss[0] / mean - 1));
  if (r === 0) continue; // both compile
  times.ours.push(own);
  times.theirs.push(other);
}
const median = (a) => [...a].sort((p, q) => p - q)[Math.floor(a.length / 2)];
const [a, b] = [median(times.ours), median(times.theirs)];
console.log(`node ${process.version}, TensorFlow.js ${tf.version_core}, ${ROUNDS} rounds of ${STEPS} steps`);
console.log(`relative difference of the first epoch's loss: ${differences[0].toExponential(1)}`);
console.log(`Kurve ${a.toFixed(2)} ms a step (least ${Math.min(...times.ours).toFixed(2)})`);
console.log(`TensorFlow.js ${b.toFixed(2)} ms a step (least ${Math.min(...times.theirs).toFixed(2)})`);
console.log(`ratio of medians ${(b / a).toFixed(1)}`);
