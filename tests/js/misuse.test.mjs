// Every code of the list comes about, in a way that an app can meet; each error says what happened, what was kept and what to do;
// and nobody hears of it but who asked: no promise complains by itself.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { AuthRequiredError, DriftlineError, NetworkError, NonRetriableError, RetryAfterError, livestore, mizu } from '../../dist/index.js'
import { useStatus } from '../../dist/react.js'
import { createTestCollection } from '../../dist/testing.js'

const read = file => readFile(new URL(`../../${file}`, import.meta.url), 'utf8')
const milk = { id: 'milk', title: 'Buy milk' }
const open = (options = {}) => createTestCollection({ initialData: [milk], retry: { jitter: false }, ...options })
const unheard = []
const server = createServer(async (request, response) => {
  const [, path, , call] = request.url.split('?')[0].split('/')
  const asked = Buffer.concat(await request.toArray()).toString()
  const [status, body] = typeof answers[path] === 'function' ? answers[path](call, asked) : answers[path] ?? [404, {}]
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
})
/** What a backend answers to everything, by the first part of its path. */
const answers = {
  auth: [401, { error: 'who are you?' }],
  ahead: aheadOf,
  malformed: [200, { nothing: 'of use' }],
  empty: call => [200, call === 'snapshot' ? { data: {}, cursor: 0 } : { changes: null, has_more: false }],
  gone: call => (call === 'snapshot' ? [200, { data: {}, cursor: 5 }] : [410, { error: 'the log begins later' }]),
}
/** LiveStore's answers over HTTP: a log that is empty, and to each push that it goes on behind what was meant. */
function aheadOf(_, asked) {
  const [, requestId] = /"id":"(\d+)"/.exec(asked)
  const exit = failed => ({ _tag: 'Exit', requestId, exit: failed === undefined ? { _tag: 'Success' } : { _tag: 'Failure', cause: [{ _tag: 'Fail', error: failed }] } })
  if (/"tag":"[^"]*Push"/.test(asked)) return [200, [exit({ _tag: 'ServerAheadError', minimumExpectedNum: 7, providedNum: 0 })]]
  return [200, [{ _tag: 'Chunk', requestId, values: [{ batch: [], pageInfo: { _tag: 'NoMore' }, backendId: 'b' }] }, exit()]]
}
let url

before(async () => {
  process.on('unhandledRejection', error => unheard.push(error))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${server.address().port}`
})
after(() => {
  server.closeAllConnections()
  server.close()
})

/** What a call throws, or the promise that it gives rejects with. */
async function thrown(call) {
  let result
  try {
    result = await call()
  } catch (error) {
    return error
  }
  return assert.fail(`nothing was thrown, but given: ${result}`)
}

/** The error that a remote, which answers so, shows in its status. */
async function ofRemote(path, wanted) {
  const { db } = await open()
  const remote = db.connect(mizu({ url: path.startsWith('http') ? path : `${url}/${path}`, scope: 's', poke: 'none' }))
  db.collection({ sync: { id: 'remote', remote } })
  const error = await new Promise(resolve => remote.status.subscribe(({ lastError }) => { if (lastError?.code === wanted) resolve(lastError) }))
  await db.close()
  return error
}

/** How each code is met. */
const cases = {
  duplicate_key: async () => { const { collection } = await open(); return thrown(() => collection.insert(milk)) },
  missing_key: async () => { const { collection } = await open(); return thrown(() => collection.update('none', { title: 'x' })) },
  invalid_key: async () => { const { collection } = await open(); return thrown(() => collection.insert({ title: 'x' })) },
  not_cloneable: async () => { const { collection } = await open(); return thrown(() => collection.insert({ id: 'a', call: () => {} })) },
  invalid_row: async () => {
    const { collection } = await open({ schema: { '~standard': { version: 1, vendor: 'test', validate: () => ({ issues: [{ message: 'no' }] }) } } })
    return thrown(() => collection.insert({ id: 'a' }))
  },
  too_large: async () => { const { collection } = await open(); return thrown(() => collection.insert({ id: 'a', bytes: new Uint8Array(8 * 1024 * 1024) })) },
  queue_full: async () => {
    const { collection, syncControl } = await open({ maxPending: 1 })
    syncControl.goOffline()
    collection.insert({ id: 'a' })
    return thrown(() => collection.insert({ id: 'b' }))
  },
  quota_exceeded: async () => {
    const { collection, syncControl } = await open()
    syncControl.failNextCommit('quota')
    const error = await thrown(() => collection.insert({ id: 'a' }).durable)
    assert.equal(collection.has('a'), false)
    return error
  },
  storage_unavailable: async () => {
    const { collection, syncControl } = await open()
    syncControl.failNextCommit('unavailable')
    return thrown(() => collection.insert({ id: 'a' }).durable)
  },
  closed: async () => { const { collection, db } = await open(); await db.close(); return thrown(() => collection.insert({ id: 'a' })) },
  already_registered: async () => { const { db } = await open(); return thrown(() => db.collection({ sync: { id: 'rows' } })) },
  mixed_persist: async () => {
    const { collection, db } = await open()
    const other = db.collection({ sync: { id: 'other' }, mutationFn: { persist: async () => {} } })
    return thrown(() => db.transaction(() => { collection.insert({ id: 'a' }); other.insert({ id: 'a' }) }))
  },
  unknown_mutation: async () => { const { collection } = await open(); return thrown(() => collection.withMutation({ mutationFn: 'none' })) },
  not_discardable: async () => {
    const { collection, db, syncControl } = await open()
    syncControl.setNetworkDelay(100)
    const { id } = collection.insert({ id: 'a' })
    await syncControl.settle()
    return thrown(() => db.transactions.discard(id))
  },
  discarded: async () => {
    const { collection, db, syncControl } = await open()
    syncControl.goOffline()
    const transaction = collection.insert({ id: 'a' })
    await syncControl.settle()
    const { completed } = transaction
    await db.transactions.discard(transaction.id)
    return thrown(() => completed)
  },
  cascade: async () => {
    const { collection, syncControl } = await open()
    syncControl.failNextPersist(new NonRetriableError('no'))
    const first = collection.update('milk', { title: 'x' })
    const error = await thrown(() => collection.update('milk', { title: 'y' }).completed)
    assert.equal(error.transactionId, first.id)
    return error
  },
  backend_reset: async () => {
    const { db, syncControl } = await open()
    const remote = db.connect(mizu({ url: `${url}/gone`, scope: 's', poke: 'none' }))
    await db.collection({ sync: { id: 'remote', remote } }).synced
    const polling = setInterval(() => syncControl.goOnline(), 50)
    const { detail: { error } } = await new Promise(resolve => db.addEventListener('error', event => { if (event.detail.error.code === 'backend_reset') resolve(event) }))
    clearInterval(polling)
    await db.close()
    return error
  },
  invalid_push: async () => {
    const { db } = await open()
    const remote = db.connect(mizu({ url: `${url}/empty`, scope: 's', poke: 'none' }))
    const error = await thrown(() => db.collection({ sync: { id: 'remote', remote } }).insert({ id: 'a', n: 1n }).completed)
    await db.close()
    return error
  },
  invalid_pull: () => ofRemote('malformed', 'invalid_pull'),
  offline: () => ofRemote('http://127.0.0.1:9', 'offline'),
  auth_required: () => ofRemote('auth', 'auth_required'),
  server_ahead: async () => {
    const { db } = await open()
    const remote = db.connect(livestore({ url: `${url}/ahead`, storeId: 's', transport: 'http' }))
    const transaction = db.collection({ sync: { id: 'remote', remote } }).insert({ id: 'a' })
    const error = await new Promise(resolve => transaction.subscribe(({ attempts }) => { if (attempts[0]?.error !== undefined) resolve(attempts[0].error) }))
    await db.close()
    return error
  },
  not_found: async () => { const { db } = await open(); return thrown(() => db.transactions.retry('00000000-0000-0000-0000-000000000000')) },
  not_initialized: () => thrown(() => renderToString(createElement(() => useStatus().pending))),
  unexpected: async () => { const { db } = await open(); return thrown(() => db.transaction(async () => {})) },
  non_retriable: () => ofPersist(new NonRetriableError('The server does not take this. It is taken back; write another title.')),
  retry_after: () => ofPersist(new RetryAfterError('The server is busy. The change is kept and sent in a second.', 1_000)),
  network: () => ofPersist(new NetworkError()),
}

/** The error of an attempt, as it is shown after `persist` threw it. */
async function ofPersist(error) {
  const { collection, syncControl } = await open()
  syncControl.failNextPersist(error)
  const transaction = collection.insert({ id: 'a' })
  await syncControl.settle()
  const { error: shown } = transaction.attempts[0]
  assert.equal(shown, error, 'the very object that was thrown')
  return shown
}

/** Codes that are met in another suite. */
const elsewhere = {
  storage_lost: async () => assert.match(await read('tests/e2e/support/recovery-stories.mjs'), /storage_lost/),
  digest_mismatch: async () => assert.match(await read('tests/e2e/files.test.mjs'), /digest_mismatch/),
}

test('each code of the list has its case here', async () => {
  const list = [...(await read('js/codes.ts')).matchAll(/^ {2}(\w+): (?:true|false),$/gm)].map(([, code]) => code)
  assert.deepEqual([...Object.keys(cases), ...Object.keys(elsewhere)].sort(), list.sort())
  for (const check of Object.values(elsewhere)) await check()
})

for (const [code, meet] of Object.entries(cases)) {
  test(`${code} is thrown, typed, with what the documentation says of it`, { timeout: 60_000 }, async () => {
    const error = await meet()
    assert.ok(error instanceof DriftlineError, `${error}`)
    assert.equal(error.code, code)
    const row = (await read('js/errors.md')).split('\n').find(line => line.startsWith(`| \`${code}\` |`))
    const [, , , , retryable, fields] = row.split('|').map(cell => cell.trim())
    assert.equal(error.retryable, retryable === 'yes')
    for (const [, field] of fields.matchAll(/`(\w+)`/g)) assert.notEqual(error[field], undefined, `${code} has ${field}`)
    assert.match(error.message, /^([A-Z]|[\w.]+\().*\.$/s, 'a sentence')
    assert.match(error.message, KEPT, 'what was kept')
    assert.ok(error.message.split(/[.;:] /).length > 1, `what happened and what to do: ${error.message}`)
  })
}

test('a value that is no row, no change or no config is refused by name', async () => {
  const { collection, db } = await open()
  const misuses = {
    'a row that is no object': [() => collection.insert('milk'), 'invalid_row'],
    'no row': [() => collection.insert(null), 'invalid_row'],
    'a change that is no object': [() => collection.update('milk', 5), 'invalid_row'],
    'a list of changes': [() => collection.update('milk', [1]), 'invalid_row'],
    'an empty key': [() => collection.insert({ id: '' }), 'invalid_key'],
    'a long key': [() => collection.insert({ id: 'é'.repeat(513) }), 'invalid_key'],
    'a number for a key': [() => collection.delete(5), 'invalid_key'],
    'an update of the key': [() => collection.update('milk', { id: 'tea' }), 'invalid_key'],
    'an update of the key in a draft': [() => collection.update('milk', draft => { draft.id = 'tea' }), 'invalid_key'],
    'a key that is removed': [() => collection.update('milk', { id: undefined }), 'invalid_key'],
    'one key twice': [() => collection.insert([{ id: 'a' }, { id: 'a' }]), 'duplicate_key'],
    'a missing row among others': [() => collection.delete(['milk', 'none']), 'missing_key'],
    'a strategy that there is not': [() => collection.withMutation({ strategy: { type: 'sideways' } }), 'unexpected'],
    'a merge without a name': [() => collection.withMutation({ strategy: { type: 'parallel', merge: () => {} } }), 'unknown_mutation'],
    'a merge that is not known': [() => collection.withMutation({ strategy: { type: 'parallel', merge: 'none' } }), 'unknown_mutation'],
    'a function that is not known': [() => db.transaction(() => { collection.delete('milk') }, { mutationFn: 'none' }), 'unknown_mutation'],
    'metadata that can’t be stored': [() => collection.update('milk', { title: 'x' }, { metadata: { f: () => {} } }), 'not_cloneable'],
    'a config without an id': [() => db.collection({ sync: {} }), 'unexpected'],
    'no config': [() => db.collection(), 'unexpected'],
    'a setup that is no function': [() => db.collection({ sync: { id: 'x', setup: 5 } }), 'unexpected'],
    'functions without persist': [() => db.collection({ sync: { id: 'x' }, mutationFn: {} }), 'unexpected'],
    'a schema of no standard': [() => db.collection({ sync: { id: 'x' }, schema: { parse() {} } }), 'unexpected'],
    'a scope that there is not': [() => db.collection({ sync: { id: 'x' }, strategy: { type: 'ordered', scope: 'world' } }), 'unexpected'],
    'a transaction that is none': [() => db.transactions.retry('nonsense'), 'not_found'],
    'a discard of what is not there': [() => db.transactions.discard('00000000-0000-0000-0000-000000000000'), 'not_found'],
    'the promise of a write inside a body': [() => db.transaction(() => { void collection.insert({ id: 'a' }).durable }), 'unexpected'],
  }
  for (const [what, [call, code]] of Object.entries(misuses)) {
    const error = await thrown(call)
    assert.ok(error instanceof DriftlineError, `${what}: ${error.stack}`)
    assert.equal(error.code, code, what)
    assert.match(error.message, KEPT, what)
  }
  assert.deepEqual(collection.data, { milk })
  assert.equal(db.transactions.list().length, 0)
})

test('each call on a closed database is refused, and its promises reject', async () => {
  const { collection, db } = await open()
  const transaction = collection.update('milk', { title: 'x' })
  await transaction.completed
  await db.close()
  const calls = {
    insert: () => collection.insert({ id: 'a' }), update: () => collection.update('milk', { title: 'y' }), delete: () => collection.delete('milk'),
    withMutation: () => collection.withMutation({ metadata: 1 }).delete('milk'), collection: () => db.collection({ sync: { id: 'x' } }),
    connect: () => db.connect(mizu({ url, scope: 's' })), transaction: () => db.transaction(() => {}), pause: () => db.pause(), resume: () => db.resume(),
    retry: () => db.transactions.retry(transaction.id), discard: () => db.transactions.discard(transaction.id), prune: () => db.transactions.prune({}),
    files: () => db.files({}),
  }
  for (const [name, call] of Object.entries(calls)) assert.equal((await thrown(call)).code, 'closed', name)
  assert.equal(collection.get('milk').title, 'x', 'what was read stays readable')
  await db.close()
})

test('an error that nobody asked for reaches the status and the error event, and no promise complains by itself', async () => {
  const { collection, db, syncControl } = await open()
  const heard = []
  db.addEventListener('error', ({ detail: { error, transaction } }) => heard.push([error.message, transaction?.id]))
  syncControl.failNextPersist(new NonRetriableError('nobody waits'))
  const { id } = collection.update('milk', { title: 'x' })
  await syncControl.settle()
  assert.deepEqual(heard, [['nobody waits', id]])
  assert.equal(db.status.value.lastError.message, 'nobody waits')
  // Promises that are made and left.
  syncControl.failNextPersist(new NonRetriableError('left'))
  const left = collection.update('milk', { title: 'x' })
  void [left.durable, left.persisted, left.completed]
  void db.transactions.get(id).completed
  await db.transactions.discard(id)
  await syncControl.settle()
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(unheard, [])
})

test('what persist threw is known by name, code and words after a reload too', async () => {
  for (const error of [new AuthRequiredError('Sign in.'), new NetworkError('No way.'), new RetryAfterError('Later.', 60_000), Object.assign(new Error('Mine.'), { name: 'MyError', code: 'E_MINE' })]) {
    const { collection, syncControl } = await open()
    syncControl.failNextPersist(error)
    const { id } = collection.insert({ id: 'a' })
    await syncControl.settle()
    const { db } = await syncControl.reload()
    const { name, code, message } = db.transactions.get(id).attempts[0].error
    assert.deepEqual([name, code, message], [error.name, error.code, error.message])
  }
})

/** Words that say what became of what was there, or of what was meant to be. */
const KEPT = /Nothing was (written|registered|changed|stored)|\bkept\b|taken back|stands|taken in|was loaded|is shown|is fetched|is sent/
