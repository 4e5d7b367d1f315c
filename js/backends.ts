// Backends: what speaks to which server, made here and given to `db.connect()`.
import { DriftlineError } from './errors.ts'
import type { RetryOptions } from './types.ts'

/** A backend: made by `livestore()`, `s2()`, `s2Proxy()`, `mizu()` or `defineBackend()`, given to `db.connect()`. */
export interface Backend {
  readonly kind: 'mizu' | 'livestore'
  /** The server's address, without credentials. */
  readonly url: string
  /** Which part of its data: a scope, a store, a stream. */
  readonly scope: string
  readonly metadata: RemoteMetadata
  readonly supports: RemoteSupports
  /** Called for each request; what it gives is kept nowhere. */
  readonly headers?: Credentials<HeadersInit>
  /** Called for each request and each connection: what is added to the query. */
  readonly query?: Credentials<string>
  readonly retry?: RetryOptions
  /** @internal What the codec is told. */
  readonly wire: Record<string, unknown>
}

/** What a backend is called and speaks. */
export interface RemoteMetadata { readonly name: string; readonly description: string; readonly protocol: string; readonly endpoint: string }

/** What a backend can. */
export interface RemoteSupports {
  /** Pulled pages say how much there is to come. */
  readonly pullPageInfoKnown: boolean
  /** What others write comes by itself. */
  readonly pullLive: boolean
  /** The server recognises a push that it has had; where it does not, Driftline reads before it sends again what was not answered. */
  readonly idempotent: boolean
}

type Credentials<T> = () => T | undefined | Promise<T | undefined>

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
  headers?: Credentials<HeadersInit>
  /** Its `maxDelayMs` bounds the waits between pulls that fail, too; 30,000 is the most there. */
  retry?: RetryOptions
}

/** A backend that speaks mizu's push, pull, snapshot and poke. */
export function mizu({ url, scope, poke = 'auto', headers, retry }: MizuOptions): Backend {
  const address = addressOf(url)
  return {
    kind: 'mizu', url: address, scope,
    metadata: { name: 'mizu', description: `mizu sync, scope ${scope}`, protocol: 'mizu v0.3', endpoint: address },
    supports: { pullPageInfoKnown: false, pullLive: poke !== 'none', idempotent: true },
    wire: { poke: poke !== 'none' },
    ...given({ headers, retry }),
  }
}

/** How to reach a sync backend of LiveStore's, `@livestore/sync-cf`. */
export interface LiveStoreOptions {
  /** The server's address: its origin, or the whole path if the worker is mounted below one. `http` and `ws` mean the same. */
  url: string | URL
  storeId: string
  /** What the server's `validatePayload` gets, such as a token: a value, or a function that is called for each connection and request. */
  payload?: unknown
  /** The version of the wire; 0.4. */
  dialect?: '0.4'
  /** How it is spoken to; a WebSocket. Over `http` what others write is seen by polling. */
  transport?: 'ws' | 'http'
  retry?: RetryOptions
}

/** A backend that speaks the wire of LiveStore's sync-cf. */
export function livestore({ url, storeId, payload, transport = 'ws', retry }: LiveStoreOptions): Backend {
  if (typeof storeId !== 'string' || storeId === '') throw new DriftlineError('unexpected', 'livestore() needs the name of a store: { url, storeId: "my-store" }.')
  const address = addressOf(url)
  const query = payload === undefined ? undefined : async () => {
    const value: unknown = await (typeof payload === 'function' ? (payload as () => unknown)() : payload)
    return value === undefined ? undefined : `payload=${encodeURIComponent(encodeURIComponent(JSON.stringify(value)))}`
  }
  return {
    kind: 'livestore', url: address, scope: storeId,
    metadata: { name: 'livestore', description: `LiveStore sync, store ${storeId}`, protocol: `sync-cf 0.4 over ${transport}`, endpoint: address },
    supports: { pullPageInfoKnown: true, pullLive: transport === 'ws', idempotent: false },
    wire: { dialect: '0.4', transport },
    ...given({ query, retry }),
  }
}

/** An address as requests are made below it: absolute, by `http` or `https`, without a slash at its end. */
function addressOf(url: string | URL): string {
  const base = typeof location === 'undefined' ? undefined : location.href
  let address: URL
  try {
    address = new URL(url, base)
  } catch (cause) {
    throw new DriftlineError('unexpected', `The backend’s address ${String(url)} is not a URL.`, { cause })
  }
  return address.href.replace(/^ws/, 'http').replace(/\/+$/, '')
}

/** What is there of some fields. */
function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
