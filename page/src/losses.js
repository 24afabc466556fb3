// The losses that are shown: of each step's batch, and of whole epochs.

/** @import { Loss, Training } from './types.js' */

const MOST_SHOWN = 2000;

/**
 * The mean loss of the steps from one to another, each with the weight of its rows, as
 * `fit` reports it.
 * @param {Training} run
 * @param {number} from
 * @param {number} to
 */
function meanOf({ settings, rows, losses, first, perEpoch }, from, to) {
  let sum = 0;
  let weight = 0;
  for (let step = from; step < to; step++) {
    const place = (step - first) % perEpoch;
    const size =
      settings.steps > 0
        ? Math.floor(rows.rows / perEpoch) + (place < rows.rows % perEpoch ? 1 : 0)
        : Math.min(settings.batch, rows.rows - place * settings.batch);
    sum += size * losses[step];
    weight += size;
  }
  return sum / weight;
}

/**
 * The mean loss of each whole epoch that ends at or before a step.
 * @param {Training} run
 * @param {number} last
 * @returns {Loss[]}
 */
export function epochMeans(run, last) {
  const { first, perEpoch, past } = run;
  const found = [...past];
  for (let end = first + perEpoch; end <= last; end += perEpoch)
    found.push({ step: end, loss: meanOf(run, end - perEpoch, end) });
  return found;
}

/**
 * The loss to report at a step: the mean of the last whole epoch or, in the first one, of
 * its steps so far.
 * @param {Training} run
 * @param {Loss[]} means
 * @param {number} step
 * @returns {{value: number, of: string} | null}
 */
export function lossAt(run, means, step) {
  if (step === 0) return null;
  const mean = means.findLast((m) => m.step <= step);
  if (mean) return { value: mean.loss, of: 'the last whole epoch' };
  const first = run.first < step ? run.first : 0;
  return { value: meanOf(run, first, step), of: 'the steps so far' };
}

/**
 * At most 2000 of the losses, as [steps, losses]; each is the mean of its neighbours.
 * @param {Loss[]} losses
 * @returns {[number[], number[]]}
 */
export function thinned(losses) {
  const every = Math.ceil(losses.length / MOST_SHOWN);
  const steps = [];
  const means = [];
  for (let i = 0; i < losses.length; i += every) {
    const part = losses.slice(i, i + every);
    steps.push((part[0].step + part[part.length - 1].step) / 2);
    means.push(part.reduce((sum, { loss }) => sum + loss, 0) / part.length);
  }
  return [steps, means];
}
