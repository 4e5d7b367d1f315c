// What a database takes from around it: the page's global object, or what `driftline/testing` gives in its place.
import type { Capabilities } from './types.ts'

/** The part of a global object that this face uses itself. */
export interface Scope {
  setTimeout(call: () => void, waitMs: number): unknown
  clearTimeout(timeout: never): void
  readonly navigator?: { readonly onLine?: boolean }
  addEventListener?(event: string, listener: () => void): void
}

/** A stand-in for the global object: `crates/web/src/scope.rs` calls it too. `online` and `offline` are its events. */
export interface GivenScope extends EventTarget, Scope {
  /** Milliseconds since 1970. */
  now(): number
  random(): number
  setTimeout(call: () => void, waitMs: number): number
  setInterval(call: () => void, everyMs: number): number
  /** Takes intervals as well. */
  clearTimeout(timer: number): void
  /** As a page has them; a held lock is no more than a promise that has not resolved. */
  readonly navigator: { readonly onLine: boolean; readonly locks: GivenLocks }
  addEventListener(event: string, listener: EventListenerOrEventListenerObject | null, options?: AddEventListenerOptions | boolean): void
  channel(name: string): GivenChannel
  /** What stands in IndexedDB's place; without it, IndexedDB is used. */
  readonly journal?: GivenJournal
  readonly capabilities: Capabilities
}

export interface GivenLocks {
  request(name: string, options: { ifAvailable?: boolean; steal?: boolean; signal?: AbortSignal }, granted: (lock: object | null) => unknown): Promise<unknown>
}

/** The part of a `BroadcastChannel` that is used. */
export interface GivenChannel {
  onmessage: ((event: { data: unknown }) => void) | null
  postMessage(message: unknown): void
  close(): void
}

export interface JournalRecord { bytes: Uint8Array; values: unknown[] }

/**
 * A journal. Each call is one transaction; a rejection means that nothing of it was kept, and why:
 * `{ kind: 'fenced', lease }`, `{ kind: 'quota', usage, quota }`, or `{ kind: 'notCloneable' | 'unavailable', message }`.
 */
export interface GivenJournal {
  load(): Promise<{ checkpoint: number; segments: [string, JournalRecord][]; log: [number, JournalRecord][] }>
  readLog(after: number): Promise<{ checkpoint: number; records: [number, JournalRecord][] }>
  append(record: JournalRecord, fences: [string, number][], mirror: [string, unknown][]): Promise<number>
  checkpoint(replaces: number, upto: number, puts: [string, JournalRecord][], deletes: string[]): Promise<boolean>
  raiseEpoch(lease: string): Promise<number>
  epochs(leases: string[]): Promise<number[]>
  putMeta(name: string, value: unknown): Promise<void>
  /** Deletes everything; for `db.destroy()`. */
  destroy(): void
}
