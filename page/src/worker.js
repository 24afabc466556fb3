// Trains in a thread of its own and reports to the page.
import { cSource } from './c.js';
import { DATA_SEED, makeData, setDigits, testDigits } from './data.js';
import { loadEngine } from './engine.js';
import { modelFile } from './file.js';
import { landscape, readout } from './helper.js';
import { outputOf } from './network.js';
import { onnxFile } from './onnx.js';
import { initialize, makePlan, moments, rateAt, stepsPerEpoch, withHead } from './plan.js';
import { makeProgram } from './program.js';

const SLICE = 25; // ms of training between two looks at the messages
const REDRAW = 40; // ms between two pictures, at least
const MOST_SAVED = 40; // states to go back to
const MOST_BYTES = 3e8;
const MOST_STATES = 20; // of the path over the loss landscape

let engine;
let loading;
let run = null; // the current model
let running = false;
let scheduled = false;

const handlers = {
  async engine({ bytes, digits, quiet }) {
    setDigits(digits);
    loading = loadEngine(bytes);
    engine = await loading;
    return quiet ? null : { kind: 'ready' };
  },
  start({ settings, id }) {
    running = false;
    free();
    run = begin(settings, id);
    return { kind: 'started', ...started(), ...picture() };
  },
  play() {
    running = true;
    run.until = run.settings.epochs * run.perEpoch;
    if (run.model.step >= run.until) run.until = run.model.step + run.until;
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
const ALONE = ['engine', 'start', 'landscape', 'readout']; // need no run

const trained = () => ({ plan: run.plan, params: run.model.params, buffers: run.model.buffers });
const FILES = {
  kurve: () => modelFile(run),
  onnx: () => onnxFile(trained()),
  c: () => new TextEncoder().encode(cSource(trained())),
};

// Copies of all that the second worker needs.
function snapshot(along) {
  const { id, settings, model, gridX } = run;
  const states = along ? run.saved.filter(({ step }) => step <= model.step) : [];
  const every = Math.ceil(states.length / MOST_STATES);
  const kept = states.filter((_, i) => i % every === 0).map(({ copies }) => copies[0]);
  const [params, buffers] = [model.params.slice(), model.buffers.slice()];
  if (along) kept.push(params);
  return { id, settings, step: model.step, params, buffers, gridX, along, states: kept };
}

self.onmessage = async ({ data }) => {
  try {
    if (!run && !ALONE.includes(data.kind)) return;
    const answer = await handlers[data.kind](data);
    if (answer) self.postMessage(answer);
  } catch (error) {
    running = false;
    self.postMessage({ kind: 'error', message: error.message, id: data.id });
  }
};

function free() {
  if (!run) return;
  for (const view of [...run.views.values(), run]) {
    view.grid?.free();
    view.data?.free();
    view.drawn?.free();
    view.model.free();
  }
  run = null;
}

function begin(settings, id) {
  const seed = engine.modelSeed(settings.seed);
  const draw = (purpose, n) => engine.uniform(DATA_SEED, purpose, settings.data.seed ?? 0, n);
  const rows = makeData(settings.data, draw);
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
  data.batches(settings.steps > 0 ? { steps: perEpoch } : { size: settings.batch });
  const axes = axesOf(rows);
  const grid = gridOf(rows, axes);
  const started = {
    id, settings, seed, rows, ...made, model, data, perEpoch, axes,
    gridX: grid, losses: [], saved: [], views: new Map(), layer: -1, speed: 0, until: 0,
    error: '', shown: 0,
  };
  started.grid = new engine.Data(model, grid.length / rows.inputs, [grid]);
  started.saved.push(model.save());
  return started;
}

// The range of each input, a little wider than the data.
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
// themselves.
function gridOf({ x, inputs, image }, axes) {
  if (image) return testDigits().x;
  if (inputs > 2) return x;
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
      while (performance.now() - start < SLICE && run.model.step < run.until && !run.error) {
        train(1);
        done++;
      }
      const seconds = (performance.now() - start) / 1000;
      if (done) {
        const speed = done / seconds;
        run.speed = run.speed ? 0.8 * run.speed + 0.2 * speed : speed;
      }
      if (run.model.step >= run.until || run.error) running = false;
      if (!running || performance.now() - run.shown > Math.max(REDRAW, 3 * run.cost)) {
        self.postMessage({ kind: 'picture', ...picture() });
        run.shown = performance.now();
      }
      if (running) schedule();
    } catch (error) {
      running = false;
      self.postMessage({ kind: 'error', message: error.message, id: run.id });
    }
  }, 0);
}

function train(count) {
  for (let i = 0; i < count && !run.error; i++) {
    const { step } = run.model;
    const rate = rateAt(run.settings, run.perEpoch, step);
    const { losses, error } = run.model.train(run.data, [rate]);
    if (error) {
      run.error = `Training stopped before step ${step + 1}: ${error} is not finite. Try a lower learning rate.`;
      return;
    }
    run.losses.length = step;
    run.losses.push(losses[0]);
    keep();
  }
}

// Saves states at distances that grow with the number of steps.
function keep() {
  const { step } = run.model;
  if (run.saved.at(-1).step >= step) return;
  if (step - run.saved.at(-1).step < (run.every ?? 1)) return;
  run.saved.push(run.model.save());
  const bytes = 4 * run.model.size * 3;
  if (run.saved.length <= Math.max(4, Math.min(MOST_SAVED, MOST_BYTES / bytes))) return;
  run.saved = run.saved.filter((_, i) => i % 2 === 0);
  run.every = 2 * (run.every ?? 1);
}

// Back from the nearest state before, trained again: the same numbers, as they follow
// from the seed and the step.
function goTo(step) {
  run.error = '';
  step = Math.max(0, Math.min(step, run.losses.length));
  const all = run.losses.slice();
  const from = run.saved.findLast((state) => state.step <= step);
  run.model.restore(from);
  train(step - from.step);
  run.losses = all;
}

function started() {
  const { rows, settings, id, axes, perEpoch, model } = run;
  const outputs = outputOf(rows).units;
  const program = makeProgram(settings, rows);
  const bytes = run.plan.params.reduce((n, p) => n + p.shape.reduce((a, b) => a * b, 1), 0);
  return {
    id, axes, perEpoch, program, outputs, weights: bytes, steps: model.step,
    rows,
    gridX: run.gridX, map: MAP, testLabels: rows.image ? testDigits().y : null,
  };
}

function picture() {
  const start = performance.now();
  const output = run.model.predict(run.grid);
  const units = hidden();
  const n = run.losses.length;
  run.cost = performance.now() - start;
  return {
    id: run.id, step: run.model.step, last: n, losses: thinned(run.losses), output, units,
    speed: run.speed, running, error: run.error,
    drawn: run.drawn ? run.model.predict(run.drawn) : null,
  };
}

// At most 2000 of the losses, as [steps, losses]; each is the mean of its neighbours.
function thinned(losses) {
  const every = Math.ceil(losses.length / 2000);
  const steps = [];
  const means = [];
  for (let i = 0; i < losses.length; i += every) {
    const part = losses.slice(i, i + every);
    steps.push(i + (part.length + 1) / 2);
    means.push(part.reduce((a, b) => a + b, 0) / part.length);
  }
  return [steps, means];
}

const MOST_UNITS = 24;
const looksAt = (layer) => run.settings.layers[layer].kind === 'conv';

// The outputs of the units of the layer looked at: over x, on a map, or for the digit that
// is drawn (else the first of the test).
function hidden() {
  const { layer, rows } = run;
  if (layer < 0 || layer >= run.values.length || (rows.inputs > 2 && !looksAt(layer))) return null;
  const view = viewOf(layer);
  view.model.params.set(run.model.params);
  view.model.buffers.set(run.model.buffers);
  if (rows.image) {
    view.grid?.free();
    view.grid = new engine.Data(view.model, 1, [run.digit ?? run.gridX.subarray(0, rows.inputs)]);
  }
  const all = view.model.predict(view.grid);
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

function viewOf(layer) {
  if (!run.views.has(layer)) {
    const plan = withHead(run.plan, run.values[layer]);
    const model = new engine.Model(JSON.stringify(plan), 0n);
    const grid = run.rows.image
      ? null
      : new engine.Data(model, run.gridX.length / run.rows.inputs, [run.gridX]);
    run.views.set(layer, { model, grid });
  }
  return run.views.get(layer);
}
