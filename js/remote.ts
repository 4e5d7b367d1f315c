// Remotes: the backends that a database is connected to.
import type { Backend, RemoteMetadata, RemoteSupports } from './backends.ts'
import type { Core } from './core.ts'
import { DriftlineError, IsOfflineError } from './errors.ts'
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

/** What an administrator may ask of a store. The secret is given with each call and kept nowhere. */
export interface RemoteAdmin {
  /** What the server knows of itself. */
  info(secret: string): Promise<{ durableObjectId: string }>
  /**
   * Makes the server forget the store. The published one forgets where its log ends, and leaves the events in its table: empty
   * that, too, or nothing can be pushed to the store any more.
   */
  reset(secret: string): Promise<void>
}

/** A connected backend. */
export class Remote {
  readonly status: Readable<RemoteStatus>
  /** Whether the server was there when last something was heard of it. */
  readonly isConnected: Readable<boolean>
  readonly metadata: RemoteMetadata
  readonly supports: RemoteSupports
  /** Where the backend has administration: LiveStore's 0.3. */
  readonly admin: RemoteAdmin | undefined
  /** @internal */
  readonly number: number
  readonly #core: Core
  readonly #status: Computed<RemoteStatus>
  readonly #isConnected: Computed<boolean>
  readonly #pings: ((error: Error | undefined) => void)[] = []

  /** @internal */
  constructor(core: Core, backend: Backend) {
    const { kind, url, scope, wire, headers, query, call, retry, pingIntervalMs = PING_MS } = backend
    if (wire === undefined) throw new DriftlineError('unexpected', 'connect() takes a backend such as mizu() or livestore() makes. Nothing was connected.')
    if (pingIntervalMs !== false && !(pingIntervalMs >= PING_MIN_MS)) throw new DriftlineError('unexpected', `pingIntervalMs is ${String(pingIntervalMs)}; it must be at least ${PING_MIN_MS} ms, or false. Nothing was connected.`)
    const spec = { ...wire, kind, id: `${kind} ${url} ${scope}`, scope, retry, ...(pingIntervalMs === false ? {} : { pingMs: pingIntervalMs }) }
    this.#core = core
    this.number = core.call(() => core.client.connect(spec, { url, headers, query, call }))
    this.metadata = backend.metadata
    this.supports = backend.supports
    this.admin = backend.admin
    this.#status = new Computed(() => remoteStatus(core, core.client.remote(this.number)))
    this.status = this.#status
    this.#isConnected = new Computed(() => core.client.remote(this.number)?.connected === true)
    this.isConnected = this.#isConnected
  }

  /** Asks the backend for what is new, now, whatever back-off there is, and resolves once it has answered, however long that takes. */
  connect(): Promise<void> {
    this.#core.call(() => this.#core.client.pullNow(this.number))
    return new Promise(resolve => {
      let stop: (() => void) | undefined
      let isThere = false
      stop = this.isConnected.subscribe(connected => {
        if (!connected) return
        isThere = true
        stop?.()
        resolve()
      })
      if (isThere) stop()
    })
  }

  /**
   * Asks the backend whether it is there, now, from whichever tab leads. Rejects with what keeps it from answering:
   * `IsOfflineError`, `AuthRequiredError`, ….
   */
  ping(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { scope } = this.#core
      const timer = scope.setTimeout(() => this.pinged(new IsOfflineError('The backend did not answer in time, or no tab leads that could ask it. What waits is kept.')), PING_TIMEOUT_MS)
      const settle = (error: Error | undefined) => {
        scope.clearTimeout(timer as never)
        if (error === undefined) resolve()
        else reject(error)
      }
      try {
        this.#pings.push(settle)
        this.#core.call(() => this.#core.client.ping(this.number))
      } catch (error) {
        this.pinged(error as Error)
      }
    })
  }

  /** @internal */
  pinged(error: Error | undefined): void {
    for (const settle of this.#pings.splice(0)) settle(error)
  }

  /** @internal */
  changed(): void {
    this.#status.changed()
    this.#isConnected.changed()
  }
}

function remoteStatus(core: Core, wire: WireRemote | undefined): RemoteStatus {
  if (wire === undefined) return { state: 'connecting', pending: 0 }
  const { lastError, connected: _, ...rest } = wire
  return { ...rest, ...(lastError === undefined ? {} : { lastError: core.error(lastError) }) }
}

/** After how long a silence a backend is asked whether it is there. */
export const PING_MS = 10_000
const PING_MIN_MS = 100
/** Longer than any request may take. */
const PING_TIMEOUT_MS = 60_000
