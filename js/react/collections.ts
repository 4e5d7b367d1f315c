// What the components on one collection share: its rows as they draw them, its writes, and whom to tell.
import { DriftlineError, type Collection, type CollectionConfig, type Driftline, type MutationOptions, type Writes } from '../index.ts'

/** How far a collection has come: nothing yet, the rows from disk, the first sync of this session; or its rows can't be read. */
export type CollectionStatus = 'loading' | 'ready' | 'synced' | 'error'

/** What `useCollection` gives; its functions stay the same. */
export interface CollectionView<T> extends Writes<T> {
  /** All rows by key; the same object until one changes. */
  data: Readonly<Record<string, T>>
  status: CollectionStatus
  withMutation(options: MutationOptions<T>): Writes<T>
}

/** What `useSyncExternalStore` needs, and the view that belongs to a token. */
export interface CollectionSource<T> {
  subscribe(changed: () => void): () => void
  /** A number that differs when the view does: it costs nothing to ask, so that a thousand writes make one copy of the rows. */
  token(): number
  view(): CollectionView<T>
  readonly serverView: CollectionView<T>
}

/** The store of the collection that a config names, registered if it is not. */
export function collectionStore<T>(db: Driftline, config: CollectionConfig<T>): CollectionSource<T> {
  let named = byDatabase.get(db)
  if (named === undefined) byDatabase.set(db, named = new Map())
  const { id } = config.sync
  let store = named.get(id) as CollectionStore<T> | undefined
  if (store === undefined) {
    store = collectionStoreOf(db.collection(config))
    named.set(id, store as unknown as CollectionStore<never>)
  }
  return store
}

/** A collection's store. */
export function collectionStoreOf<T>(collection: Collection<T>): CollectionStore<T> {
  let store = byCollection.get(collection) as CollectionStore<T> | undefined
  if (store === undefined) byCollection.set(collection, store = new CollectionStore(collection))
  return store
}

/** What is there while there is no database: no rows, and writes that say so. */
export function absent<T>(): CollectionSource<T> {
  return ABSENT as unknown as CollectionSource<T>
}

export class CollectionStore<T> implements CollectionSource<T> {
  readonly serverView: CollectionView<T>
  readonly #collection: Collection<T>
  readonly #writes: Omit<CollectionView<T>, 'data' | 'status'>
  readonly #listeners = new Set<() => void>()
  #leave: (() => void) | undefined
  #view: CollectionView<T>
  #token = NO_TOKEN

  constructor(collection: Collection<T>) {
    this.#collection = collection
    this.#writes = {
      insert: collection.insert.bind(collection),
      update: collection.update.bind(collection),
      delete: collection.delete.bind(collection),
      withMutation: collection.withMutation.bind(collection),
    }
    this.serverView = this.#view = { ...this.#writes, data: {}, status: 'loading' }
    const progressed = () => this.#changed()
    collection.ready.then(progressed, progressed)
    collection.synced.then(progressed, progressed)
  }

  readonly subscribe = (changed: () => void): (() => void) => {
    const own = () => changed()
    this.#listeners.add(own)
    this.#leave ??= this.#collection.subscribe(() => this.#changed())
    return () => {
      this.#listeners.delete(own)
      if (this.#listeners.size > 0) return
      this.#leave?.()
      this.#leave = undefined
    }
  }

  /** Neither part ever falls, so the sum tells of every change of either. */
  readonly token = (): number => this.#collection.version + PROGRESS.indexOf(this.#collection.progress)

  view(): CollectionView<T> {
    const token = this.token()
    if (token === this.#token) return this.#view
    const { data, progress } = this.#collection
    const view = { ...this.#writes, data, status: progress }
    // Inside db.transaction() the rows are what is being made, and may be taken back: each reading is another object.
    if (this.#collection.data !== data) return view
    this.#view = view
    this.#token = token
    return view
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}

function notOpen(call: string): never {
  throw new DriftlineError('not_initialized', `${call}() was called while <DriftlineProvider> has no database. Nothing was written; open one with openDriftline() and hand it over as db.`)
}

const PROGRESS: readonly CollectionStatus[] = ['loading', 'error', 'ready', 'synced']
const NO_TOKEN = -1
const ABSENT_VIEW: CollectionView<never> = {
  data: {},
  status: 'loading',
  insert: () => notOpen('insert'),
  update: () => notOpen('update'),
  delete: () => notOpen('delete'),
  withMutation: () => notOpen('withMutation'),
}
const ABSENT: CollectionSource<never> = { subscribe: () => () => {}, token: () => NO_TOKEN, view: () => ABSENT_VIEW, serverView: ABSENT_VIEW }
const byDatabase = new WeakMap<Driftline, Map<string, CollectionStore<never>>>()
const byCollection = new WeakMap<object, unknown>()
