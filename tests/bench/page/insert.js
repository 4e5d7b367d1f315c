// 10,000 optimistic writes: each call returns with its row readable. The floor is a plain Map that gets the same rows, and one IndexedDB
// put of all of them, as a turn of the event loop ends.
import { check, freshDatabase, idle, offlineCollection, openRaw, rows, stamped, syncedCollection } from './common.js'
import { openReplicache } from './peers/replicache.js'
import { openLocalOnly, openTanstack } from './peers/tanstack.js'

/** Each contender gives `{ insert, insert-p99 }` in ms. */
export const insert = {
  async driftline() {
    const db = await freshDatabase()
    const collection = offlineCollection(db)
    await collection.ready
    const transactions = []
    const given = rows(COUNT)
    const took = stamped(given, row => { transactions.push(collection.insert(row)) })
    check(collection.size === COUNT, `${collection.size} rows are readable`)
    check(collection.get(`row-${COUNT - 1}`)?.order === COUNT - 1, 'the last row is not as written')
    await Promise.all(transactions.map(transaction => transaction.durable))
    await db.destroy()
    return took
  },
  async raw() {
    const name = `raw-${crypto.randomUUID()}`
    const database = await openRaw(name)
    const map = new Map()
    const given = rows(COUNT)
    const start = performance.now()
    for (const row of given) map.set(row.id, row)
    const transaction = database.transaction('rows', 'readwrite', { durability: 'relaxed' })
    transaction.objectStore('rows').put(given)
    transaction.commit()
    const took = performance.now() - start
    await new Promise(resolve => { transaction.oncomplete = resolve })
    check(map.size === COUNT, 'the map is not full')
    database.close()
    indexedDB.deleteDatabase(name)
    return { total: took }
  },
  async tanstack() {
    const store = await openTanstack()
    const durable = []
    const took = stamped(rows(COUNT), row => { durable.push(store.insert(row).durable) })
    check(store.collection.size === COUNT, `${store.collection.size} rows are readable`)
    await Promise.all(durable)
    await store.close()
    await store.destroy()
    return took
  },
  async tanstackLocal() {
    const { collection, insert: write } = openLocalOnly()
    const took = stamped(rows(COUNT), write)
    check(collection.size === COUNT, `${collection.size} rows are readable`)
    await collection.cleanup()
    return took
  },
  async replicache() {
    const store = openReplicache()
    await store.rows()
    const took = await stampedAsync(rows(COUNT), store.insert)
    check((await store.rows()).length === COUNT, 'rows are missing')
    await store.destroy()
    return took
  },
}

/** The same for updates of rows that sync has delivered. */
export const update = {
  async driftline() {
    const db = await freshDatabase()
    const collection = syncedCollection(db, rows(COUNT))
    await collection.synced
    const transactions = []
    const took = stamped(rows(COUNT), row => { transactions.push(collection.update(row.id, { done: 'changed' })) })
    check(collection.get(`row-${COUNT - 1}`)?.done === 'changed' && collection.get('row-0')?.order === 0, 'an update does not show')
    await Promise.all(transactions.map(transaction => transaction.durable))
    await db.destroy()
    return took
  },
  async raw() {
    const name = `raw-${crypto.randomUUID()}`
    const database = await openRaw(name)
    const map = new Map(rows(COUNT).map(row => [row.id, row]))
    const start = performance.now()
    const changed = []
    for (const id of map.keys()) {
      const row = { ...map.get(id), done: 'changed' }
      map.set(id, row)
      changed.push(row)
    }
    const transaction = database.transaction('rows', 'readwrite', { durability: 'relaxed' })
    transaction.objectStore('rows').put(changed)
    transaction.commit()
    const took = performance.now() - start
    await new Promise(resolve => { transaction.oncomplete = resolve })
    database.close()
    indexedDB.deleteDatabase(name)
    return { total: took }
  },
  async tanstack() {
    const given = rows(COUNT)
    const store = await openTanstack({ synced: given })
    const durable = []
    const took = stamped(given, row => { durable.push(store.update(row.id, { done: 'changed' }).durable) })
    check(store.collection.get(`row-${COUNT - 1}`)?.done === 'changed', 'an update does not show')
    await Promise.all(durable)
    await store.close()
    await store.destroy()
    return took
  },
  async replicache() {
    const store = openReplicache()
    await store.insertAll(rows(COUNT))
    const took = await stampedAsync(rows(COUNT), row => store.update(row.id, { done: 'changed' }))
    check((await store.rows()).every(row => row.done === 'changed'), 'an update does not show')
    await store.destroy()
    return took
  },
}

/** Inserts in turns of 1,000 up to 100,000 that are all pending: the mean of a call at the start and at the end, and the p99 of all. */
export const growth = {
  async driftline() {
    const db = await freshDatabase({ maxPending: GROWN + 1 })
    const collection = offlineCollection(db)
    await collection.ready
    const given = rows(GROWN)
    const parts = []
    for (let at = 0; at < GROWN; at += TURN) {
      parts.push(stamped(given.slice(at, at + TURN), row => { collection.insert(row) }))
      // The page has other things to do between turns, such as hearing that the turn before is durable.
      await idle()
    }
    check(collection.size === GROWN, `${collection.size} rows are readable`)
    await db.destroy()
    const mean = list => list.reduce((sum, { total }) => sum + total, 0) / list.length
    const edge = parts.length / 10
    return { first: mean(parts.slice(0, edge)), last: mean(parts.slice(-edge)), p99: median(parts.map(({ p99 }) => p99)) }
  },
}

/** As `stamped`, for calls that are awaited. */
async function stampedAsync(given, write) {
  const calls = new Float64Array(given.length)
  const start = performance.now()
  let last = start
  for (let at = 0; at < given.length; at++) {
    await write(given[at])
    const now = performance.now()
    calls[at] = now - last
    last = now
  }
  calls.sort()
  return { total: last - start, p99: calls[Math.floor(given.length * 0.99)] }
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1]
}

const COUNT = 10_000
const GROWN = 100_000
const TURN = 1_000
