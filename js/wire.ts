// What goes between the wasm module and this face: the tags of what it tells, and the shapes of what it shows.

import type { GivenScope } from './scope.ts'

/** The tags in the flat array that the module tells, each with what follows it. */
export const Told = {
  /** collection, key, value, previous */
  Row: 0,
  /** collection */
  SyncedRows: 1,
  /** transaction, one of `Event`, error, cause */
  Transaction: 2,
  /** collection */
  Ready: 3,
  /** collection */
  Synced: 4,
  Status: 5,
  /** code, error, transaction */
  Error: 6,
  /** operation, transaction, collection, function, attempt */
  Persist: 7,
  /** operation, transaction, collection, function */
  AwaitSync: 8,
  /** operation */
  Cancel: 9,
  /** collection */
  StartSync: 10,
  /** collection */
  StopSync: 11,
  /** collection, old key, new key */
  Rekeyed: 12,
  /** remote, error */
  Pinged: 13,
} as const

/** What happened to a transaction. */
export const Event = { Changed: 0, Durable: 1, NotDurable: 2, Persisted: 3, Completed: 4, Failed: 5, Discarded: 6 } as const

/** Whether a listed transaction has ended, and how. */
export const Ended = { not: 0, completed: 1, failed: 2 } as const

/** What is known of an error; `original` numbers the object that this tab caught, `limit` and `actual` are what was passed and by what. */
export interface WireErrorInfo { name: string; code: string; message: string; original?: number; limit?: number; actual?: number }

export interface WireMutation {
  mutationId: string
  collection: string
  key: string
  type: 'insert' | 'update' | 'delete'
  original?: unknown
  modified?: unknown
  changes?: unknown
  metadata?: unknown
}

export interface WireAttempt { id: string; startedAt: number; completedAt?: number; error?: WireErrorInfo; retryScheduledFor?: number }

/** A transaction; times are milliseconds since 1970. */
export interface WireTransaction {
  id: string
  idempotencyKey: string
  state: 'pending' | 'queued' | 'persisting' | 'persisted_awaiting_sync' | 'completed' | 'failed'
  createdAt: number
  updatedAt: number
  mutations: WireMutation[]
  attempts: WireAttempt[]
  currentAttempt: number
  queuedBehind?: string
  metadata?: unknown
  function?: string
  error?: WireErrorInfo
  cause?: string
  durable: boolean
  warning?: WireErrorInfo
}

export interface WireStatus {
  pending: number
  failed: number
  /** number and flag of each collection, one after the other */
  leader: (number | boolean)[]
  oldestWaiting?: { since: number; transactionId: string; why: string }
  paused?: { reason: string; since: number; of?: string }
  lastError?: WireErrorInfo
}

export interface WireRemote { state: 'connecting' | 'live' | 'polling' | 'offline' | 'auth' | 'reset'; connected: boolean; cursor?: number; pending: number; lastError?: WireErrorInfo }

/** Kinds of mutations in the flat array that `transact` takes: kind, collection, key, value, size. */
export const Kind = { insert: 0, update: 1, delete: 2 } as const

/** The module's class: `crates/client/src/lib.rs`. Methods throw `WireError`. */
export interface ClientModule {
  register(spec: unknown): number
  connect(spec: unknown, endpoint: { url: string; headers?: unknown; query?: unknown; call?: unknown }): number
  pullNow(remote: number): void
  ping(remote: number): void
  insert(collection: number, key: string, row: unknown, sizeBytes: number): string
  update(collection: number, key: string, changes: unknown, sizeBytes: number): string
  remove(collection: number, key: string): string
  transact(flat: unknown[], strategy: unknown, functionName: string | undefined, metadata: unknown): string
  retry(id: string): string
  discard(id: string): void
  prune(olderThan: number | undefined, completed: boolean, failed: boolean): number
  syncUpdate(collection: number, keys: string[], values: unknown[], full: boolean): void
  syncFailed(collection: number, error: WireErrorInfo): void
  persistAnswered(op: number, failed: unknown, rekey?: string[]): void
  awaitSyncAnswered(op: number, error: unknown): void
  pause(reason: string): void
  resume(): void
  close(): Promise<void>
  /** Resolves once every disk operation that runs now has been answered. */
  idle(): Promise<void>
  transaction(id: string): WireTransaction | undefined
  /** Ids in one text, each as long as the others; and of each one of `Ended`. */
  transactions(states?: string[], collection?: string, since?: number): [ids: string, ends: Uint8Array]
  lockedObjects(): string[]
  syncedRows(collection: number): unknown[]
  status(): WireStatus
  remote(remote: number): WireRemote | undefined
  putMeta(name: string, value: unknown): Promise<void>
}

/** Opens a database: name, strict, seed, bound on unfinished transactions, what hears what is told, and the global object's stand-in. */
export type ClientClass = new (name: string, strict: boolean, seed: Uint8Array, pendingMax: number, told: (told: unknown[]) => void, scope?: GivenScope) => ClientModule
