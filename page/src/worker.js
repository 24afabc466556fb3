// Trains in a thread of its own and reports to the page.
import { cSource } from './c.js';
import { DATA_SEED, isLong, makeData, parted, setDigits, testDigits } from './data.js';
import { loadEngine, serve } from './engine.js';
import { estimatorFile } from './estimator.js';
import { modelFile } from './file.js';
import { landscape, readout } from './helper.js';
import { outputOf } from './network.js';
import { onnxFile } from './onnx.js';
import { epochMeans, lossAt, thinned } from './losses.js';
import {
  epochsOf, initialize, makePlan, moments, rateAt, stepsPerEpoch, withHead,
} from './plan.js';
import { makeProgram } from './program.js';

/** @import { Data, Engine, Picture, Rows, Run, Settings, StartThread, Training, Units, View } from './types.js' */

const SLICE = 25; // ms of training between two looks at the messages
const REDRAW = 40; // ms between two pictures, at least
const MOST_SAVED = 40; // states to go back to
const MOST_BYTES = 3e8;
const MOST_Y = 1e15; // the squares of larger ones soon leave float32
const MOST_STATES = 20; // of the path over the loss landscape

/** @type {Engine} */
let engine;
/** @type {Promise<Engine>} */
let loading;
// The current model; none before the first start, when only ALONE's messages are heard.
/** @type {Training} */
let run;
let running = false;
let scheduled = false;

/**
 * @type {Record<string, (message: any) => object | null | undefined | void | Promise<object | null | undefined | void>>}
 */
const handlers = {
  async engine({ bytes, digits, several, quiet }) {
    setDigits(digits);
    loading = several ? loadSeveral(several, bytes) : loadEngine(bytes);
    engine = await loading;
    return quiet ? null : { kind: 'ready', threads: engine.threads };
  },
  // of a worker that is one of the engine's threads
  thread: (start) => serve(start, () => self.postMessage({ kind: 'ready' })),
  start({ settings, id }) {
    running = false;
    free();
    run = begin(settings, id);
    return { kind: 'started', ...started(), ...picture() };
  },
  resume({ settings, id }) {
    const before = run;
    run = resumed(before, settings, id);
    release(before);
    if (running) handlers.play({});
    return { kind: 'started', ...started(), ...picture() };
  },
  play() {
    running = true;
    run.until = run.end > now() ? run.end : now() + run.epochs * run.perEpoch;
    schedule();
  },
  pause() {
    running = false;
    return { kind: 'picture', ...picture() };
  },
  step({ count }) {
    running = false;
    train(count);
    return { kind: 'picture', ...picture() };
  },
  goto({ step }) {
    running = false;
    goTo(step);
    return { kind: 'picture', ...picture() };
  },
  redraw: () => ({ kind: 'picture', ...picture() }),
  draw({ digit }) {
    run.drawn?.free();
    run.drawn = digit && new engine.Data(run.model, 1, [digit]);
    run.digit = digit;
    return { kind: 'picture', ...picture() };
  },
  look({ layer }) {
    run.layer = layer;
    return { kind: 'picture', ...picture() };
  },
  file({ format }) {
    return { kind: 'file', format, bytes: FILES[format]() };
  },
  snapshot({ purpose, along }) {
    return { kind: 'snapshot', purpose, ...snapshot(along) };
  },
  // of the second worker
  landscape: async (given) =>
    landscape(await loading, given, (answer) => self.postMessage(answer)),
  readout: async (given) => readout(await loading, given),
};
const ALONE = ['engine', 'thread', 'start', 'landscape', 'readout']; // need no run

const trained = () => ({ plan: run.plan, params: run.model.params, buffers: run.model.buffers });
/** @type {Record<string, () => Uint8Array>} */
const FILES = {
  kurve: () => estimatorFile(run, errors(), run.heldOut !== null),
  network: () => modelFile(run),
  onnx: () => onnxFile(trained()),
  c: () => new TextEncoder().encode(cSource(trained())),
  py: () => new TextEncoder().encode(program(true)),
};

// The engine on several threads, or on one if the browser has no memory for them to share.
/** @param {{bytes: BufferSource, threads: number}} several @param {BufferSource} alone */
async function loadSeveral({ bytes, threads }, alone) {
  try {
    return await loadEngine(bytes, threads, startThread);
  } catch {
    return loadEngine(alone);
  }
}

/** @type {StartThread} */
const startThread = (start) =>
  new Promise((resolve, reject) => {
    const thread = new Worker(self.location.href); // another one of this very script
    thread.onmessage = ({ data }) => (data.kind === 'ready' ? resolve() : reject(data));
    thread.onerror = reject;
    thread.postMessage({ kind: 'thread', ...start });
  });

// What predictions lack, of the rows held out or else of those trained on.
function errors() {
  const { x, y, rows } = run.heldOut ?? run.rows;
  const data = new engine.Data(run.model, rows, [x]);
  const found = run.model.predict(data);
  data.free();
  return y.map((v, i) => v - found[i]);
}

// Copies of all that the second worker needs.
/** @param {boolean} along */
function snapshot(along) {
  const { id, settings, model, gridX } = run;
  const states = along ? run.saved.filter((saved) => saved.step <= model.step) : [];
  const every = Math.ceil(states.length / MOST_STATES);
  const kept = states.filter((_, i) => i % every === 0).map(({ copies }) => copies[0]);
  const [params, buffers] = [model.params.slice(), model.buffers.slice()];
  if (along) kept.push(params);
  return { id, settings, step: now(), params, buffers, gridX, along, states: kept };
}

self.onmessage = async ({ data }) => {
  try {
    if (!run && !ALONE.includes(data.kind)) return;
    const answer = await handlers[data.kind](data);
    if (answer) self.postMessage(answer);
  } catch (error) {
    running = false;
    self.postMessage({ kind: 'error', message: messageOf(error), id: data.id });
  }
};

/** @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

function free() {
  if (run) release(run);
  run = /** @type {any} */ (null);
}

/** @param {Training} training */
function release(training) {
  for (const { model, grid } of [...training.views.values(), training]) {
    grid?.free();
    model.free();
  }
  training.data.free();
  training.heldData?.free();
  training.drawn?.free();
}

// The number of steps so far. The engine's starts again with another optimizer.
const now = () => run.offset + run.model.step;

/** @param {Settings} settings @param {number} id @returns {Training} */
function begin(settings, id) {
  const seed = engine.modelSeed(settings.seed);
  /** @param {number} purpose @param {number} n */
  const draw = (purpose, n) => engine.uniform(DATA_SEED, purpose, settings.data.seed ?? 0, n);
  const all = makeData(settings.data, draw);
  const { trained: rows, heldOut } = parted(all, settings.held);
  const made = makePlan(settings, rows);
  const model = new engine.Model(JSON.stringify(made.plan), seed);
  initialize(model, made.weights, engine.uniform, seed);
  const { plan } = made;
  if (settings.normalize) {
    const found = moments(rows);
    const [mean, variance] = plan.buffers;
    model.buffers.set(found.mean, mean.offset);
    model.buffers.set(found.variance, variance.offset);
    model.buffers.set([0], plan.buffers[2].offset);
  }
  if (settings.optimizer === 'nadam') model.scalars.set([1]);
  const data = new engine.Data(model, rows.rows, [rows.x], [rows.y]);
  const perEpoch = stepsPerEpoch(settings, rows.rows);
  const epochs = epochsOf(settings, perEpoch);
  divide(data, settings, perEpoch);
  const axes = axesOf(all);
  const gridX = gridOf(rows, heldOut, axes);
  const grid = new engine.Data(model, gridX.length / rows.inputs, [gridX]);
  const heldData =
    heldOut && new engine.Data(model, heldOut.rows, [heldOut.x], [heldOut.y]);
  return {
    id, settings, seed, all, rows, heldOut, heldData, ...made, model, data, perEpoch, epochs,
    axes, gridX, grid, first: 0, offset: 0, epochsBefore: 0, scheduled: 0,
    end: epochs * perEpoch, losses: [], past: [], held: [], saved: [model.save()], every: 1,
    views: new Map(), layer: -1, speed: 0, until: 0, error: '', shown: 0, cost: 0,
    digit: null, drawn: null,
  };
}

/** @param {Data} data @param {Settings} settings @param {number} perEpoch */
function divide(data, settings, perEpoch) {
  data.batches(settings.steps > 0 ? { steps: perEpoch } : { size: settings.batch });
}

/**
 * Training that goes on from the weights of another one, with other settings. A new epoch
 * begins; a falling learning rate falls on, unless it has reached 0.
 * @param {Training} before
 * @param {Settings} settings
 * @param {number} id
 */
function resumed(before, settings, id) {
  const step = before.offset + before.model.step;
  const next = begin(settings, id);
  if (step === 0) return next;
  const { copies, step: updates } = before.model.save();
  if (settings.optimizer === before.settings.optimizer) {
    next.model.restore({ copies, step: updates });
  } else {
    next.model.params.set(copies[0]);
    next.model.buffers.set(copies[1]);
  }
  divide(next.data, settings, next.perEpoch); // from this step on
  const done = before.epochsBefore + (step - before.first) / before.perEpoch;
  const scheduled = done < next.epochs ? done : 0;
  return {
    ...next,
    first: step,
    offset: step - next.model.step,
    epochsBefore: done,
    scheduled,
    end: step + Math.ceil((next.epochs - scheduled) * next.perEpoch),
    losses: before.losses.slice(0, step),
    past: epochMeans(before, step),
    held: before.held.filter((h) => h.step <= step),
    saved: [next.model.save()],
    layer: before.layer < next.values.length ? before.layer : -1,
    speed: before.speed,
  };
}

// The range of each input, a little wider than the data.
/** @param {Rows} rows @returns {[number, number][]} */
function axesOf({ x, rows, inputs }) {
  return Array.from({ length: inputs }, (_, k) => {
    let low = Infinity;
    let high = -Infinity;
    for (let i = 0; i < rows; i++) {
      low = Math.min(low, x[i * inputs + k]);
      high = Math.max(high, x[i * inputs + k]);
    }
    const margin = (high - low) * 0.05 || Math.abs(low) * 0.05 || 1;
    return [low - margin, high + margin];
  });
}

export const MAP = 60; // cells of a map, each way

// Where the outputs are drawn: along x, on a map, for the test's digits, or at the rows
// themselves, those held out last.
/** @param {Rows} rows @param {Rows | null} heldOut @param {[number, number][]} axes */
function gridOf({ x, inputs, image }, heldOut, axes) {
  if (image) return testDigits().x;
  if (inputs > 2) {
    const all = new Float32Array(x.length + (heldOut?.x.length ?? 0));
    all.set(x);
    if (heldOut) all.set(heldOut.x, x.length);
    return all;
  }
  /** @param {[number, number]} range @param {number} i @param {number} n */
  const at = ([low, high], i, n) => low + ((high - low) * i) / (n - 1);
  if (inputs === 1) return Float32Array.from({ length: 401 }, (_, i) => at(axes[0], i, 401));
  const grid = new Float32Array(2 * MAP * MAP);
  for (let j = 0; j < MAP; j++)
    for (let i = 0; i < MAP; i++)
      grid.set([at(axes[0], i, MAP), at(axes[1], MAP - 1 - j, MAP)], 2 * (j * MAP + i));
  return grid;
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    if (!running || !run) return;
    try {
      const start = performance.now();
      let done = 0;
      while (performance.now() - start < SLICE && now() < run.until && !run.error) {
        train(1);
        done++;
      }
      const seconds = (performance.now() - start) / 1000;
      if (done) {
        const speed = done / seconds;
        run.speed = run.speed ? 0.8 * run.speed + 0.2 * speed : speed;
      }
      if (now() >= run.until || run.error) running = false;
      if (!running || performance.now() - run.shown > Math.max(REDRAW, 3 * run.cost)) {
        self.postMessage({ kind: 'picture', ...picture() });
        run.shown = performance.now();
      }
      if (running) schedule();
    } catch (error) {
      running = false;
      self.postMessage({ kind: 'error', message: messageOf(error), id: run.id });
    }
  }, 0);
}

/** @param {number} count @param {boolean} [again] steps whose losses are known */
function train(count, again = false) {
  const { settings, perEpoch, epochs, scheduled: before, first } = run;
  for (let i = 0; i < count && !run.error; i++) {
    const step = now();
    const rate = rateAt(settings, before * perEpoch + step - first, perEpoch * epochs);
    const { losses, error } = run.model.train(run.data, [rate]);
    if (error) {
      const most = run.rows.y.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
      const advice = most > MOST_Y
        ? `Try y in larger units: its numbers reach ${most.toPrecision(3)}.`
        : 'Try a lower learning rate.';
      run.error = `Training stopped before step ${step + 1}: ${error} is not finite. ${advice}`;
      return;
    }
    if (!again) note(step, losses[0]);
    keep();
  }
}

// Keeps the loss of a step and, where an epoch ends, that of the rows held out.
/** @param {number} step @param {number} loss */
function note(step, loss) {
  run.losses.length = step;
  run.losses.push(loss);
  if (!run.heldData) return;
  while (run.held.length && run.held[run.held.length - 1].step > step) run.held.pop();
  if ((step + 1 - run.first) % run.perEpoch) return;
  const [sum, weight] = run.model.test(run.heldData);
  run.held.push({ step: step + 1, loss: sum / weight });
}

// Saves states at distances that grow with the number of steps.
function keep() {
  const { step } = run.model;
  if (step - run.saved[run.saved.length - 1].step < run.every) return;
  run.saved.push(run.model.save());
  const bytes = 4 * run.model.size * 3;
  if (run.saved.length <= Math.max(4, Math.min(MOST_SAVED, MOST_BYTES / bytes))) return;
  run.saved = run.saved.filter((_, i) => i % 2 === 0);
  run.every *= 2;
}

// Back from the nearest state before, trained again: the same numbers, as they follow
// from the seed and the step. Not further than to the last change of settings.
/** @param {number} step */
function goTo(step) {
  run.error = '';
  const to = Math.max(run.first, Math.min(step, run.losses.length)) - run.offset;
  const from = run.saved.findLast((state) => state.step <= to) ?? run.saved[0];
  run.model.restore(from);
  train(to - from.step, true);
}

/** @returns {Omit<Run, "view"> & {id: number}} */
function started() {
  const { rows, heldOut, id, axes, perEpoch, epochs, all, first, layer } = run;
  const outputs = outputOf(rows).units;
  const weights = run.plan.params.reduce((n, p) => n + p.shape.reduce((a, b) => a * b, 1), 0);
  return {
    id, axes, perEpoch, epochs, program: program(false), long: isLong(all), outputs, weights, rows, heldOut, first, layer,
    gridX: run.gridX, map: MAP, testLabels: rows.image ? testDigits().y : null,
  };
}
/** @param {boolean} whole */
const program = (whole) =>
  (run.first ? CHANGED : '') + makeProgram(run.settings, run.all, whole);
const CHANGED =
  '# Settings were changed while the page trained. This program trains with the present\n' +
  '# ones from the start, as "Start again" does.\n';

/** @returns {Picture} */
function picture() {
  const start = performance.now();
  const output = run.model.predict(run.grid);
  const units = hidden();
  const step = now();
  const { id, first, end, losses, held, speed, error } = run;
  const means = epochMeans(run, losses.length);
  const found = {
    id, step, first, end, last: losses.length,
    losses: thinned(losses.map((loss, i) => ({ step: i + 1, loss }))),
    means: thinned(means), held: thinned(held), loss: lossAt(run, means, step),
    heldLoss: held.findLast((h) => h.step <= step)?.loss ?? null,
    epoch: run.epochsBefore + (step - first) / run.perEpoch,
    output, units, speed, running, error,
    drawn: run.drawn ? run.model.predict(run.drawn) : null,
  };
  run.cost = performance.now() - start;
  return found;
}

const MOST_UNITS = 24;
/** @param {number} layer */
const looksAt = (layer) => run.settings.layers[layer].kind === 'conv';

// The outputs of the units of the layer looked at: over x, on a map, or for the digit that
// is drawn (else the first of the test).
/** @returns {Units | null} */
function hidden() {
  const { layer, rows } = run;
  if (layer < 0 || layer >= run.values.length || (rows.inputs > 2 && !looksAt(layer))) return null;
  const view = viewOf(layer);
  view.model.params.set(run.model.params);
  view.model.buffers.set(run.model.buffers);
  const shown = run.digit ?? run.gridX.subarray(0, rows.inputs);
  const grid = view.grid ?? new engine.Data(view.model, 1, [shown]);
  const all = view.model.predict(grid);
  if (!view.grid) grid.free();
  const width = run.settings.layers[layer].units;
  const map = rows.image ? Math.sqrt(all.length / width) : MAP;
  const count = Math.min(width, MOST_UNITS);
  const points = all.length / width;
  const curves = Array.from({ length: count }, (_, k) => {
    const unit = Math.floor((k * width) / count);
    return Float32Array.from({ length: points }, (_, i) => all[i * width + unit]);
  });
  return { layer, width, curves, map };
}

/** @param {number} layer @returns {View} */
function viewOf(layer) {
  let view = run.views.get(layer);
  if (!view) {
    const plan = withHead(run.plan, run.values[layer]);
    const model = new engine.Model(JSON.stringify(plan), 0n);
    const grid = run.rows.image
      ? null
      : new engine.Data(model, run.gridX.length / run.rows.inputs, [run.gridX]);
    view = { model, grid };
    run.views.set(layer, view);
  }
  return view;
}
