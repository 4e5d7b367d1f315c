// 1,000 transactions until each is durable: issued together, and each awaited before the next. What was durable is read back after a
// close, so a promise that resolves too early gives a wrong result, not a good time.
import { openDriftline } from 'driftline'
import { check, getAllRaw, inTurn, offlineCollection, openRaw, putRaw, rows } from './common.js'

/** One round of both lines; ours goes first or last. */
export async function durable(oursFirst) {
  return [
    { line: 'together', ...await inTurn(oursFirst, () => ours(together), () => floor(togetherRaw)) },
    { line: 'one-by-one', ...await inTurn(oursFirst, () => ours(oneByOne), () => floor(oneByOneRaw)) },
  ]
}

async function together(collection, given) {
  await Promise.all(given.map(row => collection.insert(row).durable))
}

async function oneByOne(collection, given) {
  for (const row of given) await collection.insert(row).durable
}

async function togetherRaw(database, given) {
  await putRaw(database, [given])
}

async function oneByOneRaw(database, given) {
  for (const row of given) await putRaw(database, [row])
}

async function ours(write) {
  const name = `bench-${crypto.randomUUID()}`
  let db = await openDriftline({ name })
  let collection = offlineCollection(db)
  await collection.ready
  const given = rows(COUNT)
  const start = performance.now()
  await write(collection, given)
  const took = performance.now() - start
  await db.close()
  db = await openDriftline({ name })
  collection = offlineCollection(db)
  await collection.ready
  check(collection.size === COUNT, `${collection.size} of ${COUNT} rows were durable`)
  check(given.every(row => collection.get(row.id)?.title === row.title), 'a row came back changed')
  await db.destroy()
  return took
}

async function floor(write) {
  const name = `raw-${crypto.randomUUID()}`
  const database = await openRaw(name)
  const given = rows(COUNT)
  const start = performance.now()
  await write(database, given)
  const took = performance.now() - start
  check((await getAllRaw(database)).flat().length === COUNT, 'the raw store lacks rows')
  database.close()
  indexedDB.deleteDatabase(name)
  return took
}

const COUNT = 1_000
