// A thread of the engine in Node.
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { serve } from '../../page/src/engine.js';

export const startThread = (given) =>
  new Promise((resolve, reject) => {
    const thread = new Worker(new URL(import.meta.url), { workerData: given });
    thread.once('message', resolve);
    thread.once('error', reject);
  });

if (!isMainThread) await serve(workerData, () => parentPort.postMessage('ready'));
