// Settings to the engine's plan, the initial weights, and the same model in Python.
import { dataProgram } from './data.js';
import { pythonFloat } from './formula.js';

export const ACTIVATIONS = [
  'relu', 'tanh', 'sigmoid', 'gelu', 'silu', 'elu', 'leaky_relu', 'sin', 'linear',
];
const ALPHAS = { elu: 1, leaky_relu: 0.2 };
const INITIALIZER = 2; // kurve.core.rng.INITIALIZER

const CLIPPING = { weight_decay: 0, clipnorm: 0, clipvalue: 0, global_clipnorm: 0 };
export const OPTIMIZERS = {
  adam: {
    python: (rate) => `optimizers.Adam(${rate})`,
    attrs: { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, amsgrad: 0 },
    rate: 0.001,
  },
  nadam: {
    python: (rate) => `optimizers.Nadam(${rate})`,
    attrs: { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7 },
    rate: 0.001,
  },
  rmsprop: {
    python: (rate) => `optimizers.RMSprop(${rate})`,
    attrs: { rho: 0.9, momentum: 0, epsilon: 1e-7, centered: 0 },
    rate: 0.001,
  },
  momentum: {
    python: (rate) => `optimizers.SGD(${rate}, momentum=0.9)`,
    kind: 'sgd',
    attrs: { momentum: 0.9, nesterov: 0 },
    rate: 0.01,
  },
  sgd: {
    python: (rate) => `optimizers.SGD(${rate})`,
    attrs: { momentum: 0, nesterov: 0 },
    rate: 0.01,
  },
};

/** Number of outputs, their activation and the loss. */
export function outputOf(data) {
  if (!data.classes)
    return { units: 1, activation: 'linear', loss: 'mean_squared_error', attrs: {} };
  const two = data.classes.length === 2;
  return {
    units: two ? 1 : data.classes.length,
    activation: two ? 'sigmoid' : 'softmax',
    loss: two ? 'binary_crossentropy' : 'sparse_categorical_crossentropy',
    attrs: two ? { from_logits: 0, label_smoothing: 0 } : { from_logits: 0 },
  };
}

const named = (name, n) => (n ? `${name}_${n}` : name);

/**
 * The plan of a model.
 * @returns plan: as plan_json of Python writes it; weights: where the initial kernels
 *     go, {offset, shape, stream}; values: of each hidden layer, its number in the plan
 */
export function makePlan(settings, data) {
  const plan = { inputs: [[data.inputs]], ops: [], params: [], buffers: [], heads: [] };
  const weights = [];
  const values = [];
  let variables = 0; // of all layers, which is what the streams count
  let layer = 0;
  let width = data.inputs;
  const place = (list, name, shape, l2 = 0) => {
    const last = list.at(-1);
    const size = (s) => s.reduce((a, b) => a * b, 1);
    const end = last ? last.offset + size(last.shape) : 0;
    const offset = Math.ceil(end / 16) * 16;
    list.push({ name, shape, offset, trainable: true, l1: 0, l2 });
    variables++;
    return list.length - 1;
  };
  const add = (kind, name, units, more) => {
    const shapes = { in_shape: [width], out_shape: [units] };
    const op = { kind, layer: name, ...shapes, params: {}, buffers: {}, attrs: {} };
    plan.ops.push({ ...op, ...more });
    width = units;
    layer++;
  };
  const dense = (units, activation, index, l2) => {
    const name = named('dense', index);
    const stream = variables;
    const kernel = place(plan.params, `${name}/kernel`, [width, units], l2);
    const bias = place(plan.params, `${name}/bias`, [units]);
    weights.push({ ...plan.params[kernel], stream });
    const attrs = { activation, alpha: ALPHAS[activation] ?? 0 };
    add('dense', name, units, { params: { kernel, bias }, attrs });
  };
  if (settings.normalize) {
    const shapes = { mean: [width], variance: [width], count: [] };
    const [mean, variance] = Object.entries(shapes).map(([role, shape]) =>
      place(plan.buffers, `normalization/${role}`, shape),
    );
    const attrs = { invert: 0, epsilon: 1e-7 };
    add('normalization', 'normalization', width, { buffers: { mean, variance }, attrs });
  }
  settings.layers.forEach(({ units, activation }, i) => {
    dense(units, activation, i, settings.l2);
    values.push(plan.ops.length);
    if (settings.dropout > 0) {
      const attrs = { rate: settings.dropout, stream: layer };
      add('dropout', named('dropout', i), width, { attrs });
    }
  });
  const output = outputOf(data);
  const softmax = output.activation === 'softmax'; // an operation of its own
  dense(output.units, softmax ? 'linear' : output.activation, settings.layers.length, 0);
  const name = plan.ops.at(-1).layer;
  if (softmax) add('softmax', name, width, {});
  const loss = { kind: output.loss, attrs: output.attrs };
  const head = { value: plan.ops.length, shape: [output.units], loss, metrics: [], weight: 1 };
  plan.heads.push({ ...head, rows: -1, reduction: 'mean', name });
  const { kind, attrs } = OPTIMIZERS[settings.optimizer];
  plan.optimizer = { kind: kind ?? settings.optimizer, attrs: { ...attrs, ...CLIPPING } };
  return { plan, weights, values };
}

/** The same plan with the output of a hidden layer, without a loss. */
export function withHead(plan, value) {
  const head = { ...plan.heads[0], value, loss: null };
  head.shape = value === 0 ? plan.inputs[0] : plan.ops[value - 1].out_shape;
  return { ...plan, ops: plan.ops.slice(0, Math.max(value, 1)), heads: [head], optimizer: null };
}

/** Glorot's uniform numbers, as kurve.initializers.GlorotUniform draws them. */
export function initialize(model, weights, uniform, seed) {
  for (const { offset, shape, stream } of weights) {
    const limit = Math.sqrt(6 / (shape[0] + shape[1]));
    const u = uniform(seed, INITIALIZER, stream, shape[0] * shape[1]);
    model.params.set(u.map((v) => limit * (2 * v - 1)), offset);
  }
}

/** Mean and variance of each input, for the normalization's buffers. */
export function moments({ x, rows, inputs }) {
  const found = Array.from({ length: inputs }, (_, k) => {
    let mean = 0;
    for (let i = 0; i < rows; i++) mean += x[i * inputs + k] / rows;
    let variance = 0;
    for (let i = 0; i < rows; i++) variance += (x[i * inputs + k] - mean) ** 2 / rows;
    return [mean, variance];
  });
  return { mean: found.map(([m]) => m), variance: found.map(([, v]) => v) };
}

/** The number of steps of an epoch. */
export function stepsPerEpoch({ batch, steps }, rows) {
  return steps > 0 ? Math.min(steps, rows) : Math.ceil(rows / Math.max(1, batch));
}

/** The learning rate of a step. */
export function rateAt({ rate, decay, epochs }, perEpoch, step) {
  if (!decay) return rate;
  const all = perEpoch * epochs;
  return (rate * (1 + Math.cos((Math.PI * Math.min(step, all)) / all))) / 2;
}

/** A Python program that trains the same model. */
export function makeProgram(settings, data) {
  const { units, activation, loss } = outputOf(data);
  const perEpoch = stepsPerEpoch(settings, data.rows);
  const rate = pythonFloat(settings.rate);
  const schedule = `optimizers.schedules.CosineDecay(${rate}, decay_steps=${perEpoch * settings.epochs})`;
  const optimizer = OPTIMIZERS[settings.optimizer].python(settings.decay ? 'rate' : rate);
  const regularizer =
    settings.l2 > 0 ? `, kernel_regularizer=regularizers.L2(${pythonFloat(settings.l2)})` : '';
  const lines = [
    'import numpy as np',
    '',
    'import kurve',
    `from kurve import layers, models, optimizers${regularizer ? ', regularizers' : ''}`,
    '',
    ...dataProgram(settings.data, data),
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
  const { layers } = settings;
  for (let i = 0, n; i < layers.length; i += n) {
    const same = (l) => l?.units === layers[i].units && l?.activation === layers[i].activation;
    for (n = 1; same(layers[i + n]); ) n++;
    const { units: u, activation: a } = layers[i];
    const dense = `model.add(layers.Dense(${u}, activation="${a}"${regularizer}))`;
    const rest = settings.dropout > 0 ? [`model.add(layers.Dropout(${settings.dropout}))`] : [];
    const body = [dense, ...rest];
    if (n === 1) lines.push(...body);
    else lines.push(`for _ in range(${n}):`, ...body.map((line) => `    ${line}`));
  }
  const last = activation === 'linear' ? '' : `, activation="${activation}"`;
  lines.push(`model.add(layers.Dense(${units}${last}))`);
  if (settings.decay) lines.push(`rate = ${schedule}`);
  lines.push(`model.compile(optimizer=${optimizer}, loss="${loss}")`);
  const division =
    settings.steps > 0 ? `steps_per_epoch=${perEpoch}` : `batch_size=${settings.batch}`;
  lines.push(
    `model.fit(x, y, ${division}, epochs=${settings.epochs}, verbose=0)`,
    'print("loss:", model.evaluate(x, y, verbose=0))',
    '',
    'model.save("model.kurve")',
  );
  return `${lines.join('\n')}\n`;
}
