// The time from opening the page in Chromium to its first training step.
//   npm --prefix ../../page ci; node first_step.mjs ../../src/kurve/plots/page/live.html [rounds]
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const page = createRequire(new URL('../../page/x.js', import.meta.url));
const { chromium } = page('playwright-core');
const [file, rounds = 7] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'],
});
const times = [];
for (let round = 0; round < rounds; round++) {
  const tab = await browser.newPage();
  // presses "One step" as soon as the page is ready
  await tab.addInitScript(() =>
    addEventListener('DOMContentLoaded', () => {
      const facts = document.querySelector('#facts');
      const look = () => {
        if (facts.textContent.includes('step 1 ')) window.first ??= performance.now();
        else if (facts.textContent && !window.pressed) {
          window.pressed = true;
          document.querySelector('#step').click();
        }
      };
      new MutationObserver(look).observe(facts, { childList: true, characterData: true, subtree: true });
    }));
  await tab.goto(pathToFileURL(resolve(file)).href);
  await tab.waitForFunction(() => window.first);
  times.push(await tab.evaluate(() => window.first));
  await tab.close();
}
await browser.close();
const median = times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];
console.log(`first step after ${median.toFixed(0)} ms, median (least ${Math.min(...times).toFixed(0)}) of ${rounds}`);
