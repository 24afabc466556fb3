// The same model as a Python program.
import { dataProgram, parted } from './data.js';
import { pythonFloat } from './formula.js';
import { layersOf, outputOf } from './network.js';
import { OPTIMIZERS, epochsOf, stepsPerEpoch } from './plan.js';

/** @import { Layer, Rows, Settings } from './types.js' */

/** @param {Layer} layer */
function layerProgram({ kind, units, activation, l2, rate, shape }) {
  const regularizer = l2 ? `, kernel_regularizer=regularizers.L2(${pythonFloat(l2)})` : '';
  const chosen = activation === 'linear' ? '' : `, activation="${activation}"`;
  if (kind === 'reshape') return `layers.Reshape((${shape?.join(', ')}))`;
  if (kind === 'conv')
    return `layers.Conv2D(${units}, 3, padding="same"${chosen}${regularizer})`;
  if (kind === 'pool') return 'layers.MaxPooling2D()';
  if (kind === 'flatten') return 'layers.Flatten()';
  if (kind === 'dropout') return `layers.Dropout(${rate})`;
  return `layers.Dense(${units}${chosen}${regularizer})`;
}

/**
 * A Python program that trains the same model.
 * @param {Settings} settings
 * @param {Rows} data all rows, also those held out
 * @param {boolean} whole with all numbers, however many; else as it is shown
 */
export function makeProgram(settings, data, whole) {
  const { loss } = outputOf(data);
  const { trained, heldOut } = parted(data, settings.held);
  const perEpoch = stepsPerEpoch(settings, trained.rows);
  const epochs = epochsOf(settings, perEpoch);
  const rate = pythonFloat(settings.rate);
  const schedule = `optimizers.schedules.CosineDecay(${rate}, decay_steps=${perEpoch * epochs})`;
  const optimizer = OPTIMIZERS[settings.optimizer].python(settings.decay ? 'rate' : rate);
  const rows = dataProgram(settings.data, data, whole);
  const numpy = rows.some((line) => line.includes('np.'));
  const lines = [
    ...(numpy ? ['import numpy as np', ''] : []),
    'import kurve',
    `from kurve import layers, models, optimizers${settings.l2 > 0 ? ', regularizers' : ''}`,
    '',
    ...rows,
    ...(heldOut && !data.image ? holdingOut(settings.held) : []),
    '',
    `kurve.utils.set_random_seed(${settings.seed})`,
    `model = models.Sequential([layers.Input((${data.inputs},))])`,
  ];
  if (settings.normalize)
    lines.push(
      'normalization = layers.Normalization()',
      `normalization.adapt(${data.inputs === 1 ? 'x[:, None]' : 'x'})`,
      'model.add(normalization)',
    );
  const layers = layersOf(settings, data).filter(({ kind }) => kind !== 'normalization');
  const calls = layers.map((layer) => `model.add(${layerProgram(layer)})`);
  lines.push(...folded(calls, settings.dropout > 0 ? 2 : 1));
  if (settings.decay) lines.push(`rate = ${schedule}`);
  lines.push(`model.compile(optimizer=${optimizer}, loss="${loss}")`);
  const division =
    settings.steps > 0 ? `steps_per_epoch=${perEpoch}` : `batch_size=${settings.batch}`;
  lines.push(
    `model.fit(x, y, ${division}, epochs=${epochs}, verbose=0)`,
    'print("loss:", model.evaluate(x, y, verbose=0))',
    ...(heldOut ? ['print("held-out loss:", model.evaluate(x_test, y_test, verbose=0))'] : []),
    '',
    'model.save("model.kurve")',
  );
  return `${lines.join('\n')}\n`;
}

/** @type {Record<number, string>} */
export const ORDINALS = { 3: 'third', 5: 'fifth', 10: 'tenth' };
/** @param {number} every */
const holdingOut = (every) => [
  '',
  `held = np.arange(len(x)) % ${every} == ${every - 1}  # every ${ORDINALS[every]} row is not trained on`,
  'x_test, y_test = x[held], y[held]',
  'x, y = x[~held], y[~held]',
];

/**
 * Lines of which the same `size` lines follow each other as a loop.
 * @param {string[]} lines
 * @param {number} size
 */
function folded(lines, size) {
  const found = [];
  for (let i = 0, n; i < lines.length; i += n * size) {
    const body = lines.slice(i, i + size);
    const same = (/** @type {number} */ at) => body.every((line, k) => lines[at + k] === line);
    for (n = 1; same(i + n * size); ) n++;
    if (n > 1) found.push(`for _ in range(${n}):`, ...body.map((line) => `    ${line}`));
    else {
      found.push(body[0]);
      i += 1 - size;
    }
  }
  return found;
}
