// The pictures: curves by uPlot, maps on a canvas.
import uPlot from 'uplot';
import { readoutColour } from './around.js';
import { css, pixels, size } from './drawing.js';

/** @import { Drawn, Readout, Run } from './types.js' */

const CLASS_COLOURS = [
  '#3b7dd8', '#e07b28', '#3a9d5d', '#a45bbf', '#c8453b', '#8a6d3b', '#d25c9c', '#6b7280',
  '#9a9a1f', '#1f9aa8',
];

/** @param {string} label @param {object} [more] */
function axis(label, more = {}) {
  return {
    label,
    stroke: () => css('--quiet'),
    grid: { stroke: () => css('--line'), width: 1 },
    ticks: { stroke: () => css('--line'), width: 1 },
    font: '12px system-ui, sans-serif',
    labelFont: '12px system-ui, sans-serif',
    labelSize: label ? 18 : 0,
    ...more,
  };
}

// A tick's number, if uPlot shows it.
/** @param {number | null} value @returns {string} */
function written(value) {
  if (value === null) return '';
  const size = Math.abs(value);
  const plain = size === 0 || (size >= 1e-3 && size < 1e5);
  return plain ? String(Number(value.toPrecision(6))) : value.toExponential(0);
}

/** A chart of curves over x, with points drawn by `draw(u)` behind them. */
class Chart {
  /**
   * @param {HTMLElement} place
   * @param {{series: any[], scales: any, labels: string[], draw?: (u: any) => void}} chart
   */
  constructor(place, { series, scales, labels, draw }) {
    this.place = place;
    const options = {
      ...size(place),
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false } },
      series: [{}, ...series],
      scales,
      axes: [axis(labels[0], { size: 30 }), axis(labels[1], { size: 54, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map(written) })],
      hooks: { drawAxes: draw ? [draw] : [] },
    };
    this.plot = new uPlot(options, [[0], ...series.map(() => [null])], place);
    this.observer = new ResizeObserver(() => this.plot.setSize(size(place)));
    this.observer.observe(place);
  }
  /** @param {any} data */
  show(data) {
    this.plot.setData(data);
  }
  free() {
    this.observer.disconnect();
    this.plot.destroy();
  }
}

/**
 * @param {any} u
 * @param {ArrayLike<number>} xs
 * @param {ArrayLike<number>} ys
 * @param {string | ((i: number) => string)} colour
 * @param {number} [radius]
 */
function dots(u, xs, ys, colour, radius = 3.2) {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  const r = radius * devicePixelRatio * (xs.length > 2000 ? 0.5 : 1);
  for (let i = 0; i < xs.length; i++) {
    ctx.fillStyle = typeof colour === 'function' ? colour(i) : colour;
    ctx.beginPath();
    ctx.arc(u.valToPos(xs[i], 'x', true), u.valToPos(ys[i], 'y', true), r, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.restore();
}

/** @param {Iterable<number>} values @param {number} [margin] @returns {[number, number]} */
function range(values, margin = 0.08) {
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  if (!(low < high)) return [low - 1, high + 1];
  return [low - margin * (high - low), high + margin * (high - low)];
}

/**
 * One input: the points and the curve. Several: predictions beside the truth.
 * @param {HTMLElement} place
 * @param {Run} run
 * @returns {Drawn}
 */
export function fitChart(place, run) {
  const { rows, heldOut, axes, outputs: units } = run;
  const several = rows.inputs > 2;
  const allY = [...rows.y, ...(heldOut?.y ?? [])];
  const truth = rows.classes && !several ? [-0.1, Math.max(1, units - 1) + 0.1] : range(allY);
  /** @type {Float32Array} */
  let predicted = new Float32Array();
  const chart = new Chart(place, {
    series: several
      ? [{ stroke: () => css('--quiet'), dash: [4, 4], width: 1 }]
      : Array.from({ length: units }, (_, i) => ({
          stroke: () => (units > 1 ? CLASS_COLOURS[i] : css('--accent')),
          width: 2.5,
        })),
    scales: {
      x: { time: false, range: several ? truth : run.view?.x ?? axes[0] },
      y: { range: () => (several ? range([...truth, ...predicted]) : run.view?.y ?? truth) },
    },
    labels: several
      ? [`${rows.names.at(-1)}, given`, 'predicted']
      : [rows.names[0], rows.names.at(-1) ?? 'y'],
    draw(u) {
      if (several) {
        const [trained, held] = [css('--accent'), css('--held')];
        dots(u, allY, predicted, (i) => (i < rows.rows ? trained : held));
        return;
      }
      if (heldOut && !rows.classes) dots(u, heldOut.x, heldOut.y, css('--held'));
      if (rows.classes)
        dots(u, rows.x, units > 1 ? rows.y.map(() => 0) : rows.y, (i) => CLASS_COLOURS[rows.y[i]]);
      else dots(u, rows.x, rows.y, css('--points'));
    },
  });
  return {
    show({ output }) {
      if (several) {
        predicted = units > 1 ? largest(output, units) : output;
        chart.show([truth, truth]);
        return;
      }
      const n = output.length / units;
      const curves = Array.from({ length: units }, (_, k) =>
        Array.from({ length: n }, (_, i) => output[i * units + k]),
      );
      chart.show([Array.from(run.gridX), ...curves]);
    },
    position(event) {
      const box = chart.plot.over.getBoundingClientRect();
      const x = chart.plot.posToVal(event.clientX - box.left, 'x');
      return [x, chart.plot.posToVal(event.clientY - box.top, 'y')];
    },
    free: () => chart.free(),
  };
}

// The class of the largest output, for each row.
/** @param {Float32Array} output @param {number} units */
function largest(output, units) {
  return Float32Array.from({ length: output.length / units }, (_, i) => {
    const row = output.subarray(i * units, (i + 1) * units);
    return row.indexOf(Math.max(...row));
  });
}

/** @param {string} hex */
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
/** @param {number[]} a @param {number[]} b @param {number} share */
const mixed = (a, b, share) => a.map((v, i) => v + (b[i] - v) * share);

// Colours of an output on a map: blue below, orange above, or that of the likeliest class.
/**
 * @param {{outputs: number}} run
 * @param {number} low
 * @param {number} high
 * @returns {(output: Float32Array, i: number) => number[]}
 */
function painter(run, low, high) {
  const paper = rgb(css('--paper'));
  const [blue, orange] = CLASS_COLOURS.map(rgb);
  const units = run.outputs;
  if (units > 1)
    return (output, i) => {
      const row = output.subarray(i * units, (i + 1) * units);
      const best = row.indexOf(Math.max(...row));
      return mixed(paper, rgb(CLASS_COLOURS[best]), 0.75 * row[best]);
    };
  return (output, i) => {
    const share = Math.max(-1, Math.min(1, (2 * (output[i] - low)) / (high - low) - 1));
    return mixed(paper, share < 0 ? blue : orange, 0.8 * Math.abs(share));
  };
}

/**
 * Two inputs: the output as colours, the rows as dots.
 * @param {HTMLElement} place
 * @param {Run} run
 * @returns {Drawn}
 */
export function mapChart(place, run) {
  const canvas = pixels(place, 'map');
  const { rows, heldOut, axes, map } = run;
  const [low, high] = rows.classes ? [0, 1] : range(rows.y, 0);
  const small = document.createElement('canvas');
  small.width = small.height = map;
  /** @type {Float32Array | null} */
  let last = null;
  /** @param {{output: Float32Array}} picture */
  function show({ output }) {
    last = output;
    const paint = painter(run, low, high);
    const image = new ImageData(map, map);
    for (let i = 0; i < map * map; i++) {
      const [r, g, b] = paint(output, i);
      image.data.set([r, g, b, 255], 4 * i);
    }
    small.getContext('2d')?.putImageData(image, 0, 0);
    const { width, height } = size(place);
    const side = Math.min(width, height);
    const ctx = canvas.start(side, side);
    ctx.drawImage(small, 0, 0, side, side);
    /** @param {number} k @param {number} v */
    const place_ = (k, v) => {
      const [from, to] = axes[k];
      const share = (v - from) / (to - from);
      return (k ? 1 - share : share) * side;
    };
    ctx.lineWidth = 1;
    /** @param {{x: Float32Array, y: Float32Array}} points @param {string} ring */
    const draw = (points, ring) => {
      ctx.strokeStyle = ring;
      for (let i = 0; i < points.y.length; i++) {
        const class_ = rows.classes ? points.y[i] : 0;
        const share = rows.classes ? 0 : (points.y[i] - low) / (high - low);
        const mix = mixed(rgb(CLASS_COLOURS[0]), rgb(CLASS_COLOURS[1]), share);
        ctx.fillStyle = rows.classes ? CLASS_COLOURS[class_] : `rgb(${mix.map(Math.round)})`;
        ctx.beginPath();
        const [x, y] = [place_(0, points.x[2 * i]), place_(1, points.x[2 * i + 1])];
        ctx.arc(x, y, 3.6, 0, 2 * Math.PI);
        ctx.fill();
        ctx.stroke();
      }
    };
    draw(rows, '#fff');
    if (heldOut) draw(heldOut, '#000');
  }
  const observer = new ResizeObserver(() => last && show({ output: last }));
  observer.observe(place);
  return {
    show,
    free() {
      observer.disconnect();
      canvas.remove();
    },
  };
}

// At most six decades, whole ones.
/** @param {number} low @param {number} high */
function decades(low, high) {
  if (!(high > 0)) return [0.1, 1];
  const top = 10 ** Math.ceil(Math.log10(high));
  return [Math.max(10 ** Math.floor(Math.log10(low)), top / 1e6), top];
}

/**
 * The losses of the batches, of the epochs and of the rows held out, on a logarithmic axis.
 * @param {HTMLElement} place
 * @returns {Drawn}
 */
export function lossChart(place) {
  const chart = new Chart(place, {
    series: [
      { stroke: () => css('--points'), width: 0.7, alpha: 0.6, spanGaps: true },
      { stroke: () => css('--accent'), width: 1.5, spanGaps: true },
      { stroke: () => css('--held'), width: 1.5, spanGaps: true, dash: [6, 3] },
    ],
    scales: { x: { time: false }, y: { distr: 3, range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => decades(low, high) } },
    labels: ['step', ''],
  });
  return {
    show({ losses, means, held }) {
      // each has its own steps; a logarithm has no place for 0
      const tables = [losses, means, held].map(([steps, values]) => [
        steps.length ? steps : [0],
        steps.length ? values.map((v) => (v > 0 ? v : null)) : [null],
      ]);
      chart.show(uPlot.join(/** @type {any} */ (tables)));
    },
    free: () => chart.free(),
  };
}

/**
 * The units of a layer: curves over x.
 * @param {HTMLElement} place
 * @param {Run} run
 * @returns {Drawn}
 */
export function unitsChart(place, run) {
  const chart = new Chart(place, {
    series: Array.from({ length: 24 }, (_, i) => ({
      stroke: `hsl(${(i * 47) % 360} 60% 50%)`,
      width: 1.2,
    })),
    scales: { x: { time: false, range: run.axes[0] }, y: {} },
    labels: [run.rows.names[0], ''],
  });
  return {
    show({ units }) {
      if (!units) return;
      /** @type {(number | null)[][]} */
      const curves = units.curves.map((c) => Array.from(c));
      while (curves.length < 24) curves.push(curves[0].map(() => null));
      chart.show([Array.from(run.gridX), ...curves]);
    },
    free: () => chart.free(),
  };
}

/**
 * The units of a layer as small maps.
 * @param {HTMLElement} place
 * @returns {Drawn}
 */
export function unitMaps(place) {
  /** @type {HTMLCanvasElement[]} */
  const tiles = [];
  return {
    show({ units }) {
      if (!units) return;
      while (tiles.length < units.curves.length) {
        const canvas = document.createElement('canvas');
        canvas.className = 'tile';
        canvas.width = canvas.height = units.map;
        place.append(canvas);
        tiles.push(canvas);
      }
      while (tiles.length > units.curves.length) tiles.pop()?.remove();
      units.curves.forEach((values, k) => {
        const paint = painter({ outputs: 1 }, ...range(values, 0));
        const image = new ImageData(units.map, units.map);
        for (let i = 0; i < values.length; i++)
          image.data.set([...paint(values, i), 255], 4 * i);
        tiles[k].getContext('2d')?.putImageData(image, 0, 0);
      });
    },
    free: () => tiles.forEach((t) => t.remove()),
  };
}

/**
 * The best straight line from each layer's units, over x.
 * @param {HTMLElement} place
 * @param {Run} run
 * @param {Pick<Readout, "layers">} readout
 * @returns {Drawn}
 */
export function readoutChart(place, run, { layers }) {
  const chart = new Chart(place, {
    series: layers.map((_, i) => ({ stroke: () => readoutColour(i, layers.length), width: 1.6 })),
    scales: { x: { time: false, range: run.axes[0] }, y: { range: range(run.rows.y, 0.3) } },
    labels: [run.rows.names[0], ''],
    draw: (u) => dots(u, run.rows.x, run.rows.y, css('--points'), 1.6),
  });
  const nothing = Array.from(run.gridX, () => null);
  chart.show([
    Array.from(run.gridX),
    ...layers.map(({ curve }) => (curve ? Array.from(curve) : nothing)),
  ]);
  return { show() {}, free: () => chart.free() };
}
