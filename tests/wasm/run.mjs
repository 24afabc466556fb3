// Trains the cases that test_losses.py writes, and prints what it compares as JSON.
//   node run.mjs kurve.wasm cases.json
import { readFileSync } from 'node:fs';
import { loadEngine } from '../../page/src/engine.js';

const [wasm, cases] = process.argv.slice(2);
const { Model, Data } = await loadEngine(readFileSync(wasm));
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
    results.push({ losses, error, ms, totals, outputs: Array.from(model.predict(data)) });
    data.free();
    model.free();
  } catch (e) {
    results.push({ error: e.message });
  }
}
console.log(JSON.stringify(results));
