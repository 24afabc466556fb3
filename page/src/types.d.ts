// The shapes of what the parts of the page give each other; tsc checks them (tsconfig.json).

export interface LayerSettings {
  kind?: 'conv';
  units: number;
  activation: string;
}
export interface Table {
  names: string[];
  rows: string[][];
}
export interface DataSettings {
  kind: string;
  noise: number;
  seed: number;
  text: string;
  from: number;
  to: number;
  count: number;
  points: number[][];
  table: Table | null;
  x: number[];
  y: number;
}
export interface Settings {
  data: DataSettings;
  layers: LayerSettings[];
  optimizer: string;
  rate: number;
  decay: boolean;
  batch: number;
  steps: number;
  epochs: number;
  normalize: boolean;
  l2: number;
  dropout: number;
  held: number;
  seed: number;
}

/** Data to train on; x is (rows, inputs), and the last name is that of y. */
export interface Rows {
  x: Float32Array;
  y: Float32Array;
  rows: number;
  inputs: number;
  names: string[];
  classes: string[] | null;
  image: number[] | null;
}

/** A layer of network.js. */
export interface Layer {
  kind: 'reshape' | 'normalization' | 'conv' | 'pool' | 'flatten' | 'dense' | 'dropout';
  name: string;
  units?: number;
  activation?: string;
  l2?: number;
  rate?: number;
  shape?: number[];
  hidden?: number;
}

export interface Variable {
  name: string;
  shape: number[];
  offset: number;
  trainable: boolean;
  l1: number;
  l2: number;
}
export interface Weights extends Variable {
  stream: number;
}
type Attributes = Record<string, number | string>;
export interface PlanOp {
  kind: string;
  layer: string;
  in_shape: number[];
  out_shape: number[];
  params: Record<string, number>;
  buffers: Record<string, number>;
  attrs: Attributes;
}
export interface Head {
  value: number;
  shape: number[];
  loss: { kind: string; attrs: Attributes } | null;
  metrics: [];
  weight: number;
  rows: number;
  reduction: string;
  name: string;
}
/** kurve.engines.plan_json. */
export interface Plan {
  inputs: number[][];
  ops: PlanOp[];
  params: Variable[];
  buffers: Variable[];
  heads: Head[];
  optimizer: { kind: string; attrs: Attributes } | null;
}
export interface Trained {
  plan: Plan;
  params: Float32Array;
  buffers: Float32Array;
}

/** What a worker needs to be a thread of the engine; its stack ends where its variables begin. */
export interface ThreadStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  stack: number;
}
export type StartThread = (start: ThreadStart) => Promise<void>;
export type Engine = Awaited<ReturnType<typeof import('./engine.js').loadEngine>>;
export type Model = InstanceType<Engine['Model']>;
export type Data = InstanceType<Engine['Data']>;
export type Saved = { copies: ArrayLike<number>[]; step: number };
export type Uniform = Engine['uniform'];
export type Draw = (purpose: number, count: number) => ArrayLike<number>;

/** What the first worker trains. */
export interface Training {
  id: number;
  settings: Settings;
  seed: bigint;
  all: Rows;
  rows: Rows; // those to train on
  heldOut: Rows | null;
  plan: Plan;
  values: number[];
  model: Model;
  data: Data;
  heldData: Data | null;
  perEpoch: number;
  epochs: number;
  axes: [number, number][];
  gridX: Float32Array;
  grid: Data;
  first: number; // step of the last change of settings
  offset: number; // steps before those that the engine counts
  epochsBefore: number; // until `first`
  scheduled: number; // the same for a falling learning rate
  end: number; // step after which `epochs` are done
  losses: number[];
  past: Loss[]; // of the epochs before `first`
  held: Loss[];
  saved: Saved[];
  every: number;
  views: Map<number, View>;
  layer: number;
  speed: number;
  until: number;
  error: string;
  shown: number;
  cost: number;
  digit: Float32Array | null;
  drawn: Data | null;
}
/** A mean loss, and the step after which it was found. */
export interface Loss {
  step: number;
  loss: number;
}
export interface View {
  model: Model;
  grid: Data | null;
}

/** What the page knows of it. */
export interface Run {
  axes: [number, number][];
  perEpoch: number;
  epochs: number;
  first: number;
  layer: number;
  program: string;
  long: boolean; // the program that is shown lacks the numbers
  outputs: number;
  weights: number;
  rows: Rows;
  heldOut: Rows | null;
  gridX: Float32Array;
  map: number;
  testLabels: Uint8Array | null;
  view: { x: [number, number]; y: [number, number] } | null;
}
export interface Units {
  layer: number;
  width: number;
  curves: Float32Array[];
  map: number;
}
export interface Picture {
  id: number;
  step: number;
  first: number;
  last: number;
  end: number;
  epoch: number;
  losses: [number[], number[]];
  means: [number[], number[]];
  held: [number[], number[]];
  loss: { value: number; of: string } | null;
  heldLoss: number | null;
  output: Float32Array;
  units: Units | null;
  speed: number;
  running: boolean;
  error: string;
  drawn: Float32Array | null;
}
export interface Drawn {
  show(picture: Picture): void;
  free(): void;
  position?(event: MouseEvent): number[];
}

/** What the second worker needs. */
export interface Snapshot {
  id: number;
  settings: Settings;
  step: number;
  params: Float32Array;
  buffers: Float32Array;
  gridX: Float32Array;
  along: boolean;
  states: Float32Array[];
}
export interface Landscape {
  id: number;
  losses: Float64Array;
  square: [[number, number], [number, number]];
  path: number[][];
  rows: number;
  step: number;
  along: boolean;
  done: boolean;
}
export interface Readout {
  id: number;
  layers: { name: string; share: number | null; curve: Float64Array | null }[];
  classes: boolean;
  step: number;
}

/** The functions that kurve.wasm exports. */
export interface Exports {
  memory: WebAssembly.Memory;
  __stack_pointer: WebAssembly.Global;
  __wasm_init_tls(variables: number): void;
  _initialize(): void;
  kurve_model_seed(seed: bigint, n: number): bigint;
  kurve_create(plan: number, seed: bigint): number;
  kurve_uniform(seed: bigint, purpose: number, stream: bigint, count: number, out: number): void;
  [name: `kurve_${string}`]: (...numbers: any[]) => any;
}
