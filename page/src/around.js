// The picture of the loss landscape, and of what each layer adds.
import { CELLS, nearest } from './landscape.js';
import { css, pixels } from './drawing.js';

/** @import { Landscape, Readout } from './types.js' */

// Dark for low losses: viridis at five places.
const COLOURS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const BANDS = 14; // whose edges are lines of equal loss

/** @param {number} share */
function colourAt(share) {
  const banded = (Math.min(BANDS - 1, Math.floor(share * BANDS)) + 0.5) / BANDS;
  const at = banded * (COLOURS.length - 1);
  const i = Math.min(COLOURS.length - 2, Math.floor(at));
  const mixed = COLOURS[i].map((v, k) => Math.round(v + (COLOURS[i + 1][k] - v) * (at - i)));
  return `rgb(${mixed.join(' ')})`;
}

/** @param {number} value */
const short = (value) => (Number.isFinite(value) ? value.toPrecision(3) : 'infinity');

/**
 * Draws a landscape into a place and returns a text about it.
 * @param {HTMLElement} place
 * @param {Landscape} landscape
 */
export function drawLandscape(place, { losses, square, path, rows, step, along, done }) {
  place.replaceChildren();
  const side = Math.max(200, Math.min(place.clientWidth, 320));
  const canvas = pixels(place, 'map');
  const ctx = canvas.start(side, side);
  const known = losses.filter((v) => Number.isFinite(v) && v > 0);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const share = (/** @type {number} */ v) =>
    high > low ? Math.log(Math.max(v, low) / low) / Math.log(high / low) : 0;
  const cell = side / CELLS;
  for (let j = 0; j < CELLS; j++)
    for (let i = 0; i < CELLS; i++) {
      const value = nearest(losses, i, j);
      if (Number.isNaN(value)) continue;
      ctx.fillStyle = colourAt(share(Math.min(value, high)));
      ctx.fillRect(i * cell, j * cell, cell + 0.5, cell + 0.5);
    }
  // the cells' middles are at the square's ends
  const inside = (/** @type {number} */ v, /** @type {number} */ k) =>
    cell / 2 + ((v - square[k][0]) / (square[k][1] - square[k][0])) * (side - cell);
  const point = ([a, b]) => [inside(a, 0), side - inside(b, 1)];
  for (const [width, colour] of [[4, '#000'], [2, '#fff']]) {
    ctx.lineWidth = Number(width);
    ctx.strokeStyle = String(colour);
    ctx.beginPath();
    path.map(point).forEach(([x, y]) => ctx.lineTo(x, y));
    ctx.stroke();
    const [x, y] = point([0, 0]);
    ctx.beginPath();
    for (const [dx, dy] of [[6, 0], [0, 6]]) {
      ctx.moveTo(x - dx, y - dy);
      ctx.lineTo(x + dx, y + dy);
    }
    ctx.stroke();
  }
  const middle = losses[Math.floor(CELLS / 2) * (CELLS + 1)];
  const ways = along
    ? 'the two directions in which training moved most; the line is its path'
    : 'two random directions, each filter as long as the weights’ own';
  const text =
    `Loss ${short(middle)} at the cross (step ${step}), ${short(low)} to ${short(high)} ` +
    `over the square, colours by its logarithm, of ${rows} rows: ${ways}.`;
  canvas.canvas.setAttribute('aria-label', text);
  return done ? text : `${text} Still computing…`;
}

/**
 * Shows what a straight line from each layer's units explains.
 * @param {HTMLElement} place
 * @param {Readout} readout
 */
export function showReadout(place, { layers, classes, step }) {
  const items = layers.map(({ name, share }) => {
    const item = document.createElement('li');
    const meter = document.createElement('meter');
    const part = Math.max(0, share ?? 0);
    Object.assign(meter, { min: 0, max: 1, value: part });
    meter.setAttribute('aria-label', name);
    const label = document.createElement('span');
    label.textContent = `${name}: ${share === null ? 'too many units' : `${(100 * part).toFixed(1)} %`}`;
    item.append(meter, label);
    return item;
  });
  place.replaceChildren(...items);
  const what = classes ? 'of the rows a straight line puts into the right class' : 'of y a straight line explains (R²)';
  return `How much ${what}, from the input and from the units of each layer, at step ${step}.`;
}

export const readoutColour = (/** @type {number} */ i, /** @type {number} */ n) =>
  `color-mix(in srgb, ${css('--accent')} ${Math.round((100 * (i + 1)) / n)}%, ${css('--line')})`;
