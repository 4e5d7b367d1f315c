// An app's own backend: a log of events behind two functions. It stands in the network's place and speaks the wire of
// LiveStore's HTTP transport to the module, so that one session serves it like the others.
import type { Backend, Call, RemoteMetadata, RemoteSupports } from './backends.ts'
import { DriftlineError } from './errors.ts'
import { PING_MS } from './remote.ts'
import type { RetryOptions } from './types.ts'

/** An event of an app's own backend. */
export interface LogEvent {
  /** Its place in the log, from 1, rising. */
  position: number
  name: string
  args: unknown
  /** What the push gave it, to be given back as it is: what was written here is recognised by it. */
  id?: string
}

/** What an app's own backend does. Both functions may throw: `ServerAheadError`, `BackendResetError`, `AuthRequiredError`, `NetworkError`, `RetryAfterError`, `NonRetriableError`. */
export interface BackendDefinition {
  /** What it is called; with `scope` the name under which its cursor is kept. */
  name: string
  /** Which part of its data. */
  scope?: string
  /** The events behind the cursor (0 for all), in order, at most as many as are good for one page. */
  pull(given: { cursor: number; identity?: string }): Promise<{ events: LogEvent[]; hasMore?: boolean; /** Which log it is: another one makes everything be fetched anew. */ identity?: string }>
  /** Appends events behind `after`, all or none. Throws `ServerAheadError` if the log does not end there. */
  push(given: { events: LogEvent[]; after: number }): Promise<void>
  /** Resolves if the backend is there, and throws otherwise; called after a silence of `pingIntervalMs`. */
  ping?(): Promise<void>
  /** Listens for what others write: calls `changed`, with the head if it is known, and `closed` when it hears nothing any more. Gives what ends it. */
  connect?(given: { changed(head?: number): void; closed(): void }): () => void
  retry?: RetryOptions
  /** After how long a silence `ping` is called; 10,000. `false`: never. */
  pingIntervalMs?: number | false
  /** What is known of it, for people and tools. */
  metadata?: Partial<RemoteMetadata>
  supports?: Partial<RemoteSupports>
}

/** Makes a backend of an app's own functions. */
export function defineBackend(definition: BackendDefinition): Backend {
  const { name, scope = '', connect, ping, retry, pingIntervalMs, metadata, supports } = definition
  if (typeof definition.pull !== 'function' || typeof definition.push !== 'function' || !name) {
    throw new DriftlineError('unexpected', 'defineBackend() needs a name and the functions pull and push. Nothing was defined.')
  }
  const call: Call = (path, body) => {
    if (typeof body === 'string') return answer(definition, body)
    return connect?.({ changed: head => body(head === undefined ? '' : String(head)), closed: () => body(undefined) })
  }
  return {
    kind: 'custom', url: `app:${name}`, scope,
    metadata: { name, description: `${name}${scope === '' ? '' : `, ${scope}`}`, protocol: 'custom', endpoint: `app:${name}`, ...metadata },
    supports: { pullPageInfoKnown: false, pullLive: connect !== undefined, idempotent: false, ...supports },
    wire: { wire: 'calls', live: connect !== undefined, canPing: ping !== undefined },
    call,
    ...(retry === undefined ? {} : { retry }),
    // Without it, a pull would be what shows whether it is there.
    pingIntervalMs: ping === undefined ? false : pingIntervalMs ?? PING_MS,
  }
}

interface WireEvent { name: string; args: unknown; seqNum: number; parentSeqNum: number; clientId: string; sessionId: string }
interface WireRequest { id: string; tag: string; payload: { cursor?: { value?: { backendId: string; eventSequenceNumber: number } }; batch?: WireEvent[] } }

async function answer({ pull, push, ping }: BackendDefinition, body: string): Promise<{ status: number; body: string; retryAfterMs?: number }> {
  const { id, tag, payload } = JSON.parse(body) as WireRequest
  const ended = (exit: unknown) => ({ _tag: 'Exit', requestId: id, exit })
  const said = (frames: unknown[]) => ({ status: 200, body: JSON.stringify(frames) })
  const { batch, cursor } = payload
  const after = batch?.[0]?.parentSeqNum ?? 0
  try {
    if (tag.endsWith('Ping')) {
      await ping?.()
      return said([ended({ _tag: 'Success' })])
    }
    if (tag.endsWith('Push')) {
      await push({ after, events: (batch ?? []).map(({ name, args, seqNum, sessionId }) => ({ position: seqNum, name, args, id: sessionId })) })
      return said([ended({ _tag: 'Success', value: {} })])
    }
    const known = cursor?.value
    const from = known?.eventSequenceNumber ?? 0
    const pulled = await pull({ cursor: from, ...(known === undefined || known.backendId === NO_IDENTITY ? {} : { identity: known.backendId }) })
    let parentSeqNum = from
    const events = pulled.events.map(({ position, name, args, id: session = '' }) => {
      const eventEncoded: WireEvent = { name, args: args ?? null, seqNum: position, parentSeqNum, clientId: '', sessionId: session }
      parentSeqNum = position
      return { eventEncoded, metadata: { _tag: 'None' } }
    })
    const pageInfo = { _tag: pulled.hasMore === true ? 'MoreUnknown' : 'NoMore' }
    return said([{ _tag: 'Chunk', requestId: id, values: [{ batch: events, pageInfo, backendId: pulled.identity ?? NO_IDENTITY }] }, ended({ _tag: 'Success' })])
  } catch (thrown) {
    const failed = (error: unknown) => said([ended({ _tag: 'Failure', cause: { _tag: 'Fail', error } })])
    const { code, message, afterMs, head } = thrown as { code?: string; message?: string; afterMs?: number; head?: number }
    const text = JSON.stringify({ error: message ?? String(thrown) })
    switch (code) {
      case 'server_ahead': return failed({ _tag: 'ServerAheadError', minimumExpectedNum: head ?? after + 1, providedNum: after })
      case 'backend_reset': return failed({ _tag: 'BackendIdMismatchError', expected: 'another', received: cursor?.value?.backendId ?? NO_IDENTITY })
      case 'auth_required': return { status: 401, body: text }
      case 'non_retriable': case 'invalid_push': return { status: 422, body: text }
      case 'retry_after': return { status: 503, body: text, ...(afterMs === undefined ? {} : { retryAfterMs: afterMs }) }
      // Nothing was reached: the module hears of it as of a network that is gone.
      case 'network': case 'offline': throw thrown
      default: return failed({ _tag: 'UnknownError', message: message ?? String(thrown) })
    }
  }
}

/** What stands for the log's identity where the app gives none. */
const NO_IDENTITY = 'app'
