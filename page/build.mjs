// Builds the page: one HTML file with everything inside.
//   node build.mjs kurve.wasm kurve-with-threads.wasm page.html
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const [wasm, threads, out] = process.argv.slice(2);
const here = (name) => new URL(name, import.meta.url).pathname;

async function bundled(entry, plugins = []) {
  const { outputFiles } = await build({
    entryPoints: [here(entry)],
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    charset: 'utf8',
    write: false,
    plugins,
  });
  return outputFiles[0].text;
}

const worker = await bundled('src/worker.js');
const workerSource = {
  name: 'worker-source',
  setup(b) {
    b.onResolve({ filter: /^worker-source$/ }, () => ({ path: 'worker', namespace: 'worker' }));
    b.onLoad({ filter: /./, namespace: 'worker' }, () => ({ contents: worker, loader: 'text' }));
  },
};
const script = (await bundled('src/main.js', [workerSource])).replaceAll('</script', '<\\/script');
const style =
  readFileSync(here('node_modules/uplot/dist/uPlot.min.css'), 'utf8') +
  readFileSync(here('src/style.css'), 'utf8');
const packed = (file) => gzipSync(readFileSync(file), { level: 9 }).toString('base64');
const sum = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
const policy = [
  "default-src 'none'",
  `script-src ${sum(script)} 'wasm-unsafe-eval'`,
  `style-src ${sum(style)}`,
  'worker-src blob:',
  'img-src data: blob:',
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');
const parts = {
  POLICY: policy,
  STYLE: style,
  ENGINE: packed(wasm),
  THREADS: packed(threads),
  DIGITS: readFileSync(here('digits.gz')).toString('base64'),
  SCRIPT: script,
};
const page = readFileSync(here('src/index.html'), 'utf8').replace(
  /\b(POLICY|STYLE|ENGINE|THREADS|DIGITS|SCRIPT)\b/g,
  (name) => parts[name],
);
writeFileSync(out, page);
console.log(`${out}: ${page.length} bytes`);
