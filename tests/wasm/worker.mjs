// Lets the page's worker train with the settings of a file, without a browser.
//   node worker.mjs kurve.wasm settings.json
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const [wasm, file] = process.argv.slice(2);
const answers = [];
globalThis.self = { postMessage: (answer) => answers.push(answer) };
await import('../../page/src/worker.js');
const { checked } = await import('../../page/src/settings.js');

async function ask(message) {
  answers.length = 0;
  await self.onmessage({ data: message });
  const [answer] = answers;
  if (answer?.kind === 'error') throw new Error(answer.message);
  return answer;
}

const digits = gunzipSync(readFileSync(new URL('../../page/digits.gz', import.meta.url)));
await ask({ kind: 'engine', bytes: readFileSync(wasm), digits });
const results = [];
for (const given of JSON.parse(readFileSync(file))) {
  try {
    const settings = checked(given);
    const { perEpoch, epochs, rows } = await ask({ kind: 'start', settings, id: 1 });
    const all = perEpoch * epochs;
    const { losses } = await ask({ kind: 'step', count: all });
    const { bytes } = await ask({ kind: 'file', format: 'network' });
    const program = Buffer.from((await ask({ kind: 'file', format: 'py' })).bytes).toString();
    const estimator = await ask({ kind: 'file', format: 'kurve' });
    const [onnx, c] = [
      await ask({ kind: 'file', format: 'onnx' }), await ask({ kind: 'file', format: 'c' }),
    ];
    // back in time and forward again: the same numbers
    const half = Math.floor(all / 2);
    await ask({ kind: 'goto', step: half });
    await ask({ kind: 'step', count: all - half });
    const again = (await ask({ kind: 'file', format: 'network' })).bytes;
    results.push({
      program,
      steps: all,
      losses: losses[1],
      classes: rows.classes,
      file: Buffer.from(bytes).toString('base64'),
      estimator: Buffer.from(estimator.bytes).toString('base64'),
      onnx: Buffer.from(onnx.bytes).toString('base64'),
      c: Buffer.from(c.bytes).toString('utf8'),
      again: Buffer.from(again).toString('base64'),
    });
  } catch (error) {
    results.push({ error: error.message });
  }
}
console.log(JSON.stringify(results));
