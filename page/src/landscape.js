// The loss around the weights, over a square of two directions.
import { product } from './plan.js';

/** @import { Plan, Variable } from './types.js' */

export const CELLS = 31; // each way; the weights are in the middle

/** Calls body for each filter of a kernel: the weights that lead to one unit.
 * @param {Variable} variable @param {(at: number[]) => void} body */
function forEachFilter({ shape, offset }, body) {
  const units = shape.at(-1) ?? 1;
  const each = product(shape) / units;
  for (let unit = 0; unit < units; unit++)
    body(Array.from({ length: each }, (_, i) => offset + i * units + unit));
}

/** @param {Float32Array} values @param {number[]} at */
const norm = (values, at) => Math.sqrt(at.reduce((sum, i) => sum + values[i] ** 2, 0));

/**
 * A random direction, each filter of which is as long as that of the weights; biases stay
 * as they are (Li et al. 2018, section 4).
 * @param {Plan} plan
 * @param {Float32Array} params
 * @param {(n: number) => Float64Array} normal draws normal numbers
 */
export function randomDirection(plan, params, normal) {
  const direction = new Float32Array(params.length);
  for (const variable of plan.params) {
    if (variable.shape.length < 2) continue;
    const numbers = normal(product(variable.shape));
    direction.set(numbers, variable.offset);
    forEachFilter(variable, (at) => {
      const length = norm(direction, at);
      const scale = length > 0 ? norm(params, at) / length : 0;
      for (const i of at) direction[i] *= scale;
    });
  }
  return direction;
}

/**
 * The two orthogonal directions along which the weights moved most, from the last state:
 * the first principal components of the states, and the states in their coordinates.
 * @param {Float32Array} params
 * @param {Float32Array[]} states
 */
export function pathDirections(params, states) {
  const moves = states.map((state) => state.map((v, i) => v - params[i]));
  const gram = moves.map((a) => moves.map((b) => a.reduce((sum, v, i) => sum + v * b[i], 0)));
  const directions = [0, 1].map(() => {
    const { value, vector } = largestEigenvector(gram);
    const direction = new Float32Array(params.length);
    if (!(value > 0)) return direction;
    moves.forEach((move, k) => {
      const share = vector[k] / Math.sqrt(value);
      for (let i = 0; i < direction.length; i++) direction[i] += share * move[i];
    });
    for (let j = 0; j < gram.length; j++)
      for (let k = 0; k < gram.length; k++) gram[j][k] -= value * vector[j] * vector[k];
    return direction;
  });
  const path = moves.map((move) =>
    directions.map((d) => move.reduce((sum, v, i) => sum + v * d[i], 0)),
  );
  return { directions, path };
}

/** By powers of a symmetric matrix. @param {number[][]} matrix */
function largestEigenvector(matrix) {
  const heaviest = matrix.reduce((best, row, i) => (row[i] > matrix[best][best] ? i : best), 0);
  let vector = matrix.map((_, i) => (i === heaviest ? 1 : 0));
  let value = 0;
  for (let round = 0; round < 200; round++) {
    const next = matrix.map((row) => row.reduce((sum, v, i) => sum + v * vector[i], 0));
    value = Math.hypot(...next);
    if (!(value > 0)) break;
    vector = next.map((v) => v / value);
  }
  return { value, vector };
}

/**
 * The corners of the square: from -1 to 1, or around the path.
 * @param {number[][]} path
 * @returns {[[number, number], [number, number]]}
 */
export function squareAround(path) {
  if (!path.length) return [[-1, 1], [-1, 1]];
  const extent = (/** @type {number} */ k) => Math.max(...path.map((point) => Math.abs(point[k])));
  const reach = 1.2 * Math.max(extent(0), 0.2 * extent(1), 1e-6);
  const across = 1.2 * Math.max(extent(1), 0.2 * extent(0), 1e-6);
  return [[-reach, reach], [-across, across]];
}

/** The cells, a coarse picture of all first: [column, row]. */
export function cellsInOrder() {
  const strides = [6, 2, 1];
  /** @type {number[][][]} */
  const groups = strides.map(() => []);
  for (let j = 0; j < CELLS; j++)
    for (let i = 0; i < CELLS; i++)
      groups[strides.findIndex((s) => i % s === 0 && j % s === 0)].push([i, j]);
  return groups.flat();
}

/**
 * The value of a cell, or of a coarser one while it is not known.
 * @param {Float64Array} losses
 * @param {number} i
 * @param {number} j
 */
export function nearest(losses, i, j) {
  for (const stride of [1, 2, 6]) {
    const value = losses[(j - (j % stride)) * CELLS + i - (i % stride)];
    if (!Number.isNaN(value)) return value;
  }
  return NaN;
}
