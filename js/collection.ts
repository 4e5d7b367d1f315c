// A collection: its rows in a plain Map, kept by the module's deltas, and the writes that go through it.
import { laidOver, type Body } from './body.ts'
import { checkStrategy } from './config.ts'
import type { CollectionPart, Core } from './core.ts'
import { DriftlineError } from './errors.ts'
import { Sender } from './persist.ts'
import { guarded } from './readable.ts'
import { drafted, keyOf, validated, validatedChanges, type KeyedRows } from './rows.ts'
import { frozen, snapshot } from './snapshot.ts'
import { SyncFeed, Synced } from './sync.ts'
import type { Transaction } from './transaction.ts'
import type { Change, CollectionConfig, Merge, MutationStrategy } from './types.ts'
import { Kind } from './wire.ts'

/** What a write may carry. */
export interface WriteOptions { metadata?: unknown }

/** What `withMutation` sets for the writes that it gives. */
export interface MutationOptions<T> { strategy?: MutationStrategy<T>; mutationFn?: string; metadata?: unknown }

/** The writes of a collection. */
export interface Writes<T> {
  insert(row: T | T[], options?: WriteOptions): Transaction
  update(key: string | string[], change: Partial<T> | ((draft: T) => void), options?: WriteOptions): Transaction
  delete(key: string | string[], options?: WriteOptions): Transaction
}

/** What a collection needs of its database. */
export interface Host {
  readonly core: Core
  /** The transaction that is being made, if the call comes from inside one. */
  readonly body: Body | undefined
  readonly bodyTransaction: () => Transaction
  failed(error: Error): void
}

/** A synchronised set of rows. Reads are synchronous; writes show at once. */
export class Collection<T> implements Writes<T> {
  readonly id: string
  /** The rows of the last session are there, from disk. */
  readonly ready: Promise<void>
  /** The first sync of this session is in. */
  readonly synced: Promise<void>
  /** @internal */
  readonly config: CollectionConfig<T>
  /** @internal */
  readonly part: CollectionPart
  /** @internal Raised with each change of a row: who draws rows sees that they changed without a copy of them. */
  version = 0
  /** @internal How far it has come. */
  progress: 'loading' | 'ready' | 'synced' | 'error' = 'loading'

  readonly #host: Host
  readonly #number: number
  readonly #rows = new Map<string, T>()
  readonly #getKey: (row: T) => string
  readonly #listeners = new Map<(changes: Change<T>[]) => void, string | undefined>()
  #changes: Change<T>[] = []
  #data: Readonly<Record<string, T>> | undefined

  /** @internal */
  constructor(host: Host, config: CollectionConfig<T>, extra: { mirror?: boolean } = {}) {
    this.#host = host
    this.config = config
    this.id = config.sync.id
    this.#getKey = config.getKey ?? (row => (row as { id: string }).id)
    const ready = settled()
    const synced = settled()
    this.ready = ready.promise
    this.synced = synced.promise
    const { core } = host
    const made = new Synced<T>(() => core.call(() => core.client.syncedRows(this.#number)), core.scope)
    const sender = new Sender(core, config, made)
    const setup = 'setup' in config.sync ? config.sync.setup : undefined
    const feed = setup !== undefined ? new SyncFeed(setup, this.#getKey, {
      deliver: (rows, full) => this.#deliver(rows, full),
      failed: error => {
        core.call(() => core.client.syncFailed(this.#number, core.keep(error)))
        host.failed(error)
      },
    }) : undefined
    const rows = this.#rows
    this.#number = core.call(() => core.client.register(registration(config, extra)))
    this.part = {
      id: this.id,
      number: this.#number,
      apply: (key, value, previous) => this.#apply(key, value as T | undefined, previous as T | undefined),
      notify: () => this.#notify(),
      syncedChanged: () => made.changed(),
      rekeyed: (from, to) => { for (const [listener, key] of this.#listeners) if (key === from) this.#listeners.set(listener, to) },
      becameReady: () => {
        if (this.progress === 'loading') this.progress = 'ready'
        ready.resolve()
      },
      becameSynced: () => {
        this.progress = 'synced'
        synced.resolve()
      },
      failedToLoad: error => {
        if (this.progress === 'loading') this.progress = 'error'
        ready.reject(error)
        synced.reject(error)
      },
      startSync: () => feed?.start(),
      stopSync: () => feed?.stop(),
      persist: (op, transaction, name, attempt) => void sender.persist(op, transaction, name, attempt),
      awaitSync: (op, transaction, name) => void sender.awaitSync(op, transaction, name),
      cancel: op => sender.cancel(op),
    }
    this.keys = rows.keys.bind(rows)
    this.values = rows.values.bind(rows)
    this.entries = rows.entries.bind(rows)
  }

  /** A row as it shows. It is frozen, down through its objects and arrays; a Date, a Map or bytes in it must not be changed either. */
  get(key: string): Readonly<T> | undefined { return this.#rows.get(key) }
  has(key: string): boolean { return this.#rows.has(key) }
  get size(): number { return this.#rows.size }
  readonly keys: () => IterableIterator<string>
  readonly values: () => IterableIterator<Readonly<T>>
  readonly entries: () => IterableIterator<[string, Readonly<T>]>
  [Symbol.iterator](): IterableIterator<[string, Readonly<T>]> { return this.#rows[Symbol.iterator]() }

  /** All rows by key; the same object until something changes. */
  get data(): Readonly<Record<string, T>> {
    return this.#host.body === undefined ? (this.#data ??= Object.fromEntries(this.#rows)) : Object.fromEntries(this.#rows)
  }

  insert(row: T | T[], options?: WriteOptions): Transaction { return this.#insert(row, options) }
  update(key: string | string[], change: Partial<T> | ((draft: T) => void), options?: WriteOptions): Transaction { return this.#update(key, change, options) }
  delete(key: string | string[], options?: WriteOptions): Transaction { return this.#delete(key, options) }

  /** Writes under another strategy or mutation function than the collection's own. */
  withMutation(options: MutationOptions<T>): Writes<T> {
    const { strategy, mutationFn } = options
    checkStrategy(strategy, this.id)
    if (mutationFn !== undefined && this.config.mutationFns?.[mutationFn] === undefined) {
      throw new DriftlineError('unknown_mutation', `The collection ${this.id} has no mutation function called ${mutationFn}. Nothing was written; name it in the collection’s mutationFns, since it must outlive this tab.`)
    }
    if (strategy?.type === 'parallel' && strategy.merge !== undefined && (typeof strategy.merge === 'function' || this.config.merges?.[strategy.merge] === undefined)) {
      throw new DriftlineError('unknown_mutation', `withMutation() takes the name of a merge that the collection ${this.id} has in its merges. Nothing was written; name it there, since it must outlive this tab.`)
    }
    const merged = (given?: WriteOptions): MutationOptions<T> => ({ ...options, ...given })
    return {
      insert: (row, given) => this.#insert(row, merged(given)),
      update: (key, change, given) => this.#update(key, change, merged(given)),
      delete: (key, given) => this.#delete(key, merged(given)),
    }
  }

  /** Calls back after rows changed, with all that changed together; with `key`, only for that row. */
  subscribe(listener: (changes: Change<T>[]) => void, options: { key?: string } = {}): () => void {
    const own = (changes: Change<T>[]) => listener(changes)
    this.#listeners.set(own, options.key)
    return () => { this.#listeners.delete(own) }
  }

  #insert(given: T | T[], options: MutationOptions<T> | undefined): Transaction {
    const { core, body } = this.#host
    if (!Array.isArray(given) && body === undefined && options === undefined) {
      const { key, value, sizeBytes } = this.#row(given)
      return core.written(core.call(() => core.client.insert(this.#number, key, value, sizeBytes)), true)
    }
    const flat: unknown[] = []
    for (const row of Array.isArray(given) ? given : [given]) {
      const { key, value, sizeBytes } = this.#row(row)
      if (body !== undefined) {
        if (this.#rows.has(key)) throw this.#duplicate(key)
        body.insert(this.#number, this.#rows, key, value, sizeBytes)
      } else {
        flat.push(Kind.insert, this.#number, key, value, sizeBytes)
      }
    }
    return body === undefined ? this.#transact(flat, options) : this.#host.bodyTransaction()
  }

  #update(key: string | string[], change: Partial<T> | ((draft: T) => void), options: MutationOptions<T> | undefined): Transaction {
    const { core, body } = this.#host
    if (!Array.isArray(key) && body === undefined && options === undefined) {
      const { value, sizeBytes } = this.#changed(key, change)
      return core.written(core.call(() => core.client.update(this.#number, key, value, sizeBytes)), true)
    }
    const flat: unknown[] = []
    for (const one of Array.isArray(key) ? key : [key]) {
      const { value, sizeBytes } = this.#changed(one, change)
      if (body !== undefined) body.update(this.#number, this.#rows, one, value as Record<string, unknown>, sizeBytes)
      else flat.push(Kind.update, this.#number, one, value, sizeBytes)
    }
    return body === undefined ? this.#transact(flat, options) : this.#host.bodyTransaction()
  }

  #delete(key: string | string[], options: MutationOptions<T> | undefined): Transaction {
    const { core, body } = this.#host
    if (!Array.isArray(key) && body === undefined && options === undefined) {
      return core.written(core.call(() => core.client.remove(this.#number, key)), true)
    }
    const flat: unknown[] = []
    for (const one of Array.isArray(key) ? key : [key]) {
      if (body === undefined) flat.push(Kind.delete, this.#number, one, undefined, 0)
      else {
        if (!this.#rows.has(one) && this.#isKnown) throw this.#missing(one)
        body.delete(this.#number, this.#rows, one)
      }
    }
    return body === undefined ? this.#transact(flat, options) : this.#host.bodyTransaction()
  }

  #transact(flat: unknown[], options: MutationOptions<T> | undefined): Transaction {
    const { core } = this.#host
    const metadata = options?.metadata === undefined ? undefined : snapshot(options.metadata).value
    const strategy = options?.strategy
    return core.written(core.call(() => core.client.transact(flat, strategy, options?.mutationFn, metadata)), flat.length > 0)
  }

  #row(given: T): { key: string; value: T; sizeBytes: number } {
    const { schema } = this.config
    const row = schema === undefined ? given : validated(schema, given)
    const key = keyOf(row, this.#getKey)
    const { value, sizeBytes } = snapshot(row)
    return { key, value, sizeBytes }
  }

  #changed(key: string, change: Partial<T> | ((draft: T) => void)): { value: unknown; sizeBytes: number } {
    if (typeof change !== 'function' && (typeof change !== 'object' || change === null || Array.isArray(change))) {
      throw new DriftlineError('invalid_row', `update() takes an object of changed fields, or a function that changes a draft; this is ${change === null ? 'null' : typeof change}. Nothing was written.`, { issues: [{ message: 'changes are an object' }] })
    }
    const { schema } = this.config
    const row = this.#rows.get(key)
    if (row === undefined && (typeof change === 'function' || schema !== undefined || this.#isKnown)) throw this.#missing(key)
    const given = typeof change === 'function' ? drafted(row as T, change) : change as Record<string, unknown>
    const changes = schema === undefined ? given : validatedChanges(schema, row as T, given)
    if (row !== undefined) this.#checkKey(key, row, changes)
    return snapshot(changes)
  }

  /** A row is not renamed by an update: what waits and what is shown goes by its key. */
  #checkKey(key: string, row: T, changes: Record<string, unknown>): void {
    if (this.config.getKey === undefined && !Object.hasOwn(changes, 'id')) return
    const after = this.#getKey(laidOver(row, changes) as T)
    if (after === key) return
    throw new DriftlineError('invalid_key', `An update of ${this.id} would turn the row’s key from ${key} into ${String(after)}. Nothing was written; insert a row under the new key and delete this one.`)
  }

  /** Whether what is not there is known to be missing: before the rows are read it may be on disk, and is looked for then. */
  get #isKnown(): boolean { return this.progress === 'ready' || this.progress === 'synced' }

  #apply(key: string, value: T | undefined, previous: T | undefined): void {
    if (value === undefined) this.#rows.delete(key)
    else this.#rows.set(key, frozen(value))
    this.#data = undefined
    this.version++
    if (this.#listeners.size === 0) return
    const type = previous === undefined ? 'insert' : value === undefined ? 'delete' : 'update'
    this.#changes.push({ type, key, ...(value === undefined ? {} : { value }), ...(previous === undefined ? {} : { previous }) })
  }

  #notify(): void {
    const changes = this.#changes
    if (changes.length === 0) return
    this.#changes = []
    for (const [listener, key] of [...this.#listeners]) {
      const wanted = key === undefined ? changes : changes.filter(change => change.key === key)
      if (wanted.length > 0) guarded(() => listener(wanted))
    }
  }

  #deliver({ keys, values }: KeyedRows, full: boolean): void {
    const { core } = this.#host
    core.call(() => core.client.syncUpdate(this.#number, keys, values, full))
  }

  #duplicate(key: string): DriftlineError {
    return new DriftlineError('duplicate_key', `The collection ${this.id} has a row with the key ${key} already. Nothing was written; update it, or insert under another key.`)
  }

  #missing(key: string): DriftlineError {
    const advice = this.#isKnown ? 'insert it first' : 'its rows are still being read from disk, so await `ready` first'
    return new DriftlineError('missing_key', `The collection ${this.id} has no row with the key ${key}. Nothing was written; ${advice}.`)
  }
}

/** The name under which a strategy's own merge function is registered. */
const STRATEGY_MERGE = ''

/** What the module is told of a collection. */
function registration<T>(config: CollectionConfig<T>, { mirror = false }: { mirror?: boolean }): Record<string, unknown> {
  const { sync, mutationFn, mutationFns = {}, merges = {}, strategy, retry, maxConcurrentPersists, version, migrate, getKey } = config
  const named: [string, Merge<T>][] = Object.entries(merges)
  let known: unknown = strategy
  if (strategy?.type === 'parallel' && typeof strategy.merge === 'function') {
    named.push([STRATEGY_MERGE, strategy.merge])
    known = { type: 'parallel', merge: STRATEGY_MERGE }
  }
  return {
    id: sync.id,
    ...('remote' in sync && sync.remote !== undefined ? { remote: sync.remote.number, entity: sync.entity ?? sync.id } : {}),
    persist: mutationFn === undefined ? undefined : numberOf(mutationFn.persist),
    hasSync: 'setup' in sync && sync.setup !== undefined,
    hasAwaitSync: mutationFn?.awaitSync !== undefined,
    functions: Object.keys(mutationFns),
    merges: named.flat(),
    strategy: known,
    retry,
    concurrentPersists: maxConcurrentPersists,
    version,
    migrate,
    keyField: getKey === undefined ? 'id' : undefined,
    mirror,
    ...('remote' in sync && sync.remote !== undefined ? { toEvents: sync.toEvents, applyEvent: sync.applyEvent } : {}),
  }
}

/** Two collections may share a transaction if they share one function: each function has a number. */
function numberOf(persist: (...given: never[]) => unknown): number {
  let number = functions.get(persist)
  if (number === undefined) functions.set(persist, number = ++lastFunction)
  return number
}

const functions = new WeakMap<object, number>()
let lastFunction = 0

/** A promise that does not complain by itself when nobody looks at its error. */
function settled(): { promise: Promise<void>; resolve(): void; reject(error: Error): void } {
  let resolve!: () => void
  let reject!: (error: Error) => void
  const promise = new Promise<void>((onResolve, onReject) => { resolve = onResolve; reject = onReject })
  promise.catch(() => {})
  return { promise, resolve, reject }
}
