// What each layer adds: how much of y a straight line from its units explains.

const RIDGE = 1e-4; // of the mean variance of the units

/**
 * The weights of the best line from values to targets, by least squares with a small
 * penalty: the last row is the constant.
 * @param {Float32Array} values (rows, width)
 * @param {number} width
 * @param {Float64Array[]} targets
 */
export function bestLine(values, width, targets) {
  const rows = values.length / width;
  const means = new Float64Array(width);
  for (let i = 0; i < values.length; i++) means[i % width] += values[i] / rows;
  const matrix = Array.from({ length: width }, () => new Float64Array(width));
  const sides = targets.map(() => new Float64Array(width));
  const middles = targets.map((t) => t.reduce((a, b) => a + b, 0) / rows);
  const row = new Float64Array(width);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < width; i++) row[i] = values[r * width + i] - means[i];
    for (let i = 0; i < width; i++) {
      if (row[i] === 0) continue;
      for (let j = 0; j <= i; j++) matrix[i][j] += row[i] * row[j];
      targets.forEach((t, k) => (sides[k][i] += row[i] * (t[r] - middles[k])));
    }
  }
  let trace = 0;
  for (let i = 0; i < width; i++) trace += matrix[i][i];
  for (let i = 0; i < width; i++) matrix[i][i] += (RIDGE * trace) / width || 1;
  factorize(matrix);
  return sides.map((side, k) => {
    const line = solve(matrix, side);
    const constant = middles[k] - line.reduce((sum, v, i) => sum + v * means[i], 0);
    return { line, constant };
  });
}

/** Cholesky's factor, in place, below the diagonal. @param {Float64Array[]} a */
function factorize(a) {
  for (let i = 0; i < a.length; i++)
    for (let j = 0; j <= i; j++) {
      let sum = a[i][j];
      for (let k = 0; k < j; k++) sum -= a[i][k] * a[j][k];
      a[i][j] = i === j ? Math.sqrt(Math.max(sum, 1e-300)) : sum / a[j][j];
    }
}

/** @param {Float64Array[]} a @param {Float64Array} b */
function solve(a, b) {
  const x = b.slice();
  for (let i = 0; i < a.length; i++) {
    for (let k = 0; k < i; k++) x[i] -= a[i][k] * x[k];
    x[i] /= a[i][i];
  }
  for (let i = a.length - 1; i >= 0; i--) {
    for (let k = i + 1; k < a.length; k++) x[i] -= a[k][i] * x[k];
    x[i] /= a[i][i];
  }
  return x;
}

/**
 * @param {Float32Array} values (rows, width)
 * @param {number} width
 * @param {{line: Float64Array, constant: number}[]} lines
 */
export function applyLines(values, width, lines) {
  const rows = values.length / width;
  return lines.map(({ line, constant }) =>
    Float64Array.from({ length: rows }, (_, r) => {
      let sum = constant;
      for (let i = 0; i < width; i++) sum += line[i] * values[r * width + i];
      return sum;
    }),
  );
}

/**
 * The share that the lines explain: R^2, or the share of rows of the right class.
 * @param {Float64Array[]} found
 * @param {Float64Array[]} targets one for numbers; one for each class
 */
export function explained(found, targets) {
  const rows = targets[0].length;
  if (targets.length > 1) {
    let right = 0;
    for (let r = 0; r < rows; r++) {
      const best = found.reduce((b, f, k) => (f[r] > found[b][r] ? k : b), 0);
      right += targets[best][r];
    }
    return right / rows;
  }
  const [y] = targets;
  const mean = y.reduce((a, b) => a + b, 0) / rows;
  const all = y.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return 1 - y.reduce((sum, v, i) => sum + (v - found[0][i]) ** 2, 0) / (all || 1);
}

/** @param {Float32Array} y @param {string[] | null} classes */
export function targetsOf(y, classes) {
  if (!classes) return [Float64Array.from(y)];
  return classes.map((_, k) => Float64Array.from(y, (v) => (v === k ? 1 : 0)));
}
