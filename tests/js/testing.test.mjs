// driftline/testing in plain Node: no DOM, no IndexedDB, and no wait of real time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AuthRequiredError, NonRetriableError, RetryAfterError } from '../../dist/index.js'
import { createTestCollection } from '../../dist/testing.js'

const milk = { id: 'milk', title: 'Buy milk', done: false }
const tea = { id: 'tea', title: 'Buy tea', done: false }
const evenly = { retry: { jitter: false } }
const open = (options = {}) => createTestCollection({ initialData: [milk], ...evenly, ...options })
const sent = syncControl => syncControl.persisted.map(({ changes, repeated }) => [Object.keys(changes)[0], repeated])

test('what the backend has is there at once, and an insert shows before it is sent', async () => {
  const { collection, syncControl } = await open()
  assert.deepEqual(collection.data, { milk })
  const transaction = collection.insert(tea)
  assert.deepEqual(collection.get('tea'), tea)
  assert.equal(syncControl.persisted.length, 0)
  await transaction.completed
  assert.deepEqual(syncControl.persisted.map(({ idempotencyKey, attempt, changes, repeated }) => ({ idempotencyKey, attempt, changes, repeated })), [
    { idempotencyKey: transaction.idempotencyKey, attempt: 1, changes: { tea }, repeated: false },
  ])
  assert.deepEqual(collection.get('tea'), tea)
})

test('a change that is refused for good is taken back, and the error is the one that was given', async () => {
  const { collection, syncControl } = await open()
  const refusal = new NonRetriableError('too much milk')
  syncControl.failNextPersist(refusal)
  const transaction = collection.update('milk', draft => { draft.done = true })
  assert.equal(collection.get('milk').done, true)
  await assert.rejects(transaction.completed, error => error === refusal)
  assert.deepEqual(collection.get('milk'), milk)
  assert.equal(transaction.state, 'failed')
  assert.equal(syncControl.persisted.length, 0)
})

test('tries are made again after 1, 2, 4 and 8 seconds of the test’s clock, and five failures are the end', async () => {
  const { collection, syncControl } = await open()
  for (let call = 0; call < 5; call++) syncControl.failNextPersist(new Error(`failure ${call}`))
  const transaction = collection.update('milk', { done: true })
  await syncControl.settle()
  const begun = []
  for (const seconds of [1, 2, 4, 8]) {
    await syncControl.advance(seconds * 1_000 - 1)
    assert.equal(transaction.state, 'pending')
    await syncControl.advance(1)
    begun.push(transaction.attempts.length)
  }
  assert.deepEqual(begun, [2, 3, 4, 5])
  assert.equal(transaction.state, 'failed')
  assert.equal(transaction.error.message, 'failure 4')
  assert.deepEqual(transaction.attempts.map(({ startedAt }) => startedAt - transaction.createdAt), [0, 1_000, 3_000, 7_000, 15_000])
  assert.deepEqual(collection.get('milk'), milk)
})

test('RetryAfterError sets the wait', async () => {
  const { collection, syncControl } = await open()
  syncControl.failNextPersist(new RetryAfterError('busy', 90_000))
  const transaction = collection.update('milk', { done: true })
  await syncControl.advance(89_999)
  assert.equal(transaction.state, 'pending')
  await syncControl.advance(1)
  assert.equal(transaction.state, 'completed')
})

test('credentials that are asked for hold the collection without spending an attempt', async () => {
  const { collection, syncControl, db } = await open()
  syncControl.failNextPersist(new AuthRequiredError())
  const transaction = collection.update('milk', { done: true })
  await syncControl.advance(3_600_000)
  assert.equal(transaction.state, 'pending')
  db.resume()
  await transaction.completed
  assert.equal(syncControl.persisted.length, 1)
})

test('what was written behind a change that is refused fails with it, and what shares no row goes on', async () => {
  const { collection, syncControl } = await open({ initialData: [milk, tea] })
  syncControl.failNextPersist(new NonRetriableError('no'))
  const first = collection.update('milk', { title: 'Oat milk' })
  const behind = collection.update('milk', { done: true })
  const apart = collection.update('tea', { done: true })
  assert.deepEqual(collection.get('milk'), { ...milk, title: 'Oat milk', done: true })
  await assert.rejects(first.completed, { name: 'NonRetriableError' })
  await assert.rejects(behind.completed, error => error.code === 'cascade' && error.transactionId === first.id)
  await apart.completed
  assert.deepEqual(collection.data, { milk, tea: { ...tea, done: true } })
})

test('offline nothing is lost and no attempt is spent; going online sends it, in order', async () => {
  const { collection, syncControl, db } = await open()
  syncControl.goOffline()
  assert.equal(db.status.value.online, false)
  const first = collection.insert(tea)
  const second = collection.update('milk', { done: true })
  await first.durable
  await syncControl.advance(600_000)
  assert.equal(first.state, 'pending')
  assert.equal(syncControl.persisted.length, 0)
  await syncControl.emitUpdate([{ id: 'eggs', title: 'Buy eggs', done: false }])
  assert.equal(collection.has('eggs'), false)
  syncControl.goOnline()
  await Promise.all([first.completed, second.completed])
  assert.deepEqual(sent(syncControl), [['tea', false], ['milk', false]])
  assert.equal(collection.get('eggs').title, 'Buy eggs')
})

test('a slow network is slow by the test’s clock', async () => {
  const { collection, syncControl } = await open()
  syncControl.setNetworkDelay(250)
  const transaction = collection.update('milk', { done: true })
  await syncControl.emitUpdate([tea])
  await syncControl.advance(249)
  assert.deepEqual([transaction.state, collection.has('tea')], ['persisting', false])
  await syncControl.advance(1)
  assert.deepEqual([transaction.state, collection.has('tea')], ['completed', true])
})

test('emitUpdate takes rows, rows by key, a delta, or the whole anew', async () => {
  const { collection, syncControl } = await open()
  await syncControl.emitUpdate([tea])
  assert.deepEqual(collection.data, { milk, tea })
  await syncControl.emitUpdate({ tea: { ...tea, done: true } })
  assert.equal(collection.get('tea').done, true)
  await syncControl.emitUpdate({ upsert: { eggs: { id: 'eggs', title: 'Buy eggs', done: false } }, delete: ['tea'] })
  assert.deepEqual([...collection.keys()].sort(), ['eggs', 'milk'])
  await syncControl.emitUpdate({ data: [tea] })
  assert.deepEqual(collection.data, { tea })
})

test('a sync update to a row that is being sent is held until it is sent', async () => {
  const { collection, syncControl } = await open()
  syncControl.setNetworkDelay(100)
  const transaction = collection.update('milk', { done: true })
  await syncControl.settle()
  syncControl.setNetworkDelay(0)
  await syncControl.emitUpdate([{ ...milk, title: 'From elsewhere' }])
  assert.deepEqual(collection.get('milk'), { ...milk, done: true })
  await syncControl.advance(100)
  assert.equal(transaction.state, 'completed')
  assert.deepEqual(collection.get('milk'), { ...milk, title: 'From elsewhere', done: true })
})

test('a reload keeps what is pending, and sends it under the same key', async () => {
  const { collection, syncControl } = await open()
  syncControl.goOffline()
  const transaction = collection.insert(tea)
  await transaction.durable
  const again = await syncControl.reload()
  assert.notEqual(again.collection, collection)
  assert.deepEqual(again.collection.get('tea'), tea)
  const same = again.db.transactions.get(transaction.id)
  assert.equal(same.state, 'pending')
  syncControl.goOnline()
  await same.completed
  assert.deepEqual(syncControl.persisted.map(({ idempotencyKey }) => idempotencyKey), [transaction.idempotencyKey])
})

test('a crash before the commit loses the write, and one after it keeps it', async () => {
  for (const [point, kept] of [['beforeCommit', false], ['afterCommit', true]]) {
    const { collection, syncControl } = await open()
    syncControl.goOffline()
    const crashed = syncControl.crash(point)
    collection.insert(tea)
    await crashed
    const again = await syncControl.reload()
    assert.equal(again.collection.has('tea'), kept, point)
  }
})

test('a crash between the backend’s answer and its commit sends again, under the same key', async () => {
  const { collection, syncControl } = await open()
  const crashed = syncControl.crash('afterPersist')
  const { idempotencyKey } = collection.insert(tea)
  await crashed
  assert.deepEqual(sent(syncControl), [['tea', false]])
  const { collection: again, db } = await syncControl.reload()
  assert.deepEqual(sent(syncControl), [['tea', false], ['tea', true]])
  assert.deepEqual(new Set(syncControl.persisted.map(persisted => persisted.idempotencyKey)), new Set([idempotencyKey]))
  assert.deepEqual(db.transactions.list().map(({ state }) => state), ['completed'])
  assert.deepEqual(again.data, { milk, tea })
})

test('a second tab sees the rows and the pending work of the first, and takes over when it crashes', async () => {
  const { collection, db, syncControl } = await open()
  syncControl.goOffline()
  const transaction = collection.insert(tea)
  await transaction.durable
  const second = await syncControl.secondTab()
  assert.deepEqual(second.collection.data, { milk, tea })
  assert.deepEqual([db.status.value.leader.rows, second.db.status.value.leader.rows], [true, false])
  const fromSecond = second.collection.update('milk', { done: true })
  await fromSecond.durable
  await syncControl.settle()
  assert.equal(collection.get('milk').done, true)

  await syncControl.crash()
  await syncControl.settle()
  assert.equal(second.db.status.value.leader.rows, true)
  syncControl.goOnline()
  await second.db.transactions.get(transaction.id).completed
  await fromSecond.completed
  assert.deepEqual(sent(syncControl), [['tea', false], ['milk', false]])
})

test('a frozen tab loses its lead after some seconds, and sends nothing more when it thaws', async () => {
  const { collection, db, syncControl } = await open()
  const second = await syncControl.secondTab()
  syncControl.freezeTab()
  const transaction = second.collection.insert(tea)
  await transaction.durable
  await syncControl.advance(2_000)
  assert.deepEqual([second.db.status.value.leader.rows, transaction.state], [false, 'pending'])
  await syncControl.advance(10_000)
  assert.deepEqual([second.db.status.value.leader.rows, transaction.state], [true, 'completed'])
  assert.equal(collection.has('tea'), false)
  syncControl.thawTab()
  await syncControl.advance(5_000)
  assert.equal(db.status.value.leader.rows, false)
  assert.deepEqual(collection.data, { milk, tea })
  assert.deepEqual(sent(syncControl), [['tea', false]])
})

test('an app’s own functions are called with the backend in between', async () => {
  const saved = []
  const { collection, syncControl } = await open({
    sync: { id: 'todos', setup: async ({ onUpdate }) => { onUpdate({ upsert: [tea] }); return { data: [milk] } } },
    mutationFn: { persist: async ({ changes, attempt }) => { saved.push([attempt, changes]); return { rekey: { tmp: 'server-1' } } } },
  })
  assert.deepEqual(collection.data, { milk, tea })
  syncControl.failNextPersist()
  const transaction = collection.insert({ id: 'tmp', title: 'New', done: false })
  await syncControl.advance(1_000)
  await transaction.completed
  assert.deepEqual(saved, [[2, { tmp: { id: 'tmp', title: 'New', done: false } }]])
  assert.deepEqual(collection.get('server-1'), { id: 'server-1', title: 'New', done: false })
  await syncControl.emitUpdate({ delete: ['server-1'] })
  assert.equal(collection.has('server-1'), false)
})

test('parallel changes are sent at once, side by side, and a failure takes back its own alone', async () => {
  const { collection, syncControl } = await open({ strategy: { type: 'parallel' } })
  syncControl.setNetworkDelay(10)
  const first = collection.update('milk', { title: 'Oat milk' })
  const second = collection.update('milk', { done: true })
  await syncControl.settle()
  assert.deepEqual([first.state, second.state], ['persisting', 'persisting'])
  syncControl.failNextPersist(new NonRetriableError('no'))
  await syncControl.advance(10)
  assert.deepEqual([first.state, second.state], ['failed', 'completed'])
  assert.deepEqual(collection.get('milk'), { ...milk, done: true })
})

test('two runs of one test are the same run, jitter included', async () => {
  const run = async seed => {
    const { collection, syncControl } = await createTestCollection({ initialData: [milk], seed })
    for (let call = 0; call < 3; call++) syncControl.failNextPersist()
    const transaction = collection.update('milk', { done: true })
    await syncControl.advance(60_000)
    assert.equal(transaction.state, 'completed')
    return [transaction.id, ...transaction.attempts.map(({ startedAt }) => startedAt.getTime())]
  }
  assert.deepEqual(await run(7), await run(7))
  assert.notDeepEqual(await run(7), await run(8))
})

test('dates, maps and cycles come back from the disk as they were', async () => {
  const { collection, syncControl } = await createTestCollection({ initialData: [] })
  syncControl.goOffline()
  const row = { id: 'a', at: new Date(5), tags: new Map([['x', new Set([1])]]), big: 12n, bytes: new Uint8Array([1, 2]) }
  row.self = row
  await collection.insert(row).durable
  const { collection: again } = await syncControl.reload()
  const read = again.get('a')
  assert.deepEqual(read, row)
  assert.notEqual(read, row)
})

test('misuse is told', async () => {
  const { collection, syncControl } = await open()
  assert.throws(() => collection.insert(milk), { code: 'duplicate_key' })
  await assert.rejects(open({ store: 'indexeddb' }), { code: 'storage_unavailable' })
  await assert.rejects(syncControl.reload({ db: {}, collection }), { code: 'not_found' })
})

test('after dispose the database is closed', async () => {
  const { collection, syncControl } = await open()
  await syncControl.secondTab()
  await syncControl.dispose()
  assert.throws(() => collection.insert(tea), { code: 'closed' })
})
