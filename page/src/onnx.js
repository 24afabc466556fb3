// Models as ONNX files (opset 13): protocol buffers with one node after the other.
import { product } from './plan.js';

/** @import { Trained, Variable } from './types.js' */

const encoder = new TextEncoder();

/** @param {(number | Uint8Array)[]} parts */
function joined(parts) {
  const all = parts.map((part) => (typeof part === 'number' ? varint(part) : part));
  const bytes = new Uint8Array(all.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of all) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** @param {number} value of up to 53 bits; negative ones take ten bytes */
function varint(value) {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes = [];
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Uint8Array.from([...bytes, Number(rest)]);
}

/** A field with a number. @param {number} field @param {number} value */
const int = (field, value) => joined([field * 8, value]);

/** A field with bytes, a text or a message. @param {number} field @param {Uint8Array | string} value */
function block(field, value) {
  const bytes = typeof value === 'string' ? encoder.encode(value) : value;
  return joined([field * 8 + 2, bytes.length, bytes]);
}

const FLOAT = 1;
const INT64 = 7;

/** @param {string} name @param {number[]} shape @param {Float32Array | BigInt64Array} values */
function tensor(name, shape, values) {
  const type = values instanceof Float32Array ? FLOAT : INT64;
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return joined([...shape.map((n) => int(1, n)), int(2, type), block(8, name), block(9, raw)]);
}

/** @param {string} name @param {number | number[]} value an integer, a list of them, or {alpha} */
function attribute(name, value) {
  if (name === 'alpha') {
    const float = new Uint8Array(Float32Array.of(Number(value)).buffer);
    return joined([block(1, name), 2 * 8 + 5, float, int(20, 1)]);
  }
  if (typeof value === 'number') return joined([block(1, name), int(3, value), int(20, 2)]);
  return joined([block(1, name), ...value.map((n) => int(8, n)), int(20, 7)]);
}

/** @param {string} name @param {number} width */
function port(name, width) {
  const rows = block(1, block(2, 'rows'));
  const shape = joined([rows, block(1, int(1, width))]);
  return joined([block(1, name), block(2, block(1, joined([int(1, FLOAT), block(2, shape)])))]);
}

class Graph {
  constructor() {
    /** @type {Uint8Array[]} */
    this.nodes = [];
    /** @type {Uint8Array[]} */
    this.constants = [];
    this.value = 'x';
  }
  /** @param {number[]} shape @param {Float32Array | BigInt64Array} values */
  constant(shape, values) {
    const name = `c${this.constants.length}`;
    this.constants.push(tensor(name, shape, values));
    return name;
  }
  /**
   * Adds a node and returns the name of its output.
   * @param {string} kind
   * @param {string[]} inputs
   * @param {Record<string, number | number[]>} [attributes]
   */
  node(kind, inputs, attributes = {}) {
    const output = `v${this.nodes.length}`;
    const attrs = Object.entries(attributes).map(([k, v]) => block(5, attribute(k, v)));
    const names = [...inputs.map((name) => block(1, name)), block(2, output)];
    this.nodes.push(joined([...names, block(4, kind), ...attrs]));
    this.value = output;
    return output;
  }
  /** @param {string} name @param {number} alpha */
  activation(name, alpha) {
    const z = this.value;
    const number = (/** @type {number} */ v) => this.constant([], Float32Array.of(v));
    /** @type {Record<string, string>} */
    const plain = { relu: 'Relu', tanh: 'Tanh', sigmoid: 'Sigmoid', sin: 'Sin' };
    if (name in plain) this.node(plain[name], [z]);
    if (name === 'elu') this.node('Elu', [z], { alpha });
    if (name === 'leaky_relu') this.node('LeakyRelu', [z], { alpha });
    if (name === 'silu') this.node('Mul', [z, this.node('Sigmoid', [z])]);
    if (name === 'gelu') {
      const erf = this.node('Erf', [this.node('Mul', [z, number(Math.SQRT1_2)])]);
      const half = this.node('Mul', [z, number(0.5)]);
      this.node('Mul', [half, this.node('Add', [erf, number(1)])]);
    }
  }
  /** @param {number[]} shape without the rows */
  reshape(shape) {
    const to = BigInt64Array.from([-1, ...shape].map(BigInt));
    this.node('Reshape', [this.value, this.constant([to.length], to)]);
  }
}

/**
 * The ONNX file of a trained model: x (rows, inputs) -> y (rows, outputs).
 * @param {Trained} trained
 */
export function onnxFile({ plan, params, buffers }) {
  const graph = new Graph();
  /** @param {Float32Array} from @param {Variable} variable */
  const values = (from, { offset, shape }) => from.slice(offset, offset + product(shape));
  for (const op of plan.ops) {
    const { kind, attrs, in_shape, out_shape } = op;
    const given = (/** @type {string} */ role) => plan.params[op.params[role]];
    if (kind === 'normalization') {
      const [mean, variance] = ['mean', 'variance'].map((role) =>
        values(buffers, plan.buffers[op.buffers[role]]),
      );
      const deviation = variance.map((v) => Math.max(Math.sqrt(v), Number(attrs.epsilon)));
      const centred = graph.node('Sub', [graph.value, graph.constant(in_shape, mean)]);
      graph.node('Div', [centred, graph.constant(in_shape, deviation)]);
    } else if (kind === 'reshape') {
      // ONNX has the channels of pictures before their rows
      if (out_shape.length === 3) graph.reshape([out_shape[2], out_shape[0], out_shape[1]]);
      else {
        graph.node('Transpose', [graph.value], { perm: [0, 2, 3, 1] });
        graph.reshape(out_shape);
      }
    } else if (kind === 'conv') {
      const { shape } = given('kernel');
      const [height, width, inputs, units] = shape;
      const kernel = values(params, given('kernel'));
      const turned = new Float32Array(kernel.length);
      const field = height * width;
      for (let i = 0; i < kernel.length; i++) {
        const unit = i % units;
        const input = Math.floor(i / units) % inputs;
        turned[(unit * inputs + input) * field + Math.floor(i / (units * inputs))] = kernel[i];
      }
      const names = [
        graph.constant([units, inputs, height, width], turned),
        graph.constant([units], values(params, given('bias'))),
      ];
      graph.node('Conv', [graph.value, ...names], {
        kernel_shape: [height, width], pads: [1, 1, 1, 1],
      });
      graph.activation(String(attrs.activation), Number(attrs.alpha));
    } else if (kind === 'pool') {
      graph.node('MaxPool', [graph.value], { kernel_shape: [2, 2], strides: [2, 2] });
    } else if (kind === 'dense') {
      const names = ['kernel', 'bias'].map((role) =>
        graph.constant(given(role).shape, values(params, given(role))),
      );
      graph.node('Gemm', [graph.value, ...names]);
      graph.activation(String(attrs.activation), Number(attrs.alpha));
    } else if (kind === 'softmax') {
      graph.node('Softmax', [graph.value], { axis: -1 });
    } else if (kind !== 'dropout') {
      throw new Error(`ONNX files of ${kind} are not written.`);
    }
  }
  graph.nodes.push(joined([block(1, graph.value), block(2, 'y'), block(4, 'Identity')]));
  const [inputs] = plan.inputs[0];
  const body = joined([
    ...graph.nodes.map((node) => block(1, node)),
    block(2, 'kurve'),
    ...graph.constants.map((constant) => block(5, constant)),
    block(11, port('x', inputs)),
    block(12, port('y', plan.heads[0].shape[0])),
  ]);
  const version = 8; // of the format, which has opset 13
  const opset = joined([block(1, ''), int(2, 13)]);
  return joined([int(1, version), block(2, 'Kurve live'), block(7, body), block(8, opset)]);
}
