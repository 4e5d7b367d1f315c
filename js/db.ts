// An open database.
import { Body } from './body.ts'
import { capabilities } from './capabilities.ts'
import { Collection, type Host } from './collection.ts'
import { checkConfig } from './config.ts'
import { Core, type CoreOptions } from './core.ts'
import { DriftlineError } from './errors.ts'
import { openFiles, type FileRecord, type FileStore, type FilesConfig } from './files/index.ts'
import { TransactionLog } from './log.ts'
import { Computed, type Readable } from './readable.ts'
import type { Backend } from './backends.ts'
import { Remote } from './remote.ts'
import type { GivenScope } from './scope.ts'
import { snapshot } from './snapshot.ts'
import type { Transaction } from './transaction.ts'
import type { Capabilities, CollectionConfig, Status } from './types.ts'
import { deleteDatabase, init, type WasmSource } from './wasm.ts'

export interface OpenOptions {
  /** The database's name; one database for each signed-in user. */
  name: string
  /** `strict`: what is durable survives a loss of power too, not only a crash. Default `relaxed`. */
  durability?: 'relaxed' | 'strict'
  /** How many unfinished transactions the queue takes; 100,000. */
  maxPending?: number
  wasm?: WasmSource
  /** 32 bytes that ids and waits are drawn from; for tests. */
  seed?: Uint8Array
  /** @internal What stands in the global object's place: `driftline/testing`. Each call opens an instance of its own then. */
  scope?: GivenScope
}

/** Opens a database; the same instance for one name, until it is closed. */
export async function openDriftline(options: OpenOptions): Promise<Driftline> {
  const { name, durability = 'relaxed', maxPending = MAX_PENDING, wasm, seed, scope } = options
  if (typeof name !== 'string' || name === '') throw new DriftlineError('unexpected', 'openDriftline() needs a name for the database: { name: "app:user-42" }. Nothing was opened.')
  if (seed !== undefined && seed.length !== SEED_BYTES) throw new DriftlineError('unexpected', `A seed has ${SEED_BYTES} bytes, and this one has ${seed.length}. Nothing was opened.`)
  if (scope === undefined && typeof indexedDB === 'undefined') {
    throw new DriftlineError('storage_unavailable', 'There is no IndexedDB here: this is a server, or no page at all. Nothing was opened; open the database in the browser, or in tests by driftline/testing.')
  }
  const known = scope === undefined ? open.get(name) : undefined
  if (known !== undefined) return known
  const opening = (async () => {
    await init(wasm)
    const bytes = seed ?? crypto.getRandomValues(new Uint8Array(SEED_BYTES))
    return new Driftline({ name, strict: durability === 'strict', maxPending, seed: bytes, scope }, scope?.capabilities ?? await capabilities())
  })()
  if (scope !== undefined) return opening
  open.set(name, opening)
  opening.catch(() => open.delete(name))
  return opening
}

/** @internal A file store that may still be opening. */
export interface OpenFiles { config: FilesConfig; store: Promise<FileStore>; opened?: FileStore }

/** An open database. `error` events carry `{ error, transaction? }`: what nobody else has heard of. */
export class Driftline extends EventTarget {
  readonly name: string
  readonly transactions: TransactionLog
  readonly status: Readable<Status>
  readonly capabilities: Capabilities

  readonly #core: Core
  readonly #given: GivenScope | undefined
  readonly #status: Computed<Status>
  readonly #collections = new Map<string, Collection<never>>()
  readonly #onCollection = new Set<(collection: Collection<unknown>) => void>()
  readonly #remotes = new Map<string, { backend: Backend; remote: Remote }>()
  #body: { body: Body; transaction: Transaction | undefined } | undefined
  #files: OpenFiles | undefined
  /** What parts of the database do before it closes. */
  readonly #beforeClose: (() => Promise<void>)[] = []
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(options: CoreOptions, given: Capabilities) {
    super()
    this.name = options.name
    this.capabilities = given
    this.#core = new Core(options, {
      statusChanged: () => {
        this.#status?.changed()
        for (const { remote } of this.#remotes.values()) remote.changed()
      },
      transactionChanged: id => this.transactions?.changed(id),
      failed: (error, transaction) => this.#failed(error, transaction),
      pinged: (number, error) => {
        for (const { remote } of this.#remotes.values()) if (remote.number === number) remote.pinged(error)
      },
    })
    this.transactions = new TransactionLog(this.#core)
    this.#status = new Computed(() => this.#statusNow())
    this.status = this.#status
    this.#given = options.scope
    const { scope } = this.#core
    for (const event of ['online', 'offline']) scope.addEventListener?.(event, () => this.#status.changed())
  }

  /** Registers a collection; the same one for the same config object. */
  collection<T>(config: CollectionConfig<T>): Collection<T> {
    return this.#register(config, {})
  }

  /** Connects a backend; the same remote for the same address and scope. */
  connect(backend: Backend): Remote {
    this.#checkOpen('connect')
    const key = `${backend.kind} ${backend.url} ${backend.scope}`
    const known = this.#remotes.get(key)
    if (known !== undefined && known.backend.headers === backend.headers) return known.remote
    const remote = new Remote(this.#core, backend)
    this.#remotes.set(key, { backend, remote })
    return remote
  }

  /**
   * Makes one atomic transaction of the writes inside `body`. A throw undoes all of them; a call inside another joins it.
   * `body` must be synchronous.
   */
  transaction(body: () => unknown, options: { metadata?: unknown; mutationFn?: string } = {}): Transaction {
    this.#checkOpen('transaction')
    if (this.#body !== undefined) {
      refuseAsync(body())
      return this.#proxy()
    }
    const made = new Body()
    const metadata = options.metadata === undefined ? undefined : snapshot(options.metadata).value
    this.#body = { body: made, transaction: undefined }
    try {
      refuseAsync(body())
    } finally {
      this.#body = undefined
      made.undo()
    }
    const { client } = this.#core
    return this.#core.written(this.#core.call(() => client.transact(made.flat, undefined, options.mutationFn, metadata)), made.flat.length > 0)
  }

  /** Opens the file store; the same one for the same config object. Its records are the collection `files`. */
  files(config: FilesConfig): Promise<FileStore> {
    this.#checkOpen('files')
    if (this.#files?.config === config) return this.#files.store
    const sync = config.records === undefined ? { id: FILES } : { id: FILES, remote: config.records, entity: FILE_ENTITY }
    // The service worker reads the mirror, also while no page is open.
    const collection = this.#register<FileRecord>({ sync }, { mirror: true })
    const store = openFiles({ database: this.name, collection, config })
    this.#beforeClose.push(() => store.then(opened => opened.close(), () => {}))
    const files: OpenFiles = { config, store }
    this.#files = files
    store.then(opened => { files.opened = opened }, () => {})
    return store
  }

  /** @internal What `files` gave last; the same object until it is called with another config. */
  get fileStore(): Readonly<OpenFiles> | undefined { return this.#files }

  /** Holds all sending; what is written meanwhile is kept. */
  pause(reason = 'paused'): void {
    this.#checkOpen('pause')
    this.#core.call(() => this.#core.client.pause(reason))
  }

  /** Releases every hold: pauses, and what waits for credentials. */
  resume(): void {
    this.#checkOpen('resume')
    this.#core.call(() => this.#core.client.resume())
  }

  /** Writes what is still to be written and closes the database. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const closing of this.#beforeClose) await closing()
      await this.#core.client.close()
      if (this.#given === undefined) open.delete(this.name)
    })()
    return this.#closing
  }

  /** @internal The time by the database's clock, in milliseconds since 1970. */
  get now(): number { return this.#given?.now() ?? Date.now() }

  /** @internal Calls back with each collection, those that are registered already first. */
  onCollection(listener: (collection: Collection<unknown>) => void): () => void {
    for (const collection of this.#collections.values()) listener(collection as unknown as Collection<unknown>)
    this.#onCollection.add(listener)
    return () => { this.#onCollection.delete(listener) }
  }

  /** @internal Resolves once every disk operation that runs now has been answered. */
  idle(): Promise<void> { return this.#core.client.idle() }

  /** Closes the database and deletes it, with its files. */
  async destroy(): Promise<void> {
    await this.close()
    if (this.#given?.journal !== undefined) return this.#given.journal.destroy()
    await deleteDatabase(this.name)
    await deleteBlobs(this.name)
  }

  #register<T>(config: CollectionConfig<T>, extra: { mirror?: boolean }): Collection<T> {
    this.#checkOpen('collection')
    checkConfig(config)
    const known = this.#collections.get(config.sync.id) as Collection<T> | undefined
    if (known !== undefined && known.config === config) return known
    const part = this.#host()
    const collection = this.#core.registering(() => new Collection<T>(part, config, extra))
    this.#collections.set(config.sync.id, collection as unknown as Collection<never>)
    this.#status.changed()
    for (const listener of this.#onCollection) listener(collection as unknown as Collection<unknown>)
    return collection
  }

  #host(): Host {
    const body = () => this.#body?.body
    return {
      core: this.#core,
      get body() { return body() },
      bodyTransaction: () => this.#proxy(),
      failed: error => this.#failed(error),
    }
  }

  /** What a write inside a body gives: the transaction that the body becomes is not there yet. */
  #proxy(): Transaction {
    return new Proxy({}, {
      get: (_, field) => {
        // What a body returns is looked at for being a promise.
        if (field === 'then' || typeof field === 'symbol') return undefined
        throw new DriftlineError('unexpected', 'A write inside db.transaction() becomes part of that transaction. Nothing was written; use what db.transaction() returns.')
      },
    }) as Transaction
  }

  #failed(error: Error, transaction?: Transaction): void {
    this.dispatchEvent(new CustomEvent('error', { detail: { error, ...(transaction === undefined ? {} : { transaction }) } }))
  }

  #statusNow(): Status {
    const wire = this.#core.call(() => this.#core.client.status())
    const leader: Record<string, boolean> = {}
    for (let at = 0; at < wire.leader.length; at += 2) {
      const part = this.#core.collections.get(wire.leader[at] as number)
      if (part !== undefined) leader[part.id] = wire.leader[at + 1] as boolean
    }
    const { pending, failed, paused, oldestWaiting, lastError } = wire
    return {
      online: this.#core.scope.navigator?.onLine !== false,
      leader,
      pending,
      failed,
      ...(paused === undefined ? {} : { paused: { reason: paused.reason, since: new Date(paused.since), ...(paused.of === undefined ? {} : { collection: paused.of }) } }),
      ...(oldestWaiting === undefined ? {} : { oldestWaiting: { ...oldestWaiting, since: new Date(oldestWaiting.since) } }),
      ...(lastError === undefined ? {} : { lastError: asDriftlineError(this.#core.error(lastError)) }),
    }
  }

  #checkOpen(call: string): void {
    if (this.#closing !== undefined) throw new DriftlineError('closed', `${call}() was called on a closed database; what was written before is kept. Open it again with openDriftline().`)
  }
}

/** An error of the app's in the form that the status has. */
function asDriftlineError(error: Error): DriftlineError {
  return error instanceof DriftlineError ? error : new DriftlineError('unexpected', error.message, { cause: error })
}

function refuseAsync(returned: unknown): void {
  if (typeof (returned as PromiseLike<unknown> | undefined)?.then !== 'function') return
  // Its later writes can't be part of the transaction, and its rejection is not ours to report.
  Promise.resolve(returned).catch(() => {})
  throw new DriftlineError('unexpected', 'db.transaction() takes a synchronous function. Nothing was written; await first, and write then.')
}

/** Deletes the folder of the database's blobs. */
async function deleteBlobs(name: string): Promise<void> {
  const root = await navigator.storage?.getDirectory?.()
  try {
    const all = await root?.getDirectoryHandle('driftline')
    await all?.removeEntry(encodeURIComponent(name), { recursive: true })
  } catch (error) {
    if ((error as DOMException).name !== 'NotFoundError') throw error
  }
}

const open = new Map<string, Promise<Driftline>>()
const FILES = 'files'
const FILE_ENTITY = 'file'
const MAX_PENDING = 100_000
const SEED_BYTES = 32
