// 10,000 optimistic inserts: each call returns with its row readable. The floor is a plain Map that gets the same rows.
import { check, freshDatabase, inTurn, offlineCollection, rows } from './common.js'

/** One round; ours goes first or last. */
export async function insert(oursFirst) {
  return [{ line: 'insert', ...await inTurn(oursFirst, ours, floor) }]
}

async function ours() {
  const db = await freshDatabase()
  const collection = offlineCollection(db)
  await collection.ready
  const given = rows(COUNT)
  const transactions = []
  const start = performance.now()
  for (const row of given) transactions.push(collection.insert(row))
  const took = performance.now() - start
  check(collection.size === COUNT, `${collection.size} rows are readable`)
  check(collection.get(`row-${COUNT - 1}`)?.order === COUNT - 1, 'the last row is not as written')
  await Promise.all(transactions.map(transaction => transaction.durable))
  await db.destroy()
  return took
}

async function floor() {
  const map = new Map()
  const given = rows(COUNT)
  const start = performance.now()
  for (const row of given) map.set(row.id, row)
  const took = performance.now() - start
  check(map.size === COUNT, 'the map is not full')
  return took
}

const COUNT = 10_000
