// Backends: what speaks to which server, made here and given to `db.connect()`.
import { DriftlineError } from './errors.ts'
import { liveStoreAdmin } from './admin.ts'
import type { RemoteAdmin } from './remote.ts'
import type { RetryOptions } from './types.ts'

/** A backend: made by `livestore()`, `s2()`, `s2Proxy()`, `mizu()` or `defineBackend()`, given to `db.connect()`. */
export interface Backend {
  readonly kind: 'mizu' | 'livestore' | 's2' | 's2Proxy' | 'custom'
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
  /** @internal An app's own backend, in the network's place. */
  readonly call?: Call
  readonly retry?: RetryOptions
  /** After how long a silence it is asked whether it is there; `false`: never. */
  readonly pingIntervalMs?: number | false
  /** What an administrator may ask, where the backend has that. */
  readonly admin?: RemoteAdmin
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

/** @internal */
export type Call = (path: string, body: string | ((text?: string) => void)) => unknown

/** What all backends take. */
export interface BackendOptions {
  /** How what fails is tried again. Its `maxDelayMs` bounds the waits between pulls that fail, too; 30,000 is the most there. */
  retry?: RetryOptions
  /**
   * After how long a silence the backend is asked whether it is there, in milliseconds; 10,000. The answer and its failure
   * both move `isConnected`. `false`: it is not asked.
   */
  pingIntervalMs?: number | false
}

type Credentials<T> = () => T | undefined | Promise<T | undefined>

/** How to reach a mizu-style push/pull server, such as `driftline-server`. */
export interface MizuOptions extends BackendOptions {
  /** The server's address, without `/_sync`. */
  url: string | URL
  /** The partition of the data. */
  scope: string
  /** `v0.3` (default): as tagged v0.3.10 to v0.5.26. `plan`: as first planned; the reference server has it below `/plan`. */
  dialect?: 'v0.3' | 'plan'
  /** How the server says that there is something new: mizu's live WebSocket, server-sent events, or not at all; `auto` tries both. */
  poke?: 'ws' | 'sse' | 'none' | 'auto'
  /** Where the WebSocket is; `<url>/ws`. */
  pokeUrl?: string | URL
  /** Called for each request; what it gives is kept nowhere. */
  headers?: Credentials<HeadersInit>
}

/** A backend that speaks mizu's push, pull, snapshot and poke. */
export function mizu({ url, scope, dialect = 'v0.3', poke = 'auto', pokeUrl, headers, retry, pingIntervalMs }: MizuOptions): Backend {
  const address = addressOf(url)
  return {
    kind: 'mizu', url: address, scope,
    metadata: { name: 'mizu', description: `mizu sync, scope ${scope}`, protocol: `mizu ${dialect}`, endpoint: address },
    // The first published server of the plan's dialect recognises nothing; the reference server does.
    supports: { pullPageInfoKnown: false, pullLive: poke !== 'none', idempotent: dialect === 'v0.3' },
    wire: { dialect, poke, ...(pokeUrl === undefined ? {} : { pokeUrl: addressOf(pokeUrl) }) },
    ...given({ headers, retry, pingIntervalMs }),
  }
}

/** How to reach a sync backend of LiveStore's, `@livestore/sync-cf`. */
export interface LiveStoreOptions extends BackendOptions {
  /** The server's address: its origin, or the whole path if the worker is mounted below one. `http` and `ws` mean the same. */
  url: string | URL
  storeId: string
  /**
   * What the server's `validatePayload` gets, such as a token: a value, or a function that is called for each connection and
   * request. Where the server refuses it, it is asked for once more, and then everything waits for `db.resume()`. This wire
   * carries it in the address, so let it be short-lived. A page learns of a refusal only if the server allows its origin.
   */
  payload?: unknown
  /** The version of the wire; 0.4. */
  dialect?: '0.4' | '0.3'
  /**
   * How 0.4 is spoken to; `auto`. It takes a WebSocket, and asks by HTTP while none can be opened and the server answers.
   * Over `http` what others write is seen by polling.
   */
  transport?: 'auto' | 'ws' | 'http'
}

/** A backend that speaks the wire of LiveStore's sync-cf. */
export function livestore({ url, storeId, payload, dialect = '0.4', transport = 'auto', retry, pingIntervalMs }: LiveStoreOptions): Backend {
  if (typeof storeId !== 'string' || storeId === '') throw new DriftlineError('unexpected', 'livestore() needs the name of a store: { url, storeId: "my-store" }.')
  const origin = addressOf(url)
  // The published worker of 0.3 listens at a path of its own.
  const address = dialect === '0.3' && new URL(origin).pathname === '/' ? `${origin}/websocket` : origin
  const live = dialect === '0.3' || transport !== 'http'
  const query = payload === undefined ? undefined : async () => {
    const value: unknown = await (typeof payload === 'function' ? (payload as () => unknown)() : payload)
    return value === undefined ? undefined : `payload=${encodeURIComponent(encodeURIComponent(JSON.stringify(value)))}`
  }
  return {
    kind: 'livestore', url: address, scope: storeId,
    metadata: { name: 'livestore', description: `LiveStore sync, store ${storeId}`, protocol: `sync-cf ${dialect} over ${dialect === '0.3' ? 'ws' : transport === 'auto' ? 'ws or http' : transport}`, endpoint: address },
    supports: { pullPageInfoKnown: true, pullLive: live, idempotent: false },
    wire: { wire: dialect === '0.3' ? dialect : transport },
    ...(dialect === '0.3' ? { admin: liveStoreAdmin(address, storeId, query) } : {}),
    ...given({ query, retry, pingIntervalMs }),
  }
}

/** How to reach a stream of S2's: S2 itself, s2-lite, or a proxy that holds the token. */
export interface S2Options extends BackendOptions {
  /** The service's address, without `/v1`. */
  baseUrl: string | URL
  basin: string
  stream: string
  /** A token, or a function that is called for each request. */
  token?: string | (() => string | undefined | Promise<string | undefined>)
  /** Makes the basin and the stream if they are missing; false. */
  create?: boolean
}

/** A backend that keeps events in a stream of S2's, one in each record, by its REST v1. */
export function s2({ baseUrl, basin, stream, token, create = false, retry, pingIntervalMs }: S2Options): Backend {
  if (!basin || !stream) throw new DriftlineError('unexpected', 's2() needs a basin and a stream: { baseUrl, basin: "my-basin", stream: "my-store" }.')
  const address = addressOf(baseUrl)
  const headers = token === undefined ? undefined : async () => {
    const value = await (typeof token === 'function' ? token() : token)
    return value === undefined ? undefined : { authorization: `Bearer ${value}` }
  }
  return {
    kind: 's2', url: address, scope: `${basin}/${stream}`,
    metadata: { name: 's2', description: `S2 stream ${stream} of ${basin}`, protocol: 's2 REST v1', endpoint: address },
    supports: { pullPageInfoKnown: false, pullLive: true, idempotent: false },
    wire: { basin, stream, create },
    ...given({ headers, retry, pingIntervalMs }),
  }
}

/** How to reach LiveStore's sync-s2 proxy. */
export interface S2ProxyOptions extends BackendOptions {
  /** The proxy's address; where its routes differ, give one for all three. */
  endpoint: string | URL | { pull: string | URL; push: string | URL; ping?: string | URL }
  storeId: string
  /** Called for each request; what it gives is kept nowhere. */
  headers?: Credentials<HeadersInit>
}

/**
 * A backend that speaks the wire of LiveStore's sync-s2. Its server checks no order: two that write at once both land, in
 * some order that all see alike, and what was pushed counts once it is read back.
 */
export function s2Proxy({ endpoint, storeId, headers, retry, pingIntervalMs }: S2ProxyOptions): Backend {
  const { pull, push, ping = pull } = typeof endpoint === 'object' && 'pull' in endpoint ? endpoint : { pull: endpoint, push: endpoint }
  const [address, pushTo, pingTo] = [addressOf(pull), addressOf(push), addressOf(ping)]
  return {
    kind: 's2Proxy', url: address, scope: storeId,
    metadata: { name: 's2Proxy', description: `LiveStore sync-s2, store ${storeId}`, protocol: 'sync-s2 0.4', endpoint: address },
    supports: { pullPageInfoKnown: false, pullLive: true, idempotent: false },
    wire: { pushTo: pushTo === address ? '' : pushTo, pingTo: pingTo === address ? '' : pingTo },
    ...given({ headers, retry, pingIntervalMs }),
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
