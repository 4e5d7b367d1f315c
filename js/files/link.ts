// The page's end of the worker: calls that are answered, events, and headers for its requests.
import { DriftlineError, fromWire } from '../errors.ts'
import type { Answer, Calls, FromWorker, ToWorker, WorkerEvent } from './wire.ts'

export interface LinkListener {
  event(event: WorkerEvent): void
  headers(method: string, url: string): Promise<[string, string][]>
}

/** A worker that is started at once and called when it is ready. */
export class WorkerLink {
  readonly #worker: Worker
  readonly #ready: Promise<void>
  readonly #calls = new Map<number, { resolve(value: never): void; reject(error: Error): void }>()
  #last = 0
  #broken: DriftlineError | undefined

  constructor(worker: Worker, listener: LinkListener) {
    this.#worker = worker
    this.#ready = new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        if (data.type === 'ready') resolve()
        else if (data.type === 'answer') this.#answered(data)
        else if (data.type === 'event') listener.event(data.event)
        else void this.#tellHeaders(data.ask, listener.headers(data.method, data.url))
      }
      worker.onerror = event => {
        const why = event.message || 'its file could not be loaded'
        const error = new DriftlineError('storage_unavailable', `The worker that stores files could not run (${why}). Records are kept; serve driftline’s worker.js with the app and reload.`)
        this.#break(error)
        reject(error)
      }
    })
    this.#ready.catch(() => {})
  }

  /** Calls the worker. Bytes in `transfer` are handed over, not copied. */
  async call<K extends keyof Calls>(name: K, params: Parameters<Calls[K]>, transfer: Transferable[] = []): Promise<ReturnType<Calls[K]>> {
    await this.#ready
    if (this.#broken !== undefined) throw this.#broken
    const call = ++this.#last
    return new Promise((resolve, reject) => {
      this.#calls.set(call, { resolve, reject })
      try {
        this.#post({ call, name, params }, transfer)
      } catch (cause) {
        this.#calls.delete(call)
        reject(new DriftlineError('not_cloneable', 'The file’s data can’t be handed to the worker that stores it. Nothing was stored.', { cause }))
      }
    })
  }

  end(error: DriftlineError): void {
    this.#break(error)
    this.#worker.terminate()
  }

  #answered(answer: Answer): void {
    const waiting = this.#calls.get(answer.call)
    this.#calls.delete(answer.call)
    if ('error' in answer) waiting?.reject(fromWire(answer.error))
    else waiting?.resolve(answer.value as never)
  }

  async #tellHeaders(ask: number, headers: Promise<[string, string][]>): Promise<void> {
    try {
      this.#post({ ask, headers: await headers })
    } catch (error) {
      this.#post({ ask, headers: error instanceof Error ? error : new Error(String(error)) })
    }
  }

  #post(message: ToWorker, transfer: Transferable[] = []): void {
    this.#worker.postMessage(message, transfer)
  }

  #break(error: DriftlineError): void {
    this.#broken ??= error
    for (const { reject } of this.#calls.values()) reject(error)
    this.#calls.clear()
  }
}
