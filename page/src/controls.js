// What the controls of the form do.
import { columnKinds } from './table.js';
import { $, DATA_NUMBERS, HELD_NAMES, NUMBERS, fill, numberOf } from './form.js';
import { OPTIMIZERS } from './plan.js';

/** @import { Actions } from './form.js' */
/** @import { Settings } from './types.js' */

/**
 * Connects them.
 * @param {Actions & {settings: () => Settings, rows: () => number}} page settings: those of
 *     now; rows: how many are trained on
 */
export function connectControls({ settings, rows, change, changeData }) {
  fill($('optimizer'), Object.keys(OPTIMIZERS).map((o) => [o, o]));
  $('optimizer').onchange = (/** @type {any} */ event) => {
    const optimizer = event.target.value;
    change({ optimizer, rate: OPTIMIZERS[optimizer].rate });
  };
  fill($('held'), HELD_NAMES);
  $('held').onchange = (/** @type {any} */ event) => change({ held: Number(event.target.value) });
  for (const name of NUMBERS)
    $(name).onchange = () => {
      if (name === 'epochs' && $(name).value === '' && $(name).validity.valid) change({ epochs: 0 });
      else numberOf($(name), name, settings()[name], (value) => change({ [name]: value }));
    };
  /** @param {string} name @param {number} value */
  const reversed = (name, value) => {
    const { data } = settings();
    const [from, to] = name === 'from' ? [value, data.to] : [data.from, value];
    const other = name === 'from' ? `end, ${to}` : `start, ${from}`;
    const which = name === 'from' ? 'The start of x must be below its' : 'The end of x must be above its';
    return from < to ? '' : `${which} ${other}. Received: ${value}. Change the other one first.`;
  };
  for (const name of DATA_NUMBERS) {
    const ends = name === 'from' || name === 'to';
    $(name).onchange = () =>
      numberOf(
        $(name), name, settings().data[name], (value) => changeData({ [name]: value }),
        ends ? (value) => reversed(name, value) : undefined,
      );
  }
  $('text').onchange = (/** @type {any} */ event) => changeData({ text: event.target.value });
  $('kind').onchange = (/** @type {any} */ event) => changeData({ kind: event.target.value });
  $('target').onchange = (/** @type {any} */ event) => {
    const y = Number(event.target.value);
    const kinds = columnKinds(settings().data.table ?? { names: [], rows: [] });
    changeData({ y, x: kinds.flatMap(({ numeric }, i) => (numeric && i !== y ? [i] : [])) });
  };
  for (const name of ['normalize', 'decay'])
    $(name).onchange = (/** @type {any} */ event) => change({ [name]: event.target.checked });
  const tooMany = (/** @type {number} */ size) => {
    const most = rows();
    if (size <= most) return '';
    const what = settings().steps ? `an epoch has at most ${most} steps` : `a batch has at most ${most}`;
    return `There are only ${most} rows to train on, so ${what}. Received: ${size}.`;
  };
  // the same number of rows in a batch, as near as whole numbers allow
  $('batching').onchange = (/** @type {any} */ event) => {
    const { batch, steps } = settings();
    const all = rows();
    const other = Math.ceil(all / Math.min(steps || batch, all)) || 1;
    change(event.target.value === 'steps' ? { steps: other } : { steps: 0, batch: other });
  };
  $('size').onchange = () => {
    const name = settings().steps ? 'steps' : 'batch';
    numberOf($('size'), name, settings()[name], (size) => change({ [name]: size }), tooMany);
  };
  $('add-layer').onclick = () => {
    const last = settings().layers.at(-1) ?? { units: 32, activation: 'relu' };
    change({ layers: [...settings().layers, { ...last }] });
  };

  $('add-conv').onclick = () => {
    const first = settings().layers.findIndex(({ kind }) => kind !== 'conv');
    const at = first < 0 ? settings().layers.length : first;
    const units = settings().layers[at - 1]?.units ?? 16;
    const layer = { kind: /** @type {const} */ ('conv'), units, activation: 'relu' };
    change({ layers: settings().layers.toSpliced(at, 0, layer) });
  };
}
