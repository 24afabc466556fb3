// Data sets: the article's sine, formulas, drawn points, tables, and sets of classes.
import { parseFormula, pythonFloat } from './formula.js';
import { columnKinds } from './table.js';

/** @import { DataSettings, Draw, Rows } from './types.js' */

export const DATA_SEED = 1n << 40n; // keeps the data's numbers apart from the model's
export const SIDE = 8; // pixels of a digit, each way
export const TEST = 450; // digits that are not trained on: the last ones

/** @type {Uint8Array} */
let digitBytes = new Uint8Array();

/**
 * The digits of page/digits.gz: all pixels, 0 to 16, and then the labels.
 * @param {Uint8Array} bytes
 */
export function setDigits(bytes) {
  digitBytes = bytes;
}

/** @returns {{x: Float32Array, y: Uint8Array}} all digits, and those of the test last */
function digits() {
  const count = digitBytes.length / (SIDE * SIDE + 1);
  const y = digitBytes.subarray(SIDE * SIDE * count);
  return { x: Float32Array.from(digitBytes.subarray(0, SIDE * SIDE * count), (v) => v / 16), y };
}

/** The digits that are not trained on. */
export function testDigits() {
  const { x, y } = digits();
  return { x: x.slice(-TEST * SIDE * SIDE), y: y.slice(-TEST) };
}

/** @returns x (rows x inputs) and y, with names; classes: labels, or null */
/**
 * @param {ArrayLike<number>} x
 * @param {ArrayLike<number>} y
 * @param {number} inputs
 * @param {string[]} [names]
 * @param {string[] | null} [classes]
 * @returns {Rows}
 */
function dataOf(x, y, inputs, names = ['x', 'y'], classes = null) {
  const rows = y.length;
  return {
    x: Float32Array.from(x), y: Float32Array.from(y), rows, inputs, names, classes,
    image: null,
  };
}

/**
 * The data of settings.data; draw(purpose, n) returns uniform random numbers.
 * @param {DataSettings} given
 * @param {Draw} draw
 * @returns {Rows}
 */
export function makeData(given, draw) {
  const data = MAKERS[given.kind](given, draw);
  if (given.noise > 0 && !data.classes) {
    const spread = given.noise * (deviation(data.y) || 1);
    const normal = normalNumbers(draw, 9, data.rows);
    for (let i = 0; i < data.rows; i++) data.y[i] += spread * normal[i];
  }
  return data;
}

/**
 * The rows to train on, and those held out: every `held`th one, or the digits' test.
 * @param {Rows} all
 * @param {number} held
 * @returns {{trained: Rows, heldOut: Rows | null}}
 */
export function parted(all, held) {
  if (all.image) {
    const test = testDigits();
    const y = Float32Array.from(test.y);
    return { trained: all, heldOut: { ...all, x: test.x, y, rows: y.length } };
  }
  if (!held || all.rows < held) return { trained: all, heldOut: null };
  /** @param {boolean} out @returns {Rows} */
  const part = (out) => {
    const kept = Array.from(all.y.keys()).filter((i) => (i % held === held - 1) === out);
    const x = new Float32Array(kept.length * all.inputs);
    kept.forEach((i, k) =>
      x.set(all.x.subarray(i * all.inputs, (i + 1) * all.inputs), k * all.inputs),
    );
    return { ...all, x, y: Float32Array.from(kept, (i) => all.y[i]), rows: kept.length };
  };
  return { trained: part(false), heldOut: part(true) };
}

/** @param {Float32Array} values */
function deviation(values) {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const square = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return Math.sqrt(square / values.length);
}

/** @param {Draw} draw @param {number} purpose @param {number} n */
export function normalNumbers(draw, purpose, n) {
  const u = draw(purpose, 2 * n);
  return Array.from({ length: n }, (_, i) => {
    const radius = Math.sqrt(-2 * Math.log(u[2 * i]));
    return radius * Math.cos(2 * Math.PI * u[2 * i + 1]);
  });
}

/** @type {Record<string, (given: DataSettings, draw: Draw) => Rows>} */
const MAKERS = {
  sine() {
    const x = Array.from({ length: 200 }, (_, i) => i * 0.1);
    return dataOf(x, x.map(Math.sin), 1);
  },
  formula({ text, from, to, count }) {
    const { value } = parseFormula(text);
    if (!(from < to)) throw new Error('“from” must be below “to”.');
    const x = spaced(from, to, count);
    const y = x.map(value);
    const bad = y.findIndex((v) => !Number.isFinite(Math.fround(v)));
    if (bad >= 0)
      throw new Error(`The formula is not finite at x = ${x[bad]}. Change the range.`);
    return dataOf(x, y, 1);
  },
  points({ points }) {
    if (points.length < 2) throw new Error('Draw at least two points.');
    return dataOf(
      points.map(([x]) => x),
      points.map(([, y]) => y),
      1,
    );
  },
  table: tableData,
  digits() {
    const { x, y } = digits();
    const pixels = SIDE * SIDE;
    const names = Array.from({ length: pixels }, (_, i) => `pixel ${i + 1}`);
    const labels = Array.from({ length: 10 }, (_, i) => String(i));
    const rows = y.length - TEST;
    const set = dataOf(x.subarray(0, rows * pixels), y.subarray(0, rows), pixels, [...names, 'digit'], labels);
    return { ...set, image: [SIDE, SIDE, 1] };
  },
  circles: ({ noise }, draw) =>
    classes(draw, noise, (u, v, inside) => {
      const radius = inside ? 2.5 * Math.sqrt(u) : 3.5 + 1.5 * u;
      return [radius * Math.cos(2 * Math.PI * v), radius * Math.sin(2 * Math.PI * v)];
    }),
  moons: ({ noise }, draw) =>
    classes(draw, noise, (u, _, first) => {
      const angle = Math.PI * u;
      return first
        ? [4 * Math.cos(angle) - 1.5, 4 * Math.sin(angle) - 1]
        : [1.5 - 4 * Math.cos(angle), 1 - 4 * Math.sin(angle)];
    }),
  spiral: ({ noise }, draw) =>
    classes(draw, noise, (u, _, first) => {
      const angle = 1.75 * u * 2 * Math.PI + (first ? 0 : Math.PI);
      return [5 * u * Math.sin(angle), 5 * u * Math.cos(angle)];
    }),
  clouds: ({ noise }, draw) =>
    classes(draw, noise, (u, v, first) => {
      const radius = Math.sqrt(-2 * Math.log(u));
      const middle = first ? 2 : -2;
      return [middle + radius * Math.cos(2 * Math.PI * v), middle + radius * Math.sin(2 * Math.PI * v)];
    }),
  squares({ noise }, draw) {
    const set = classes(draw, noise, (u, v) => [10 * u - 5, 10 * v - 5]);
    for (let i = 0; i < set.rows; i++)
      set.y[i] = set.x[2 * i] * set.x[2 * i + 1] >= 0 ? 1 : 0;
    return set;
  },
  plane: (_, draw) => surface(draw, (a, b) => (a + b) / 10),
  hills(_, draw) {
    /** @param {number} a @param {number} b @param {number} p @param {number} q */
    const hill = (a, b, p, q) => Math.exp(-((a - p) ** 2 + (b - q) ** 2) / 5);
    return surface(
      draw,
      (a, b) => hill(a, b, -2, 2) + hill(a, b, 2, -2) - hill(a, b, 2, 2) - hill(a, b, -2, -2),
    );
  },
};

export const KINDS = Object.keys(MAKERS);

/**
 * 300 points of a function of two inputs.
 * @param {Draw} draw
 * @param {(a: number, b: number) => number} height
 */
function surface(draw, height) {
  const x = Array.from(draw(8, 600), (v) => 10 * v - 5);
  const y = Array.from({ length: 300 }, (_, i) => height(x[2 * i], x[2 * i + 1]));
  return dataOf(x, y, 2, ['x1', 'x2', 'y']);
}

/** @param {number} from @param {number} to @param {number} count */
function spaced(from, to, count) {
  const step = count > 1 ? (to - from) / (count - 1) : 0;
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? to : from + i * step));
}

// 250 points of two classes in turn, moved by normal noise.
/**
 * @param {Draw} draw
 * @param {number} noise
 * @param {(u: number, v: number, first: boolean) => number[]} place
 */
function classes(draw, noise, place) {
  const n = 250;
  const u = draw(8, 2 * n);
  const moved = noise > 0 ? normalNumbers(draw, 7, 2 * n) : new Array(2 * n).fill(0);
  const x = [];
  const y = [];
  for (let i = 0; i < n; i++) {
    const first = i % 2 === 1;
    const [a, b] = place(u[2 * i], u[2 * i + 1], first);
    x.push(a + 2 * noise * moved[2 * i], b + 2 * noise * moved[2 * i + 1]);
    y.push(first ? 1 : 0);
  }
  return dataOf(x, y, 2, ['x1', 'x2', 'class'], ['0', '1']);
}

// Labels in Python's order: whole numbers by value, texts by their code points.
/** @param {string[]} labels */
function inOrder(labels) {
  if (labels.every((v) => String(parseInt(v)) === v)) return labels.sort((a, b) => Number(a) - Number(b));
  const codes = (/** @type {string} */ v) => Array.from(v, (c) => c.codePointAt(0) ?? 0);
  return labels.sort((a, b) => {
    const [p, q] = [codes(a), codes(b)];
    const i = p.findIndex((c, k) => c !== q[k]);
    return i < 0 ? p.length - q.length : p[i] - (q[i] ?? -1);
  });
}

/** @param {DataSettings} given */
function tableData({ table, x: inputs, y: target }) {
  if (!table) throw new Error('There is no table yet.');
  const kinds = columnKinds(table);
  const chosen = inputs.filter((i) => i !== target && kinds[i]?.numeric);
  if (!chosen.length)
    throw new Error('Choose at least one column of numbers as x, other than y.');
  const { label, numeric } = kinds[target] ?? {};
  if (!label && !numeric)
    throw new Error('y must be a column of numbers, or of 2 to 10 different labels.');
  const kept = table.rows.filter(
    (r) => r[target] !== '' && chosen.every((i) => r[i] !== ''),
  );
  if (kept.length < 2) throw new Error('Fewer than two rows have all chosen values.');
  const labels = label ? inOrder([...new Set(kept.map((r) => r[target]))]) : null;
  const x = kept.flatMap((r) => chosen.map((i) => Number(r[i])));
  const y = kept.map((r) => (labels ? labels.indexOf(r[target]) : Number(r[target])));
  const names = [...chosen, target].map((i) => table.names[i]);
  return dataOf(x, y, chosen.length, names, labels);
}

const MOST_SHOWN = 20000; // numbers in a program that is shown

/** Whether a program that is shown leaves out the numbers. @param {Rows} data */
export const isLong = ({ rows, inputs, image }) => !image && rows * (inputs + 1) > MOST_SHOWN;

/**
 * Python that makes the same x and y.
 * @param {DataSettings} given
 * @param {Rows} data
 * @param {boolean} whole with all numbers, however many
 */
export function dataProgram(given, data, whole) {
  if (given.kind === 'sine' && !given.noise)
    return ['x = np.arange(0, 20, 0.1)', 'y = np.sin(x)'];
  if (given.kind === 'formula' && !given.noise) {
    const { python, usesX } = parseFormula(given.text);
    const [from, to] = [given.from, given.to].map(pythonFloat);
    const y = usesX ? python : `np.full(len(x), ${python})`;
    return [`x = np.linspace(${from}, ${to}, ${given.count})`, `y = ${y}`];
  }
  if (given.kind === 'digits')
    return [
      'from sklearn.datasets import load_digits',
      '',
      'digits = load_digits()',
      `x, y = digits.data[:-${TEST}] / 16, digits.target[:-${TEST}]`,
      `x_test, y_test = digits.data[-${TEST}:] / 16, digits.target[-${TEST}:]`,
    ];
  const names = data.names.map((n) => comment(n));
  const lines = [`# columns of x: ${names.slice(0, -1).join(', ')}`];
  if (!whole && isLong(data)) {
    const count = (data.rows * (data.inputs + 1)).toLocaleString('en');
    return [...lines, `# “Download program” writes the ${count} numbers of x and y here.`, 'x, y = ...'];
  }
  const rows = Array.from({ length: data.rows }, (_, i) =>
    Array.from(data.x.slice(i * data.inputs, (i + 1) * data.inputs), shortest).join(', '),
  );
  const column = data.inputs === 1;
  const x = column ? rows.join(', ') : rows.map((r) => `[${r}]`).join(', ');
  lines.push(...wrapped(`x = np.array([${x}])`));
  const labels = data.classes?.map((c, i) => `${i} = ${comment(c)}`).join(', ');
  lines.push(`# y: ${names.at(-1)}${labels ? `; ${labels}` : ''}`);
  lines.push(...wrapped(`y = np.array([${Array.from(data.y, shortest).join(', ')}])`));
  return lines;
}

// Names may hold anything; in a comment, only a line's end could start code.
/** @param {string} name */
function comment(name) {
  return name.replace(/[\p{C}\p{Z}]+/gu, ' ').slice(0, 60);
}

// The shortest decimal number that float32 reads as this one.
/** @param {number} value */
function shortest(value) {
  for (let digits = 1; digits < 9; digits++) {
    const text = Number(value.toPrecision(digits));
    if (Math.fround(text) === value) return pythonFloat(text);
  }
  return pythonFloat(value);
}

/** @param {string} line @param {number} [width] */
function wrapped(line, width = 88) {
  const lines = [];
  let now = '';
  for (const word of line.split(' ')) {
    if (now && now.length + 1 + word.length > width) {
      lines.push(now);
      now = `    ${word}`;
    } else {
      now = now ? `${now} ${word}` : word;
    }
  }
  return [...lines, now];
}
