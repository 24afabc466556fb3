// The user's own table: what of it can be used, and what the page says about the rest.
import { columnKinds, parseTable, textColumns } from './table.js';

/** @import { DataSettings } from './types.js' */

const MOST_BYTES = 2e7;
const INSTEAD =
  'Correct such cells, or write numbers instead (dates as days, two labels as 0 and 1); ' +
  'the command “kurve fit” takes text and dates as they are.';

/** @param {File} file */
export async function textOf(file) {
  if (file.size > MOST_BYTES) throw new Error('The page takes files of up to 20 MB.');
  const bytes = new Uint8Array(await file.arrayBuffer());
  const wide = { 'fe,ff': 'utf-16be', 'ff,fe': 'utf-16le' };
  const marked = Object.entries(wide).find(([mark]) =>
    mark === Array.from(bytes.subarray(0, 2), (b) => b.toString(16)).join());
  if (!marked && bytes.includes(0)) throw new Error('This file is not text. Try one in CSV.');
  try {
    return new TextDecoder(marked?.[1] ?? 'utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
}

/**
 * The settings for a table, and notes about what is left out.
 * @param {string} text
 * @returns {{data: Partial<DataSettings>, notes: string}}
 */
export function ownTable(text) {
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
  const texts = textColumns(table, [y]);
  const gaps = table.rows.filter((r) => [...x, y].some((i) => r[i] === '')).length;
  const { names, rows, of } = table;
  const notes = [
    ...(of > rows.length ? [`${rows.length.toLocaleString('en')} of ${of.toLocaleString('en')} rows, evenly spread, are used.`] : []),
    ...(texts ? [`Left out as text, not numbers: ${texts}. ${INSTEAD}`] : []),
    ...(gaps ? [`${gaps} of ${table.rows.length} rows have gaps and are left out.`] : []),
  ];
  return { data: { kind: 'table', table: { names, rows }, x, y }, notes: notes.join(' ') };
}
