// TanStack DB with its offline transactions: one outbox entry a transaction, in a database of its own.
import { createCollection, localOnlyCollectionOptions } from '@tanstack/db'
import { IndexedDBAdapter, startOfflineExecutor } from '@tanstack/offline-transactions'

/** Opens a store that is offline until `goOnline`; then `persist` sends a mutation. `synced`: rows that are there from the start. */
export async function openTanstack({ name = `tanstack-${crypto.randomUUID()}`, persist = () => new Promise(() => {}), synced = [] } = {}) {
  const collection = createCollection({ id: name, getKey: row => row.id, startSync: true, sync: { sync: feed(synced) } })
  await collection.stateWhenReady()
  const storage = new Outbox(name)
  const network = new Network()
  const executor = startOfflineExecutor({
    collections: { rows: collection },
    mutationFns: { put: async ({ transaction, idempotencyKey }) => { for (const mutation of transaction.mutations) await persist(mutation, idempotencyKey) } },
    storage,
    onlineDetector: network,
    leaderElection: ALONE,
  })
  await executor.waitForInit()
  const write = change => {
    const transaction = executor.createOfflineTransaction({ mutationFnName: 'put', autoCommit: false })
    transaction.mutate(change)
    const durable = storage.expect(transaction.id)
    const completed = transaction.commit()
    completed.catch(() => {})
    return { durable, completed }
  }
  return {
    collection,
    goOnline: () => network.goOnline(),
    insert: row => write(() => { collection.insert(row) }),
    update: (key, changes) => write(() => { collection.update(key, draft => { Object.assign(draft, changes) }) }),
    close: async () => {
      executor.dispose()
      await collection.cleanup()
      storage.close()
    },
    destroy: () => storage.drop(),
  }
}

/** Its collection without an outbox: nothing is stored. */
export function openLocalOnly() {
  const collection = createCollection(localOnlyCollectionOptions({ id: `local-${crypto.randomUUID()}`, getKey: row => row.id }))
  return { collection, insert: row => collection.insert(row) }
}

/** A feed that delivers what there is, once. */
function feed(rows) {
  return ({ begin, write, commit, markReady }) => {
    begin()
    for (const value of rows) write({ type: 'insert', value })
    commit()
    markReady()
  }
}

/** Its own IndexedDB adapter; tells when an entry's request has succeeded, which is what it takes for durable. */
class Outbox extends IndexedDBAdapter {
  #name
  #expected = new Map()

  constructor(name) {
    super(name)
    this.#name = name
  }

  expect(id) {
    return new Promise((resolve, reject) => this.#expected.set(`tx:${id}`, { resolve, reject }))
  }

  async set(key, value) {
    const expected = this.#expected.get(key)
    this.#expected.delete(key)
    try {
      await super.set(key, value)
      expected?.resolve()
    } catch (error) {
      expected?.reject(error)
      throw error
    }
  }

  close() {
    this.db?.close()
  }

  drop() {
    return new Promise(resolve => { indexedDB.deleteDatabase(this.#name).onsuccess = resolve })
  }
}

/** Says that there is no network until told otherwise. */
class Network {
  #online = false
  #listeners = new Set()

  subscribe(listener) {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  goOnline() {
    this.#online = true
    for (const listener of this.#listeners) listener()
  }

  isOnline() { return this.#online }
  notifyOnline() {}
  dispose() {}
}

/** There is one tab: it leads. */
const ALONE = { requestLeadership: async () => true, releaseLeadership: () => {}, isLeader: () => true, onLeadershipChange: () => () => {} }
