// Remotes: the backends that a database is connected to.
import type { Backend, RemoteMetadata, RemoteSupports } from './backends.ts'
import type { Core } from './core.ts'
import { DriftlineError } from './errors.ts'
import { Computed, type Readable } from './readable.ts'
import type { WireRemote } from './wire.ts'

/** How a remote stands. */
export interface RemoteStatus {
  state: 'connecting' | 'live' | 'polling' | 'offline' | 'auth' | 'reset'
  /** The last change that was taken. */
  cursor?: number
  /** Transactions that wait to be sent there. */
  pending: number
  lastError?: Error
}

/** A connected backend. */
export class Remote {
  readonly status: Readable<RemoteStatus>
  /** Whether the server was there when last something was heard of it. */
  readonly isConnected: Readable<boolean>
  readonly metadata: RemoteMetadata
  readonly supports: RemoteSupports
  /** @internal */
  readonly number: number
  readonly #core: Core
  readonly #status: Computed<RemoteStatus>
  readonly #isConnected: Computed<boolean>

  /** @internal */
  constructor(core: Core, backend: Backend) {
    const { kind, url, scope, wire, headers, query, call, retry } = backend
    if (wire === undefined) throw new DriftlineError('unexpected', 'connect() takes a backend such as mizu() or livestore() makes. Nothing was connected.')
    const spec = { ...wire, kind, id: `${kind} ${url} ${scope}`, scope, retry }
    this.#core = core
    this.number = core.call(() => core.client.connect(spec, { url, headers, query, call }))
    this.metadata = backend.metadata
    this.supports = backend.supports
    this.#status = new Computed(() => remoteStatus(core, core.client.remote(this.number)))
    this.status = this.#status
    this.#isConnected = new Computed(() => ['live', 'polling'].includes(this.#status.value.state))
    this.isConnected = this.#isConnected
  }

  /** Asks the server for what is new, now. How it went shows in `status` and `isConnected`. */
  ping(): void {
    this.#core.call(() => this.#core.client.pullNow(this.number))
  }

  /** @internal */
  changed(): void {
    this.#status.changed()
    this.#isConnected.changed()
  }
}

function remoteStatus(core: Core, wire: WireRemote | undefined): RemoteStatus {
  if (wire === undefined) return { state: 'connecting', pending: 0 }
  const { lastError, ...rest } = wire
  return { ...rest, ...(lastError === undefined ? {} : { lastError: core.error(lastError) }) }
}
