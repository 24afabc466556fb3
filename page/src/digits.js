// Digits: those that were not trained on, and a place to draw one's own.
import { css, pixels, size } from './drawing.js';

/** @import { Picture, Run } from './types.js' */

const SIDE = 8; // pixels of a digit, each way
const FINE = 32; // points of the drawing, each way: each pixel counts how many of 4 x 4 are inked
const BRUSH = 2.4; // half the width of the pen
const INK = 310; // inked points of a digit, on average in the data
const [THIN, THICK] = [1.8, 3.2];
const LARGEST = 12; // enlargement: a dot is no digit as high as the picture

/** @typedef {number[][]} Stroke the places of the pen, from down to up */

/**
 * Calls `mark` with each point that a pen touches.
 * @param {Stroke[]} strokes
 * @param {number} brush
 * @param {(i: number) => void} mark
 */
function rasterize(strokes, brush, mark) {
  for (const stroke of strokes)
    stroke.forEach((to, k) => {
      const from = stroke[Math.max(0, k - 1)];
      const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])));
      for (let s = 0; s <= steps; s++) {
        const [x, y] = to.map((end, axis) => from[axis] + ((end - from[axis]) * s) / steps);
        const reach = (/** @type {number} */ v) =>
          [Math.max(0, Math.floor(v - brush)), Math.min(FINE - 1, Math.ceil(v + brush))];
        const [[left, right], [top, bottom]] = [reach(x), reach(y)];
        for (let v = top; v <= bottom; v++)
          for (let u = left; u <= right; u++)
            if (Math.hypot(u + 0.5 - x, v + 0.5 - y) < brush) mark(v * FINE + u);
      }
    });
}

/** The place of the largest of 10 outputs. @param {Float32Array} output @param {number} i */
function classAt(output, i) {
  const row = output.subarray(10 * i, 10 * i + 10);
  return row.indexOf(Math.max(...row));
}

/**
 * A drawing as a digit of the data, wherever and however large it was drawn. The data's
 * digits are as high as the picture, their mass is in its middle from left to right, and
 * the pen is about as thick for all; so the strokes are scaled, not the ink.
 * @param {Stroke[]} strokes
 * @returns {Float32Array | null} null if nothing is drawn
 */
export function asDigit(strokes) {
  const places = strokes.flat();
  if (!places.length) return null;
  /** @param {number} brush @param {number} shift */
  const inked = (brush, shift) => {
    const [[left, right], [top, bottom]] = [0, 1].map((axis) => {
      const all = places.map((p) => p[axis]);
      return [Math.min(...all), Math.max(...all)];
    });
    const scale = Math.min(
      (FINE - 2 * brush) / (bottom - top), (FINE - 4 - 2 * brush) / (right - left), LARGEST,
    );
    const scaled = strokes.map((stroke) => stroke.map(([x, y]) => [
      FINE / 2 + (x - (left + right) / 2) * scale + shift, FINE / 2 + (y - (top + bottom) / 2) * scale,
    ]));
    const points = new Uint8Array(FINE * FINE);
    rasterize(scaled, brush, (i) => (points[i] = 1));
    return points;
  };
  /** @param {Uint8Array} points */
  const mass = (points) => points.reduce((sum, on) => sum + on, 0);
  let brush = THIN;
  while (brush < THICK && mass(inked(brush, 0)) < INK) brush += 0.2;
  const centred = inked(brush, 0);
  const middle = centred.reduce((sum, on, i) => sum + on * ((i % FINE) + 0.5), 0) / mass(centred);
  const points = inked(brush, FINE / 2 - middle);
  const digit = new Float32Array(SIDE * SIDE);
  points.forEach((on, i) => {
    const [u, v] = [i % FINE, Math.floor(i / FINE)];
    digit[(v >> 2) * SIDE + (u >> 2)] += on / 16;
  });
  return digit;
}

/**
 * The first test digits; those taken for another digit are framed.
 * @param {HTMLElement} place
 * @param {Run} run
 */
export function digitsChart(place, run) {
  const canvas = pixels(place, 'map');
  const labels = run.testLabels ?? new Uint8Array();
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
  const bitmap = new Uint8Array(FINE * FINE); // what is seen
  /** @type {Stroke[]} */
  let strokes = [];
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
    if (drawing) {
      const stroke = strokes[strokes.length - 1];
      stroke.push(to);
      rasterize([stroke.slice(-2)], BRUSH, (i) => (bitmap[i] = 1));
    }
    at = to;
    show();
    if (drawing) changed(asDigit(strokes));
  }
  // A digit of the data that is shown has no strokes, and goes when one is drawn.
  function penDown() {
    if (!strokes.length) bitmap.fill(0);
    drawing = true;
    strokes.push([at]);
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
    at = place(event);
    penDown();
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
    if (event.key === ' ') {
      if (drawing) drawing = false;
      else penDown();
    }
    const by = arrows[event.key] ?? [0, 0];
    move(at.map((v, k) => Math.max(1, Math.min(FINE - 1, v + by[k]))));
  };
  return {
    show,
    clear() {
      bitmap.fill(0);
      strokes = [];
      drawing = false;
      show();
      changed(null);
    },
    /** Shows a digit of the data. @param {Float32Array} digit */
    put(digit) {
      strokes = [];
      drawing = false;
      for (let i = 0; i < bitmap.length; i++) {
        const [u, v] = [i % FINE, Math.floor(i / FINE)];
        bitmap[i] = digit[(v >> 2) * SIDE + (u >> 2)] > 0.4 ? 1 : 0;
      }
      show();
      changed(digit);
    },
  };
}
