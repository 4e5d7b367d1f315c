// What transactions take in memory: JavaScript's heap and the module's own. The heap is read from outside, after a collection.
import { check, freshDatabase, idle, offlineCollection, rows } from './common.js'

let open

/** `before`, then `pending`, and `cycle` as often as wanted; each leaves the page at rest. */
export const memory = {
  async before() {
    const db = await freshDatabase({ maxPending: COUNT + 1 })
    const collection = offlineCollection(db)
    await collection.ready
    open = { db, collection }
  },
  async pending() {
    await Promise.all(rows(COUNT).map(row => open.collection.insert(row).durable))
    check(open.collection.size === COUNT, `${open.collection.size} of ${COUNT} rows are readable`)
  },
  async closePending() {
    await open.db.destroy()
    open = undefined
  },
  async openOnline() {
    const db = await freshDatabase()
    const collection = db.collection({ sync: { id: 'rows', setup: async () => ({ data: [{ id: 'one', count: 0 }] }) }, mutationFn: { persist: async () => {} } })
    await collection.synced
    open = { db, collection }
  },
  /** 2,000 updates of one row that are sent, completed and forgotten. */
  async cycle() {
    const { db, collection } = open
    for (let at = 0; at < CYCLE; at += BATCH) {
      const written = []
      for (let index = 0; index < BATCH; index++) written.push(collection.update('one', { count: at + index }).completed)
      await Promise.all(written)
    }
    check(await db.transactions.prune({}) > 0, 'nothing was pruned')
    while (db.transactions.list().length > 0) await idle()
    check(collection.get('one').count === CYCLE - 1, 'the row is not as written last')
  },
  /** Bytes of the module's own memory. */
  wasm: () => globalThis.wasmMemories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0),
}

const COUNT = 10_000
const CYCLE = 2_000
const BATCH = 100
