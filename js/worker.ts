// The dedicated worker that owns OPFS, hashing and transfers: messages in, calls of the wasm module, messages out.
import initWorker, { FileWorker } from '#wasm/worker/worker.js'
import type { Answer, Ask, Calls, FromWorker, ToWorker } from './files/wire.ts'

let opened: Promise<FileWorker> | undefined
const asked = new Map<number, (headers: [string, string][] | Error) => void>()
let asks = 0

const scope = globalThis as unknown as DedicatedWorkerGlobalScope

scope.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if ('headers' in data) {
    asked.get(data.ask)?.(data.headers)
    asked.delete(data.ask)
  } else {
    void answer(data)
  }
}
post({ type: 'ready' })

async function answer(ask: Ask): Promise<void> {
  let message: Answer
  try {
    message = { type: 'answer', call: ask.call, value: await perform(ask.name, ask.params) }
  } catch (error) {
    message = { type: 'answer', call: ask.call, error: described(error) }
  }
  post(message)
}

async function perform<K extends keyof Calls>(name: K, params: Parameters<Calls[K]>): Promise<unknown> {
  if (name === 'open') {
    const [database, config, wasm] = params as Parameters<Calls['open']>
    opened ??= open(database, config, wasm)
    // One that failed may be tried again.
    opened.catch(() => { opened = undefined })
    await opened
    return undefined
  }
  const files = await opened
  if (files === undefined) throw new Error('open() has not been called in this worker')
  const call = files[name as Exclude<K, 'open'>] as (...given: unknown[]) => unknown
  return call.apply(files, params)
}

async function open(database: string, config: unknown, wasm: string | ArrayBuffer | WebAssembly.Module): Promise<FileWorker> {
  await initWorker({ module_or_path: wasm })
  return FileWorker.open(database, config, (event: unknown) => post({ type: 'event', event } as FromWorker), askHeaders)
}

/** Asks the page which headers the remote wants. They are kept nowhere. */
function askHeaders(method: string, url: string): Promise<[string, string][]> {
  const ask = ++asks
  return new Promise((resolve, reject) => {
    asked.set(ask, headers => headers instanceof Error ? reject(headers) : resolve(headers))
    post({ type: 'headers', ask, method, url })
  })
}

/** The wasm module throws `{ code, message }`; anything else is a fault of ours or of the browser's. */
function described(error: unknown): { code: string; message: string } {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') {
    return { code: error.code, message: String((error as { message?: unknown }).message) }
  }
  return { code: 'unexpected', message: error instanceof Error ? error.message : String(error) }
}

function post(message: FromWorker): void {
  scope.postMessage(message)
}
