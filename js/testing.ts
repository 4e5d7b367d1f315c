// Collections for tests: the real engine on a disk in memory (or the browser's IndexedDB), a backend and a network that do
// what the test says, a clock that moves when it is told to, and tabs that freeze, crash and open again. Needs no DOM.
import { DriftlineError, init, openDriftline, type Collection, type CollectionConfig, type Driftline, type MutationFn, type Rows, type SyncUpdate, type WasmSource } from './index.ts'
import { FakeBackend, asUpdate, type Persisted } from './testing/backend.ts'
import { Clock, turn } from './testing/clock.ts'
import { MemoryDisk } from './testing/disk.ts'
import { FaultSource, type CommitFault, type Faults } from './testing/faults.ts'
import { SharedChannels, SharedLocks } from './testing/shared.ts'
import { TabScope, type CrashPoint, type Surroundings } from './testing/tab.ts'

export type { CommitFault, CrashPoint, Faults, Persisted }

/** A collection's config, save that everything in it may be left out, and what surrounds it. */
export interface TestCollectionOptions<T> extends Omit<CollectionConfig<T>, 'sync' | 'mutationFn'> {
  /** What the backend has at first. */
  initialData: Rows<T>
  /** Default: a feed of the fake backend's rows, which brings back what is persisted there. */
  sync?: { id: string; setup?(given: { onUpdate(update: SyncUpdate<T>): void; signal: AbortSignal }): Promise<{ data: Rows<T> }> }
  /** Called with each change that reaches the backend, before it counts as taken. Default: the backend alone. */
  mutationFn?: MutationFn<T>
  /** `memory`, the default, runs anywhere and depends on no real time. `indexeddb` is the browser's. */
  store?: 'memory' | 'indexeddb'
  /** The database's name, where the test opens it elsewhere too; a new one otherwise. */
  name?: string
  maxPending?: number
  /** When the clock begins; midnight of January 1st 2026, UTC. */
  startAt?: Date
  /** Tests with the same number draw the same ids and waits; 1. */
  seed?: number
  wasm?: WasmSource
}

/** A tab, and the collection in it. */
export interface TestTab<T> { readonly collection: Collection<T>; readonly db: Driftline }

export interface TestCollection<T> extends TestTab<T> { readonly syncControl: SyncControl<T> }

/** What a test does to the collection's surroundings. Where a tab may be named, it is the first one otherwise. */
export interface SyncControl<T> {
  /** What the fake backend got, in order, repetitions included. */
  readonly persisted: readonly Persisted<T>[]
  /** The time of the test's clock. */
  readonly now: Date
  /** The first tab, as it is since the last `reload`. */
  readonly tab: TestTab<T>
  /** Something changed at the backend: an update, or rows that are new there. Resolves once it shows, save for a delay of the network. */
  emitUpdate(update: SyncUpdate<T> | Rows<T>): Promise<void>
  /** How long what is sent and what is synced is under way from now on, by the test's clock; 0 at first. */
  setNetworkDelay(ms: number): void
  /** The next change that reaches the backend is refused with this error, and the one after it if called twice. */
  failNextPersist(error?: unknown): void
  /** The next write to the journal is refused: what the app wrote in it is taken back. In memory only. */
  failNextCommit(why: CommitFault): void
  goOffline(): void
  goOnline(): void
  /** From now on things go wrong at random, as often as this says, the same way for the same seed; instead of earlier faults. */
  setFaults(faults: Faults): void
  /** All faults end: the network is there and fast, tabs run, and time passes until nothing waits to be sent in any of them. */
  heal(): Promise<void>
  /** Moves the clock: waits, retries and delays that end within this time do, in order, with all that follows from each. */
  advance(ms: number): Promise<void>
  /** Lets everything happen that needs no clock. A real disk takes its time: wait for a promise of the transaction there. */
  settle(): Promise<void>
  /** The tab is gone without having closed, now or at some later point; what was committed stays. Resolves once it is. */
  crash(at?: CrashPoint, tab?: TestTab<T>): Promise<void>
  /** The tab is gone, if it is not yet, and opened anew. */
  reload(tab?: TestTab<T>): Promise<TestTab<T>>
  /** Opens the same database in another tab. */
  secondTab(): Promise<TestTab<T>>
  /** The browser stops running the tab, until it thaws: it keeps its locks and hears nothing. */
  freezeTab(tab?: TestTab<T>): void
  thawTab(tab?: TestTab<T>): void
  /** Closes what is open and deletes the database. */
  dispose(): Promise<void>
}

/** Opens a collection with the given rows, in a database of its own; its rows are there when this resolves. */
export async function createTestCollection<T>(options: TestCollectionOptions<T>): Promise<TestCollection<T>> {
  await load(options.wasm)
  const control = new World<T>(options)
  const { collection, db } = await control.open()
  return { collection, db, syncControl: control }
}

interface Open<T> extends TestTab<T> { readonly scope: TabScope }

class World<T> implements SyncControl<T> {
  readonly #options: TestCollectionOptions<T>
  readonly #name: string
  readonly #clock: Clock
  readonly #faults = new FaultSource()
  readonly #backend: FakeBackend<T>
  readonly #around: Surroundings
  /** In the order in which they were opened; a reloaded one stays in its place. */
  readonly #tabs: Open<T>[] = []
  #opened = 0

  constructor(options: TestCollectionOptions<T>) {
    const { store = 'memory', startAt = START, initialData, sync, getKey = (row: T) => (row as { id: string }).id } = options
    if (store === 'indexeddb' && typeof indexedDB === 'undefined') {
      throw new DriftlineError('storage_unavailable', 'There is no IndexedDB here. Nothing was opened; run the test in a browser, or use the store "memory".')
    }
    this.#options = options
    this.#name = options.name ?? `test-${++databases}-${store === 'memory' ? 0 : crypto.randomUUID()}`
    this.#clock = new Clock(startAt.getTime(), () => this.settle())
    this.#backend = new FakeBackend<T>({ rows: initialData, clock: this.#clock, faults: this.#faults, getKey, echoes: sync?.setup === undefined })
    this.#around = {
      clock: this.#clock,
      locks: new SharedLocks(),
      channels: new SharedChannels(),
      disk: store === 'memory' ? new MemoryDisk(this.#faults) : undefined,
      network: this.#backend.network,
    }
  }

  get persisted(): readonly Persisted<T>[] { return this.#backend.persisted }
  get now(): Date { return new Date(this.#clock.now) }
  get tab(): TestTab<T> { return this.#find(undefined) }

  emitUpdate(update: SyncUpdate<T> | Rows<T>): Promise<void> {
    this.#backend.emit(asUpdate(update))
    return this.settle()
  }
  setNetworkDelay(ms: number): void { this.#backend.network.delayMs = ms }
  failNextPersist(error: unknown = new Error('The fake backend refused this change.')): void { this.#backend.failNext(error) }
  failNextCommit(why: CommitFault): void {
    if (this.#around.disk === undefined) throw this.#inMemoryOnly('a write be refused')
    this.#around.disk.failNext(why)
  }
  setFaults(faults: Faults): void {
    if (this.#around.disk === undefined && faults.failCommit !== undefined) throw this.#inMemoryOnly('writes be refused')
    this.#faults.set(faults)
  }
  goOffline(): void { this.#goTo(false) }
  goOnline(): void { this.#goTo(true) }
  advance(ms: number): Promise<void> { return this.#clock.advance(ms) }

  async settle(): Promise<void> {
    await turn()
    if (this.#around.disk !== undefined) return
    // A real disk takes time, and each answer of it may be followed by another write.
    for (let round = 0; round < DISK_ROUNDS; round++) {
      for (const { db, scope } of this.#tabs) if (!scope.isDead && !scope.isFrozen) await db.idle()
      await turn()
    }
  }

  crash(at: CrashPoint = 'now', tab?: TestTab<T>): Promise<void> {
    if (this.#around.disk === undefined && (at === 'beforeCommit' || at === 'afterCommit')) throw this.#inMemoryOnly(`a tab crash at "${at}"`)
    return this.#find(tab).scope.crash(at)
  }

  async reload(tab?: TestTab<T>): Promise<TestTab<T>> {
    const old = this.#find(tab)
    old.scope.die()
    return this.open(this.#tabs.indexOf(old))
  }

  async heal(): Promise<void> {
    this.#faults.set({})
    this.#backend.network.delayMs = 0
    for (const { scope } of this.#tabs) scope.thaw()
    this.goOnline()
    await this.settle()
    const living = () => this.#tabs.filter(({ scope }) => !scope.isDead)
    const waiting = () => living().flatMap(({ db }) => (db.status.value.oldestWaiting === undefined ? [] : [db.status.value.oldestWaiting]))
    for (let second = 0; waiting().length > 0; second++) {
      if (second > HEALING_MAX_S) {
        throw new DriftlineError('unexpected', `After ${HEALING_MAX_S} seconds of the test’s clock a transaction still waits: ${waiting()[0]?.why} Everything is kept; see to what it waits for.`)
      }
      await this.advance(1_000)
    }
  }

  secondTab(): Promise<TestTab<T>> { return this.open() }
  freezeTab(tab?: TestTab<T>): void { this.#find(tab).scope.freeze() }
  thawTab(tab?: TestTab<T>): void { this.#find(tab).scope.thaw() }

  async dispose(): Promise<void> {
    for (const { db, scope } of this.#tabs) {
      if (scope.isDead) continue
      scope.thaw()
      await db.close()
      scope.die()
    }
    if (this.#around.disk !== undefined) return this.#around.disk.destroy()
    await new Promise<void>((resolve, reject) => {
      globalThis.localStorage?.removeItem(`driftline:${this.#name}`)
      const deletion = indexedDB.deleteDatabase(`driftline:${this.#name}`)
      deletion.onsuccess = () => resolve()
      deletion.onerror = () => reject(deletion.error)
    })
  }

  async open(at = this.#tabs.length): Promise<TestTab<T>> {
    const { initialData: _, sync, mutationFn, store: __, name: ___, startAt: ____, seed = 1, wasm: _____, maxPending, ...config } = this.#options
    const number = ++this.#opened
    const scope = new TabScope(this.#around, seed * SEEDS_APART + number)
    const db = await openDriftline({ name: this.#name, seed: seedOf(seed, number), scope, ...(maxPending === undefined ? {} : { maxPending }) })
    const backend = this.#backend
    const setup = sync?.setup
    const collection = db.collection<T>({
      ...config,
      sync: {
        id: sync?.id ?? 'rows',
        setup: given => (setup === undefined ? backend.feed(scope, given) : backend.appFeed(scope, setup, given)),
      },
      mutationFn: backend.sender(scope, mutationFn),
    })
    this.#tabs[at] = { collection, db, scope }
    await collection.ready
    await this.settle()
    // On a real disk the first rows may take some more turns; where the test keeps them away they are not waited for.
    const comes = () => this.#around.network.online && this.#backend.network.delayMs === 0 && collection.progress === 'ready'
    for (let round = 0; this.#around.disk === undefined && comes() && round < SYNC_ROUNDS; round++) await this.settle()
    return { collection, db }
  }

  #find(tab: TestTab<T> | undefined): Open<T> {
    const found = tab === undefined ? this.#tabs[0] : this.#tabs.find(open => open.db === tab.db)
    if (found === undefined) throw new DriftlineError('not_found', 'This is none of the test’s tabs, or it has been reloaded. Nothing was changed; use what reload() gave.')
    return found
  }

  #inMemoryOnly(what: string): DriftlineError {
    return new DriftlineError('unexpected', `On the real IndexedDB a test can’t have ${what}. Nothing was changed; use the store "memory" for that.`)
  }

  #goTo(online: boolean): void {
    this.#backend.setOnline(online)
    for (const { scope } of this.#tabs) scope.run(() => scope.dispatchEvent(new Event(online ? 'online' : 'offline')))
  }
}

/** Where there is no server to fetch the wasm file from, it is read. */
async function load(wasm: WasmSource | undefined): Promise<void> {
  const file = new URL('./wasm/client.wasm', import.meta.url)
  if (wasm !== undefined || file.protocol !== 'file:') return init(wasm)
  // Not by its name, so that bundlers for browsers leave it alone.
  const module = 'node:fs/promises'
  const { readFile } = await import(/* @vite-ignore */ /* webpackIgnore: true */ module) as { readFile(file: URL): Promise<Uint8Array<ArrayBuffer>> }
  return init(await readFile(file))
}

/** Two tabs never draw the same ids. */
function seedOf(seed: number, tab: number): Uint8Array {
  const bytes = new Uint8Array(SEED_BYTES)
  const view = new DataView(bytes.buffer)
  view.setFloat64(0, seed)
  view.setUint32(8, tab)
  return bytes
}

let databases = 0
const START = new Date(Date.UTC(2026, 0, 1))
const SEED_BYTES = 32
const SEEDS_APART = 1_000
const DISK_ROUNDS = 5
const SYNC_ROUNDS = 200
/** More than the longest wait between two tries. */
const HEALING_MAX_S = 3_600
