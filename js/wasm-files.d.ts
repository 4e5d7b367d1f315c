/** A wasm file that the bundler inlines (esbuild's `binary` loader in `js/build.mjs`). */
declare module '*.wasm' {
  const bytes: Uint8Array<ArrayBuffer>
  export default bytes
}
