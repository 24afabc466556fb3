// Formulas that people type, such as sin(x) + x^2 / 4: parsed, never evaluated as code.

/** @type {Record<string, [(x: number) => number, string]>} */
const FUNCTIONS = {
  sin: [Math.sin, 'np.sin'],
  cos: [Math.cos, 'np.cos'],
  tan: [Math.tan, 'np.tan'],
  tanh: [Math.tanh, 'np.tanh'],
  exp: [Math.exp, 'np.exp'],
  log: [Math.log, 'np.log'],
  sqrt: [Math.sqrt, 'np.sqrt'],
  abs: [Math.abs, 'np.abs'],
  sign: [Math.sign, 'np.sign'],
  floor: [Math.floor, 'np.floor'],
};
/** @type {Record<string, [number, string]>} */
const CONSTANTS = { pi: [Math.PI, 'np.pi'], e: [Math.E, 'np.e'] };
/** @type {Record<string, (a: number, b: number) => number>} */
const OPERATORS = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '^': (a, b) => a ** b,
};
/** @typedef {{value: (x: number) => number, python: string}} Formula */

const DEEPEST = 50;

/**
 * Reads a formula of x.
 * @param {string} text
 * @returns {Formula & {usesX: boolean}}
 */
export function parseFormula(text) {
  const tokens = text.match(/\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+|[A-Za-z]+|\*\*|\S/g) ?? [];
  let at = 0;
  let depth = 0;
  let usesX = false;
  /** @param {string} what @returns {never} */
  const fail = (what) => {
    const here = at < tokens.length ? `“${tokens[at]}”` : 'the end';
    throw new Error(`Expected ${what} at ${here}. Try sin(x) + x^2/4.`);
  };
  /** @param {string[]} wanted */
  const take = (...wanted) => (wanted.includes(tokens[at]) ? tokens[at++] : '');

  /** @param {string} operator @param {Formula} a @param {Formula} b @returns {Formula} */
  function operation(operator, a, b) {
    const f = OPERATORS[operator];
    const sign = operator === '^' ? '**' : operator;
    return {
      value: (x) => f(a.value(x), b.value(x)),
      python: `(${a.python} ${sign} ${b.python})`,
    };
  }
  /** @returns {Formula} */
  function sum() {
    if (++depth > DEEPEST) fail('fewer brackets');
    let left = product();
    for (let sign; (sign = take('+', '-')); ) left = operation(sign, left, product());
    depth--;
    return left;
  }
  /** @returns {Formula} */
  function product() {
    let left = signed();
    for (let sign; (sign = take('*', '/')); ) left = operation(sign, left, signed());
    return left;
  }
  /** @returns {Formula} */
  function signed() {
    if (take('+')) return signed();
    if (!take('-')) return power();
    const of = signed();
    return { value: (x) => -of.value(x), python: `(-${of.python})` };
  }
  /** @returns {Formula} */
  function power() {
    const base = atom();
    return take('^', '**') ? operation('^', base, signed()) : base;
  }
  /** @returns {Formula} */
  function atom() {
    const token = tokens[at];
    if (token === undefined) fail('a number, x or a function');
    if (/^[\d.]/.test(token) && Number.isFinite(Number(token))) {
      at++;
      const number = Number(token);
      return { value: () => number, python: pythonFloat(number) };
    }
    if (take('(')) {
      const inner = sum();
      if (!take(')')) fail('a closing bracket');
      return inner;
    }
    const name = token.toLowerCase();
    if (name === 'x') {
      at++;
      usesX = true;
      return { value: (x) => x, python: 'x' };
    }
    if (Object.hasOwn(CONSTANTS, name)) {
      at++;
      const [value, python] = CONSTANTS[name];
      return { value: () => value, python };
    }
    if (Object.hasOwn(FUNCTIONS, name)) {
      at++;
      const [f, python] = FUNCTIONS[name];
      if (!take('(')) fail('an opening bracket');
      const inner = sum();
      if (!take(')')) fail('a closing bracket');
      return { value: (x) => f(inner.value(x)), python: `${python}(${inner.python})` };
    }
    return fail(`a number, x or one of ${Object.keys(FUNCTIONS).join(', ')}`);
  }

  const whole = sum();
  if (at < tokens.length) fail('an operator');
  return { ...whole, usesX };
}

/**
 * A number as Python writes a float.
 * @param {number} number
 */
export function pythonFloat(number) {
  const text = String(number);
  return /[.e]/.test(text) ? text : `${text}.0`;
}
