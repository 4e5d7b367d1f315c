// The library in a page: writes, their life, and their errors, with functions of the app's own as backend.
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { Pages, Profile } from './support/tabs.mjs'

let pages, profile

before(async () => { pages = await Pages.start() })
after(() => pages.stop())
beforeEach(async () => {
  profile = await Profile.launch()
  pages.api = () => ({ status: 404 })
})
afterEach(() => profile.close())

test('a write shows in the same tick, is durable after its commit, and a reload keeps it', { timeout: 60_000 }, async () => {
  const tab = await profile.tab(pages.url)
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: () => new Promise(() => {}) } })
    await todos.ready
    const changes = []
    todos.subscribe(some => changes.push(...some))
    const row = { id: 't1', title: 'Buy milk', at: new Date(5), tags: new Set(['a']) }
    const transaction = todos.insert(row)
    const atOnce = [todos.get('t1')?.title, todos.size, changes.map(change => change.type), transaction.state]
    row.title = 'changed later'
    const later = todos.get('t1').title
    await transaction.durable
    return { atOnce, later, id: transaction.id, key: transaction.idempotencyKey, pending: db.status.value.pending }
  })
  assert.deepEqual(seen.atOnce, ['Buy milk', 1, ['insert'], 'pending'])
  assert.equal(seen.later, 'Buy milk', 'what the app changes afterwards is not written')
  assert.equal(seen.pending, 1)
  await tab.reload()
  await tab.waitForFunction(() => 'driftline' in globalThis)
  const kept = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: () => new Promise(() => {}) } })
    await todos.ready
    const { at, tags, title } = todos.get('t1')
    const [transaction] = db.transactions.list()
    return { title, at: at.getTime(), tags: [...tags], id: transaction.id, key: transaction.idempotencyKey }
  })
  assert.deepEqual(kept, { title: 'Buy milk', at: 5, tags: ['a'], id: seen.id, key: seen.key })
  assert.deepEqual(tab.problems, [])
})

test('a change is sent after it is durable, retried under one key, and completes when its row has come back', { timeout: 60_000 }, async () => {
  const tab = await profile.tab(pages.url)
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const calls = []
    const server = new Map()
    let deliver
    const todos = db.collection({
      sync: { id: 'todos', setup: async ({ onUpdate }) => { deliver = onUpdate; return { data: [...server.values()] } } },
      retry: { baseDelayMs: 1, jitter: false },
      mutationFn: {
        persist: async ({ changes, mutations, attempt, transaction }) => {
          calls.push({ attempt, key: transaction.idempotencyKey, changes, types: mutations.map(mutation => mutation.type), state: transaction.state })
          if (attempt < 3) throw new Error(`not yet, ${attempt}`)
          for (const { key, modified } of mutations) server.set(key, { ...modified, version: 1 })
        },
        awaitSync: async ({ mutations, sync }) => {
          setTimeout(() => deliver({ upsert: [...server.values()] }), 20)
          await sync.waitFor(rows => mutations.every(({ key }) => rows.has(key)))
        },
      },
    })
    await todos.synced
    const states = []
    const transaction = todos.insert({ id: 't1', title: 'Buy milk' })
    transaction.subscribe(({ state }) => { if (states.at(-1) !== state) states.push(state) })
    await transaction.persisted
    const between = todos.get('t1')
    await transaction.completed
    const update = todos.update('t1', draft => { draft.title = 'Buy oat milk'; delete draft.version })
    const [mutation] = update.mutations
    return { calls, states, between, row: todos.get('t1'), attempts: transaction.attempts.map(({ id, error }) => error?.message ?? 'fine'), removed: 'version' in mutation.changes && mutation.changes.version === undefined }
  })
  assert.deepEqual(seen.calls.slice(0, 3).map(({ attempt }) => attempt), [1, 2, 3])
  assert.equal(new Set(seen.calls.slice(0, 3).map(({ key }) => key)).size, 1)
  assert.deepEqual(seen.calls[0].changes, { t1: { id: 't1', title: 'Buy milk' } })
  assert.equal(seen.calls[0].state, 'persisting')
  assert.deepEqual(seen.between, { id: 't1', title: 'Buy milk' }, 'the written row stays until the synced one is there')
  assert.deepEqual(seen.attempts, ['not yet, 1', 'not yet, 2', 'fine'])
  assert.equal(seen.states.at(-1), 'completed')
  assert.ok(seen.states.includes('persisted_awaiting_sync'), seen.states.join())
  assert.deepEqual(seen.row, { id: 't1', title: 'Buy oat milk' })
  assert.ok(seen.removed, 'a removed field is among the changes, as undefined')
  assert.deepEqual(tab.problems, [])
})

test('a permanent failure rolls back, takes what waits on it along, and leaves the rest alone', { timeout: 60_000 }, async () => {
  const tab = await profile.tab(pages.url)
  const seen = await tab.evaluate(async () => {
    const { NonRetriableError } = driftline
    const db = await driftline.openDriftline({ name: 'app' })
    const unheard = []
    db.addEventListener('error', event => unheard.push([event.detail.error.message, event.detail.transaction.id]))
    let refuse
    const refusal = new Promise(resolve => { refuse = resolve })
    const todos = db.collection({
      sync: { id: 'todos', setup: async () => ({ data: [{ id: 'old', n: 0 }] }) },
      mutationFn: { persist: async ({ changes }) => { if ('bad' in changes) { await refusal; throw new NonRetriableError('the server says no') } } },
    })
    await todos.synced
    const first = todos.insert({ id: 'bad', n: 1 })
    const second = todos.update('bad', { n: 2 })
    const other = todos.update('old', { n: 3 })
    await second.durable
    const queued = [second.state, second.queuedBehind === first.id]
    await other.completed
    refuse()
    const [one, two] = await Promise.all([first, second].map(({ completed }) => completed.then(() => undefined, error => error)))
    const unwatched = todos.insert({ id: 'bad', n: 4 })
    await new Promise(resolve => unwatched.subscribe(({ state }) => { if (state === 'failed') setTimeout(resolve) }))
    return {
      queued, one: [one.name, one.message, one instanceof NonRetriableError], two: [two.code, two.transactionId === first.id, second.error.transactionId === first.id],
      rows: todos.data, failed: db.status.value.failed, unheard, unwatched: unwatched.id,
    }
  })
  assert.deepEqual(seen.queued, ['queued', true])
  assert.deepEqual(seen.one, ['NonRetriableError', 'the server says no', true])
  assert.deepEqual(seen.two, ['cascade', true, true])
  assert.deepEqual(seen.rows, { old: { id: 'old', n: 3 } })
  assert.equal(seen.failed, 3)
  assert.deepEqual(seen.unheard, [['the server says no', seen.unwatched]], 'only the error that nobody looked at is an event')
  assert.deepEqual(tab.problems, [], 'no promise complains by itself')
})

test('bad input is refused at the call, with the field and the limit, and writes nothing', { timeout: 60_000 }, async () => {
  const tab = await profile.tab(pages.url)
  const refused = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const schema = { '~standard': { version: 1, vendor: 'test', validate: value => typeof value.title === 'string' && value.title !== '' ? { value } : { issues: [{ message: 'a title is needed', path: ['title'] }] } } }
    const persist = async () => {}
    const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [{ id: 'old', title: 'x' }] }) }, mutationFn: { persist } })
    const checked = db.collection({ sync: { id: 'checked', setup: async () => ({ data: [] }) }, mutationFn: { persist }, schema })
    await todos.synced
    const code = call => {
      try { call(); return 'nothing was thrown' } catch (error) {
        const { code, retryable, path, limitBytes, sizeBytes, issues } = error
        return { driftline: error instanceof driftline.DriftlineError, code, retryable, path, limitBytes, large: sizeBytes > limitBytes, issues, message: error.message }
      }
    }
    const answers = {
      duplicate: code(() => todos.insert({ id: 'old' })),
      missing: code(() => todos.update('none', { title: 'y' })),
      missingDelete: code(() => todos.delete('none')),
      noKey: code(() => todos.insert({ title: 'y' })),
      numberKey: code(() => todos.delete(5)),
      longKey: code(() => todos.insert({ id: 'x'.repeat(1_025) })),
      aFunction: code(() => todos.insert({ id: 'f', deep: { list: [1, { call: () => {} }] } })),
      aNode: code(() => todos.insert({ id: 'n', body: document.body })),
      large: code(() => todos.insert({ id: 'l', text: 'x'.repeat(9 * 1024 * 1024) })),
      schema: code(() => checked.insert({ id: 's', title: '' })),
      mixed: code(() => db.transaction(() => { todos.insert({ id: 'm' }); todos.update('none', {}) })),
      async: code(() => db.transaction(async () => { todos.insert({ id: 'a' }) })),
      name: code(() => todos.withMutation({ mutationFn: 'none' })),
      twice: code(() => db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) } })),
    }
    return { answers, rows: todos.data, checked: checked.size, pending: db.transactions.list().length }
  })
  const codes = Object.fromEntries(Object.entries(refused.answers).map(([name, { code }]) => [name, code]))
  assert.deepEqual(codes, {
    duplicate: 'duplicate_key', missing: 'missing_key', missingDelete: 'missing_key', noKey: 'invalid_key', numberKey: 'invalid_key', longKey: 'invalid_key', aFunction: 'not_cloneable', aNode: 'not_cloneable',
    large: 'too_large', schema: 'invalid_row', mixed: 'missing_key', async: 'unexpected', name: 'unknown_mutation', twice: 'already_registered',
  })
  for (const answer of Object.values(refused.answers)) assert.ok(answer.driftline)
  assert.equal(refused.answers.aFunction.path, 'deep.list[1].call')
  assert.equal(refused.answers.aNode.path, 'body')
  assert.deepEqual([refused.answers.large.limitBytes, refused.answers.large.large], [8 * 1024 * 1024, true])
  assert.deepEqual(refused.answers.schema.issues, [{ message: 'a title is needed', path: ['title'] }])
  assert.deepEqual([refused.rows, refused.checked, refused.pending], [{ old: { id: 'old', title: 'x' } }, 0, 0])
  assert.deepEqual(tab.problems, [])
})

test('a transaction over two collections is one, shows to its own body, and is undone by a throw', { timeout: 60_000 }, async () => {
  const tab = await profile.tab(pages.url)
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const calls = []
    const mutationFn = { persist: async ({ changes }) => { calls.push(changes) } }
    const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn })
    const lists = db.collection({ sync: { id: 'lists', setup: async () => ({ data: [{ id: 'l1', count: 0 }] }) }, mutationFn })
    await Promise.all([todos.synced, lists.synced])
    let inside
    const transaction = db.transaction(() => {
      todos.insert({ id: 'a', n: 1 })
      todos.update('a', { n: 2 })
      db.transaction(() => lists.update('l1', draft => { draft.count++ }))
      inside = [todos.get('a').n, lists.get('l1').count]
    }, { metadata: { from: 'test' } })
    const atOnce = [todos.get('a').n, lists.get('l1').count, transaction.metadata, transaction.mutations.length]
    await transaction.completed
    const thrown = (() => { try { db.transaction(() => { todos.delete('a'); throw new RangeError('mine') }) } catch (error) { return error.message } })()
    const empty = db.transaction(() => {})
    await empty.completed
    return { inside, atOnce, calls, thrown, kept: todos.has('a'), empty: empty.state }
  })
  assert.deepEqual(seen.inside, [2, 1])
  assert.deepEqual(seen.atOnce, [2, 1, { from: 'test' }, 2])
  assert.deepEqual(seen.calls, [{ a: { id: 'a', n: 2 }, 'lists/l1': { count: 1 } }])
  assert.deepEqual([seen.thrown, seen.kept, seen.empty], ['mine', true, 'completed'])
  assert.deepEqual(tab.problems, [])
})

test('tabs see each other’s optimistic rows, one of them sends, and another takes over when it closes', { timeout: 60_000 }, async () => {
  const sent = []
  let isOpen = false
  pages.api = async (path, body) => {
    sent.push(`${path} ${body}`)
    return { status: isOpen ? 204 : 503 }
  }
  const first = await profile.tab(pages.url)
  const second = await profile.tab(pages.url)
  const start = name => async name => {
    const db = await driftline.openDriftline({ name: 'app' })
    const todos = db.collection({
      sync: { id: 'todos', setup: async () => ({ data: [] }) },
      retry: { baseDelayMs: 20, retries: 1_000, jitter: false, maxDelayMs: 20 },
      mutationFn: {
        persist: async ({ changes, fetch }) => {
          const answer = await fetch(`/api/${name}`, { method: 'POST', body: Object.keys(changes).join() })
          if (!answer.ok) throw new Error(`the server says ${answer.status}`)
        },
      },
    })
    await todos.ready
    Object.assign(globalThis, { db, todos })
  }
  await first.evaluate(start(), 'first')
  await first.waitForFunction(() => db.status.value.leader.todos)
  await second.evaluate(start(), 'second')
  const [, from] = await Promise.all([
    second.evaluate(() => todos.insert({ id: 's', n: 1 }).durable),
    first.evaluate(() => todos.insert({ id: 'f', n: 1 }).durable),
  ])
  await first.waitForFunction(() => todos.has('s'))
  await second.waitForFunction(() => todos.has('f'))
  assert.deepEqual(await second.evaluate(() => db.status.value.leader), { todos: false })
  await eventually(() => sent.length > 4)
  assert.ok(sent.every(line => line.startsWith('first ')), 'only the tab that leads sends')
  await first.close()
  await second.waitForFunction(() => db.status.value.leader.todos)
  isOpen = true
  await second.waitForFunction(() => db.status.value.pending === 0)
  assert.ok(sent.some(line => line === 'second s') && sent.some(line => line === 'second f'), sent.join('; '))
  assert.deepEqual(second.problems, [])
})

test('without credentials the queue is held and said to be so, and resume() sends it', { timeout: 60_000 }, async () => {
  const tab = await profile.tab(pages.url)
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    let signedIn = false
    const todos = db.collection({
      sync: { id: 'todos', setup: async () => ({ data: [] }) },
      mutationFn: { persist: async () => { if (!signedIn) throw new driftline.AuthRequiredError() } },
    })
    await todos.ready
    const transaction = todos.insert({ id: 'a' })
    await new Promise(resolve => { db.status.subscribe(({ paused }) => { if (paused !== undefined) resolve() }) })
    await new Promise(resolve => { const look = () => transaction.state === 'pending' ? resolve() : setTimeout(look, 1); look() })
    const held = [db.status.value.paused.reason, transaction.attempts.length]
    signedIn = true
    db.resume()
    await transaction.completed
    db.pause('for the test')
    const paused = db.status.value.paused.reason
    const waiting = todos.insert({ id: 'b' })
    await waiting.durable
    const why = db.status.value.oldestWaiting.why
    db.resume()
    await waiting.completed
    return { held, paused, why, status: db.status.value }
  })
  assert.deepEqual(seen.held, ['auth', 1])
  assert.equal(seen.paused, 'for the test')
  assert.match(seen.why, /for the test/)
  assert.equal(seen.status.pending, 0)
  assert.deepEqual(tab.problems, [])
})

test('one name is one instance, and a closed one says so and has kept everything', { timeout: 60_000 }, async () => {
  const tab = await profile.tab(pages.url)
  const seen = await tab.evaluate(async () => {
    const [db, same] = await Promise.all([driftline.openDriftline({ name: 'app' }), driftline.openDriftline({ name: 'app' })])
    const config = { sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: () => new Promise(() => {}) } }
    const todos = db.collection(config)
    const again = db.collection(config)
    await todos.ready
    todos.insert({ id: 'a', n: 1 })
    await db.close()
    const refused = [() => todos.insert({ id: 'b' }), () => db.collection(config), () => db.transaction(() => {})].map(call => { try { call() } catch (error) { return error.code } })
    const next = await driftline.openDriftline({ name: 'app' })
    const reopened = next.collection({ ...config })
    await reopened.ready
    const kept = [...reopened.keys()]
    await next.destroy()
    const names = (await indexedDB.databases()).map(({ name }) => name)
    return { one: db === same, collection: todos === again, refused, other: next !== db, kept, names }
  })
  assert.deepEqual(seen, { one: true, collection: true, refused: ['closed', 'closed', 'closed'], other: true, kept: ['a'], names: [] })
  assert.deepEqual(tab.problems, [])
})

async function eventually(holds) {
  while (!holds()) await new Promise(resolve => setTimeout(resolve, 10))
}
