// Loads the wasm module, once.
import initClient, { Client, deleteDatabase as deleteClientDatabase } from '#wasm/client/client.js'
import { DriftlineError, fromWire, isWireError } from './errors.ts'
import type { ClientClass } from './wire.ts'

/** Where the wasm module comes from: an address, an answer, the bytes, or a compiled module. */
export type WasmSource = URL | string | Response | BufferSource | WebAssembly.Module

let loading: Promise<unknown> | undefined
let loaded = false

/**
 * Loads the wasm module. Only the first call's source counts; a load that failed may be tried again.
 * `openDriftline` calls it; an app calls it to load early or from elsewhere.
 */
export async function init(wasm?: WasmSource): Promise<void> {
  loading ??= initClient({ module_or_path: wasm ?? new URL('./wasm/client.wasm', import.meta.url) })
  try {
    await loading
    loaded = true
  } catch (cause) {
    loading = undefined
    throw new DriftlineError('not_initialized', 'Driftline’s wasm file could not be loaded, so nothing was opened; what was stored before is kept. Serve the file with the app, or hand it to init().', { cause })
  }
}

/** The module's class, once it is there. */
export function client(): ClientClass {
  if (!loaded) throw new DriftlineError('not_initialized', 'Driftline’s wasm module is not loaded, so nothing was done: await init() or openDriftline() first.')
  return Client
}

/** Deletes a database that is closed here; connections of other tabs close by themselves. */
export async function deleteDatabase(name: string): Promise<void> {
  try {
    await deleteClientDatabase(name)
  } catch (thrown) {
    throw isWireError(thrown) ? fromWire(thrown) : thrown
  }
}
