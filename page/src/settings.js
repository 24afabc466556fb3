// What the user has chosen, where it starts, and as part of a link.
import { KINDS } from './data.js';
import { ACTIVATIONS } from './network.js';
import { OPTIMIZERS } from './plan.js';

const DATA = {
  kind: 'sine', noise: 0, seed: 1, text: 'sin(x) + x/5', from: -5, to: 5, count: 100,
  points: [[-4, -1], [-2.5, 0.9], [-1, -0.2], [0.5, -0.6], [2, 1.1], [4, 0.2]],
  table: null, x: [], y: 0,
};
const relu = (units, n) => Array.from({ length: n }, () => ({ units, activation: 'relu' }));
const conv = (units) => ({ kind: 'conv', units, activation: 'relu' });
export const MOST_CONVOLUTIONS = 3; // each halves the picture

export const START = {
  data: DATA, layers: relu(256, 7), optimizer: 'adam', rate: 0.001, decay: false, batch: 20,
  steps: 10, epochs: 10, normalize: false, l2: 0, dropout: 0, seed: 3,
};
const OWN = {
  layers: relu(64, 3), rate: 0.003, decay: true, batch: 20, steps: 0, epochs: 300,
  normalize: true,
};
const DIGITS = {
  layers: [conv(16), conv(32), ...relu(64, 1)], rate: 0.003, decay: true, batch: 32, steps: 0,
  epochs: 20, normalize: false,
};

/** The buttons: the article's three programs, and starts for data of one's own. */
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

/** Complete settings of an example. */
export function example(name) {
  return checked({ ...START, ...EXAMPLES[name].settings });
}

/** Settings for another kind of data: the user's, with a network that suits it. */
export function withData(settings, data) {
  const found = { ...settings, data: { ...settings.data, ...data } };
  const { kind } = found.data;
  const other = kind !== settings.data.kind;
  if (other && kind === 'digits') return checked({ ...found, ...DIGITS });
  const leaves = other && ['sine', 'digits'].includes(settings.data.kind);
  return checked(leaves ? { ...found, ...OWN } : found);
}

const within = (value, low, high, otherwise) =>
  typeof value === 'number' && value >= low && value <= high ? value : otherwise;
const whole = (value, low, high, otherwise) =>
  Math.round(within(value, low, high, otherwise));
const oneOf = (value, list, otherwise) => (list.includes(value) ? value : otherwise);
const text = (value, most = 200) => String(value ?? '').slice(0, most);

/** Settings of anything: what does not fit becomes the start's. */
export function checked(given) {
  const data = { ...DATA, ...(given?.data ?? {}) };
  const table = tableOf(data.table);
  const columns = table ? table.names.length : 0;
  const indices = Array.isArray(data.x) ? data.x : [];
  const points = Array.isArray(data.points) ? data.points : DATA.points;
  const kinds = table ? KINDS : KINDS.filter((k) => k !== 'table');
  const layers = Array.isArray(given?.layers) ? given.layers : START.layers;
  const digits = data.kind === 'digits';
  const leading = layers.findIndex((layer) => layer?.kind !== 'conv');
  const most = digits ? Math.min(leading < 0 ? layers.length : leading, MOST_CONVOLUTIONS) : 0;
  return {
    data: {
      kind: oneOf(data.kind, kinds, 'sine'),
      noise: within(data.noise, 0, 2, 0),
      seed: whole(data.seed, 0, 2 ** 31, 1),
      text: text(data.text),
      from: within(data.from, -1e6, 1e6, -5),
      to: within(data.to, -1e6, 1e6, 5),
      count: whole(data.count, 2, 5000, 100),
      points: points
        .slice(0, 2000)
        .filter((p) => Array.isArray(p) && p.length === 2 && p.every(Number.isFinite)),
      table,
      x: indices.filter((i) => Number.isInteger(i) && i >= 0 && i < columns),
      y: whole(data.y, 0, Math.max(0, columns - 1), 0),
    },
    layers: layers.slice(0, 12).map((layer, i) => ({
      ...(i < most ? { kind: 'conv' } : {}),
      units: whole(layer?.units, 1, 512, 16),
      activation: oneOf(layer?.activation, ACTIVATIONS, 'relu'),
    })),
    optimizer: oneOf(given?.optimizer, Object.keys(OPTIMIZERS), 'adam'),
    rate: within(given?.rate, 1e-7, 10, START.rate),
    decay: given?.decay === true,
    batch: whole(given?.batch, 1, 100000, START.batch),
    steps: whole(given?.steps, 0, 100000, 0),
    epochs: whole(given?.epochs, 1, 100000, START.epochs),
    // a pixel that is the same in all digits would be divided by 0
    normalize: given?.normalize === true && !digits,
    l2: within(given?.l2, 0, 10, 0),
    dropout: within(given?.dropout, 0, 0.9, 0),
    seed: whole(given?.seed, 0, 2 ** 32 - 1, START.seed),
  };
}

function tableOf(table) {
  if (!table || !Array.isArray(table.names) || !Array.isArray(table.rows)) return null;
  const names = table.names.slice(0, 200).map((n) => text(n));
  const rows = table.rows
    .slice(0, 20000)
    .filter(Array.isArray)
    .map((row) => names.map((_, i) => text(row[i])));
  return names.length && rows.length ? { names, rows } : null;
}

/** Settings as the part of a link behind #. */
export function toHash(settings) {
  const bytes = new TextEncoder().encode(JSON.stringify(settings));
  let binary = '';
  for (const b of bytes) binary += String.fromCharCode(b);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** @returns settings, or null if it is not such a part */
export function fromHash(hash) {
  try {
    const binary = atob(hash.replace(/^#/, '').replaceAll('-', '+').replaceAll('_', '/'));
    const json = new TextDecoder().decode(Uint8Array.from(binary, (c) => c.charCodeAt(0)));
    const found = JSON.parse(json);
    return found && typeof found === 'object' ? checked(found) : null;
  } catch {
    return null;
  }
}
