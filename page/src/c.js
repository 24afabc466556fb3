// Models as C99: the weights, and one loop after the other.
import { product } from './plan.js';

/** @import { PlanOp, Trained, Variable } from './types.js' */

// The activations, and the parts of other layers; only those that are used are written.
/** @type {Record<string, string>} */
const FUNCTIONS = {
  linear: 'static float act_linear(float z) { return z; }',
  relu: 'static float act_relu(float z) { return z > 0.0f ? z : 0.0f; }',
  tanh: 'static float act_tanh(float z) { return tanhf(z); }',
  sigmoid: 'static float act_sigmoid(float z) { return 1.0f / (1.0f + expf(-z)); }',
  gelu: 'static float act_gelu(float z) { return 0.5f * z * (1.0f + erff(z * 0.70710678f)); }',
  silu: 'static float act_silu(float z) { return z / (1.0f + expf(-z)); }',
  elu: 'static float act_elu(float z) { return z > 0.0f ? z : expm1f(z); }',
  leaky_relu: 'static float act_leaky_relu(float z) { return z > 0.0f ? z : 0.2f * z; }',
  sin: 'static float act_sin(float z) { return sinf(z); }',
  dense: `/* y[o] = act(bias[o] + sum of x[i] kernel[i][o]) */
static void dense(const float *x, float *y, const float *kernel, const float *bias,
                  int inputs, int outputs, float (*act)(float))
{
    int i, o;
    for (o = 0; o < outputs; o++) y[o] = bias[o];
    for (i = 0; i < inputs; i++)
        for (o = 0; o < outputs; o++) y[o] += x[i] * kernel[i * outputs + o];
    for (o = 0; o < outputs; o++) y[o] = act(y[o]);
}`,
  conv: `/* 3 x 3, zeros around the picture; x[h][w][inputs], kernel[3][3][inputs][outputs] */
static void conv(const float *x, float *y, const float *kernel, const float *bias,
                 int h, int w, int inputs, int outputs, float (*act)(float))
{
    int r, c, p, q, i, o;
    for (r = 0; r < h; r++)
        for (c = 0; c < w; c++, y += outputs) {
            for (o = 0; o < outputs; o++) y[o] = bias[o];
            for (p = 0; p < 3; p++)
                for (q = 0; q < 3; q++) {
                    int row = r + p - 1, column = c + q - 1;
                    if (row < 0 || row >= h || column < 0 || column >= w) continue;
                    for (i = 0; i < inputs; i++)
                        for (o = 0; o < outputs; o++)
                            y[o] += x[(row * w + column) * inputs + i] *
                                    kernel[((p * 3 + q) * inputs + i) * outputs + o];
                }
            for (o = 0; o < outputs; o++) y[o] = act(y[o]);
        }
}`,
  pool: `/* the largest of 2 x 2 */
static void pool(const float *x, float *y, int h, int w, int channels)
{
    int r, c, k, p, q;
    for (r = 0; r < h / 2; r++)
        for (c = 0; c < w / 2; c++)
            for (k = 0; k < channels; k++) {
                float best = x[((2 * r) * w + 2 * c) * channels + k];
                for (p = 0; p < 2; p++)
                    for (q = 0; q < 2; q++) {
                        float v = x[((2 * r + p) * w + 2 * c + q) * channels + k];
                        best = v > best ? v : best;
                    }
                *y++ = best;
            }
}`,
  softmax: `static void softmax(const float *x, float *y, int n)
{
    float largest = x[0], sum = 0.0f;
    int i;
    for (i = 1; i < n; i++) largest = x[i] > largest ? x[i] : largest;
    for (i = 0; i < n; i++) sum += y[i] = expf(x[i] - largest);
    for (i = 0; i < n; i++) y[i] /= sum;
}`,
  normalization: `static void normalization(const float *x, float *y, const float *mean,
                          const float *deviation, int n)
{
    int i;
    for (i = 0; i < n; i++) y[i] = (x[i] - mean[i]) / deviation[i];
}`,
};

/** A float32 that reads back as the same bits. @param {number} value */
function literal(value) {
  const text = String(Number(value.toPrecision(9)));
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
}

/** @param {string} name @param {ArrayLike<number>} values */
function array(name, values) {
  const lines = [];
  const all = Array.from(values, literal);
  for (let i = 0; i < all.length; i += 8) lines.push(`    ${all.slice(i, i + 8).join(', ')},`);
  return `static const float ${name}[${all.length}] = {\n${lines.join('\n')}\n};`;
}

/**
 * The C source of a trained model, with the names of Kurve's own export to model.c.
 * @param {Trained} trained
 */
export function cSource({ plan, params, buffers }) {
  const used = new Set();
  /** @type {string[]} */
  const arrays = [];
  /** @type {string[]} */
  const calls = [];
  /** @param {Float32Array} from @param {Variable} variable */
  const values = (from, { offset, shape }) => from.slice(offset, offset + product(shape));
  const ops = plan.ops.filter(({ kind }) => kind !== 'dropout' && kind !== 'reshape');
  let largest = 1;
  let from = 'x';
  ops.forEach((op, k) => {
    const { kind, attrs, in_shape, out_shape } = op;
    if (!(kind in FUNCTIONS)) throw new Error(`C of ${kind} is not written.`);
    used.add(kind);
    const to = k === ops.length - 1 ? 'y' : from === 'a' ? 'b' : 'a';
    const sizes = in_shape.join(', ');
    if (kind === 'dense' || kind === 'conv') {
      const names = ['kernel', 'bias'].map((role) => {
        const name = `${role}_${k}`;
        arrays.push(array(name, values(params, plan.params[op.params[role]])));
        return name;
      });
      used.add(attrs.activation);
      calls.push(
        `${kind}(${from}, ${to}, ${names.join(', ')}, ${sizes}, ${out_shape.at(-1)}, act_${attrs.activation});`,
      );
    } else if (kind === 'normalization') {
      const variance = values(buffers, plan.buffers[op.buffers.variance]);
      const deviation = variance.map((v) => Math.max(Math.sqrt(v), Number(attrs.epsilon)));
      arrays.push(array(`mean_${k}`, values(buffers, plan.buffers[op.buffers.mean])));
      arrays.push(array(`deviation_${k}`, deviation));
      calls.push(`${kind}(${from}, ${to}, mean_${k}, deviation_${k}, ${sizes});`);
    } else {
      calls.push(`${kind}(${from}, ${to}, ${sizes});`);
    }
    if (to !== 'y') largest = Math.max(largest, product(out_shape));
    from = to;
  });
  const [inputs] = plan.inputs[0];
  const [outputs] = plan.heads[0].shape;
  const functions = Object.entries(FUNCTIONS).filter(([name]) => used.has(name));
  const memory = ['a', 'b'].filter((name) => calls.some((call) => call.includes(`, ${name}, `)));
  return `/*
 * model.c: a network trained in Kurve's live page.
 *
 * Compile: cc -std=c99 -O2 -c model.c     and link with -lm
 * Use it:  float x[MODEL_INPUTS], y[MODEL_OUTPUTS];
 *          model_predict(x, y);
 */
#include <math.h>
#define MODEL_INPUTS ${inputs}
#define MODEL_OUTPUTS ${outputs}
void model_predict(const float *x, float *y);

${functions.map(([, text]) => text).join('\n\n')}

${arrays.join('\n')}

void model_predict(const float *x, float *y)
{
${memory.map((name) => `    float ${name}[${largest}];\n`).join('')}    ${calls.join('\n    ')}
}
`;
}
