// The log of transactions: what is listed, a long history included, and what the status says of a queue that stands.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AuthRequiredError, NonRetriableError } from '../../dist/index.js'
import { createTestCollection } from '../../dist/testing.js'

const open = (options = {}) => createTestCollection({ initialData: [{ id: 'a', n: 0 }, { id: 'b', n: 0 }], retry: { jitter: false }, ...options })
const ids = transactions => transactions.map(({ id }) => id)

test('filters by state, collection and time find the same before and after a reload', async () => {
  const { collection, db, syncControl } = await open()
  const done = collection.update('a', { n: 1 })
  await done.completed
  await syncControl.advance(60_000)
  const since = syncControl.now
  syncControl.failNextPersist(new NonRetriableError('no'))
  const failed = collection.update('a', { n: 2 })
  await failed.completed.catch(() => {})
  const notes = config => config.collection({ sync: { id: 'notes' } })
  const noted = notes(db).insert({ id: 'n' })
  await noted.completed
  syncControl.setNetworkDelay(1_000)
  const first = collection.update('a', { n: 3 })
  const second = collection.update('a', { n: 4 })
  await syncControl.settle()
  const check = ({ transactions }) => {
    const list = filter => ids(transactions.list(filter))
    assert.deepEqual(list(), ids([done, failed, noted, first, second]))
    assert.deepEqual(list({}), list())
    assert.deepEqual(list({ state: ['completed'] }), ids([done, noted]))
    assert.deepEqual(list({ state: ['failed'] }), ids([failed]))
    assert.deepEqual(list({ state: ['pending', 'queued', 'persisting'] }), ids([first, second]))
    assert.deepEqual(list({ state: [] }), [])
    assert.deepEqual(list({ collection: 'notes' }), ids([noted]))
    assert.deepEqual(list({ collection: 'rows', state: ['completed'] }), ids([done]))
    assert.deepEqual(list({ collection: 'none' }), [])
    assert.deepEqual(list({ since }), ids([failed, noted, first, second]))
    assert.deepEqual(list({ since: new Date(since.getTime() + 3_600_000) }), [])
    assert.deepEqual(transactions.list().map(({ state }) => state).slice(0, 3), ['completed', 'failed', 'completed'])
    assert.equal(transactions.list({ state: ['failed'] })[0].error.message, 'no')
    assert.equal(transactions.list()[0].mutations[0].changes.n, 1)
  }
  check(db)
  assert.equal(db.transactions.list()[3], first, 'one that is not finished is the object that the call gave')
  assert.deepEqual(db.transactions.list().slice(3).map(({ state, queuedBehind }) => [state, queuedBehind]), [['persisting', undefined], ['queued', first.id]])
  const { db: again } = await syncControl.reload()
  notes(again)
  check(again)
})

test('of a long history nothing is read that nobody looks at', async () => {
  const { collection, db, syncControl } = await open()
  for (let at = 0; at < 2_000; at++) collection.insert({ id: `row-${at}`, text: 'x'.repeat(50) })
  await syncControl.heal()
  const history = db.transactions.list()
  assert.equal(history.length, 2_000)
  // Each transaction that is looked at is read from the module by itself; the list and the states need none of that.
  let reads = 0
  let listed
  const { TextDecoder: Decoder } = globalThis
  const decode = Decoder.prototype.decode
  Decoder.prototype.decode = function (...given) { reads++; return decode.apply(this, given) }
  try {
    assert.ok(db.transactions.list().every(({ state }) => state === 'completed'))
    assert.equal(db.transactions.list({ state: ['failed'] }).length, 0)
    listed = reads
    for (const transaction of history) void transaction.attempts
  } finally {
    Decoder.prototype.decode = decode
  }
  assert.ok(listed < 100, `${listed} texts were decoded for a list of 2,000`)
  assert.ok(reads > 2_000, 'a look at each of them shows in the count')
  assert.equal(history[1_234].mutations[0].key, 'row-1234')
  await history[7].completed
})

test('the promises of a transaction of an earlier session tell how it ended', async () => {
  const { collection, syncControl } = await open()
  const done = collection.update('a', { n: 1 })
  await done.completed
  syncControl.failNextPersist(new NonRetriableError('no'))
  await collection.update('b', { n: 1 }).completed.catch(() => {})
  const { db } = await syncControl.reload()
  const [first, second] = db.transactions.list()
  await Promise.all([first.durable, first.persisted, first.completed, second.durable])
  await assert.rejects(second.persisted, { name: 'NonRetriableError', message: 'no' })
  await assert.rejects(second.completed, { name: 'NonRetriableError' })
})

test('subscribers hear of each change of each transaction, until they leave', async () => {
  const { collection, db } = await open()
  const heard = []
  const leave = db.transactions.subscribe(({ id, state }) => { if (heard.at(-1)?.[1] !== state) heard.push([id, state]) })
  const { id, completed } = collection.update('a', { n: 1 })
  await completed
  assert.deepEqual([heard[0], heard.at(-1)], [[id, 'pending'], [id, 'completed']])
  assert.ok(heard.some(([, state]) => state === 'persisting'))
  leave()
  const count = heard.length
  await collection.update('a', { n: 2 }).completed
  assert.equal(heard.length, count)
})

test('the status says of a queue that stands what waits, since when, and for what', async () => {
  const { collection, db, syncControl } = await open()
  const why = () => db.status.value.oldestWaiting?.why
  assert.equal(why(), undefined)
  syncControl.goOffline()
  const created = syncControl.now
  const first = collection.update('a', { n: 1 })
  assert.match(why(), /being written to the journal/)
  await syncControl.settle()
  assert.match(why(), /can't be reached/)
  await syncControl.advance(30_000)
  assert.deepEqual({ ...db.status.value.oldestWaiting, why: 0 }, { since: created, transactionId: first.id, why: 0 })
  collection.update('a', { n: 2 })
  assert.equal(db.status.value.pending, 2)
  syncControl.failNextPersist(new AuthRequiredError())
  syncControl.goOnline()
  await syncControl.settle()
  assert.match(why(), /credentials; call resume\(\)/)
  assert.equal(db.status.value.paused.reason, 'auth')
  syncControl.failNextPersist(new Error('the server hiccups'))
  db.resume()
  await syncControl.settle()
  assert.match(why(), /its last attempt failed \(the server hiccups\); it is tried again/)
  db.pause('on a train')
  await syncControl.advance(60_000)
  assert.match(why(), /paused: on a train/)
  assert.deepEqual([db.status.value.paused.reason, db.status.value.paused.since instanceof Date], ['on a train', true])
  db.resume()
  await syncControl.settle()
  assert.deepEqual([why(), db.status.value.pending], [undefined, 0])
})
