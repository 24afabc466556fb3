// Tables as text: their cells, and what the columns hold.
import { decimalMark, numeral, numerals } from './numerals.js';

/** @import { Table } from './types.js' */

const LARGEST = 20000; // rows

/**
 * The text without comments above it and "sep=;", and what parts its cells: that of
 * , ; tab | which the first line has most of, or blanks, which become tabs.
 * @param {string} text
 */
function delimited(text) {
  text = text.replace(/^\ufeff/, '').replace(/^(?:[ \t]*\r?\n)+/, '');
  if (text.startsWith('#')) text = text.replace(/^#.*(?:\r?\n|$)/gm, '');
  const said = text.match(/^"?sep=(.)"?\r?\n/i);
  if (said) return { text: text.slice(said[0].length), delimiter: said[1] };
  const lines = text.split(/\r?\n/, 20).filter((line) => line.trim() !== '');
  const first = lines[0] ?? '';
  const words = (/** @type {string} */ line) => line.trim().split(/\s+/);
  const width = words(first).length;
  const blanks = !/[,;\t|"]/.test(first) && width > 1 && lines.length > 1;
  if (blanks && lines.every((line) => words(line).length === width) && words(lines[lines.length - 1]).every(isNumber))
    return { text: text.trim().replace(/[ \t]+/g, '\t'), delimiter: '\t' };
  const count = (/** @type {string} */ delimiter) => first.split(delimiter).length;
  const [delimiter] = [',', ';', '\t', '|'].sort((a, b) => count(b) - count(a));
  return { text, delimiter };
}

/** @param {string} text in local notation too */
const isNumber = (text) =>
  number(text) !== null || numeral(text, '.') !== null || numeral(text, ',') !== null;

/**
 * The cells of a table: all of them, or of LARGEST rows evenly spread.
 * @param {string} given
 */
export function parseTable(given) {
  const { text, delimiter } = delimited(given);
  const rows = [];
  let row = [];
  let cell = '';
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') cell += text[++i];
      else quoted = false;
    } else if (c === '"' && cell === '') {
      quoted = true;
    } else if (c === delimiter || c === '\n' || c === '\r') {
      row.push(cell);
      cell = '';
      if (c === delimiter) continue;
      if (c === '\r' && text[i + 1] === '\n') i++;
      rows.push(row);
      row = [];
    } else {
      cell += c;
    }
  }
  if (cell !== '' || row.length) rows.push([...row, cell]);
  const filled = rows.filter((r) => r.some((v) => v.trim() !== ''));
  if (filled.length < 2) throw new Error('A table needs at least two lines.');
  const width = filled[0].length;
  const header = filled[0].some((v) => v.trim() !== '' && !isNumber(v));
  const names = filled[0].map((v, i) => (header ? v.trim() || `column ${i + 1}` : `x${i + 1}`));
  const all = filled.slice(header ? 1 : 0);
  const long = all.findIndex((r) => r.slice(width).some((v) => v.trim() !== ''));
  if (long >= 0)
    throw new Error(
      `Row ${long + 1} has ${all[long].length} cells, the first line ${width}. ` +
        'Correct it, or put quotes around cells that hold the delimiter.',
    );
  const count = Math.min(all.length, LARGEST);
  const body = Array.from({ length: count }, (_, k) => {
    const row = all[Math.floor((k * all.length) / count)];
    return Array.from({ length: width }, (_, i) => (row[i] ?? '').trim());
  });
  return { names, rows: tidied(body, width, delimiter), of: all.length };
}

/**
 * The rows; in columns of numbers, as JavaScript writes them, and gaps are empty.
 * @param {string[][]} rows
 * @param {number} width
 * @param {string} delimiter
 */
function tidied(rows, width, delimiter) {
  const mark = decimalMark(rows, delimiter);
  const columns = Array.from({ length: width }, (_, i) => {
    const cells = rows.map((r) => r[i]);
    return numerals(cells, mark) ?? cells;
  });
  return rows.map((_, k) => columns.map((cells) => cells[k]));
}

const MOST_NAMED = 8; // columns in a message

/**
 * The columns that hold text, each with its first cell that is no number; nothing if all
 * are numbers. Columns in `used` may be text: labels of classes.
 * @param {Table} table
 * @param {number[]} [used]
 */
export function textColumns({ names, rows }, used = []) {
  const found = names.flatMap((name, i) => {
    const row = rows.findIndex((r) => r[i] !== '' && number(r[i]) === null);
    return row < 0 || used.includes(i) ? [] : [`“${name}” (“${rows[row][i]}” in row ${row + 1})`];
  });
  const more = found.length - MOST_NAMED;
  if (more > 0) found.splice(MOST_NAMED, more, `${more} more`);
  if (found.length < 2) return found.join('');
  return `${found.slice(0, -1).join(', ')} and ${found.at(-1)}`;
}

/** @param {string} text */
function number(text) {
  if (text.trim() === '') return null;
  const value = Number(text);
  return Number.isFinite(Math.fround(value)) ? value : null;
}

/**
 * The columns whose filled cells are all numbers, and all with few different values.
 * @param {Table} table
 */
export function columnKinds({ names, rows }) {
  return names.map((_, i) => {
    const filled = rows.map((r) => r[i]).filter((v) => v !== '');
    const numeric = filled.length > 0 && filled.every((v) => number(v) !== null);
    const values = new Set(filled);
    const few = values.size >= 2 && values.size <= 10;
    return { numeric, label: few && (!numeric || values.size === 2) };
  });
}
