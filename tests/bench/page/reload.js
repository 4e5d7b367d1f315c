// A page that is loaded with 10,000 writes still pending: from the call that opens the database until all rows can be read. The floor
// opens a plain IndexedDB with as many records and puts them into a Map.
import { openDriftline } from 'driftline'
import { check, getAllRaw, inTurn, offlineCollection, openRaw, putRaw, rows } from './common.js'

/** `prepare` writes once; `take` is called in a page that has just loaded. */
export const reload = { prepare, take }

async function prepare() {
  const db = await openDriftline({ name: 'bench-reload' })
  const collection = offlineCollection(db)
  await collection.ready
  await Promise.all(rows(COUNT).map(row => collection.insert(row).durable))
  await db.close()
  const database = await openRaw('raw-reload')
  await putRaw(database, rows(COUNT))
  database.close()
}

async function take(oursFirst) {
  return { line: 'reload', ...await inTurn(oursFirst, ours, floor) }
}

async function ours() {
  const start = performance.now()
  const db = await openDriftline({ name: 'bench-reload' })
  const collection = offlineCollection(db)
  await collection.ready
  const last = collection.get(`row-${COUNT - 1}`)
  const took = performance.now() - start
  check(last?.order === COUNT - 1 && collection.size === COUNT, `${collection.size} of ${COUNT} rows are readable`)
  check(db.status.value.pending === COUNT, `${db.status.value.pending} of ${COUNT} are pending`)
  return took
}

async function floor() {
  const start = performance.now()
  const database = await openRaw('raw-reload')
  const map = new Map((await getAllRaw(database)).map(row => [row.id, row]))
  const took = performance.now() - start
  check(map.size === COUNT, `${map.size} of ${COUNT} raw rows were read`)
  database.close()
  return took
}

const COUNT = 10_000
