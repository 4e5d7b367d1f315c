// Transactions until each is durable: issued together, and each awaited before the next. What was durable is read back after a close, so a
// promise that resolves too early gives a wrong result, not a good time.
import { openDriftline } from 'driftline'
import { check, getAllRaw, offlineCollection, openRaw, putRaw, rows } from './common.js'
import { openReplicache } from './peers/replicache.js'
import { openTanstack } from './peers/tanstack.js'

const contenders = {
  async driftline(count, write) {
    const name = `bench-${crypto.randomUUID()}`
    let db = await openDriftline({ name })
    let collection = offlineCollection(db)
    await collection.ready
    const given = rows(count)
    const took = await timed(() => write(given, row => collection.insert(row).durable))
    await db.close()
    db = await openDriftline({ name })
    collection = offlineCollection(db)
    await collection.ready
    check(collection.size === count, `${collection.size} of ${count} rows were durable`)
    check(given.every(row => collection.get(row.id)?.title === row.title), 'a row came back changed')
    await db.destroy()
    return took
  },
  async raw(count, write) {
    const name = `raw-${crypto.randomUUID()}`
    const database = await openRaw(name)
    const given = rows(count)
    const took = await timed(() => (write === together ? putRaw(database, [given]) : write(given, row => putRaw(database, [row]))))
    check((await getAllRaw(database)).flat().length === count, 'the raw store lacks rows')
    database.close()
    indexedDB.deleteDatabase(name)
    return took
  },
  async tanstack(count, write) {
    const store = await openTanstack()
    const took = await timed(() => write(rows(count), row => store.insert(row).durable))
    check(store.collection.size === count, `${store.collection.size} of ${count} rows are readable`)
    await store.close()
    await store.destroy()
    return took
  },
  async replicache(count, write) {
    const store = openReplicache()
    await store.rows()
    const took = await timed(async () => {
      if (write === oneByOne) return write(rows(count), async row => { await store.insert(row); await store.persist() })
      await write(rows(count), store.insert)
      await store.persist()
    })
    check(await store.pending() === count, 'not all mutations are pending')
    await store.destroy()
    return took
  },
}

/** 1,000 of them. */
export const durable = measure(Object.keys(contenders), async contender => ({
  together: await contender(1_000, together),
  'one-by-one': await contender(1_000, oneByOne),
}))

/** 10,000 of them, together. */
export const manyDurable = measure(['driftline', 'raw', 'replicache'], async contender => ({ 'many-together': await contender(10_000, together) }))

/** 10,000 of them, one by one. */
export const manyOneByOne = measure(['driftline', 'raw'], async contender => ({ 'many-one-by-one': await contender(10_000, oneByOne) }))

async function together(given, write) {
  await Promise.all(given.map(write))
}

async function oneByOne(given, write) {
  for (const row of given) await write(row)
}

function measure(names, run) {
  return Object.fromEntries(names.map(name => [name, () => run(contenders[name])]))
}

async function timed(run) {
  const start = performance.now()
  await run()
  return performance.now() - start
}
