// What the page asks of its workers. The first one trains; a second one does what takes
// long beside training.
import { unpacked } from './browser.js';
import workerSource from 'worker-source';

/** @typedef {Record<string, (answer: any) => void>} Answers by their kinds */

const MOST_THREADS = 8;

/** The number of the newest settings; answers to older ones are ignored. */
export let id = 0;
/** @type {Answers} */
let answers;
/** @type {(message: string) => void} */
let say;
/** @type {Worker} */
let worker;
/** @type {Worker | null} */
let helper = null;
/** @type {object} */
let files; // what a worker needs to start

function start() {
  const blob = new Blob([workerSource], { type: 'text/javascript' });
  const started = new Worker(URL.createObjectURL(blob));
  started.onmessage = ({ data }) => answers[data.kind](data);
  started.onerror = (event) => say(`The engine could not start: ${event.message}`);
  return started;
}

/**
 * Starts the engine, which answers `ready`.
 * @param {Answers} handlers
 * @param {(message: string) => void} showMessage
 */
export async function startEngine(handlers, showMessage) {
  [answers, say] = [handlers, showMessage];
  worker = start();
  // Only an isolated page may share memory with its workers.
  const cores = globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  try {
    const names = ['engine', 'digits', ...(cores > 1 ? ['threads'] : [])];
    const [bytes, digits, shared] = await Promise.all(names.map(unpacked));
    files = { bytes, digits };
    const several = shared && { bytes: shared, threads: Math.min(cores, MOST_THREADS) };
    send('engine', { ...files, several });
  } catch (error) {
    say(`This browser cannot unpack the engine: ${error instanceof Error ? error.message : error}`);
  }
}

/** @param {string} kind @param {object} [more] */
export function send(kind, more = {}) {
  worker.postMessage({ kind, id, ...more });
}

/** The same for new settings. @param {string} kind @param {object} more */
export function sendNew(kind, more) {
  id++;
  send(kind, more);
}

/** To the second worker. @param {string} kind @param {object} more */
export function sendHelper(kind, more) {
  if (!helper) {
    helper = start();
    helper.postMessage({ kind: 'engine', ...files, quiet: true });
  }
  helper.postMessage({ kind, ...more });
}
