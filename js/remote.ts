// Backends and the remotes that wrap them.
import type { Core } from './core.ts'
import { DriftlineError } from './errors.ts'
import { Computed, type Readable } from './readable.ts'
import type { RetryOptions } from './types.ts'
import type { WireRemote } from './wire.ts'

/** A backend: made by `mizu()`, given to `db.connect()`. */
export interface Backend {
  readonly kind: 'mizu'
  readonly url: string
  readonly scope: string
  readonly poke: boolean
  readonly headers?: () => HeadersInit | undefined | Promise<HeadersInit | undefined>
  readonly retry?: RetryOptions
}

/** How to reach a mizu-style push/pull server, such as `driftline-server`. */
export interface MizuOptions {
  /** The server's address, without `/_sync`. */
  url: string | URL
  /** The partition of the data. */
  scope: string
  dialect?: 'v0.3'
  /** How the server says that there is something new: server-sent events, or not at all; `auto` tries. */
  poke?: 'sse' | 'none' | 'auto'
  /** Called for each request; what it gives is kept nowhere. */
  headers?: () => HeadersInit | undefined | Promise<HeadersInit | undefined>
  /** Its `maxDelayMs` bounds the waits between pulls that fail, too; 30,000 is the most there. */
  retry?: RetryOptions
}

/** A backend that speaks mizu's push, pull, snapshot and poke. */
export function mizu({ url, scope, poke = 'auto', headers, retry }: MizuOptions): Backend {
  const base = typeof location === 'undefined' ? undefined : location.href
  const address = new URL(url, base).href.replace(/\/+$/, '')
  return { kind: 'mizu', url: address, scope, poke: poke !== 'none', ...(headers === undefined ? {} : { headers }), ...(retry === undefined ? {} : { retry }) }
}

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
  readonly metadata: { name: string; description: string; protocol: string; endpoint: string }
  readonly supports = { pullPageInfoKnown: false, pullLive: true, idempotent: true } as const
  /** @internal */
  readonly number: number
  readonly #status: Computed<RemoteStatus>

  /** @internal */
  constructor(core: Core, backend: Backend) {
    if (backend.kind !== 'mizu') throw new DriftlineError('unexpected', 'connect() takes a backend such as mizu() makes. Nothing was connected.')
    const { url, scope, poke, headers, retry } = backend
    const spec = { id: `mizu ${url} ${scope}`, scope, poke, retry }
    this.number = core.call(() => core.client.connect(spec, url, headers))
    this.metadata = { name: 'mizu', description: `mizu sync, scope ${scope}`, protocol: 'mizu v0.3', endpoint: url }
    this.#status = new Computed(() => remoteStatus(core, core.client.remote(this.number)))
    this.status = this.#status
  }

  /** @internal */
  changed(): void {
    this.#status.changed()
  }
}

function remoteStatus(core: Core, wire: WireRemote | undefined): RemoteStatus {
  if (wire === undefined) return { state: 'connecting', pending: 0 }
  const { lastError, ...rest } = wire
  return { ...rest, ...(lastError === undefined ? {} : { lastError: core.error(lastError) }) }
}
