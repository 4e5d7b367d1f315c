// The types of the public API: see the documentation for what each does.
import type { DriftlineError } from './errors.ts'
import type { Remote } from './remote.ts'
import type { Transaction } from './transaction.ts'

export type { Readable } from './readable.ts'

/** Rows by key, or rows that `getKey` knows the key of. */
export type Rows<T> = Record<string, T> | Iterable<T>

/** What a sync feed delivers: a delta, or the whole anew. */
export type SyncUpdate<T> = { upsert?: Rows<T>; delete?: string[] } | { data: Rows<T> }

/** What is done about a failed `persist`. */
export type Verdict = { retry: false } | { retry: true; afterMs?: number; countsAttempt?: boolean }

/** How transactions of a collection relate. */
export type MutationStrategy<T> = { type: 'ordered'; scope?: 'object' | 'collection' } | { type: 'parallel'; merge?: Merge<T> | string }

/** Computes what shows of a row with parallel changes pending; it must not write. */
export type Merge<T> = (synced: T | undefined, pending: PendingMutation<T>[]) => T | undefined

/** The functions that send a transaction's changes. */
export interface MutationFn<T> {
  /** May give new keys for those that the transaction wrote under: what waits and what is shown follows. */
  persist(given: PersistParams<T>): Promise<void | { rekey?: Record<string, string> }>
  awaitSync?(given: AwaitSyncParams<T>): Promise<void>
}

export interface PersistParams<T> {
  /** What changed, by key; a field that was removed is there as `undefined`. Keys of other collections are `<collection>/<key>`. */
  changes: Record<string, Partial<T>>
  mutations: PendingMutation<T>[]
  /** From 1. */
  attempt: number
  transaction: Transaction
  /** Aborted when the answer is not wanted any more. */
  signal: AbortSignal
  /** As the browser's, but it throws `NetworkError` when nothing was reached, and ends with `signal`. */
  fetch: typeof fetch
}

export interface AwaitSyncParams<T> {
  changes: Record<string, Partial<T>>
  mutations: PendingMutation<T>[]
  transaction: Transaction
  sync: SyncInstance<T>
  signal: AbortSignal
}

/** What sync has delivered, held updates included. */
export interface SyncInstance<T> {
  readonly rows: ReadonlyMap<string, T>
  waitFor(predicate: (rows: ReadonlyMap<string, T>) => boolean, options?: { timeoutMs?: number }): Promise<void>
}

export interface RetryOptions {
  /** Tries after the first; 4. */
  retries?: number
  /** The bound of the first wait; 1,000. */
  baseDelayMs?: number
  /** The largest bound; 60,000. */
  maxDelayMs?: number
  /** Waits are drawn evenly from zero to the bound; true. */
  jitter?: boolean
}

export interface CollectionConfig<T> {
  sync:
    | { id: string; setup(given: { onUpdate(update: SyncUpdate<T>): void; signal: AbortSignal }): Promise<{ data: Rows<T> }> }
    | {
      id: string
      remote: Remote
      /** What the backend calls these rows; `id`. */
      entity?: string
      /** How a change is told to the backend; without it by the default names (`<entity>.inserted`, `<entity>.create`, …). It is pure. */
      toEvents?(mutation: PendingMutation<T>): BackendEvent[]
      /** What an event of the backend does to the rows; without it by the default names. It is pure, and gets every event. For backends that keep events. */
      applyEvent?(event: BackendEvent): RowWrite<T>[]
    }
    /** On this device only: what is written is done once it is durable. */
    | { id: string; setup?: undefined; remote?: undefined }
  mutationFn?: MutationFn<T>
  mutationFns?: Record<string, MutationFn<T>>
  merges?: Record<string, Merge<T>>
  strategy?: MutationStrategy<T>
  retry?: RetryOptions & { classify?(error: unknown): Verdict | undefined }
  /** 6. */
  maxConcurrentPersists?: number
  /** 30,000. */
  awaitSyncTimeoutMs?: number
  /** `row => row.id`. */
  getKey?(row: T): string
  schema?: StandardSchemaV1<unknown, T>
  /** The version of the rows' shape; 1. */
  version?: number
  /** Makes a queued mutation of an older version fit; `null` or a throw keeps it, failed, with its reason. */
  migrate?(mutation: StoredMutation, from: number): StoredMutation | null
}

/** An event of a backend, or a mutation by its name there. */
export interface BackendEvent { name: string; args: unknown }

/** What an event does to a row. */
export type RowWrite<T> = { type: 'put'; key: string; value: T } | { type: 'update'; key: string; changes: Partial<T> } | { type: 'delete'; key: string }

/** A queued mutation, as it is stored. */
export interface StoredMutation {
  collection: string
  version: number
  key: string
  type: 'insert' | 'update' | 'delete'
  original?: unknown
  modified?: unknown
  changes: unknown
  metadata: unknown
}

/** A row before and after. */
export interface Change<T> { type: 'insert' | 'update' | 'delete'; key: string; value?: T; previous?: T }

export type TransactionState = 'pending' | 'queued' | 'persisting' | 'persisted_awaiting_sync' | 'completed' | 'failed'

/** Which transactions are meant: in one of these states, with a mutation of this collection, made at this time or later. */
export interface TransactionFilter { state?: TransactionState[]; collection?: string; since?: Date }

export interface Attempt { id: string; startedAt: Date; completedAt?: Date; error?: Error; retryScheduledFor?: Date }

export interface PendingMutation<T = unknown> {
  mutationId: string
  collection: string
  key: string
  type: 'insert' | 'update' | 'delete'
  original?: T
  modified?: T
  changes: Partial<T>
  metadata: unknown
  createdAt: Date
  updatedAt: Date
  state: 'created' | 'persisting' | 'synced'
}

export interface Status {
  online: boolean
  /** Whether this tab sends, for each collection. */
  leader: Record<string, boolean>
  paused?: { reason: string; since: Date; collection?: string }
  /** Transactions that are not finished. */
  pending: number
  /** Transactions that failed and were not discarded. */
  failed: number
  oldestWaiting?: { since: Date; transactionId: string; why: string }
  lastError?: DriftlineError
}

/** What this browser gives. */
export interface Capabilities {
  opfs: boolean
  /** In workers only; this is whether the browser has it at all. */
  syncAccessHandle: boolean
  locks: boolean
  broadcastChannel: boolean
  serviceWorker: boolean
  backgroundSync: boolean
  /** Whether the site's storage was granted to last. */
  persisted: boolean
}

/** The part of the Standard Schema interface (version 1) that is used. */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] }
