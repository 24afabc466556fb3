// Uses the page in Chromium as people do. Prints, as JSON, which checks failed and why.
//   node check.mjs folder-of-playwright chromium page.html page-with-data.html downloads \
//       screenshots [check ...]
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, executablePath, file, fileWithData, downloads, pictures, ...only] =
  process.argv.slice(2);
const { chromium } = createRequire(join(modules, 'x.js'))('playwright-core');
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const HOSTILE = '</script><img src=x onerror="window.hacked=1">';
const url = pathToFileURL(file).href;
const patience = Number(process.env.PATIENCE ?? 120000);

function expect(condition, what) {
  if (!condition) throw new Error(what);
}

// A page, and what must not happen in it.
async function opened(options = {}, address = url) {
  const context = await browser.newContext({
    viewport: { width: 1200, height: 900 }, acceptDownloads: true, ...options,
  });
  await context.setOffline(address.startsWith('file:'));
  const page = await context.newPage();
  if (options.cores)
    await page.addInitScript((count) =>
      Object.defineProperty(navigator, 'hardwareConcurrency', { value: count }), options.cores);
  page.setDefaultTimeout(patience);
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (m) => m.type() === 'error' && faults.push(m.text()));
  page.on('request', (r) => {
    if (!/^(blob:|data:)/.test(r.url()) && !r.url().startsWith(address.split('#')[0]))
      faults.push(`request: ${r.url()}`);
  });
  page.on('dialog', (d) => faults.push(`dialog: ${d.message()}`));
  await page.goto(address);
  const facts = async (text) =>
    page.waitForFunction((t) => document.querySelector('#facts').textContent.includes(t), text);
  const step = async () => Number((await page.textContent('#facts')).match(/step (\d+)/)[1]);
  const trained = async (least) =>
    page.waitForFunction(
      (n) => Number(document.querySelector('#time').value) >= n, least);
  const button = (name) => page.getByRole('button', { name, exact: true });
  // Short trainings may have ended by themselves.
  const pause = () =>
    page.evaluate(() => {
      const play = document.querySelector('#play');
      if (play.textContent === 'Pause') play.click();
    });
  const end = async () => {
    expect(!(await page.evaluate(() => window.hacked)), 'a name was run as code');
    expect((await page.locator('img').count()) === 0, 'a name became an element');
    expect(faults.length === 0, faults.join('; '));
    await context.close();
  };
  await facts('step 0');
  return { page, facts, step, trained, button, pause, end };
}

const message = (page) => page.textContent('#message');

const checks = {
  async the_articles_buttons() {
    const { page, facts, step, trained, button, pause, end } = await opened();
    for (const [name, perEpoch] of [['10 × 10', 10], ['30 × 30', 30], ['Better model', 10]]) {
      await button(name).click();
      await facts('step 0');
      expect((await button(name).getAttribute('aria-pressed')) === 'true', name);
      expect((await page.inputValue('#size')) === String(perEpoch), 'steps of an epoch');
      await button('Train').click();
      await trained(2);
      await pause();
      await page.waitForTimeout(200);
      const now = await step();
      await page.waitForTimeout(400);
      expect((await step()) === now, 'it trained on after Pause');
      expect((await page.textContent('#facts')).includes('steps/s'), 'speed');
    }
    await end();
  },
  async steps_and_back_in_time() {
    const { page, facts, button, end } = await opened();
    await button('One step').click();
    await facts('step 1 ');
    await button('One epoch').click();
    await facts('step 11 ');
    const loss = (await page.textContent('#facts')).match(/loss ([\d.]+)/)[1];
    await button('Step back').click();
    await facts('step 10 ');
    await page.locator('#time').fill('4');
    await facts('step 4 ');
    await page.locator('#time').fill('11');
    await facts('step 11 ');
    expect((await page.textContent('#facts')).includes(`loss ${loss}`), 'another loss');
    await button('Start again').click();
    await facts('step 0');
    await end();
  },
  async points_are_drawn() {
    const { page, facts, trained, button, pause, end } = await opened();
    await button('Draw your own').click();
    await facts('6 rows');
    await page.locator('#fit .u-over').click({ position: { x: 200, y: 60 } });
    await facts('7 rows');
    await page.fill('#point-x', '3');
    await button('Add point').click();
    await facts('8 rows');
    await button('Remove last').click();
    await facts('7 rows');
    await button('Train').click();
    await trained(50);
    await pause();
    await button('Remove all').click();
    await page.waitForFunction(() => document.querySelector('#message').textContent);
    expect((await message(page)).includes('two points'), await message(page));
    await end();
  },
  async a_formula() {
    const { page, facts, button, end } = await opened();
    await button('A formula').click();
    await facts('100 rows');
    await page.fill('#text', 'alert(1)');
    await page.press('#text', 'Enter');
    await page.waitForFunction(() => document.querySelector('#message').textContent);
    await page.fill('#text', 'exp(-x^2)');
    await page.fill('#count', '50');
    await page.press('#count', 'Tab');
    await facts('50 rows');
    expect((await message(page)) === '', await message(page));
    expect((await page.textContent('#program')).includes('np.exp((-(x ** 2.0)))'), 'program');
    await end();
  },
  async own_table_with_hostile_names() {
    const { page, facts, trained, button, pause, end } = await opened();
    const rows = Array.from({ length: 30 }, (_, i) => `${i},${i % 7},${(i * i) % 11}`);
    const quoted = `"${HOSTILE.replaceAll('"', '""')}"`;
    const text = `${quoted},"b""; import os",${quoted}\n${rows.join('\n')}\n`;
    await button('Your CSV').click();
    await page.fill('#paste', text);
    await button('Use this table').click();
    await facts('30 rows');
    await button('Train').click();
    await trained(5);
    await pause();
    expect((await page.textContent('#columns')).includes(HOSTILE), 'name of a column');
    await page.locator('#columns input').first().uncheck();
    await page.waitForFunction(() => document.querySelector('.u-wrap'));
    const path = join(mkdtempSync(join(tmpdir(), 'page')), 'own.csv');
    writeFileSync(path, `a;${quoted}\n1;red\n2;blue\n3;red\n4;green\n`);
    await page.setInputFiles('#file', path);
    await facts('4 rows');
    expect((await page.textContent('#program')).includes('softmax'), 'classes');
    await page.evaluate(() => {
      const dropped = new DataTransfer();
      dropped.items.add(new File(['p,q\n1,2\n2,3\n3,5\n'], 'dropped.csv'));
      document.body.dispatchEvent(
        new DragEvent('drop', { dataTransfer: dropped, bubbles: true, cancelable: true }));
    });
    await facts('3 rows');
    const message = (/** @type {string} */ part) =>
      page.waitForFunction((text) => {
        const shown = document.querySelector('#message');
        const { top, bottom } = shown.getBoundingClientRect();
        return shown.textContent.includes(text) && top >= 0 && bottom <= innerHeight;
      }, part);
    // Decimal commas, and gaps by other names.
    await page.fill('#paste', 'a;b\n1,5;2\n2,5;3\nNaN;4\n3,5;\n4,5;6\n5,5;7\n');
    await button('Use this table').click();
    await facts('4 rows');
    await message('2 of 6 rows have gaps');
    expect((await page.textContent('#program')).includes('[1.5, 2.5, 4.5, 5.5]'), 'commas');
    await page.fill('#paste', 'when,what\n2024-01-01,x\n2024-01-02,y\n2024-01-03,z\n');
    await button('Use this table').click();
    await message('“2024-01-01” in row 1');
    await page.fill('#paste', 'only one line');
    await button('Use this table').click();
    await message('two lines');
    await end();
  },
  async wrong_settings_are_refused() {
    const { page, facts, button, end } = await opened();
    await button('Draw your own').click();
    await facts('6 rows');
    const refused = async (place, typed, kept, ...parts) => {
      const before = await page.textContent('#program');
      await place.fill(typed);
      await place.blur();
      const text = await message(page);
      for (const part of parts) expect(text.includes(part), `${typed}: ${text}`);
      expect((await place.inputValue()) === kept, `${typed} became ${await place.inputValue()}`);
      expect((await place.getAttribute('aria-invalid')) === 'true', `${typed} is not marked`);
      const seen = await page.evaluate(() => {
        const { top, bottom } = document.querySelector('#message').getBoundingClientRect();
        return top >= 0 && bottom <= innerHeight;
      });
      expect(seen, `${typed}: the message is out of sight`);
      expect((await page.textContent('#program')) === before, `${typed} was used`);
    };
    const at = (id) => page.locator(`#${id}`);
    await refused(at('rate'), '-0.1', '0.003', 'The learning rate must be', '-0.1', 'It stays 0.003');
    await refused(at('rate'), '0', '0.003', 'Received: 0.');
    await refused(at('rate'), '', '0.003', 'no number');
    await refused(at('rate'), '1e9', '0.003', '1000000000');
    await refused(at('l2'), '-1', '0', 'L2 must be');
    await refused(at('dropout'), '1', '0', 'Dropout must be a number from 0 to 0.9');
    await refused(at('seed'), '1.5', '3', 'a whole number');
    await refused(at('seed'), '-3', '3', 'The seed');
    await refused(at('epochs'), '-5', '', 'The epochs');
    await refused(at('epochs'), '2.5', '', 'The epochs');
    const units = page.getByLabel('units of layer 2', { exact: true });
    for (const typed of ['0', '-8', '3.5', '100000', ''])
      await refused(units, typed, '64', 'The units of a layer must be a whole number from 1 to 512');
    // the data have 6 rows; the 20 of the start are said to be more
    expect((await page.textContent('#size-hint')).includes('only 6 rows'), 'hint');
    await refused(at('size'), '0', '20', 'The rows of a batch');
    await refused(at('size'), '7', '20', 'only 6 rows to train on, so a batch has at most 6');
    await at('size').fill('6');
    await at('size').blur();
    expect((await message(page)) === '', await message(page));
    await page.locator('#size-hint').waitFor({ state: 'hidden' });
    await page.selectOption('#batching', 'steps');
    await refused(at('size'), '9', '1', 'an epoch has at most 6 steps');
    await page.fill('#point-x', '');
    await button('Add point').click();
    expect((await message(page)).includes('x and y must be'), await message(page));
    await button('A formula').click();
    await facts('100 rows');
    await refused(at('count'), '1', '100', 'The number of points');
    await refused(at('noise'), '-0.5', '0', 'The noise');
    await refused(at('from'), '', '-5', 'The start of x');
    await refused(at('from'), '5', '-5', 'must be below its end, 5. Received: 5.');
    await refused(at('to'), '-9', '5', 'must be above its start, -5');
    await end();
    // the same by a link
    const link = (settings) => `${url}#${btoa(JSON.stringify(settings))}`;
    const wrong = await opened({}, link({ rate: -1, layers: [{ units: 0, activation: 'relu' }] }));
    const said = await message(wrong.page);
    expect(said.includes('Received: -1. 0.001 is used instead'), said);
    expect(said.includes('The units of a layer'), said);
    await wrong.end();
  },
  async losses_of_epochs_and_of_rows_held_out() {
    const { page, facts, button, end } = await opened();
    await button('One step').click();
    await facts('mean of the steps so far');
    await button('One epoch').click();
    await facts('mean of the last whole epoch');
    // a table, of which every fifth row is held out: y is x in half of them and noise in those
    const rows = Array.from({ length: 200 }, (_, i) => {
      const x = ((i * 7) % 200) / 100 - 1;
      return `${x},${i % 5 === 4 ? 5 - x : x}`;
    });
    await button('Your CSV').click();
    await page.fill('#paste', `a,b\n${rows.join('\n')}\n`);
    await button('Use this table').click();
    await facts('160 rows · 40 held out');
    expect((await page.textContent('#hint')).includes('are held out'), 'which points');
    await page.fill('#epochs', '40');
    await page.locator('#epochs').blur();
    await button('Train').click();
    await facts('epoch 40.0');
    const text = await page.textContent('#facts');
    const [, loss] = text.match(/ loss ([\d.e-]+) \(mean/);
    const [, held] = text.match(/held-out loss ([\d.e-]+)/);
    expect(Number(loss) < 0.1 && Number(held) > 4, text);
    const program = await page.textContent('#program');
    expect(program.includes('x, y = x[~held], y[~held]'), 'the program trains on all rows');
    // the mean over an epoch is not the last batch's: a batch of one row jumps
    await page.selectOption('#held', '0');
    await facts('200 rows');
    expect((await message(page)).includes('starts again'), await message(page));
    await end();
  },
  async changes_go_on_or_start_again() {
    const { page, facts, step, trained, button, pause, end } = await opened();
    await button('Draw your own').click();
    await facts('6 rows');
    await page.fill('#epochs', '100000');
    await page.locator('#epochs').blur();
    await button('Train').click();
    await trained(200);
    // while it trains: it trains on
    const before = await step();
    await page.fill('#rate', '0.001');
    await page.locator('#rate').blur();
    expect((await message(page)).includes('goes on from the present weights, with the new learning rate'),
      await message(page));
    await trained(before + 100);
    expect((await page.textContent('#play')) === 'Pause', 'it stopped');
    await page.locator('#fit .u-over').click({ position: { x: 200, y: 60 } });
    await facts('7 rows');
    await pause();
    await page.waitForTimeout(300);
    const lossOf = async () => Number((await page.textContent('#facts')).match(/loss ([\d.e-]+)/)[1]);
    const goesOn = async (what, change) => {
      const [now, loss] = [await step(), await lossOf()];
      await change();
      await page.waitForFunction((text) =>
        document.querySelector('#message').textContent.includes(text), `new ${what}`);
      await facts(`step ${now} `);
      expect(Math.abs((await lossOf()) - loss) < 1e-6 * loss, `${what}: another loss`);
      await button('One step').click();
      await facts(`step ${now + 1} `);
      // and the curve is still that of weights that have learned
      expect((await lossOf()) < 5 * loss + 0.1, `${what}: ${await lossOf()} after ${loss}`);
    };
    const typed = (id, value) => async () => {
      await page.fill(`#${id}`, value);
      await page.locator(`#${id}`).blur();
    };
    await goesOn('batches', typed('size', '3'));
    await goesOn('L2', typed('l2', '0.00001'));
    await goesOn('dropout', typed('dropout', '0.01'));
    await goesOn('course of the learning rate', () => page.locator('#decay').uncheck());
    await goesOn('optimizer', () => page.selectOption('#optimizer', 'rmsprop'));
    await goesOn('number of epochs', typed('epochs', '500'));
    expect((await page.textContent('#program')).includes('Settings were changed'), 'program');
    // back in time: to the last change
    const last = await step();
    await button('Step back').click();
    await facts(`step ${last - 1} `);
    expect(await page.locator('#back').isDisabled(), 'back beyond the change');
    const again = async (what, change) => {
      await button('One epoch').click();
      await page.waitForFunction(() => document.querySelector('#time').value > 0);
      await change();
      await page.waitForFunction((text) =>
        document.querySelector('#message').textContent.includes(text), what);
      await facts('step 0 ');
    };
    await again('starts again: the network is another one', () => button('Add layer').click());
    await again('the seed sets', typed('seed', '5'));
    await again('x is scaled', () => page.locator('#normalize').uncheck());
    await button('A formula').click();
    await facts('100 rows');
    await button('One epoch').click();
    await facts('step 34 '); // of 3 rows
    await typed('noise', '0.2')();
    await page.waitForFunction(() => document.querySelector('#message').textContent.includes('new noise'));
    await facts('step 34 ');
    expect((await page.textContent('#program')).includes('x = np.array('), 'no noise in the program');
    await again('the data have changed', typed('count', '60'));
    await button('One epoch').click();
    await facts('epoch 1.0');
    await button('Start again').click();
    await facts('step 0 ');
    await end();
  },
  async few_rows_are_trained_long_enough() {
    const { page, facts, button, end } = await opened();
    await button('Draw your own').click();
    await facts('6 rows');
    const steps = Number(await page.getAttribute('#epochs', 'placeholder'));
    expect(steps >= 5000, `${steps} epochs of one step`);
    await button('Train').click();
    await facts(`step ${steps} `);
    const [, loss] = (await page.textContent('#facts')).match(/loss ([\d.e-]+)/);
    expect(Number(loss) < 1e-4, `loss ${loss} of six points`);
    await page.fill('#epochs', '40');
    await page.locator('#epochs').blur();
    await page.waitForFunction(() =>
      document.querySelector('#program').textContent.includes('epochs=40,'));
    await page.fill('#epochs', '');
    await page.locator('#epochs').blur();
    await page.waitForFunction((n) =>
      document.querySelector('#program').textContent.includes(`epochs=${n},`), steps);
    await end();
  },
  async columns_of_text_are_named() {
    const { page, facts, button, end } = await opened();
    await button('Your CSV').click();
    const use = async (text) => {
      await page.fill('#paste', text);
      await button('Use this table').click();
      await page.waitForFunction(() => document.querySelector('#message').textContent);
      return message(page);
    };
    const names = Array.from({ length: 12 }, (_, i) => `n${i}`);
    const days = Array.from({ length: 11 }, (_, i) => `${i},2024-01-${i + 10},${'ABCDEFGHIJK'[i]}-town`);
    const none = await use(`id,when,city\n${days.join('\n')}\n`);
    for (const part of ['“when” (“2024-01-10” in row 1) and “city” (“A-town” in row 1)', 'kurve fit'])
      expect(none.includes(part), none);
    expect(!none.includes('“id”'), none);
    const some = await use('a,city,price,b\n1,Rome,2,3\n2,Oslo,n. a.,5\n3,Bonn,4,8\n');
    await facts('3 rows');
    for (const part of ['Left out as text', '“city” (“Rome” in row 1) and “price” (“n. a.” in row 2)'])
      expect(some.includes(part), some);
    expect(await page.evaluate(() => document.querySelector('#message').className === 'note'), 'an error');
    const classes = await use('a,mark,kind\n1,u,x\n2,v,y\n3,w,x\n');
    expect(classes.includes('“mark”') && !classes.includes('“kind”'), classes);
    const many = await use(`${names},y\n${names.map((n) => `${n}!`)},1\n${names.map(() => 'q')},2\n`);
    expect(many.includes('“n0”') && many.includes('4 more'), many);
    await end();
  },
  async tables_of_other_programs() {
    const { page, facts, button, end } = await opened();
    const rows = Array.from({ length: 30 }, (_, i) => [i / 10, (i * i) % 7]);
    const lines = (/** @type {string} */ delimiter) => rows.map((r) => r.join(delimiter)).join('\n');
    const use = async (name, content) => {
      await button('Draw your own').click();
      await facts('6 rows');
      const buffer = Buffer.from(content);
      await page.setInputFiles('#file', { name, mimeType: 'text/csv', buffer });
    };
    const utf16 = Buffer.from(`\ufeffx,y\n${lines(',')}`, 'utf16le');
    for (const content of [`# measured\nx,y\n${lines(',')}`, `sep=;\nx;y\n${lines(';')}`,
      `x y\n${lines('  ')}`, `x|y\n${lines('|')}`, utf16]) {
      await use('other.csv', content);
      await facts('30 rows');
      const program = await page.textContent('#program');
      expect(program.includes('# columns of x: x\nx = np.array([0.0, 0.1, 0.2,'), program);
    }
    await use('latin.csv', Buffer.from(`größe,y\n${lines(',')}`, 'latin1'));
    await facts('30 rows');
    expect((await page.textContent('#program')).includes('# columns of x: größe'), 'Latin-1');
    const refused = async (content, ...parts) => {
      await use('wrong.csv', content);
      await page.waitForFunction((text) =>
        document.querySelector('#message').textContent.includes(text), parts[0]);
      for (const part of parts) expect((await message(page)).includes(part), await message(page));
    };
    await refused('a,b\n1,2\n3,4,5\n', 'Row 2 has 3 cells, the first line 2');
    await refused(Buffer.from([80, 75, 3, 4, 0, 0, 1]), 'not text');
    await use('far.csv', `x,y\n${rows.map(([x, y]) => `${x},${y}e25`).join('\n')}`);
    await facts('30 rows');
    await button('One step').click();
    await page.waitForFunction(() => document.querySelector('#message').textContent.includes(
      'stopped before step 1: the loss is not finite. Try y in larger units: its numbers reach 4.00e+25'));
    // more rows than the page takes: some of all parts
    const many = Array.from({ length: 50000 }, (_, i) => `${i},${i % 17}`);
    await use('many.csv', `a,y\n${many.join('\n')}\n`);
    await facts('16000 rows · 4000 held out');
    expect((await message(page)).includes('20,000 of 50,000 rows, evenly spread'), await message(page));
    await end();
  },
  async a_long_table() {
    const { page, facts, button, end } = await opened();
    const rows = Array.from({ length: 20000 }, (_, i) => `${i},${i % 13},${(i * 7) % 31},${i % 17}`);
    await page.setInputFiles('#file', {
      name: 'long.csv', mimeType: 'text/csv', buffer: Buffer.from(`a,b,c,y\n${rows.join('\n')}\n`),
    });
    await facts('16000 rows · 4000 held out');
    expect((await page.textContent('#program')).includes('writes the 80,000 numbers'), 'program');
    expect(await page.locator('#copy').isDisabled(), 'a program without its numbers is copied');
    const [download] = await Promise.all([
      page.waitForEvent('download'), button('Download program').click()]);
    const program = readFileSync(await download.path(), 'utf8');
    expect(/19999\.0,\s+5\.0,\s+28\.0\]/.test(program), 'not all numbers');
    expect(program.split('\n').every((line) => line.length <= 88), 'long lines');
    await end();
  },
  async a_page_with_data() {
    const { page, facts, end } = await opened({}, pathToFileURL(fileWithData).href);
    await facts('25 rows');
    expect((await page.textContent('#columns')).includes(HOSTILE), 'name of a column');
    await end();
  },
  // Served with the headers that isolate it. The results are those of one thread.
  async threads_where_the_page_is_isolated() {
    const headers = {
      'Content-Type': 'text/html',
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
    };
    const server = createServer((_, response) => {
      response.writeHead(200, headers);
      response.end(readFileSync(file));
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const networks = [];
    for (const address of [`http://127.0.0.1:${server.address().port}/`, url]) {
      const { page, facts, button, end } = await opened({ cores: 3 }, address);
      const isolated = address !== url;
      expect((await page.evaluate(() => crossOriginIsolated)) === isolated, 'isolation');
      await page.fill('#epochs', '4');
      await page.locator('#epochs').blur();
      await button('Train').click();
      await facts('step 40 ');
      const text = await page.textContent('#facts');
      expect(text.includes('steps/s on 3 threads') === isolated, text);
      const [download] = await Promise.all([
        page.waitForEvent('download'), button('Download network (.kurve)').click()]);
      networks.push(readFileSync(await download.path()));
      await button('What each layer adds').click();
      await page.waitForFunction(() => document.querySelectorAll('#readout meter').length === 8);
      await end();
    }
    server.close();
    expect(networks[0].equals(networks[1]), 'other weights on three threads');
  },
  // As a notebook shows it: in a frame whose origin is its own.
  async in_a_notebooks_frame() {
    const page = await browser.newPage();
    const faults = [];
    page.on('pageerror', (error) => faults.push(error.message));
    await page.setContent('<iframe width="1000" height="900" sandbox="allow-scripts allow-downloads"></iframe>');
    await page.evaluate((text) => (document.querySelector('iframe').srcdoc = text), readFileSync(file, 'utf8'));
    const frame = page.frameLocator('iframe');
    const facts = frame.locator('#facts');
    await frame.getByRole('button', { name: 'Draw your own', exact: true }).click();
    await facts.filter({ hasText: '6 rows' }).waitFor();
    await frame.getByRole('button', { name: 'One epoch', exact: true }).click();
    await facts.filter({ hasText: 'step 1 ' }).waitFor();
    await frame.getByRole('button', { name: 'Two random directions', exact: true }).click();
    await frame.locator('#landscape-text').filter({ hasText: 'at the cross' }).waitFor();
    expect(faults.length === 0, faults.join('; '));
    await page.close();
  },
  async maps_and_units() {
    const { page, facts, trained, button, pause, end } = await opened();
    await button('Two inputs').click();
    await facts('250 rows');
    await button('Train').click();
    await trained(30);
    await button('layer 2: 64').click();
    await page.waitForFunction(() => document.querySelectorAll('.tile').length === 24);
    await pause();
    for (const kind of ['circles', 'moons', 'squares', 'clouds', 'plane', 'hills']) {
      await page.selectOption('#kind', kind);
      await facts('step 0');
      await page.waitForFunction(() => document.querySelector('canvas.map'));
      await button('One epoch').click();
      await page.waitForFunction(() => document.querySelector('#time').value > 0);
    }
    await button('10 × 10').click();
    await facts('200 rows');
    await button('layer 7: 256').click();
    await page.waitForFunction(() => document.querySelector('#units .u-wrap'));
    await end();
  },
  async digits_are_drawn() {
    const { page, facts, button, pause, end } = await opened();
    await button('Digits').click();
    await facts('1347 rows');
    await page.fill('#epochs', '6');
    await page.keyboard.press('Tab');
    await button('Train').click();
    await facts('step 258 ');
    await pause();
    const right = Number((await page.textContent('#hint')).match(/([\d.]+) %/)[1]);
    expect(right > 85, `${right} % of the test digits`);
    const likeliest = () => page.evaluate(() => {
      const bars = [...document.querySelectorAll('#bars meter')].map((m) => m.value);
      return [bars.indexOf(Math.max(...bars)), Math.max(...bars)];
    });
    const found = () => page.waitForFunction(() =>
      [...document.querySelectorAll('#bars meter')].some((m) => m.value > 0));
    // The strokes before the last one may be read as another digit.
    const readAs = async (digit, where = '') => {
      try {
        await page.waitForFunction((n) => {
          const bars = [...document.querySelectorAll('#bars meter')].map((m) => m.value);
          return bars[n] > 0 && bars[n] === Math.max(...bars);
        }, digit, { timeout: 10000 });
      } catch {
        throw new Error(`${digit} ${where} was read as ${await likeliest()}`);
      }
    };
    await page.locator('#drawing').scrollIntoViewIfNeeded();
    const box = await page.locator('#drawing').boundingBox();
    const at = (x, y) => [box.x + x * box.width, box.y + y * box.height];
    const { mouse } = page;
    const circle = Array.from({ length: 25 }, (_, i) => {
      const angle = (2 * Math.PI * i) / 24;
      return at(0.5 + 0.2 * Math.sin(angle), 0.5 - 0.33 * Math.cos(angle));
    });
    for (const [digit, points] of [[1, [at(0.5, 0.1), at(0.5, 0.9)]], [0, circle],
      [7, [at(0.25, 0.15), at(0.75, 0.15), at(0.4, 0.9)]]]) {
      await button('Clear').click();
      await mouse.move(...points[0]);
      await mouse.down();
      for (const point of points) await mouse.move(...point);
      await mouse.up();
      await readAs(digit);
    }
    // small ones, in the corners
    const small = { 0: circle, 7: [at(0.25, 0.15), at(0.75, 0.15), at(0.4, 0.9)] };
    for (const [digit, points] of Object.entries(small))
      for (const corner of [[0.04, 0.04], [0.76, 0.05], [0.05, 0.74], [0.77, 0.76]]) {
        await button('Clear').click();
        const placed = points.map(([x, y]) => at(
          corner[0] + 0.2 * ((x - box.x) / box.width), corner[1] + 0.2 * ((y - box.y) / box.height)));
        await mouse.move(...placed[0]);
        await mouse.down();
        for (const point of placed) await mouse.move(...point);
        await mouse.up();
        await readAs(Number(digit), `at ${corner}`);
      }
    // by the keyboard: a line from the top down
    await button('Clear').click();
    await page.waitForFunction(() =>
      [...document.querySelectorAll('#bars meter')].every((m) => m.value === 0));
    await page.focus('#drawing');
    await page.keyboard.press('Space');
    for (let i = 0; i < 24; i++) await page.keyboard.press('ArrowDown');
    await found();
    await button('Show a digit').click();
    await button('layer 1: 16').click();
    await page.waitForFunction(() => document.querySelectorAll('.tile').length === 16);
    await button('Add convolution').click();
    await page.waitForFunction(() =>
      document.querySelector('#program').textContent.match(/Conv2D/g).length === 3);
    await button('A formula').click();
    await facts('100 rows');
    expect(!(await page.textContent('#program')).includes('Conv2D'), 'convolutions of numbers');
    await end();
  },
  async the_loss_landscape() {
    const { page, facts, step, button, trained, pause, end } = await opened();
    await button('Draw your own').click();
    await facts('6 rows');
    await page.fill('#epochs', '100000');
    await page.keyboard.press('Tab');
    await button('Train').click();
    await trained(100);
    const text = () => page.textContent('#landscape-text');
    const done = () => page.waitForFunction(() => {
      const now = document.querySelector('#landscape-text').textContent;
      return now && !now.includes('omputing');
    });
    for (const name of ['Two random directions', 'Along the training path']) {
      const before = await step();
      await button(name).click();
      await done();
      expect((await step()) > before, 'training stood still');
      const [low, high] = (await text()).match(/([\d.e+-]+) to ([\d.e+-]+)/).slice(1).map(Number);
      expect(low < high, await text());
      expect(await page.locator('#landscape canvas').count() === 1, 'no picture');
    }
    await pause();
    await end();
  },
  async what_each_layer_adds() {
    const { page, facts, button, trained, pause, end } = await opened();
    const shares = async (count) => {
      await button('What each layer adds').click();
      await page.waitForFunction(
        (n) => document.querySelectorAll('#readout meter').length === n, count);
      return page.evaluate(() => [...document.querySelectorAll('#readout meter')].map((m) => m.value));
    };
    await button('Better model').click();
    await facts('step 0');
    await button('Train').click();
    await trained(300);
    await pause();
    const found = await shares(8);
    expect(found[0] < 0.3 && found[7] > 0.8, `R2 of the layers: ${found}`);
    expect(await page.locator('#units .u-wrap').count() === 1, 'no curves');
    await button('Two inputs').click();
    await facts('250 rows');
    expect((await shares(4))[3] > 0.5, 'classes');
    await end();
  },
  async every_setting() {
    const { page, facts, button, end } = await opened();
    await button('Draw your own').click();
    await facts('8,513 weights');
    await button('Add layer').click();
    await facts('12,673 weights');
    await page.getByLabel('units of layer 1', { exact: true }).fill('8');
    await page.keyboard.press('Tab');
    await facts('8,977 weights');
    await page.getByLabel('activation of layer 1').selectOption('tanh');
    await button('remove layer 4').click();
    await facts('4,817 weights');
    await page.selectOption('#optimizer', 'sgd');
    expect((await page.inputValue('#rate')) === '0.01', 'a rate that suits SGD');
    await page.fill('#l2', '0.001');
    await page.fill('#dropout', '0.1');
    await page.fill('#epochs', '5');
    await page.fill('#seed', '77');
    await page.locator('#normalize').uncheck();
    await page.locator('#decay').check();
    await page.selectOption('#batching', 'steps');
    await page.fill('#size', '3');
    await page.keyboard.press('Tab');
    await page.waitForFunction(() =>
      document.querySelector('#program').textContent.includes('steps_per_epoch=3'));
    const program = await page.textContent('#program');
    for (const part of ['Dense(8, activation="tanh", kernel_regularizer=regularizers.L2(0.001)',
      'Dropout(0.1)', 'optimizers.SGD(rate)', 'decay_steps=15', 'set_random_seed(77)'])
      expect(program.includes(part), part);
    await button('Train').click();
    await facts('step 15 ');
    await end();
  },
  async downloads_and_the_link() {
    const { page, facts, button, end } = await opened();
    await button('Draw your own').click();
    await facts('6 rows');
    for (const [name, ending] of [['Download program', 'model.py'],
      ['Download model (.kurve)', 'model.kurve'],
      ['Download network (.kurve)', 'network.kurve'], ['Download ONNX', 'model.onnx'],
      ['Download C', 'model.c']]) {
      const [download] = await Promise.all([page.waitForEvent('download'), button(name).click()]);
      expect(download.suggestedFilename() === ending, download.suggestedFilename());
      expect(readFileSync(await download.path()).length > 100, 'an empty file');
    }
    await button('Copy link to this setting').click();
    const address = page.url();
    await end();
    const again = await opened({}, address);
    await again.facts('6 rows');
    await again.end();
    const broken = await opened({}, `${url}#${'x'.repeat(50)}`);
    await broken.facts('200 rows');
    await broken.end();
  },
  async a_link_holds_every_setting() {
    const { page, facts, button, end } = await opened();
    const shown = (/** @type {any} */ tab) => tab.evaluate(() => {
      const controls = document.querySelectorAll('input:not([type=file], [type=range]), select');
      const visible = Array.from(controls).filter((e) => e.checkVisibility());
      const values = visible.map((e) =>
        [e.id || e.getAttribute('aria-label') || e.parentElement.textContent,
          e.type === 'checkbox' || e.type === 'radio' ? e.checked : e.value]);
      return JSON.stringify([values.filter(([name]) => !/^point-/.test(name)),
        document.querySelector('#program').textContent], null, 1);
    });
    const kept = async (what, text) => {
      await facts(text);
      await page.waitForFunction(() => document.querySelector('#message').className !== '' ||
        document.querySelector('#message').hidden);
      const again = await opened({}, page.url());
      await again.facts(text);
      const [before, after] = [await shown(page), await shown(again.page)];
      const lines = after.split('\n');
      const other = before.split('\n').filter((line, i) => line !== lines[i]);
      expect(before === after, `${what}: ${other.slice(0, 3)}`);
      await again.end();
    };
    const typed = async (id, value) => {
      await page.fill(`#${id}`, String(value));
      await page.locator(`#${id}`).blur();
    };
    await button('A formula').click();
    await facts('100 rows');
    for (const [id, value] of Object.entries({
      text: 'x^2 + cos(3*x)', from: -2, to: 7, count: 80, noise: 0.3, rate: 0.0123, epochs: 77,
      l2: 0.001, dropout: 0.2, seed: 4294967295 }))
      await typed(id, value);
    await page.selectOption('#optimizer', 'nadam');
    await typed('rate', 0.0123);
    await page.locator('#normalize').uncheck();
    await page.locator('#decay').uncheck();
    await page.selectOption('#batching', 'steps');
    await typed('size', 7);
    await page.selectOption('#held', '3');
    await button('Add layer').click();
    await page.getByLabel('units of layer 2', { exact: true }).fill('33');
    await page.keyboard.press('Tab');
    await page.getByLabel('activation of layer 4').selectOption('tanh');
    await kept('a formula', '54 rows · 26 held out');
    const rows = Array.from({ length: 60 }, (_, i) => `${i},${i % 7},${i % 3 ? 'ja' : 'nö'},${i * i}`);
    await button('Your CSV').click();
    await page.fill('#paste', `${HOSTILE},b,"ц ""?",d\n${rows.join('\n')}\n`);
    await button('Use this table').click();
    await facts('48 rows');
    await page.locator('#columns input[type=checkbox]').first().uncheck();
    await kept('a table', '48 rows');
    for (const kind of ['spiral', 'digits', 'points']) {
      await page.selectOption('#kind', kind);
      await kept(kind, { spiral: '250 rows', digits: '1347 rows', points: '6 rows' }[kind]);
    }
    await end();
  },
  // What the commands do with these files is tested in Python.
  async models_of_tables() {
    const { page, facts, button, pause, end } = await opened();
    for (const name of ['numbers', 'labels', 'codes']) {
      await page.setInputFiles('#file', join(downloads, `${name}.csv`));
      await facts('120 rows · 30 held out');
      await button('Train').click();
      await page.waitForFunction(() => document.querySelector('#time').value > 1500);
      await pause();
      const [download] = await Promise.all([
        page.waitForEvent('download'), button('Download model (.kurve)').click()]);
      await download.saveAs(join(downloads, `${name}.kurve`));
    }
    await end();
  },
  async the_keyboard_alone() {
    const { page, facts, trained, end } = await opened();
    const seen = [];
    for (let i = 0; i < 120; i++) {
      await page.keyboard.press('Tab');
      const at = await page.evaluate(() => {
        const e = document.activeElement;
        const name = e.id || e.getAttribute('aria-label') || e.textContent.trim();
        const { outlineStyle } = getComputedStyle(e);
        return [name, outlineStyle];
      });
      seen.push(at[0]);
      expect(at[1] !== 'none' || at[0].length > 100, `the focus on ${at[0]} is not seen`);
      if (at[0] === 'Draw your own') {
        await page.keyboard.press('Enter');
        await facts('6 rows');
      }
      if (at[0] === 'play') {
        await page.keyboard.press('Space');
        await trained(20);
        await page.keyboard.press('Space');
      }
      if (at[0] === 'time') await page.keyboard.press('ArrowLeft');
      if (at[0] === 'model-c') break;
    }
    for (const name of ['play', 'step', 'back', 'time', 'kind', 'add-point', 'add-layer',
      'optimizer', 'rate', 'program', 'copy', 'link', 'random', 'adds', 'model-onnx'])
      expect(seen.includes(name), `${name} is not reached`);
    await end();
  },
  async narrow_and_dark() {
    for (const colorScheme of ['light', 'dark'])
      for (const width of [420, 1200]) {
        const viewport = { width, height: 900 };
        const { page, trained, button, pause, end } = await opened({ viewport, colorScheme });
        for (const name of ['Better model', 'Two inputs', 'Draw your own']) {
          await button(name).click();
          await button('Train').click();
          await trained(3);
          await pause();
          const wide = await page.evaluate(() => document.documentElement.scrollWidth);
          expect(wide <= width, `${name}: ${wide} pixels wide`);
        }
        if (pictures)
          await page.screenshot({ path: join(pictures, `${colorScheme}-${width}.png`), fullPage: true });
        await end();
      }
  },
};

const failed = {};
for (const [name, check] of Object.entries(checks)) {
  if (only.length && !only.includes(name)) continue;
  try {
    await check();
  } catch (error) {
    failed[name] = error.stack;
  }
}
await browser.close();
console.log(JSON.stringify({ checks: Object.keys(checks), failed }));
