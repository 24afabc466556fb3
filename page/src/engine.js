// The engine in JavaScript: kurve.wasm (cpp/wasm/api.cpp) behind two classes.

/** @import { Exports, Saved, StartThread, ThreadStart } from './types.js' */

// Of the engine with threads, as cpp/wasm/wasm.cmake sets them.
const PAGE = 65536;
const SHARED = { initial: 2 ** 24 / PAGE, maximum: 2 ** 30 / PAGE, shared: true };

/**
 * What C++'s runtime asks of a system: a clock, but no environment and no files.
 * @param {() => WebAssembly.Memory} memory
 */
function system(memory) {
  const view = () => new DataView(memory().buffer);
  const badFile = 8;
  return {
    /** @param {number} count @param {number} size */
    environ_sizes_get(count, size) {
      view().setUint32(count, 0, true);
      view().setUint32(size, 0, true);
      return 0;
    },
    environ_get: () => 0,
    fd_write: () => badFile,
    fd_seek: () => badFile,
    fd_close: () => badFile,
    /** @param {number} _clock @param {bigint} _precision @param {number} out */
    clock_time_get(_clock, _precision, out) {
      view().setBigUint64(out, BigInt(Math.round(performance.now() * 1e6)), true);
      return 0;
    },
    /** @param {number} code */
    proc_exit(code) {
      throw new Error(`the engine ended with code ${code}`);
    },
  };
}

/**
 * An instance of the engine, in `shared` memory if it is given.
 * @param {WebAssembly.Module} module
 * @param {WebAssembly.Memory} [shared]
 */
async function instanceOf(module, shared) {
  /** @type {Exports} */
  let wasm;
  const imports = {
    wasi_snapshot_preview1: system(() => shared ?? wasm.memory),
    ...(shared && { env: { memory: shared } }),
  };
  const { exports } = await WebAssembly.instantiate(module, imports);
  wasm = /** @type {Exports} */ (/** @type {unknown} */ (exports));
  return wasm;
}

/**
 * Lets this worker be one of the engine's threads: it computes, and returns never.
 * @param {ThreadStart} given
 * @param {() => void} ready called just before
 */
export async function serve({ module, memory, stack }, ready) {
  const wasm = await instanceOf(module, memory);
  wasm.__stack_pointer.value = stack;
  wasm.__wasm_init_tls(stack);
  ready();
  wasm.kurve_thread();
}

/**
 * Compiles kurve.wasm. Returns the classes that run on it.
 * @param {BufferSource} bytes
 * @param {number} [threads] more than 1 if it is the engine with threads
 * @param {StartThread} [startThread] lets a worker `serve`
 */
export async function loadEngine(bytes, threads = 1, startThread) {
  const shared = startThread && new WebAssembly.Memory(SHARED);
  const module = await WebAssembly.compile(bytes);
  const wasm = await instanceOf(module, shared);
  const memory = shared ?? wasm.memory;
  /** @param {number} at @param {number} n */
  const floats = (at, n) => new Float32Array(memory.buffer, at, n);
  /** @param {number} at @param {number} n */
  const doubles = (at, n) => new Float64Array(memory.buffer, at, n);
  wasm._initialize();
  if (shared) {
    const started = Array.from({ length: threads - 1 }, () => {
      const stack = wasm.kurve_thread_memory();
      return startThread({ module, memory: shared, stack });
    });
    await Promise.all(started);
    wasm.kurve_set_threads(threads);
  }

  /** @param {number} at */
  function text(at) {
    const all = new Uint8Array(memory.buffer);
    return new TextDecoder().decode(all.slice(at, all.indexOf(0, at)));
  }
  /** @param {number} result */
  function checked(result) {
    if (result === 0 || result === -1) {
      const message = text(wasm.kurve_error());
      if (result === -1 || message) throw new Error(message);
    }
    return result;
  }
  // Calls body with memory for n bytes.
  /** @template T @param {number} n @param {(at: number) => T} body @returns {T} */
  function withMemory(n, body) {
    const at = wasm.kurve_alloc(n);
    if (!at) throw new Error(`[engine] not enough memory for ${n} bytes.`);
    try {
      return body(at);
    } finally {
      wasm.kurve_free(at);
    }
  }

  /** Rows of data for a model. */
  class Data {
    /**
     * @param {Model} model
     * @param {number} rows
     * @param {ArrayLike<number>[]} x for each input, numbers of all rows, one row after the
     *     other
     * @param {ArrayLike<number>[]} y the same for each output, but for predictions
     */
    constructor(model, rows, x, y = []) {
      this.model = model;
      this.rows = rows;
      this.at = checked(wasm.kurve_data(model.at, rows));
      x.forEach((values, k) => {
        const size = rows * wasm.kurve_input_size(model.at, k);
        this.copy(values, wasm.kurve_x(this.at, k), size);
      });
      y.forEach((values, h) => {
        const size = rows * wasm.kurve_target_size(model.at, h);
        this.copy(values, wasm.kurve_y(this.at, h), size);
      });
    }
    /** @param {ArrayLike<number>} values @param {number} at @param {number} size */
    copy(values, at, size) {
      if (values.length !== size)
        throw new Error(`[data] expected ${size} numbers. Received: ${values.length}.`);
      floats(at, size).set(values);
    }
    /**
     * Divides the rows into steps as `fit` does: batches of `size` rows, or `steps`
     * batches.
     * @param {{size?: number, steps?: number, shuffle?: boolean}} division
     * @returns {number} the number of steps of a pass over the rows
     */
    batches({ size = 0, steps = 0, shuffle = true }) {
      return checked(
        wasm.kurve_batches(this.model.at, this.at, size, steps, shuffle ? 1 : 0),
      );
    }
    free() {
      wasm.kurve_data_destroy(this.at);
    }
  }

  /** A model of a plan, with its weights and its optimizer's state. */
  class Model {
    /** @param {string} plan its JSON (kurve.engines.plan_json) @param {bigint} seed */
    constructor(plan, seed = 0n) {
      const bytes = new TextEncoder().encode(plan + '\0');
      this.at = withMemory(bytes.length, (at) => {
        new Uint8Array(memory.buffer).set(bytes, at);
        return checked(wasm.kurve_create(at, seed));
      });
      this.size = wasm.kurve_params_size(this.at);
    }
    // Views of the engine's memory, valid until the next call.
    get params() {
      return floats(wasm.kurve_params(this.at), this.size);
    }
    get buffers() {
      return floats(wasm.kurve_buffers(this.at), wasm.kurve_buffers_size(this.at));
    }
    get slots() {
      return floats(
        wasm.kurve_slots(this.at),
        this.size * wasm.kurve_slots_count(this.at),
      );
    }
    get scalars() {
      return doubles(wasm.kurve_scalars(this.at), 1);
    }
    get step() {
      return wasm.kurve_step(this.at);
    }
    /**
     * Trains for a step per learning rate.
     * @returns the losses; fewer than rates, and `error`, if something is not finite
     * @param {Data} data
     * @param {number[]} rates
     */
    train(data, rates) {
      const n = rates.length;
      return withMemory(12 * n, (at) => {
        floats(at + 8 * n, n).set(rates);
        const done = wasm.kurve_train(this.at, data.at, n, at + 8 * n, at);
        if (done < 0) throw new Error(text(wasm.kurve_error()));
        const error = done < n ? text(wasm.kurve_error()) : ''; // what is not finite
        return { losses: Array.from(doubles(at, done)), error };
      });
    }
    /** @returns the sums of losses and metrics over all rows: see Plan.totals_size */
    /** @param {Data} data */
    test(data) {
      checked(wasm.kurve_test(this.at, data.at));
      const size = wasm.kurve_totals_size(this.at);
      return Array.from(doubles(wasm.kurve_totals(this.at), size));
    }
    /** @returns the first output for each row */
    /** @param {Data} data */
    predict(data) {
      const size = data.rows * wasm.kurve_output_size(this.at, 0);
      return withMemory(4 * size, (at) => {
        checked(wasm.kurve_predict(this.at, data.at, at));
        return floats(at, size).slice();
      });
    }
    /** A copy of everything that training changes. @returns {Saved} */
    save() {
      const { params, buffers, slots, scalars, step } = this;
      const copies = [params, buffers, slots, scalars].map((a) => a.slice());
      return { copies, step };
    }
    /** @param {Saved} saved */
    restore({ copies, step }) {
      const [params, buffers, slots, scalars] = copies;
      this.params.set(params);
      this.buffers.set(buffers);
      this.slots.set(slots);
      this.scalars.set(scalars);
      wasm.kurve_set_step(this.at, step);
    }
    free() {
      wasm.kurve_destroy(this.at);
    }
  }

  /**
   * Uniform numbers in (0, 1): those of kurve.core.rng.
   * @param {bigint} seed
   * @param {number} purpose
   * @param {number | bigint} stream
   * @param {number} count
   * @returns {Float64Array<ArrayBuffer>}
   */
  function uniform(seed, purpose, stream, count) {
    return withMemory(8 * count, (at) => {
      wasm.kurve_uniform(seed, purpose, BigInt(stream), count, at);
      return doubles(at, count).slice();
    });
  }
  /**
   * The seed of model n (from 1) after kurve.utils.set_random_seed(seed).
   * @param {number} seed
   */
  function modelSeed(seed, n = 1) {
    return BigInt.asUintN(64, wasm.kurve_model_seed(BigInt(seed), n));
  }

  /** The threads that have computed something so far. */
  const working = () => threads - (shared ? wasm.kurve_idle() : 0);

  return { Model, Data, uniform, modelSeed, threads, working };
}
