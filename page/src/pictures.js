// What the page shows of a run: the fit, the losses, the units, and facts in words.
import { showReadout } from './around.js';
import { fitChart, lossChart, mapChart, readoutChart, unitMaps, unitsChart } from './charts.js';
import { digitsChart, drawingPad, shareRight } from './digits.js';
import { $, make } from './form.js';
import { send } from './workers.js';

/** @import { Drawn, Picture, Readout, Run, Settings } from './types.js' */

/** What the worker trains, once it does. @type {Run} */
export let run = /** @type {any} */ (null);
/** @type {Settings} */
let settings; // of the run
/** @type {Drawn[]} */
let charts = [];
/** @type {ReturnType<typeof drawingPad>} */
let pad;

/** Connects what belongs to the pictures. */
export function connectPictures() {
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
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    pad.show();
    send('redraw');
  });
}

/** The point of the fit's picture at a click. @param {MouseEvent} event */
export const pointAt = (event) => charts[0].position?.(event) ?? [0, 0];

/**
 * Shows a run that has started or goes on, and its first picture.
 * @param {Run & Picture} answer
 * @param {Settings} chosen
 */
export function showRun(answer, chosen) {
  const same = run && answer.first > 0 && sameData(run, answer);
  [run, settings] = [answer, chosen];
  run.view = drawnView();
  $('program').textContent = run.program;
  $('copy').disabled = run.long;
  if (!same) rebuildCharts();
  showBatches();
}

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
export function showReadouts(readout) {
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

/** @param {Picture} picture @param {number} threads of the engine */
export function showPicture(picture, threads) {
  for (const chart of charts) chart.show(picture);
  const { step, first, last, loss, heldLoss, speed } = picture;
  const time = $('time');
  time.min = first;
  time.max = last;
  time.value = step;
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
  if (speed) facts.push(`${Math.round(speed)} steps/s${threads > 1 ? ` on ${threads} threads` : ''}`);
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
