// Trains the cases that test_losses.py writes, and prints what it compares as JSON.
//   node run.mjs kurve.wasm cases.json [threads, if the engine has them]
import { readFileSync } from 'node:fs';
import { loadEngine } from '../../page/src/engine.js';
import { startThread } from './thread.mjs';

const [wasm, cases, threads] = process.argv.slice(2);
const { Model, Data, working } = threads
  ? await loadEngine(readFileSync(wasm), Number(threads), startThread)
  : await loadEngine(readFileSync(wasm));
const results = [];
for (const c of JSON.parse(readFileSync(cases))) {
  try {
    const model = new Model(c.plan, BigInt(c.seed));
    for (const name of ['params', 'buffers', 'slots', 'scalars'])
      model[name].set(c[name]);
    const data = new Data(model, c.rows, c.x, c.y);
    data.batches(c.batches);
    const start = performance.now();
    const { losses, error } = model.train(data, c.rates);
    const ms = (performance.now() - start) / c.rates.length;
    const totals = model.test(data);
    const outputs = Array.from(model.predict(data));
    const params = Array.from(model.params);
    results.push({ losses, error, ms, totals, outputs, params, threads: working() });
    data.free();
    model.free();
  } catch (e) {
    results.push({ error: e.message });
  }
}
process.stdout.write(JSON.stringify(results), () => process.exit());
