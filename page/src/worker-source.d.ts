// The bundled worker.js, as build.mjs gives it.
declare module 'worker-source' {
  const text: string;
  export default text;
}
