// A training step of the tutorial's network on one thread and on several, in turn, in
// Node, by the clock; needs as many idle cores.
//   node threads.mjs ../../build/wasm-threads/kurve.wasm [threads] [batch] [rounds]
import { readFileSync } from 'node:fs';
import { makeData } from '../../page/src/data.js';
import { loadEngine } from '../../page/src/engine.js';
import { initialize, makePlan } from '../../page/src/plan.js';
import { START } from '../../page/src/settings.js';
import { startThread } from '../../tests/wasm/thread.mjs';

const [wasm, threads = 2, batch = 20, rounds = 12] = process.argv.slice(2);
const STEPS = 20;

async function prepared(count) {
  const engine = await loadEngine(readFileSync(wasm), count, startThread);
  const rows = makeData(START.data);
  const { plan, weights } = makePlan(START, rows);
  const model = new engine.Model(JSON.stringify(plan), 1n);
  initialize(model, weights, engine.uniform, 1n);
  const data = new engine.Data(model, rows.rows, [rows.x], [rows.y]);
  data.batches({ size: Number(batch), shuffle: false });
  return () => {
    const start = performance.now();
    const { losses } = model.train(data, new Array(STEPS).fill(1e-3));
    return { ms: (performance.now() - start) / STEPS, loss: losses.at(-1) };
  };
}

const [one, several] = [await prepared(1), await prepared(Number(threads))];
const times = { one: [], several: [] };
for (let round = 0; round <= rounds; round++) {
  const [a, b] = [one(), several()];
  if (a.loss !== b.loss) throw new Error(`losses differ: ${a.loss}, ${b.loss}`);
  if (round === 0) continue; // compiles
  times.one.push(a.ms);
  times.several.push(b.ms);
}
const median = (a) => a.toSorted((p, q) => p - q)[Math.floor(a.length / 2)];
const show = (a) => `${median(a).toFixed(2)} (${Math.min(...a).toFixed(2)})`;
const ratios = times.one.map((t, i) => t / times.several[i]);
console.log(`batches of ${batch}, ms a step, median (least) of ${rounds} rounds of ${STEPS}:`);
console.log(`1 thread ${show(times.one)}, ${threads} threads ${show(times.several)}`);
console.log(`ratio of each round: ${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)})`);
process.exit();
