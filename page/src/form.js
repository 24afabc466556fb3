// The form of all settings.
import { columnKinds } from './table.js';
import { ACTIVATIONS } from './network.js';
import { HELD, LIMITS, MOST_CONVOLUTIONS, problemOf } from './settings.js';
import { ORDINALS } from './program.js';

/** @import { DataSettings, LayerSettings, Settings } from './types.js' */

/**
 * @typedef {object} Actions
 * @property {(more: Partial<Settings>) => void} change
 * @property {(more: Partial<DataSettings>) => void} changeData
 */

/** Controls and places by their names in index.html. @param {string} id @returns {any} */
export const $ = (id) => document.getElementById(id);

/** @type {Record<string, string>} */
const DATA_NAMES = {
  sine: 'sin(x), the article’s 200 points', formula: 'a formula', points: 'points you draw',
  table: 'your table', circles: 'circles (2 classes)', moons: 'moons (2 classes)',
  spiral: 'spirals (2 classes)', squares: 'squares (2 classes)', clouds: 'two clouds (2 classes)', plane: 'a plane (2 inputs)',
  hills: 'hills (2 inputs)',
  digits: 'handwritten digits',
};

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} [text]
 * @param {object} [more]
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, text = '', more = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  return Object.assign(element, more);
}

/** @param {HTMLSelectElement} select @param {string[][]} entries */
export function fill(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => make('option', text, { value })));
}

/** @type {('rate' | 'epochs' | 'l2' | 'dropout' | 'seed')[]} */
export const NUMBERS = ['rate', 'epochs', 'l2', 'dropout', 'seed'];
/** @type {('from' | 'to' | 'count' | 'noise')[]} */
export const DATA_NUMBERS = ['from', 'to', 'count', 'noise'];

/** Kinds of data that lack a setting. @type {Record<string, string[]>} */
const WITHOUT = { noisy: ['points', 'digits'], holding: ['digits'] };

export const HELD_NAMES = HELD.map((n) => [String(n), n ? `every ${ORDINALS[n]} row` : 'no rows']);

/**
 * Shows settings; what is changed in lists goes to the actions.
 * @param {Settings} settings
 * @param {Actions} actions
 */
export function showSettings(settings, actions) {
  const { data } = settings;
  const kinds = Object.entries(DATA_NAMES).filter(([k]) => k !== 'table' || data.table);
  fill($('kind'), kinds);
  $('kind').value = data.kind;
  $('text').value = data.text;
  for (const name of DATA_NUMBERS) $(name).value = data[name];
  for (const name of NUMBERS) $(name).value = settings[name];
  if (!settings.epochs) $('epochs').value = '';
  $('held').value = settings.held;
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (
    document.querySelectorAll('[data-for]')
  )) {
    const wanted = part.dataset.for ?? '';
    const without = WITHOUT[wanted];
    part.hidden = without ? without.includes(data.kind) : wanted !== data.kind;
  }
  if (data.kind === 'table') showColumns(data, actions);
  $('normalize').checked = settings.normalize;
  $('decay').checked = settings.decay;
  $('optimizer').value = settings.optimizer;
  $('batching').value = settings.steps > 0 ? 'steps' : 'batch';
  $('size').value = settings.steps > 0 ? settings.steps : settings.batch;
  showLayers(settings, actions);
}

/** @param {DataSettings} data @param {Actions} actions */
function showColumns({ table, x, y }, { changeData }) {
  if (!table) return;
  const kinds = columnKinds(table);
  const targets = table.names.map((name, i) => [String(i), name]);
  fill($('target'), targets.filter((_, i) => kinds[i].numeric || kinds[i].label));
  $('target').value = y;
  const boxes = table.names.flatMap((name, i) => {
    if (!kinds[i].numeric || i === y) return [];
    const label = make('label');
    const box = make('input', '', { type: 'checkbox', checked: x.includes(i) });
    box.onchange = () => {
      const chosen = box.checked ? [...x, i] : x.filter((k) => k !== i);
      changeData({ x: chosen.sort((a, b) => a - b) });
    };
    label.append(box, ` x: ${name}`);
    return [label];
  });
  $('columns').replaceChildren(...boxes);
}

/** @param {Settings} settings @param {Actions} actions */
function showLayers(settings, { change }) {
  const items = settings.layers.map(({ kind, units, activation }, i) => {
    const item = make('li');
    const alter = (/** @type {Partial<LayerSettings>} */ more) =>
      change({ layers: settings.layers.map((l, k) => (k === i ? { ...l, ...more } : l)) });
    const count = make('input', '', { type: 'number', min: 1, max: 512, value: units });
    count.setAttribute('aria-label', `units of layer ${i + 1}`);
    count.onchange = () => numberOf(count, 'units', units, (value) => alter({ units: value }));
    const choice = make('select');
    choice.setAttribute('aria-label', `activation of layer ${i + 1}`);
    fill(choice, ACTIVATIONS.map((a) => [a, a]));
    choice.value = activation;
    choice.onchange = () => alter({ activation: choice.value });
    const remove = make('button', '−');
    remove.setAttribute('aria-label', `remove layer ${i + 1}`);
    remove.onclick = () => change({ layers: settings.layers.filter((_, k) => k !== i) });
    item.append(count, ...(kind === 'conv' ? [make('span', 'filters 3 × 3')] : []), choice, remove);
    return item;
  });
  $('layers').replaceChildren(...items);
  $('add-layer').disabled = settings.layers.length >= 12;
  const convolutions = settings.layers.filter(({ kind }) => kind === 'conv').length;
  $('add-conv').hidden = settings.data.kind !== 'digits';
  $('add-conv').disabled = convolutions >= MOST_CONVOLUTIONS;
  $('normalize').disabled = settings.data.kind === 'digits';
}

/** @type {(text: string) => void} */
let say = () => {};
/** @param {(text: string) => void} how messages are shown */
export const sayBy = (how) => (say = how);

/**
 * Gives the number that was typed to `use`; one that cannot be is refused in words, and
 * the old one stays.
 * @param {HTMLInputElement} input
 * @param {keyof typeof LIMITS} limits
 * @param {number} old
 * @param {(value: number) => void} use
 * @param {(value: number) => string} [problem] another reason to refuse it
 */
export function numberOf(input, limits, old, use, problem = () => '') {
  const value = input.value.trim() === '' ? NaN : Number(input.value);
  const wrong = problemOf(limits, value) || problem(value);
  if (!wrong) {
    input.removeAttribute('aria-invalid');
    use(value);
    return;
  }
  const open = limits === 'epochs' && !old; // as many as suit the rows
  input.value = open ? '' : String(old);
  input.setAttribute('aria-invalid', 'true');
  input.oninput = () => input.removeAttribute('aria-invalid');
  say(open ? wrong : `${wrong} It stays ${old}.`);
}
