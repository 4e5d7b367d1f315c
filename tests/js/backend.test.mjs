// An app's own backend by defineBackend(), in plain Node: two databases on one log.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BackendResetError, NetworkError, ServerAheadError, defineBackend } from '../../dist/index.js'
import { createTestCollection } from '../../dist/testing.js'

/** A log in memory, and what listens to it. */
function openLog() {
  const log = { events: [], identity: 'first', listeners: new Set(), pushes: 0, loseAnswers: 0 }
  const backend = () => defineBackend({
    name: 'memory',
    async pull({ cursor, identity }) {
      if (identity !== undefined && identity !== log.identity) throw new BackendResetError()
      return { events: log.events.slice(cursor), identity: log.identity }
    },
    async push({ events, after }) {
      log.pushes++
      if (after !== log.events.length) throw new ServerAheadError(log.events.length)
      log.events.push(...events)
      for (const changed of log.listeners) changed(log.events.length)
      if (log.loseAnswers-- > 0) throw new NetworkError('the answer was lost')
    },
    connect({ changed }) {
      log.listeners.add(changed)
      return () => log.listeners.delete(changed)
    },
  })
  return { log, backend }
}

async function device(backend) {
  const { db, syncControl } = await createTestCollection({ initialData: [] })
  const remote = db.connect(backend)
  const todos = db.collection({ sync: { id: 'todos', remote, entity: 'todo' } })
  /** Lets time pass until a condition holds. */
  const until = async (what, holds) => {
    for (let round = 0; round < 2_000; round++) {
      if (holds()) return
      await syncControl.advance(100)
    }
    assert.fail(`${what} did not come about: ${JSON.stringify(remote.status.value)}`)
  }
  return { db, remote, todos, until }
}

test('two devices share an app’s own log, and one hears of the other', async () => {
  const { log, backend } = openLog()
  const [a, b] = [await device(backend()), await device(backend())]
  await a.until('the connection', () => a.remote.status.value.state === 'live')
  assert.equal(a.remote.isConnected.value, true)
  a.todos.insert({ id: 't1', title: 'milk' })
  await b.until('the row', () => b.todos.get('t1')?.title === 'milk')
  b.todos.update('t1', { title: 'tea' })
  await a.until('the change', () => a.todos.get('t1')?.title === 'tea')
  assert.deepEqual(log.events.map(({ position, name, args }) => ({ position, name, args })), [
    { position: 1, name: 'todo.inserted', args: { id: 't1', title: 'milk' } },
    { position: 2, name: 'todo.updated', args: { id: 't1', title: 'tea' } },
  ])
})

test('what landed though its answer was lost is not sent again', async () => {
  const { log, backend } = openLog()
  const a = await device(backend())
  await a.until('the connection', () => a.remote.status.value.state === 'live')
  log.loseAnswers = 1
  const transaction = a.todos.insert({ id: 't1' })
  await a.until('the end', () => transaction.state === 'completed')
  assert.deepEqual([log.events.length, log.pushes], [1, 1])
})

test('a log that is another one is told, and what waits is written to it', async () => {
  const { log, backend } = openLog()
  const a = await device(backend())
  const told = []
  a.db.addEventListener('error', ({ detail }) => told.push(detail.error.code))
  a.todos.insert({ id: 'old' })
  await a.until('the first row', () => log.events.length === 1 && a.db.status.value.pending === 0)
  Object.assign(log, { identity: 'second', events: [] })
  a.todos.insert({ id: 'new' })
  await a.until('the new log', () => log.events.length === 1 && a.db.status.value.pending === 0)
  assert.deepEqual([...a.todos.keys()], ['new'])
  assert.ok(told.includes('backend_reset'), told.join())
})

test('an app’s own events are spoken by toEvents and applyEvent', async () => {
  const { log, backend } = openLog()
  log.events.push({ position: 1, name: 'v1.TodoCreated', args: { id: 'a', text: 'theirs' } })
  const { db, syncControl } = await createTestCollection({ initialData: [] })
  const todos = db.collection({
    sync: {
      id: 'todos',
      remote: db.connect(backend()),
      toEvents: ({ key, changes }) => [{ name: 'v1.TodoCreated', args: { id: key, text: changes.title } }],
      applyEvent: ({ name, args }) => name === 'v1.TodoCreated' ? [{ type: 'put', key: args.id, value: { id: args.id, title: args.text } }] : [],
    },
  })
  for (let round = 0; round < 2_000 && todos.get('a') === undefined; round++) await syncControl.advance(100)
  assert.deepEqual(todos.get('a'), { id: 'a', title: 'theirs' })
  const transaction = todos.insert({ id: 'b', title: 'ours' })
  for (let round = 0; round < 2_000 && transaction.state !== 'completed'; round++) await syncControl.advance(100)
  assert.deepEqual(log.events.at(-1).args, { id: 'b', text: 'ours' })
  assert.deepEqual(todos.get('b'), { id: 'b', title: 'ours' })
})
