// The seedable faults of driftline/testing: what an app reports as durable reaches the backend once, whatever goes wrong on the way.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTestCollection } from '../../dist/testing.js'

const everything = { loseRequest: 0.2, loseAnswer: 0.2, repeatRequest: 0.1, refuse: 0.05, loseUpdate: 0.2, failCommit: 0.1, delayMs: 500 }

/** A run under faults: 60 writes of two tabs, and what came of each. */
async function run(seed, faults = everything) {
  const made = await createTestCollection({ initialData: [{ id: 'counter', n: 0 }], seed, retry: { retries: 50, maxDelayMs: 2_000 } })
  const { syncControl } = made
  const tabs = [made, await syncControl.secondTab()]
  syncControl.setFaults({ seed, ...faults })
  const durable = []
  const lost = []
  for (let at = 0; at < 60; at++) {
    const { collection } = tabs[at % 2]
    const transaction = collection.insert({ id: `row-${at}`, at })
    transaction.durable.then(() => durable.push(transaction.id), error => lost.push(error.code))
    await syncControl.advance(50)
  }
  await syncControl.heal()
  const taken = syncControl.persisted.filter(({ repeated }) => !repeated).map(({ transactionId }) => transactionId)
  const shown = tabs.map(({ collection }) => [...collection.keys()].sort())
  const repeats = syncControl.persisted.length - taken.length
  await syncControl.dispose()
  return { durable, lost, taken, shown, repeats, sent: syncControl.persisted.map(({ transactionId, at, repeated }) => [transactionId, at.getTime(), repeated]) }
}

for (const seed of [1, 2, 3, 4, 5]) {
  test(`seed ${seed}: each durable write is taken once, both tabs end with the same rows, and a refused write is told`, { timeout: 60_000 }, async () => {
    const { durable, lost, taken, shown, repeats } = await run(seed)
    assert.equal(durable.length + lost.length, 60)
    assert.deepEqual([...taken].sort(), [...durable].sort())
    assert.equal(new Set(taken).size, taken.length)
    assert.deepEqual(shown[0], shown[1])
    assert.equal(shown[0].length, durable.length + 1)
    assert.ok(lost.length > 0 && repeats > 0, 'the faults did strike')
    assert.deepEqual([...new Set(lost)], ['storage_unavailable'])
  })
}

test('one seed run twice is the same run, and another seed another one', { timeout: 60_000 }, async () => {
  const first = await run(7)
  assert.deepEqual(await run(7), first)
  assert.notDeepEqual((await run(8)).sent, first.sent)
})

test('without faults nothing goes wrong, and a fault that always strikes does so each time', { timeout: 60_000 }, async () => {
  const { lost, repeats, taken } = await run(1, {})
  assert.deepEqual([lost, repeats, taken.length], [[], 0, 60])
  const always = await run(1, { failCommit: 1 })
  assert.deepEqual([always.lost.length, always.taken.length], [60, 0])
})

test('a lost sync update comes with the connection that is made anew', async () => {
  const { collection, syncControl } = await createTestCollection({ initialData: [] })
  syncControl.setFaults({ loseUpdate: 1 })
  await syncControl.emitUpdate([{ id: 'a' }])
  assert.equal(collection.has('a'), false)
  await syncControl.heal()
  assert.equal(collection.has('a'), true)
})

test('heal says what still waits when it can’t be sent', { timeout: 60_000 }, async () => {
  const { collection, db, syncControl } = await createTestCollection({ initialData: [] })
  db.pause('for good')
  collection.insert({ id: 'a' })
  await assert.rejects(syncControl.heal(), ({ code, message }) => code === 'unexpected' && message.includes('for good'))
})

test('a full disk takes a write back with its figures, and the next one is written', async () => {
  const { collection, db, syncControl } = await createTestCollection({ initialData: [] })
  syncControl.failNextCommit('quota')
  const refused = collection.insert({ id: 'a' })
  await assert.rejects(refused.durable, ({ code, usage, quota }) => code === 'quota_exceeded' && usage > 0 && quota >= usage)
  assert.equal(collection.has('a'), false)
  assert.equal(db.status.value.lastError.code, 'quota_exceeded')
  await collection.insert({ id: 'b' }).completed
  assert.deepEqual(syncControl.persisted.map(({ changes }) => Object.keys(changes)), [['b']])
})
