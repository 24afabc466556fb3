// What the user has chosen, where it starts, and as part of a link.
import { KINDS } from './data.js';
import { ACTIVATIONS } from './network.js';
import { OPTIMIZERS } from './plan.js';

/** @import { DataSettings, Settings, Table } from './types.js' */

/** @type {DataSettings} */
const DATA = {
  kind: 'sine', noise: 0, seed: 1, text: 'sin(x) + x/5', from: -5, to: 5, count: 100,
  points: [[-4, -1], [-2.5, 0.9], [-1, -0.2], [0.5, -0.6], [2, 1.1], [4, 0.2]],
  table: null, x: [], y: 0,
};
/** @param {number} units @param {number} n */
const relu = (units, n) => Array.from({ length: n }, () => ({ units, activation: 'relu' }));
/** @param {number} units */
const conv = (units) => ({ kind: 'conv', units, activation: 'relu' });
/** Every which row is held out; 0: none. */
export const HELD = [0, 3, 5, 10];
export const MOST_CONVOLUTIONS = 3; // each halves the picture

/** @type {Settings} */
export const START = {
  data: DATA, layers: relu(256, 7), optimizer: 'adam', rate: 0.001, decay: false, batch: 20,
  steps: 10, epochs: 10, normalize: false, l2: 0, dropout: 0, held: 0, seed: 3,
};
const OWN = {
  layers: relu(64, 3), rate: 0.003, decay: true, batch: 20, steps: 0, epochs: 0,
  normalize: true, held: 0,
};
const DIGITS = {
  layers: [conv(16), conv(32), ...relu(64, 1)], rate: 0.003, decay: true, batch: 32, steps: 0,
  epochs: 20, normalize: false, held: 0,
};
const ROWS_TO_HOLD_OUT = 50; // a table of one's own has a held-out loss from here on

/**
 * The buttons: the article's three programs, and starts for data of one's own.
 * @type {Record<string, {label: string, title: string, settings: Partial<Settings>}>}
 */
export const EXAMPLES = {
  raw10: { label: '10 × 10', title: 'raw x, 10 epochs of 10 steps', settings: {} },
  raw30: {
    label: '30 × 30',
    title: 'raw x, 30 epochs of 30 steps',
    settings: { steps: 30, epochs: 30 },
  },
  better: {
    label: 'Better model',
    title: 'normalized x and a falling learning rate, 90 epochs of 10 steps',
    settings: { steps: 10, epochs: 90, normalize: true, decay: true },
  },
};

/**
 * Complete settings of an example.
 * @param {string} name
 */
export function example(name) {
  return checked({ ...START, ...EXAMPLES[name].settings });
}

/**
 * Settings for another kind of data: the user's, with a network that suits it.
 * @param {Settings} settings
 * @param {Partial<DataSettings>} data
 */
export function withData(settings, data) {
  const found = { ...settings, data: { ...settings.data, ...data } };
  const { kind } = found.data;
  const other = kind !== settings.data.kind;
  if (other && kind === 'digits') return checked({ ...found, ...DIGITS });
  const leaves = other && ['sine', 'digits'].includes(settings.data.kind);
  if (leaves) Object.assign(found, OWN);
  const rows = kind === 'table' ? found.data.table?.rows.length ?? 0 : 0;
  if (other || data.table) found.held = rows < ROWS_TO_HOLD_OUT ? 0 : 5;
  return checked(found);
}

/**
 * What each number may be; the names are those in messages.
 * @type {Record<string, {name: string, low: number, high: number, whole?: boolean}>}
 */
export const LIMITS = {
  rate: { name: 'The learning rate', low: 1e-7, high: 10 },
  batch: { name: 'The rows of a batch', low: 1, high: 100000, whole: true },
  steps: { name: 'The steps of an epoch', low: 1, high: 100000, whole: true },
  epochs: { name: 'The epochs', low: 1, high: 100000, whole: true },
  l2: { name: 'L2', low: 0, high: 10 },
  dropout: { name: 'Dropout', low: 0, high: 0.9 },
  seed: { name: 'The seed', low: 0, high: 2 ** 32 - 1, whole: true },
  noise: { name: 'The noise', low: 0, high: 2 },
  from: { name: 'The start of x', low: -1e6, high: 1e6 },
  to: { name: 'The end of x', low: -1e6, high: 1e6 },
  count: { name: 'The number of points', low: 2, high: 5000, whole: true },
  units: { name: 'The units of a layer', low: 1, high: 512, whole: true },
  point: { name: 'A point’s x and y', low: -1e6, high: 1e6 },
};

/**
 * Why a number cannot be used; nothing if it can.
 * @param {string} limits a key of LIMITS
 * @param {unknown} value
 */
export function problemOf(limits, value) {
  const { name, low, high, whole } = LIMITS[limits];
  const good = typeof value === 'number' && value >= low && value <= high;
  if (good && (!whole || Number.isInteger(value))) return '';
  const given = typeof value === 'number' && !Number.isNaN(value) ? value : 'no number';
  const must = whole ? 'a whole number' : 'a number';
  return `${name} must be ${must} from ${low} to ${high}. Received: ${given}.`;
}

/** @param {any} value @param {string[]} list @param {string} otherwise */
const oneOf = (value, list, otherwise) => (list.includes(value) ? value : otherwise);
/** @param {unknown} value */
const text = (value, most = 200) => String(value ?? '').slice(0, most);

/**
 * Settings of anything: what does not fit becomes the start's.
 * @param {any} given
 * @param {string[]} [problems] receives what did not fit
 * @returns {Settings}
 */
export function checked(given, problems = []) {
  /** @param {string} limits @param {any} value @param {number} otherwise */
  const number = (limits, value, otherwise) => {
    if (value === undefined) return otherwise;
    const problem = problemOf(limits, value);
    if (!problem) return value;
    problems.push(`${problem} ${otherwise} is used instead.`);
    return otherwise;
  };
  const data = { ...DATA, ...(given?.data ?? {}) };
  const table = tableOf(data.table);
  const columns = table ? table.names.length : 0;
  const indices = Array.isArray(data.x) ? data.x : [];
  const points = Array.isArray(data.points) ? data.points : DATA.points;
  const kinds = table ? KINDS : KINDS.filter((k) => k !== 'table');
  const layers = Array.isArray(given?.layers) ? given.layers : START.layers;
  const digits = data.kind === 'digits';
  const leading = layers.findIndex((/** @type {any} */ layer) => layer?.kind !== 'conv');
  const most = digits ? Math.min(leading < 0 ? layers.length : leading, MOST_CONVOLUTIONS) : 0;
  return {
    data: {
      kind: oneOf(data.kind, kinds, 'sine'),
      noise: number('noise', data.noise, 0),
      seed: number('seed', data.seed, 1),
      text: text(data.text),
      from: number('from', data.from, DATA.from),
      to: number('to', data.to, DATA.to),
      count: number('count', data.count, DATA.count),
      points: points
        .slice(0, 2000)
        .filter((/** @type {any} */ p) => Array.isArray(p) && p.length === 2 && p.every(Number.isFinite)),
      table,
      x: indices.filter((/** @type {any} */ i) => Number.isInteger(i) && i >= 0 && i < columns),
      y: Number.isInteger(data.y) && data.y >= 0 && data.y < columns ? data.y : 0,
    },
    layers: layers.slice(0, 12).map((/** @type {any} */ layer, /** @type {number} */ i) => ({
      ...(i < most ? { kind: 'conv' } : {}),
      units: number('units', layer?.units, 16),
      activation: oneOf(layer?.activation, ACTIVATIONS, 'relu'),
    })),
    optimizer: oneOf(given?.optimizer, Object.keys(OPTIMIZERS), 'adam'),
    rate: number('rate', given?.rate, START.rate),
    decay: given?.decay === true,
    batch: number('batch', given?.batch, START.batch),
    steps: given?.steps === 0 ? 0 : number('steps', given?.steps, 0), // 0: batches of `batch` rows
    epochs: given?.epochs === 0 ? 0 : number('epochs', given?.epochs, START.epochs), // 0: as many as suit the rows
    // a pixel that is the same in all digits would be divided by 0
    normalize: given?.normalize === true && !digits,
    l2: number('l2', given?.l2, 0),
    dropout: number('dropout', given?.dropout, 0),
    held: HELD.includes(given?.held) && !digits ? given.held : 0, // digits have a test
    seed: number('seed', given?.seed, START.seed),
  };
}

/** @param {any} a @param {any} b */
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/**
 * Why training starts again with other settings; nothing if it goes on from its weights.
 * @param {Settings} before
 * @param {Settings} after
 */
export function whyAgain(before, after) {
  if (!same(before.layers, after.layers)) return 'the network is another one';
  if (before.normalize !== after.normalize) return 'x is scaled in another way';
  if (before.seed !== after.seed) return 'the seed sets the first weights';
  if (before.held !== after.held) return 'other rows are held out';
  const fixed = (/** @type {Settings} */ { data }) => ({ ...data, noise: 0, points: [] });
  return same(fixed(before), fixed(after)) ? '' : 'the data have changed';
}

/** @type {Record<string, string>} */
const CHANGES = {
  optimizer: 'optimizer (its own averages start at 0)', rate: 'learning rate',
  decay: 'course of the learning rate', batch: 'batches', steps: 'batches',
  epochs: 'number of epochs', l2: 'L2', dropout: 'dropout',
};

/**
 * What has changed, in words.
 * @param {Settings} before
 * @param {Settings} after
 */
export function changesOf(before, after) {
  const names = Object.keys(CHANGES)
    .filter((name) => !same(/** @type {any} */ (before)[name], /** @type {any} */ (after)[name]))
    .map((name) => CHANGES[name]);
  if (before.data.noise !== after.data.noise) names.push('noise');
  if (!same(before.data.points, after.data.points)) names.push('points');
  return [...new Set(names)].join(' and ');
}

/** @param {any} table @returns {Table | null} */
function tableOf(table) {
  if (!table || !Array.isArray(table.names) || !Array.isArray(table.rows)) return null;
  const names = table.names.slice(0, 200).map((/** @type {unknown} */ n) => text(n));
  const rows = table.rows
    .slice(0, 20000)
    .filter(Array.isArray)
    .map((/** @type {unknown[]} */ row) => names.map((/** @type {unknown} */ _, /** @type {number} */ i) => text(row[i])));
  return names.length && rows.length ? { names, rows } : null;
}

/**
 * Settings as the part of a link behind #.
 * @param {Settings} settings
 */
export function toHash(settings) {
  const bytes = new TextEncoder().encode(JSON.stringify(settings));
  let binary = '';
  for (const b of bytes) binary += String.fromCharCode(b);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/**
 * Settings, or null if it is not such a part.
 * @param {string} hash
 * @param {string[]} [problems] receives what did not fit
 */
export function fromHash(hash, problems) {
  try {
    const binary = atob(hash.replace(/^#/, '').replaceAll('-', '+').replaceAll('_', '/'));
    const json = new TextDecoder().decode(Uint8Array.from(binary, (c) => c.charCodeAt(0)));
    const found = JSON.parse(json);
    return found && typeof found === 'object' ? checked(found, problems) : null;
  } catch {
    return null;
  }
}
