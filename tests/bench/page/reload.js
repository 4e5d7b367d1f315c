// A page that is loaded with 10,000 writes still pending: from the call that opens the store until all rows can be read. The floor opens a
// plain IndexedDB with as many records and puts them into a Map.
import { openDriftline } from 'driftline'
import { check, getAllRaw, offlineCollection, openRaw, putRaw, rows } from './common.js'
import { openReplicache } from './peers/replicache.js'
import { openTanstack } from './peers/tanstack.js'

/** `prepare` writes once; the contender is called in a page that has just loaded. */
export const reload = {
  prepare: {
    async driftline() {
      const db = await openDriftline({ name: 'bench-reload' })
      const collection = offlineCollection(db)
      await collection.ready
      await Promise.all(rows(COUNT).map(row => collection.insert(row).durable))
      await db.close()
    },
    async raw() {
      const database = await openRaw('raw-reload')
      await putRaw(database, rows(COUNT))
      database.close()
    },
    async tanstack() {
      const store = await openTanstack({ name: 'tanstack-reload' })
      await Promise.all(rows(COUNT).map(row => store.insert(row).durable))
      await store.close()
    },
    async replicache() {
      const store = openReplicache({ name: 'replicache-reload' })
      await Promise.all(rows(COUNT).map(store.insert))
      await store.persist()
      await store.close()
    },
  },
  async driftline() {
    const start = performance.now()
    const db = await openDriftline({ name: 'bench-reload' })
    const collection = offlineCollection(db)
    await collection.ready
    const last = collection.get(`row-${COUNT - 1}`)
    const took = performance.now() - start
    check(last?.order === COUNT - 1 && collection.size === COUNT, `${collection.size} of ${COUNT} rows are readable`)
    check(db.status.value.pending === COUNT, `${db.status.value.pending} of ${COUNT} are pending`)
    return { reload: took }
  },
  async raw() {
    const start = performance.now()
    const database = await openRaw('raw-reload')
    const map = new Map((await getAllRaw(database)).map(row => [row.id, row]))
    const took = performance.now() - start
    check(map.size === COUNT, `${map.size} of ${COUNT} raw rows were read`)
    database.close()
    return { reload: took }
  },
  async tanstack() {
    const start = performance.now()
    const store = await openTanstack({ name: 'tanstack-reload' })
    const took = performance.now() - start
    check(store.collection.size === COUNT, `${store.collection.size} of ${COUNT} rows are readable`)
    return { reload: took }
  },
  async replicache() {
    const start = performance.now()
    const store = openReplicache({ name: 'replicache-reload' })
    const found = await store.rows()
    const took = performance.now() - start
    check(found.length === COUNT, `${found.length} of ${COUNT} rows are readable`)
    return { reload: took }
  },
}

const COUNT = 10_000
