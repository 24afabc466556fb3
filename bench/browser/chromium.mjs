// contest.mjs in Chromium, by the clock: a page cannot ask for processor time.
//   npm install; npm --prefix ../../page ci; node chromium.mjs ../../build/wasm/kurve.wasm [rounds]
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const page = createRequire(new URL('../../page/x.js', import.meta.url));
const { chromium } = page('playwright-core');
const { build } = page('esbuild');
const here = dirname(new URL(import.meta.url).pathname);
const file = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
const data = (path) => `data:application/wasm;base64,${readFileSync(path).toString('base64')}`;
const names = ['', '-simd', '-threaded-simd'].map((kind) => `tfjs-backend-wasm${kind}.wasm`);
const paths = Object.fromEntries(names.map((name) => [name, data(join(dirname(file), name))]));
const { outputFiles } = await build({
  stdin: {
    contents: `
      import * as tf from '@tensorflow/tfjs-core';
      import * as layers from '@tensorflow/tfjs-layers';
      import * as backend from '@tensorflow/tfjs-backend-wasm';
      import { contest } from './contest.mjs';
      window.run = (given) => contest({
        ...given, tf, layers, backend, clock: () => performance.now(),
        bytes: Uint8Array.from(atob(given.bytes), (c) => c.charCodeAt(0)),
      });`,
    resolveDir: here,
  },
  bundle: true, format: 'iife', platform: 'browser', write: false,
  logLevel: 'error',
});
const folder = mkdtempSync(join(tmpdir(), 'contest'));
const script = outputFiles[0].text.replaceAll('</script', '<\\/script');
writeFileSync(join(folder, 'page.html'), `<!doctype html><script>${script}</script>`);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'],
});
const tab = await browser.newPage();
tab.on('pageerror', (error) => console.error(error.message));
await tab.goto(pathToFileURL(join(folder, 'page.html')).href);
const found = await tab.evaluate((given) => window.run(given), {
  bytes: readFileSync(process.argv[2]).toString('base64'), paths,
  rounds: Number(process.argv[3] ?? 12),
});
console.log(`Chromium ${browser.version()}, ${found}`);
await browser.close();
