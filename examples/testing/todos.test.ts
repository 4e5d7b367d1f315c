// How an app's collections are tested with `driftline/testing`, by Vitest in Node and in a browser alike. The engine is the real one;
// its disk is in memory, its backend does what the test says, and its clock moves only when it is told to.
import { createTestCollection } from 'driftline/testing'
import { afterEach, expect, test } from 'vitest'
import { completeAll, remaining, sendTo, type Todo } from './todos.ts'

const milk: Todo = { id: 'milk', title: 'Buy milk', done: false }
const tea: Todo = { id: 'tea', title: 'Buy tea', done: false }

/** A new database for each test. Waits without jitter, so that a test can say when a try is due. */
async function setUp(options: { answers?: number[] } = {}) {
  const { answers } = options
  const made = await createTestCollection<Todo>({
    initialData: [milk, tea],
    retry: { jitter: false },
    // Without a mutationFn the fake backend takes everything.
    ...(answers === undefined ? {} : { mutationFn: sendTo(async () => ({ status: answers.shift() ?? 200 })) }),
  })
  cleanUp.push(() => made.syncControl.dispose())
  return made
}

const cleanUp: (() => Promise<void>)[] = []
afterEach(async () => { for (const clean of cleanUp.splice(0)) await clean() })

test('a change shows at once, and is sent as one transaction', async () => {
  const { collection, syncControl } = await setUp()
  completeAll(collection)
  expect(remaining(collection)).toBe(0)
  await syncControl.settle()
  expect(syncControl.persisted.map(({ changes }) => changes)).toEqual([{ milk: { done: true }, tea: { done: true } }])
})

test('what the server never takes is rolled back', async () => {
  const { collection } = await setUp({ answers: [422] })
  const transaction = collection.update('milk', { title: '' })
  expect(collection.get('milk')?.title).toBe('')
  await expect(transaction.completed).rejects.toThrow('does not take this')
  expect(collection.get('milk')).toEqual(milk)
})

test('a busy server is asked again when it said, and an error after a second, two seconds …', async () => {
  const { collection, syncControl } = await setUp({ answers: [429, 500, 200] })
  const transaction = collection.update('milk', { done: true })
  await syncControl.advance(5_000)
  expect(transaction.attempts).toHaveLength(2)
  await syncControl.advance(2_000)
  expect(transaction.state).toBe('completed')
})

test('what builds on a change that fails goes with it', async () => {
  const { collection, syncControl } = await setUp({ answers: [422] })
  const first = collection.update('milk', { title: 'Oat milk' })
  const second = collection.update('milk', { done: true })
  await syncControl.settle()
  expect(second.error).toMatchObject({ transactionId: first.id, error: { code: 'cascade' } })
  expect(collection.get('milk')).toEqual(milk)
})

test('offline, work goes on and is kept; online again, it is sent once', async () => {
  const { collection, syncControl } = await setUp()
  syncControl.goOffline()
  await collection.insert({ id: 'eggs', title: 'Buy eggs', done: false }).durable

  const reloaded = await syncControl.reload()
  expect(reloaded.collection.get('eggs')?.title).toBe('Buy eggs')

  syncControl.goOnline()
  await syncControl.settle()
  expect(syncControl.persisted).toHaveLength(1)
  expect(reloaded.db.status.value.pending).toBe(0)
})

test('a crash before the answer was noted sends again under the same idempotency key', async () => {
  const { collection, syncControl } = await setUp()
  const crashed = syncControl.crash('afterPersist')
  collection.update('milk', { done: true })
  await crashed
  await syncControl.reload()
  const [first, second] = syncControl.persisted
  expect(second).toMatchObject({ idempotencyKey: first?.idempotencyKey, repeated: true })
})

test('someone else’s change arrives, over a slow network', async () => {
  const { collection, syncControl } = await setUp()
  syncControl.setNetworkDelay(300)
  await syncControl.emitUpdate({ upsert: [{ ...milk, done: true }], delete: ['tea'] })
  expect(remaining(collection)).toBe(2)
  await syncControl.advance(300)
  expect(remaining(collection)).toBe(0)
})

test('a second tab shows the same, and sends when the first one no longer does', async () => {
  const { collection, syncControl } = await setUp()
  const second = await syncControl.secondTab()
  await collection.update('milk', { done: true }).completed
  expect(remaining(second.collection)).toBe(1)

  syncControl.freezeTab()
  const transaction = second.collection.update('tea', { done: true })
  await syncControl.advance(10_000)
  expect(transaction.state).toBe('completed')
  expect(remaining(collection)).toBe(1)

  syncControl.thawTab()
  await syncControl.settle()
  expect(remaining(collection)).toBe(0)
})

test('whatever goes wrong on the way, each durable change reaches the server once', async () => {
  const { collection, syncControl } = await setUp()
  // Drawn from a seed: what a failing run met, the next one meets again.
  syncControl.setFaults({ seed: 7, loseRequest: 0.2, loseAnswer: 0.2, repeatRequest: 0.1, failCommit: 0.1, delayMs: 400 })
  const durable: string[] = []
  const refused: unknown[] = []
  for (let at = 0; at < 30; at++) {
    const written = collection.insert({ id: `todo-${at}`, title: `Number ${at}`, done: false })
    written.durable.then(() => durable.push(written.id), error => refused.push(error.code))
    await syncControl.advance(100)
  }
  await syncControl.heal()
  const taken = syncControl.persisted.filter(({ repeated }) => !repeated).map(({ transactionId }) => transactionId)
  expect(taken.sort()).toEqual(durable.sort())
  expect(durable.length + refused.length).toBe(30)
  expect(collection.size).toBe(2 + durable.length)
})

test('a full disk is told, and takes the change back', async () => {
  const { collection, syncControl } = await setUp()
  syncControl.failNextCommit('quota')
  await expect(collection.update('milk', { done: true }).durable).rejects.toMatchObject({ code: 'quota_exceeded' })
  expect(collection.get('milk')).toEqual(milk)
})
