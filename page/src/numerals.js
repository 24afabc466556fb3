// Numbers in local notation ("1.234,50", "1'234", "12 %", "$5", "(5)"), read as the
// package reads them (kurve.tables.numerals).

/** @typedef {'.' | ','} Mark the decimal mark */

const UNITS = "(?:[$€£¥₹₽₩₺₪฿₫]|(?:EUR|USD|GBP|CHF|JPY|CNY|INR|Kč|kr|zł|Rs|R)\\.?)";
const SIGN = '[-−–‒﹣+]';
const SPACE = '[\\s\\x85]';
const EXPONENT = '(?:[eEdD][+-]?[0-9]+)?';
const DRESS = new RegExp(
  `^(?<open>\\()?(?<sign>${SIGN})?${SPACE}*${UNITS}?${SPACE}*(?<inner>${SIGN}|\\()?${SPACE}*` +
    `(?<body>[0-9.,](?:[0-9.,'’\`]|${SPACE})*${EXPONENT})` +
    `(?<late>-)?${SPACE}*(?:%|‰|${UNITS})?(?<close>\\))?${SPACE}*(?:%|‰|${UNITS})?$`,
);
/** @type {Record<Mark, RegExp>} */
const GROUPED = {
  '.': new RegExp(
    `^(?:[1-9][0-9]{0,2}(?<g>[,'’\`]|${SPACE})(?:[0-9]{2}\\k<g>)*[0-9]{3}(?:\\k<g>[0-9]{3})*|[0-9]+)?` +
      `(?:\\.[0-9]*)?${EXPONENT}$`,
  ),
  ',': new RegExp(
    `^(?:[1-9][0-9]{0,2}(?<g>[.'’\`]|${SPACE})[0-9]{3}(?:\\k<g>[0-9]{3})*|[0-9]+)?` +
      `(?:,[0-9]*)?${EXPONENT}$`,
  ),
};
const GAP =
  /^(?:[^\p{L}\p{N}_]*|unknown|unk|missing|n[./]?[ad][.]?|none|nil|tbd|not available|no data|#n\/a|-?nan|null)$/iu;

/** Whether a cell of a column of numbers says that there is none. @param {string} cell */
export const isGap = (cell) => GAP.test(cell.trim());

/**
 * The number that a cell holds, or null; 12 % is 12.
 * @param {string} cell
 * @param {Mark} mark
 */
export function numeral(cell, mark) {
  const found = cell.trim().match(DRESS)?.groups;
  if (!found) return plain(cell);
  const { open, sign, inner, late, close } = found;
  const signs = [open, sign, inner, late].filter((v) => v !== undefined);
  const body = found.body.trim();
  if (signs.length > 1 || signs.includes('(') !== (close !== undefined)) return null;
  if (!/[0-9]/.test(body) || !GROUPED[mark].test(body)) return null;
  const kept = Array.from(body).filter((c) => '0123456789eEdD+-'.includes(c) || c === mark);
  const size = finite(kept.join('').replace(mark, '.').replace(/d/i, 'e'));
  return size === null || !signs.length || signs[0] === '+' ? size : -size;
}

/** @param {string} text */
function plain(text) {
  return text.trim() === '' ? null : finite(text);
}

/** @param {string} text */
function finite(text) {
  const value = Number(text);
  return Number.isFinite(Math.fround(value)) ? value : null;
}

/**
 * The decimal mark of a file: cells that only one of them reads decide. If there are none,
 * "1,234" is 1.234 where semicolons part the cells.
 * @param {string[][]} rows
 * @param {string} delimiter
 * @returns {Mark}
 */
export function decimalMark(rows, delimiter) {
  if (delimiter === ',') return '.';
  const counts = { '.': 0, ',': 0 };
  let unsure = 0;
  for (const cell of rows.slice(0, 200).flat()) {
    if (!/[.,]/.test(cell)) continue;
    const [point, comma] = [numeral(cell, '.') !== null, numeral(cell, ',') !== null];
    if (point !== comma) counts[point ? '.' : ',']++;
    else if (point && cell.includes(',')) unsure++;
  }
  if (counts['.'] === counts[',']) return delimiter === ';' && unsure && !counts['.'] ? ',' : '.';
  return counts[','] > counts['.'] ? ',' : '.';
}

/**
 * The numbers of a column as JavaScript writes them, gaps empty; null if some cell is none.
 * @param {string[]} cells
 * @param {Mark} likely the decimal mark of the file
 */
export function numerals(cells, likely) {
  const filled = [...new Set(cells)].filter((cell) => !isGap(cell));
  /** @type {Mark[]} */
  const marks = [likely, likely === '.' ? ',' : '.'];
  const mark = marks.find((m) => filled.every((cell) => numeral(cell, m) !== null));
  if (!filled.length || !mark) return null;
  return cells.map((cell) => (isGap(cell) ? '' : String(numeral(cell, mark))));
}
