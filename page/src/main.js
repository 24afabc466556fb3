// The page: what the user chooses goes to the worker, what it computes to the pictures.
import { drawLandscape } from './around.js';
import { copy, save } from './browser.js';
import { connectControls } from './controls.js';
import { $, make, numberOf, sayBy, showSettings } from './form.js';
import { ownTable, textOf } from './own-table.js';
import {
  connectPictures, pointAt, run, showPicture, showReadouts, showRun,
} from './pictures.js';
import {
  EXAMPLES, changesOf, checked, example, fromHash, toHash, whyAgain, withData,
} from './settings.js';
import { id, send, sendHelper, sendNew, startEngine } from './workers.js';

/** @import { DataSettings, Picture, Settings } from './types.js' */

/** @type {Settings} */
let settings;
let playing = false;
let end = 0; // the step after which the chosen epochs are done
let threads = 1; // of the engine
let failed = false; // the worker could not use the newest settings

/** @type {Record<string, (answer: any) => void>} */
const answers = {
  ready(answer) {
    threads = answer.threads;
    apply(settings);
  },
  started(answer) {
    if (answer.id !== id) return;
    failed = false;
    showRun(answer, settings);
    show(answer);
  },
  picture(answer) {
    if (answer.id === id && run) show(answer);
  },
  error(answer) {
    if (answer.id !== undefined && answer.id !== id) return;
    setPlaying(false);
    failed = true;
    for (const name of ['landscape-text', 'units-hint']) $(name).textContent = '';
    showMessage(answer.message);
  },
  file({ format, bytes }) {
    save(format === 'network' ? 'network.kurve' : `model.${format}`, new Blob([bytes]));
  },
  snapshot({ kind, purpose, ...given }) {
    if (given.id === id) sendHelper(purpose, given);
  },
  landscape(answer) {
    if (answer.id === id) $('landscape-text').textContent = drawLandscape($('landscape'), answer);
  },
  readout(answer) {
    if (answer.id === id) showReadouts(answer);
  },
};

/** @param {Picture} picture */
function show(picture) {
  if (picture.running !== playing && !picture.running) setPlaying(false);
  if (picture.error) showMessage(picture.error);
  end = picture.end;
  showPicture(picture, threads);
}

/** @param {string} text @param {boolean} [note] whether nothing is wrong */
function showMessage(text, note = false) {
  $('message').textContent = text;
  $('message').hidden = !text;
  $('message').classList.toggle('note', note);
}

/**
 * Starts with new settings.
 * @param {Settings} chosen
 */
function apply(chosen) {
  use(chosen);
  setPlaying(false);
  sendNew('start', { settings });
  if (broken) showMessage(`In the link: ${broken}`);
  broken = '';
}

/** @param {Settings} chosen */
function use(chosen) {
  settings = chosen;
  showMessage('');
  showAll();
  remember();
}

/**
 * Goes on with new settings from the weights of now, if these belong to them too.
 * @param {Settings} chosen
 */
function goOn(chosen) {
  const step = run ? Number($('time').value) : 0;
  const why = whyAgain(settings, chosen);
  const changes = changesOf(settings, chosen);
  if (!step || failed || why) {
    const asked = chosen.data.kind !== settings.data.kind; // for something else altogether
    apply(chosen);
    if (step && !failed && !asked) showMessage(`Training starts again: ${why}.`, true);
    return;
  }
  if (!changes) return;
  use(chosen);
  sendNew('resume', { settings });
  showMessage(`Training goes on from the present weights, with the new ${changes}.`, true);
}

function showAll() {
  showSettings(settings, { change, changeData });
  for (const [name, button] of Object.entries(exampleButtons)) {
    const pressed = toHash(example(name)) === toHash(settings);
    button.setAttribute('aria-pressed', String(pressed));
  }
}

/** @param {Partial<Settings>} more */
function change(more) {
  goOn(checked({ ...settings, ...more }));
}

function remember() {
  const hash = toHash(settings);
  try {
    if (hash.length < 60000) history.replaceState(null, '', `#${hash}`);
  } catch {
    // a page inside another one may have no address of its own
  }
}

/** @param {boolean} on */
function setPlaying(on) {
  playing = on;
  $('play').textContent = on ? 'Pause' : 'Train';
}

// ------------------------------------------------------------------ settings

/** @param {Partial<DataSettings>} more */
function changeData(more) {
  goOn(withData(settings, more));
}

/** @template T @param {(given: T) => unknown} action */
function trying(action) {
  return async (/** @type {T} */ given) => {
    try {
      showMessage('');
      await action(given);
    } catch (error) {
      showMessage(error instanceof Error ? error.message : String(error));
    }
  };
}

/** @param {string} text */
function useTable(text) {
  const { data, notes } = ownTable(text);
  apply(withData(settings, data));
  showMessage(notes, true);
}

const useFile = trying(async (/** @type {File | undefined} */ file) => {
  if (file) useTable(await textOf(file));
});

// ------------------------------------------------------------------ actions

/** @param {string} purpose @param {object} more */
function around(purpose, more) {
  showMessage('');
  const text = purpose === 'landscape' ? 'landscape-text' : 'units-hint';
  $(text).textContent = 'Computing…';
  send('snapshot', { purpose, ...more });
}

/** @type {Record<string, HTMLButtonElement>} */
const exampleButtons = {};

function connect() {
  for (const [name, { label, title }] of Object.entries(EXAMPLES)) {
    const button = make('button', label, { title });
    button.onclick = () => apply(example(name));
    exampleButtons[name] = button;
    $('examples').append(button);
  }
  const own = {
    points: 'Draw your own', formula: 'A formula', spiral: 'Two inputs', digits: 'Digits',
  };
  $('examples').append(make('strong', 'or:'));
  for (const [kind, label] of Object.entries(own)) {
    const button = make('button', label);
    button.onclick = () => changeData({ kind });
    $('examples').append(button);
  }
  const tableButton = make('button', 'Your CSV');
  tableButton.onclick = () => {
    $('own-table').open = true;
    $('paste').focus();
  };
  $('examples').append(tableButton);

  $('play').onclick = () => {
    if (!playing && settings.decay && run && Number($('time').value) >= end) {
      showMessage(
        'The learning rate has fallen to 0, so more steps change nothing. ' +
          'Try more epochs, or a rate that does not fall.',
      );
      return;
    }
    setPlaying(!playing);
    send(playing ? 'play' : 'pause');
  };
  /** @param {string} kind @param {() => object} more */
  const stopped = (kind, more) => {
    setPlaying(false);
    send(kind, more());
  };
  $('step').onclick = () => stopped('step', () => ({ count: 1 }));
  $('epoch').onclick = () => stopped('step', () => ({ count: run?.perEpoch ?? 1 }));
  $('back').onclick = () => stopped('goto', () => ({ step: Number($('time').value) - 1 }));
  $('reset').onclick = () => apply(settings);
  $('time').oninput = () => stopped('goto', () => ({ step: Number($('time').value) }));

  sayBy(showMessage);
  connectControls({
    settings: () => settings, rows: () => run?.rows.rows ?? Infinity, change, changeData,
  });

  /** @param {number[]} point */
  const addPoint = (point) =>
    changeData({ points: [...settings.data.points, point.map((v) => Number(v.toFixed(3)))] });
  $('fit').onclick = (/** @type {any} */ event) => {
    if (settings.data.kind === 'points' && run) addPoint(pointAt(event));
  };
  $('add-point').onclick = () =>
    numberOf($('point-x'), 'point', 1, (x) =>
      numberOf($('point-y'), 'point', 0, (y) => addPoint([x, y])));
  $('undo-point').onclick = () => changeData({ points: settings.data.points.slice(0, -1) });
  $('clear-points').onclick = () => changeData({ points: [] });

  $('use-table').onclick = trying(() => useTable($('paste').value));
  $('file').onchange = (/** @type {any} */ event) => useFile(event.target.files[0]);
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    useFile(event.dataTransfer?.files[0]);
  });

  $('copy').onclick = () => copy($('program').textContent, $('copy'));
  $('download').onclick = () => send('file', { format: 'py' });
  for (const format of ['kurve', 'network', 'onnx', 'c'])
    $(`model-${format}`).onclick = () => send('file', { format });
  $('random').onclick = () => around('landscape', { along: false });
  $('along').onclick = () => around('landscape', { along: true });
  $('adds').onclick = () => around('readout', { along: false });
  connectPictures();
  $('link').onclick = () => {
    const { href } = location;
    copy(`${href.split('#')[0]}#${toHash(settings)}`, $('link'));
  };
  window.addEventListener('hashchange', () => {
    const found = fromLink();
    if (found && toHash(found) !== toHash(settings)) apply(found);
  });
}

// The data that `kurve live` wrote into the page: {table: {names, rows}, x, y}.
function given() {
  const found = JSON.parse($('given').textContent);
  return found && withData(example('raw10'), { kind: 'table', ...found });
}

// The settings of a link, with a word about those that cannot be.
function fromLink() {
  /** @type {string[]} */
  const problems = [];
  const found = fromHash(location.hash, problems);
  if (location.hash.length > 1 && !found) problems.push('This link holds no settings.');
  broken = problems.join(' ');
  return found;
}
let broken = '';

connect();
settings = fromLink() ?? given() ?? example('raw10');
showAll();
startEngine(answers, showMessage);
