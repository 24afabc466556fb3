// Settings to the engine's plan, and the initial weights.
import { layersOf, outputOf } from './network.js';

/** @import { Plan, PlanOp, Rows, Settings, Uniform, Variable, Weights } from './types.js' */
/** @import { Model } from './types.js' */

/** @type {Record<string, number>} */
const ALPHAS = { elu: 1, leaky_relu: 0.2 };
const INITIALIZER = 2; // kurve.core.rng.INITIALIZER

const CLIPPING = { weight_decay: 0, clipnorm: 0, clipvalue: 0, global_clipnorm: 0 };
/** @type {Record<string, {python: (rate: string) => string, kind?: string, attrs: Record<string, number>, rate: number}>} */
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

/** @param {number[]} shape */
export const product = (shape) => shape.reduce((a, b) => a * b, 1);

/**
 * The plan of a model.
 * @param {Settings} settings
 * @param {Pick<Rows, 'classes' | 'image' | 'inputs'>} data
 * @returns {{plan: Plan, weights: Weights[], values: number[]}} plan: as plan_json of Python
 *     writes it; weights: where the initial kernels go; values: of each hidden layer, its
 *     number in the plan
 */
export function makePlan(settings, data) {
  /** @type {Plan} */
  const plan = {
    inputs: [[data.inputs]], ops: [], params: [], buffers: [], heads: [], optimizer: null,
  };
  /** @type {Weights[]} */
  const weights = [];
  /** @type {number[]} */
  const values = [];
  let variables = 0; // of all layers, which is what the streams count
  let shape = [data.inputs];
  /** @param {Variable[]} list @param {string} name @param {number[]} shape */
  const place = (list, name, shape, l2 = 0) => {
    const last = list.at(-1);
    const offset = last ? Math.ceil((last.offset + product(last.shape)) / 16) * 16 : 0;
    list.push({ name, shape, offset, trainable: true, l1: 0, l2 });
    variables++;
    return list.length - 1;
  };
  /** @param {string} kind @param {string} name @param {number[]} to @param {Partial<PlanOp>} more */
  const add = (kind, name, to, more = {}) => {
    const op = { kind, layer: name, in_shape: shape, out_shape: to, params: {}, buffers: {}, attrs: {} };
    plan.ops.push({ ...op, ...more });
    shape = to;
  };
  /** @param {string} name @param {number[]} kernelShape @param {number} [l2] */
  const kernelAndBias = (name, kernelShape, l2) => {
    const stream = variables;
    const kernel = place(plan.params, `${name}/kernel`, kernelShape, l2);
    const bias = place(plan.params, `${name}/bias`, [kernelShape.at(-1) ?? 1]);
    weights.push({ ...plan.params[kernel], stream });
    return { kernel, bias };
  };
  layersOf(settings, data).forEach((layer, index) => {
    const { kind, name, units = 0, activation = 'linear', l2, rate = 0 } = layer;
    const activated = { activation, alpha: ALPHAS[activation] ?? 0 };
    if (kind === 'reshape') add('reshape', name, layer.shape ?? shape);
    if (kind === 'flatten') add('reshape', name, [product(shape)]);
    if (kind === 'dropout') add('dropout', name, shape, { attrs: { rate, stream: index } });
    if (kind === 'pool') {
      const [height, width, channels] = shape;
      add('pool', name, [Math.floor(height / 2), Math.floor(width / 2), channels], { attrs: POOL });
    }
    if (kind === 'conv') {
      const params = kernelAndBias(name, [3, 3, shape[2], units], l2);
      add('conv', name, [shape[0], shape[1], units], { params, attrs: { ...activated, ...CONV } });
    }
    if (kind === 'dense') {
      const softmax = activation === 'softmax'; // an operation of its own
      const params = kernelAndBias(name, [shape[0], units], l2);
      const attrs = softmax ? { activation: 'linear', alpha: 0 } : activated;
      add('dense', name, [units], { params, attrs });
      if (softmax) add('softmax', name, shape);
    }
    if (kind === 'normalization') {
      const mean = place(plan.buffers, `${name}/mean`, shape);
      const variance = place(plan.buffers, `${name}/variance`, shape);
      place(plan.buffers, `${name}/count`, []);
      const attrs = { invert: 0, epsilon: 1e-7 };
      add('normalization', name, shape, { buffers: { mean, variance }, attrs });
    }
    if (layer.hidden !== undefined) values.push(plan.ops.length);
  });
  const output = outputOf(data);
  plan.heads.push({
    value: plan.ops.length, shape, loss: { kind: output.loss, attrs: output.attrs },
    metrics: [], weight: 1, rows: -1, reduction: 'mean', name: plan.ops.at(-1)?.layer ?? '',
  });
  const { kind, attrs } = OPTIMIZERS[settings.optimizer];
  plan.optimizer = { kind: kind ?? settings.optimizer, attrs: { ...attrs, ...CLIPPING } };
  return { plan, weights, values };
}

// 3 x 3 with padding "same", and 2 x 2.
const CONV = {
  kernel_h: 3, stride_h: 1, dilation_h: 1, kernel_w: 3, stride_w: 1, dilation_w: 1,
  pad_top: 1, pad_bottom: 1, pad_left: 1, pad_right: 1, groups: 1,
};
const POOL = {
  pool_h: 2, stride_h: 2, pool_w: 2, stride_w: 2,
  pad_top: 0, pad_bottom: 0, pad_left: 0, pad_right: 0, mode: 'max',
};

/**
 * The same plan with the output of a hidden layer, without a loss.
 * @param {Plan} plan
 * @param {number} value
 * @returns {Plan}
 */
export function withHead(plan, value) {
  const head = { ...plan.heads[0], value, loss: null };
  head.shape = value === 0 ? plan.inputs[0] : plan.ops[value - 1].out_shape;
  return { ...plan, ops: plan.ops.slice(0, Math.max(value, 1)), heads: [head], optimizer: null };
}

/**
 * Glorot's uniform numbers, as kurve.initializers.GlorotUniform draws them.
 * @param {Model} model
 * @param {Weights[]} weights
 * @param {Uniform} uniform
 * @param {bigint} seed
 */
export function initialize(model, weights, uniform, seed) {
  for (const { offset, shape, stream } of weights) {
    const [inputs, units] = shape.slice(-2);
    const field = product(shape.slice(0, -2));
    const limit = Math.sqrt(6 / (field * (inputs + units)));
    const u = uniform(seed, INITIALIZER, stream, product(shape));
    model.params.set(u.map((/** @type {number} */ v) => limit * (2 * v - 1)), offset);
  }
}

/**
 * Mean and variance of each input, for the normalization's buffers.
 * @param {Rows} rows
 */
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

/**
 * The number of steps of an epoch.
 * @param {Pick<Settings, 'batch' | 'steps'>} settings
 * @param {number} rows
 */
export function stepsPerEpoch({ batch, steps }, rows) {
  return steps > 0 ? Math.min(steps, rows) : Math.ceil(rows / Math.max(1, batch));
}

const FEW_STEPS = 6000; // of a training whose number of epochs is left open
const MANY_STEPS = 30000;
const OPEN_EPOCHS = 300; // between the two

/**
 * The number of epochs: the chosen one, or as many as suit the rows, since an epoch of few
 * rows is few steps.
 * @param {Pick<Settings, 'epochs'>} settings
 * @param {number} perEpoch
 */
export function epochsOf({ epochs }, perEpoch) {
  const steps = Math.min(MANY_STEPS, Math.max(FEW_STEPS, OPEN_EPOCHS * perEpoch));
  return epochs || Math.ceil(steps / perEpoch);
}

/**
 * The learning rate of a step.
 * @param {Pick<Settings, 'rate' | 'decay'>} settings
 * @param {number} step
 * @param {number} all steps until a falling rate is 0
 */
export function rateAt({ rate, decay }, step, all) {
  if (!decay) return rate;
  return (rate * (1 + Math.cos((Math.PI * Math.min(step, all)) / all))) / 2;
}
