// The page: what the user chooses goes to the worker, what it computes to the pictures.
import { drawLandscape, showReadout } from './around.js';
import { copy, save, unpacked } from './browser.js';
import { fitChart, lossChart, mapChart, readoutChart, unitMaps, unitsChart } from './charts.js';
import { connectControls } from './controls.js';
import { columnKinds, parseTable, textColumns } from './data.js';
import { digitsChart, drawingPad, shareRight } from './digits.js';
import { $, make, numberOf, sayBy, showSettings } from './form.js';
import {
  EXAMPLES, changesOf, checked, example, fromHash, toHash, whyAgain, withData,
} from './settings.js';
import workerSource from 'worker-source';

/** @import { DataSettings, Drawn, Picture, Readout, Run, Settings } from './types.js' */

/** @type {Settings} */
let settings;
/** @type {Run} */
let run = /** @type {any} */ (null); // of the worker: what it trains, and the last picture
/** @type {Drawn[]} */
let charts = [];
let id = 0; // of the newest settings; answers to older ones are ignored
let playing = false;
let end = 0; // the step after which the chosen epochs are done
let failed = false; // the worker could not use the newest settings
/** @type {object | null} */
let engineFiles = null; // what a worker needs to start
const worker = startWorker();
/** @type {Worker | null} */
let helper = null; // a second one, for what takes long beside training
/** @type {ReturnType<typeof drawingPad>} */
let pad;

function startWorker() {
  const blob = new Blob([workerSource], { type: 'text/javascript' });
  const started = new Worker(URL.createObjectURL(blob));
  started.onmessage = ({ data }) => answers[data.kind](data);
  started.onerror = (event) => showMessage(`The engine could not start: ${event.message}`);
  return started;
}

/** @type {Record<string, (answer: any) => void>} */
const answers = {
  ready: () => apply(settings),
  started(answer) {
    if (answer.id !== id) return;
    const same = run && answer.first > 0 && sameData(run, answer);
    run = answer;
    failed = false;
    run.view = drawnView();
    $('program').textContent = run.program;
    $('copy').disabled = run.long;
    if (!same) rebuildCharts();
    showBatches();
    showPicture(answer);
  },
  picture(answer) {
    if (answer.id === id && run) showPicture(answer);
  },
  error(answer) {
    if (answer.id !== undefined && answer.id !== id) return;
    setPlaying(false);
    failed = true;
    for (const name of ['landscape-text', 'units-hint']) $(name).textContent = '';
    showMessage(answer.message);
  },
  file({ format, bytes }) {
    save(format === 'network' ? 'network.kurve' : `model.${format}`, new Blob([bytes]));
  },
  snapshot({ kind, purpose, ...given }) {
    if (given.id !== id) return;
    if (!helper) {
      helper = startWorker();
      helper.postMessage({ kind: 'engine', ...engineFiles, quiet: true });
    }
    helper.postMessage({ kind: purpose, ...given });
  },
  landscape(answer) {
    if (answer.id === id) $('landscape-text').textContent = drawLandscape($('landscape'), answer);
  },
  readout(answer) {
    if (answer.id === id) showReadouts(answer);
  },
};

/** @param {string} kind @param {object} [more] */
function send(kind, more = {}) {
  worker.postMessage({ kind, id, ...more });
}

/** @param {string} text @param {boolean} [note] whether nothing is wrong */
function showMessage(text, note = false) {
  $('message').textContent = text;
  $('message').hidden = !text;
  $('message').classList.toggle('note', note);
}

/**
 * Starts with new settings.
 * @param {Settings} chosen
 */
function apply(chosen) {
  use(chosen);
  setPlaying(false);
  send('start', { settings });
  if (broken) showMessage(`In the link: ${broken}`);
  broken = '';
}

/** @param {Settings} chosen */
function use(chosen) {
  settings = chosen;
  id++;
  showMessage('');
  showAll();
  remember();
}

/**
 * Goes on with new settings from the weights of now, if these belong to them too.
 * @param {Settings} chosen
 */
function goOn(chosen) {
  const step = run ? Number($('time').value) : 0;
  const why = whyAgain(settings, chosen);
  const changes = changesOf(settings, chosen);
  if (!step || failed || why) {
    const asked = chosen.data.kind !== settings.data.kind; // for something else altogether
    apply(chosen);
    if (step && !failed && !asked) showMessage(`Training starts again: ${why}.`, true);
    return;
  }
  if (!changes) return;
  use(chosen);
  send('resume', { settings });
  showMessage(`Training goes on from the present weights, with the new ${changes}.`, true);
}

function showAll() {
  showSettings(settings, { change, changeData });
  for (const [name, button] of Object.entries(exampleButtons)) {
    const pressed = toHash(example(name)) === toHash(settings);
    button.setAttribute('aria-pressed', String(pressed));
  }
}

/** @param {Partial<Settings>} more */
function change(more) {
  goOn(checked({ ...settings, ...more }));
}

function remember() {
  const hash = toHash(settings);
  try {
    if (hash.length < 60000) history.replaceState(null, '', `#${hash}`);
  } catch {
    // a page inside another one may have no address of its own
  }
}

/** @param {boolean} on */
function setPlaying(on) {
  playing = on;
  $('play').textContent = on ? 'Pause' : 'Train';
}

// ------------------------------------------------------------------ pictures

/** @returns {Run['view']} */
function drawnView() {
  if (settings.data.kind !== 'points') return null;
  /**
   * @param {number[]} values
   * @param {number} low
   * @param {number} high
   * @returns {[number, number]}
   */
  const around = (values, low, high) => [Math.min(low, ...values), Math.max(high, ...values)];
  const { points } = settings.data;
  return {
    x: around(points.map((p) => p[0]), -5, 5),
    y: around(points.map((p) => p[1]), -2.5, 2.5),
  };
}

// How rows held out are drawn; curves of classes do not show them.
function heldHint() {
  const { heldOut, testLabels, rows } = run;
  if (!heldOut || testLabels || (rows.inputs === 1 && rows.classes)) return [];
  return [rows.inputs === 2 ? 'Points with a dark ring are held out.' : 'Orange points are held out.'];
}

// Whether the pictures of one are those of the other: only weights have changed.
/** @param {Run} a @param {Run} b */
function sameData(a, b) {
  const parts = (/** @type {Run} */ { axes, rows, outputs }) => [axes, rows.names, rows.rows, outputs];
  if (JSON.stringify(parts(a)) !== JSON.stringify(parts(b))) return false;
  return a.rows.y.every((v, i) => v === b.rows.y[i]) && a.rows.x.every((v, i) => v === b.rows.x[i]);
}

// Batches that the rows are too few for, which data chosen later may bring about.
function showBatches() {
  const [size, most] = [settings.steps || settings.batch, run.rows.rows];
  $('size-hint').hidden = size <= most;
  $('size-hint').textContent = settings.steps
    ? `There are only ${most} rows: an epoch has ${run.perEpoch} steps.`
    : `There are only ${most} rows: each step takes all of them.`;
  $('epochs').placeholder = String(run.epochs);
}

function rebuildCharts() {
  charts.forEach((chart) => chart.free());
  const { inputs } = run.rows;
  const chart = run.testLabels ? digitsChart : inputs === 2 ? mapChart : fitChart;
  const fit = chart($('fit'), run);
  charts = [fit, lossChart($('loss'))];
  const drawing = settings.data.kind === 'points';
  $('fit-title').textContent = run.testLabels ? 'Digits it was not trained on' : 'The fit';
  $('pad').hidden = !run.testLabels;
  $('fit').style.cursor = drawing ? 'crosshair' : '';
  const hints = [...(drawing ? ['Click to add a point.'] : []), ...heldHint()];
  $('hint').textContent = hints.join(' ');
  $('hint').hidden = !hints.length;
  showLayerButtons();
  $('landscape').replaceChildren();
  $('landscape-text').textContent = '';
  $('held-key').hidden = !run.heldOut;
  $('held-key').textContent = run.testLabels ? 'digits of the test' : 'rows held out';
  if (run.layer >= 0) send('look', { layer: -1 });
  if (run.testLabels) pad.clear();
}

function showLayerButtons() {
  const place = $('layer-buttons');
  place.replaceChildren();
  const visible = run.rows.inputs <= 2 || run.testLabels;
  $('units-hint').textContent = visible
    ? 'Choose a layer to see what its units compute.'
    : 'With more than two inputs there is no picture of the units.';
  if (visible)
    settings.layers.forEach(({ kind, units }, i) => {
      if (run.testLabels && kind !== 'conv') return;
      const button = make('button', `layer ${i + 1}: ${units}`);
      button.setAttribute('aria-pressed', 'false');
      button.onclick = () => {
        const pressed = button.getAttribute('aria-pressed') === 'true';
        for (const other of place.children) other.setAttribute('aria-pressed', 'false');
        button.setAttribute('aria-pressed', String(!pressed));
        showUnits(!pressed);
        $('readout').replaceChildren();
        send('look', { layer: pressed ? -1 : i });
      };
      place.append(button);
    });
  $('readout').replaceChildren();
  showUnits(false);
}

/** @param {boolean} shown */
function showUnits(shown) {
  const place = $('units');
  charts.splice(2).forEach((chart) => chart.free());
  place.hidden = !shown;
  const maps = run.rows.inputs > 1;
  place.classList.toggle('tiles', maps);
  if (shown) charts.push((maps ? unitMaps : unitsChart)(place, run));
}

/** @param {Readout} readout */
function showReadouts(readout) {
  for (const button of $('layer-buttons').children) button.setAttribute('aria-pressed', 'false');
  showUnits(false);
  send('look', { layer: -1 });
  $('units-hint').textContent = showReadout($('readout'), readout);
  if (run.rows.inputs > 1 || run.rows.classes) return;
  $('units').hidden = false;
  charts.push(readoutChart($('units'), run, readout));
}

/** @param {Float32Array | null} probabilities */
const showBars = (probabilities) =>
  Array.from($('bars').children).forEach((item, i) => {
    const share = probabilities ? probabilities[i] : 0;
    item.querySelector('meter').value = share;
    item.querySelector('output').textContent = probabilities ? `${Math.round(100 * share)} %` : '';
  });

/** @param {Picture} picture */
function showPicture(picture) {
  for (const chart of charts) chart.show(picture);
  if (picture.running !== playing && !picture.running) setPlaying(false);
  if (picture.error) showMessage(picture.error);
  const { step, first, last, loss, heldLoss, speed } = picture;
  const time = $('time');
  time.min = first;
  time.max = last;
  time.value = step;
  end = picture.end;
  const { heldOut } = run;
  const facts = [
    `${run.rows.rows} rows`,
    ...(heldOut ? [`${heldOut.rows} ${run.testLabels ? 'to test' : 'held out'}`] : []),
    `${run.weights.toLocaleString('en')} weights`,
    `step ${step}`,
    `epoch ${picture.epoch.toFixed(1)}`,
  ];
  if (loss) facts.push(`loss ${loss.value.toPrecision(3)} (mean of ${loss.of})`);
  if (heldLoss !== null)
    facts.push(`${run.testLabels ? 'test' : 'held-out'} loss ${heldLoss.toPrecision(3)}`);
  if (speed) facts.push(`${Math.round(speed)} steps/s`);
  $('facts').textContent = facts.join(' · ');
  if (picture.units)
    $('units-hint').textContent =
      `${picture.units.curves.length} of ${picture.units.width} units of layer ${picture.units.layer + 1}`;
  $('back').disabled = step === first;
  if (!run.testLabels) return;
  showBars(picture.drawn);
  const right = (100 * shareRight(picture.output, run.testLabels)).toFixed(1);
  $('hint').hidden = false;
  $('hint').textContent =
    `${right} % of ${run.testLabels.length} digits it was not trained on are right; ` +
    'wrong ones are framed, with the answer.';
}

// ------------------------------------------------------------------ settings

/** @param {Partial<DataSettings>} more */
function changeData(more) {
  goOn(withData(settings, more));
}

/** @param {string} text */
function useTable(text) {
  const table = parseTable(text);
  const kinds = columnKinds(table);
  const usable = table.names.map((_, i) => i).filter((i) => kinds[i].numeric || kinds[i].label);
  const y = usable.at(-1);
  const x = usable.filter((i) => i !== y && kinds[i].numeric);
  if (y === undefined || !x.length) {
    const texts = textColumns(table);
    const reason = texts ? `Text, not numbers: ${texts}. ${INSTEAD}` : 'There is one column only.';
    throw new Error(`The table needs two columns: numbers for x, and y. ${reason}`);
  }
  apply(withData(settings, { kind: 'table', table: { names: table.names, rows: table.rows }, x, y }));
  const texts = textColumns(table, [y]);
  const gaps = table.rows.filter((r) => [...x, y].some((i) => r[i] === '')).length;
  const notes = [
    ...(texts ? [`Left out as text, not numbers: ${texts}. ${INSTEAD}`] : []),
    ...(gaps ? [`${gaps} of ${table.rows.length} rows have gaps and are left out.`] : []),
  ];
  showMessage(notes.join(' '), true);
}
const INSTEAD =
  'Correct such cells, or write numbers instead (dates as days, two labels as 0 and 1); ' +
  'the command “kurve fit” takes text and dates as they are.';

/** @template T @param {(given: T) => unknown} action */
function trying(action) {
  return async (/** @type {T} */ given) => {
    try {
      showMessage('');
      await action(given);
    } catch (error) {
      showMessage(error instanceof Error ? error.message : String(error));
    }
  };
}

const useFile = trying(async (/** @type {File | undefined} */ file) => {
  if (!file) return;
  if (file.size > 2e7) throw new Error('The page takes files of up to 20 MB.');
  useTable(await file.text());
});

// ------------------------------------------------------------------ actions

/** @param {string} purpose @param {object} more */
function around(purpose, more) {
  showMessage('');
  const text = purpose === 'landscape' ? 'landscape-text' : 'units-hint';
  $(text).textContent = 'Computing…';
  send('snapshot', { purpose, ...more });
}

/** @type {Record<string, HTMLButtonElement>} */
const exampleButtons = {};

function connect() {
  for (const [name, { label, title }] of Object.entries(EXAMPLES)) {
    const button = make('button', label, { title });
    button.onclick = () => apply(example(name));
    exampleButtons[name] = button;
    $('examples').append(button);
  }
  const own = {
    points: 'Draw your own', formula: 'A formula', spiral: 'Two inputs', digits: 'Digits',
  };
  $('examples').append(make('strong', 'or:'));
  for (const [kind, label] of Object.entries(own)) {
    const button = make('button', label);
    button.onclick = () => changeData({ kind });
    $('examples').append(button);
  }
  const tableButton = make('button', 'Your CSV');
  tableButton.onclick = () => {
    $('own-table').open = true;
    $('paste').focus();
  };
  $('examples').append(tableButton);

  $('play').onclick = () => {
    if (!playing && settings.decay && run && Number($('time').value) >= end) {
      showMessage(
        'The learning rate has fallen to 0, so more steps change nothing. ' +
          'Try more epochs, or a rate that does not fall.',
      );
      return;
    }
    setPlaying(!playing);
    send(playing ? 'play' : 'pause');
  };
  /** @param {string} kind @param {() => object} more */
  const stopped = (kind, more) => {
    setPlaying(false);
    send(kind, more());
  };
  $('step').onclick = () => stopped('step', () => ({ count: 1 }));
  $('epoch').onclick = () => stopped('step', () => ({ count: run?.perEpoch ?? 1 }));
  $('back').onclick = () => stopped('goto', () => ({ step: Number($('time').value) - 1 }));
  $('reset').onclick = () => apply(settings);
  $('time').oninput = () => stopped('goto', () => ({ step: Number($('time').value) }));

  sayBy(showMessage);
  connectControls({
    settings: () => settings, rows: () => run?.rows.rows ?? Infinity, change, changeData,
  });

  /** @param {number[]} point */
  const addPoint = (point) =>
    changeData({ points: [...settings.data.points, point.map((v) => Number(v.toFixed(3)))] });
  $('fit').onclick = (/** @type {any} */ event) => {
    if (settings.data.kind === 'points' && run) addPoint(charts[0].position?.(event) ?? [0, 0]);
  };
  $('add-point').onclick = () =>
    numberOf($('point-x'), 'point', 1, (x) =>
      numberOf($('point-y'), 'point', 0, (y) => addPoint([x, y])));
  $('undo-point').onclick = () => changeData({ points: settings.data.points.slice(0, -1) });
  $('clear-points').onclick = () => changeData({ points: [] });

  $('use-table').onclick = trying(() => useTable($('paste').value));
  $('file').onchange = (/** @type {any} */ event) => useFile(event.target.files[0]);
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    useFile(event.dataTransfer?.files[0]);
  });

  $('copy').onclick = () => copy($('program').textContent, $('copy'));
  $('download').onclick = () => send('file', { format: 'py' });
  for (const format of ['kurve', 'network', 'onnx', 'c'])
    $(`model-${format}`).onclick = () => send('file', { format });
  $('random').onclick = () => around('landscape', { along: false });
  $('along').onclick = () => around('landscape', { along: true });
  $('adds').onclick = () => around('readout', { along: false });
  $('bars').append(
    ...Array.from({ length: 10 }, (_, i) => {
      const item = make('li');
      const meter = make('meter', '', { min: 0, max: 1 });
      meter.setAttribute('aria-label', `probability of ${i}`);
      item.append(make('span', String(i)), meter, make('output'));
      return item;
    }),
  );
  pad = drawingPad($('drawing'), (digit) => {
    if (run?.testLabels) send('draw', { digit });
  });
  $('clear-drawing').onclick = () => pad.clear();
  let shown = -1;
  $('show-digit').onclick = () => {
    shown = (shown + 1) % (run.testLabels?.length ?? 1);
    pad.put(run.gridX.slice(64 * shown, 64 * shown + 64));
  };
  $('link').onclick = () => {
    const { href } = location;
    copy(`${href.split('#')[0]}#${toHash(settings)}`, $('link'));
  };
  window.addEventListener('hashchange', () => {
    const found = fromLink();
    if (found && toHash(found) !== toHash(settings)) apply(found);
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    pad.show();
    send('redraw');
  });
}

// The data that `kurve live` wrote into the page: {table: {names, rows}, x, y}.
function given() {
  const found = JSON.parse($('given').textContent);
  return found && withData(example('raw10'), { kind: 'table', ...found });
}

// The settings of a link, with a word about those that cannot be.
function fromLink() {
  /** @type {string[]} */
  const problems = [];
  const found = fromHash(location.hash, problems);
  if (location.hash.length > 1 && !found) problems.push('This link holds no settings.');
  broken = problems.join(' ');
  return found;
}
let broken = '';

connect();
settings = fromLink() ?? given() ?? example('raw10');
showAll();
Promise.all(['engine', 'digits'].map(unpacked)).then(
  ([bytes, digits]) => {
    engineFiles = { bytes, digits };
    send('engine', engineFiles);
  },
  (error) => showMessage(`This browser cannot unpack the engine: ${error.message}`),
);
