// contest.mjs in Node, by processor time.
//   npm install; node step.mjs ../../build/wasm/kurve.wasm [rounds]
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { contest } from './contest.mjs';

const require = createRequire(import.meta.url);
const found = await contest({
  bytes: readFileSync(process.argv[2]),
  tf: require('@tensorflow/tfjs-core'),
  layers: require('@tensorflow/tfjs-layers'),
  backend: require('@tensorflow/tfjs-backend-wasm'),
  paths: `${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`,
  clock() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  rounds: Number(process.argv[3] ?? 12),
});
console.log(`Node ${process.version}, ${found}`);
