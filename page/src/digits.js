// Digits: those that were not trained on, and a place to draw one's own.
import { css, pixels, size } from './drawing.js';

/** @import { Picture, Run } from './types.js' */

const SIDE = 8; // pixels of a digit, each way
const FINE = 32; // of the drawing: each pixel counts how many of 4 x 4 points are drawn
const BRUSH = 2.4;

/** The place of the largest of 10 outputs. @param {Float32Array} output @param {number} i */
function classAt(output, i) {
  const row = output.subarray(10 * i, 10 * i + 10);
  return row.indexOf(Math.max(...row));
}

/**
 * A drawing as a digit of the data: as high as the picture, in its middle.
 * @param {Uint8Array} bitmap FINE x FINE, 1 where drawn
 * @returns {Float32Array | null} null if nothing is drawn
 */
export function asDigit(bitmap) {
  const places = Array.from(bitmap.keys()).filter((i) => bitmap[i]);
  if (!places.length) return null;
  const ends = (/** @type {number[]} */ all) => [Math.min(...all), Math.max(...all) + 1];
  const [left, right] = ends(places.map((i) => i % FINE));
  const [top, bottom] = ends(places.map((i) => Math.floor(i / FINE)));
  const scale = Math.min(FINE / (bottom - top), (FINE - 4) / (right - left));
  const digit = new Float32Array(SIDE * SIDE);
  for (let v = 0; v < FINE; v++)
    for (let u = 0; u < FINE; u++) {
      const x = Math.floor((left + right) / 2 + (u + 0.5 - FINE / 2) / scale);
      const y = Math.floor((top + bottom) / 2 + (v + 0.5 - FINE / 2) / scale);
      const inside = x >= left && x < right && y >= top && y < bottom;
      if (inside && bitmap[y * FINE + x]) digit[(v >> 2) * SIDE + (u >> 2)] += 1 / 16;
    }
  return digit;
}

/**
 * The first test digits; those taken for another digit are framed.
 * @param {HTMLElement} place
 * @param {Run} run
 */
export function digitsChart(place, run) {
  const canvas = pixels(place, 'map');
  const labels = run.testLabels;
  /** @type {Float32Array | null} */
  let last = null;
  function draw() {
    if (!last) return;
    const { width, height } = size(place);
    const cell = 30;
    const columns = Math.floor(width / cell);
    const rows = Math.floor(height / cell);
    const ctx = canvas.start(columns * cell, rows * cell);
    const [ink, error] = [css('--ink'), css('--error')];
    for (let i = 0; i < Math.min(labels.length, columns * rows); i++) {
      const [left, top] = [(i % columns) * cell + 3, Math.floor(i / columns) * cell + 3];
      ctx.fillStyle = ink;
      for (let p = 0; p < SIDE * SIDE; p++) {
        ctx.globalAlpha = run.gridX[i * SIDE * SIDE + p];
        if (ctx.globalAlpha > 0)
          ctx.fillRect(left + 3 * (p % SIDE), top + 3 * Math.floor(p / SIDE), 3, 3);
      }
      ctx.globalAlpha = 1;
      const found = classAt(last, i);
      if (found === labels[i]) continue;
      ctx.strokeStyle = ctx.fillStyle = error;
      ctx.lineWidth = 1.5;
      ctx.strokeRect(left - 2, top - 2, cell - 2, cell - 2);
      ctx.font = '600 11px system-ui, sans-serif';
      ctx.fillText(String(found), left + 18, top + 10);
    }
  }
  const observer = new ResizeObserver(draw);
  observer.observe(place);
  return {
    /** @param {Picture} picture */
    show({ output }) {
      last = output;
      draw();
    },
    free() {
      observer.disconnect();
      canvas.remove();
    },
  };
}

/** The share of test digits that are right. @param {Float32Array} output @param {Uint8Array} labels */
export function shareRight(output, labels) {
  return labels.reduce((n, label, i) => n + (classAt(output, i) === label ? 1 : 0), 0) / labels.length;
}

/**
 * The place to draw in, by mouse, finger or keyboard.
 * @param {HTMLCanvasElement} canvas
 * @param {(digit: Float32Array | null) => void} changed
 */
export function drawingPad(canvas, changed) {
  const bitmap = new Uint8Array(FINE * FINE);
  let at = [FINE / 2, 4];
  let drawing = false;
  let keyboard = false;

  function show() {
    const ratio = canvas.width / FINE;
    const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    ctx.clearRect(0, 0, canvas.width, canvas.height);
    ctx.fillStyle = css('--ink');
    bitmap.forEach((on, i) => {
      if (on) ctx.fillRect((i % FINE) * ratio, Math.floor(i / FINE) * ratio, ratio, ratio);
    });
    if (!keyboard) return;
    ctx.strokeStyle = css(drawing ? '--accent' : '--quiet');
    ctx.lineWidth = 3;
    ctx.beginPath();
    ctx.arc(at[0] * ratio, at[1] * ratio, BRUSH * ratio, 0, 2 * Math.PI);
    ctx.stroke();
  }
  /** @param {number[]} to */
  function move(to) {
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - at[0], to[1] - at[1])));
    for (let s = 0; s <= steps && drawing; s++) {
      const [x, y] = at.map((from, k) => from + ((to[k] - from) * s) / steps);
      for (let i = 0; i < bitmap.length; i++)
        if (Math.hypot((i % FINE) + 0.5 - x, Math.floor(i / FINE) + 0.5 - y) < BRUSH) bitmap[i] = 1;
    }
    at = to;
    show();
    if (drawing) changed(asDigit(bitmap));
  }
  /** @param {PointerEvent} event */
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * FINE,
      ((event.clientY - box.top) / box.height) * FINE,
    ];
  };
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    keyboard = false;
    drawing = true;
    at = place(event);
    move(at);
  };
  canvas.onpointermove = (event) => {
    if (drawing && !keyboard) move(place(event));
  };
  canvas.onpointerup = canvas.onpointercancel = () => (drawing = false);
  canvas.onfocus = () => show();
  canvas.onblur = () => {
    drawing = keyboard = false;
    show();
  };
  /** @type {Record<string, number[]>} */
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.onkeydown = (event) => {
    if (event.key !== ' ' && !(event.key in arrows)) return;
    event.preventDefault();
    keyboard = true;
    if (event.key === ' ') drawing = !drawing;
    const by = arrows[event.key] ?? [0, 0];
    move(at.map((v, k) => Math.max(1, Math.min(FINE - 1, v + by[k]))));
  };
  return {
    show,
    clear() {
      bitmap.fill(0);
      drawing = false;
      show();
      changed(null);
    },
    /** Shows a digit of the data. @param {Float32Array} digit */
    put(digit) {
      for (let i = 0; i < bitmap.length; i++) {
        const [u, v] = [i % FINE, Math.floor(i / FINE)];
        bitmap[i] = digit[(v >> 2) * SIDE + (u >> 2)] > 0.4 ? 1 : 0;
      }
      show();
      changed(digit);
    },
  };
}
