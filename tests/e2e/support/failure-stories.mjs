// Failures that nobody looks at, and the faults that were reproduced in the closest peer: told in each browser alike.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stageOf } from './stage.mjs'

/** Registers the tests for one engine; `launch()` starts its browser. */
export function tellOfFailures({ engine, launch }) {
  const stage = stageOf(launch)
  /** A page that keeps in `unhandled` what the browser says that nobody has handled. */
  const open = () => stage.profile.tab(stage.url, tab => tab.addInitScript(() => {
    globalThis.unhandled = []
    addEventListener('unhandledrejection', ({ reason }) => { unhandled.push(`rejection: ${reason}`) })
    addEventListener('error', ({ message }) => { unhandled.push(`error: ${message}`) })
  }))

  for (const [what, { code, status = code, run }] of Object.entries(FAILURES)) {
    test(`${engine}: ${what}: with nobody looking, it is told in the status and as an event, and nothing is unhandled`, { timeout: 60_000 }, async () => {
      const tab = await open()
      await tab.evaluate(async () => {
        const db = await driftline.openDriftline({ name: 'app' })
        const told = []
        db.addEventListener('error', ({ detail: { error, transaction } }) => { told.push([error.code ?? error.name, transaction?.state]) })
        /** A collection whose functions a test gives. */
        const collection = (id, persist = async () => {}, rest = {}) => db.collection({
          sync: { id, setup: async () => ({ data: [{ id: 'old', n: 0 }] }) }, retry: { retries: 0 }, mutationFn: { persist }, ...rest,
        })
        Object.assign(globalThis, { db, told, collection })
      })
      await tab.evaluate(run)
      await tab.waitForFunction(code => told.some(([other]) => other === code), code, { polling: 50 })
      // Whatever is rejected by then is reported once the page's tasks have run dry.
      await tab.evaluate(() => new Promise(resolve => setTimeout(() => setTimeout(resolve))))
      const seen = await tab.evaluate(() => ({ unhandled, lastError: db.status.value.lastError?.code }))
      assert.deepEqual(seen, { unhandled: [], lastError: status })
      assert.deepEqual(tab.problems, [])
    })
  }

  test(`${engine}: one who looks at a failure is the only one who is told, and hears it at each promise`, { timeout: 60_000 }, async () => {
    const tab = await open()
    const seen = await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const told = []
      db.addEventListener('error', ({ detail: { error } }) => { told.push(error.message) })
      const todos = db.collection({
        sync: { id: 'todos', setup: async () => ({ data: [] }) },
        mutationFn: { persist: async () => { throw new driftline.NonRetriableError('the server says no') } },
      })
      const watched = todos.insert({ id: 'a' })
      const heard = await Promise.all(['durable', 'persisted', 'completed'].map(promise => watched[promise].then(() => 'fine', ({ message }) => message)))
      return { heard, told, unhandled, lastError: db.status.value.lastError?.code }
    })
    assert.deepEqual(seen, { heard: ['fine', 'the server says no', 'the server says no'], told: [], unhandled: [], lastError: 'non_retriable' })
    assert.deepEqual(tab.problems, [])
  })

  test(`${engine}: a transaction that aborts after its requests have succeeded is not durable: it is made again, or refused`, { timeout: 60_000 }, async () => {
    const tab = await open()
    const seen = await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: () => new Promise(() => {}) } })
      await todos.ready
      // Nothing but the writes of the test is written: what sync brought is in, and nothing is sent.
      await todos.synced
      db.pause('for the test')
      await todos.insert({ id: 'before' }).durable
      // The put succeeds, and its transaction does not.
      const { add } = IDBObjectStore.prototype
      const { commit } = IDBTransaction.prototype
      const succeeded = []
      const abortNext = (times, name) => {
        IDBTransaction.prototype.commit = function () {
          if (this.mode !== 'readwrite') commit.call(this)
        }
        IDBObjectStore.prototype.add = function (...given) {
          const request = add.apply(this, given)
          if (this.name === 'log' && times-- > 0) {
            request.addEventListener('success', () => {
              succeeded.push(name)
              // As a full disk does it at the commit.
              if (name === 'refused') Object.defineProperty(this.transaction, 'error', { value: new DOMException('no room', 'QuotaExceededError') })
              this.transaction.abort()
            })
          }
          return request
        }
      }
      const heal = () => {
        IDBObjectStore.prototype.add = add
        IDBTransaction.prototype.commit = commit
      }
      abortNext(1, 'again')
      await todos.insert({ id: 'again' }).durable
      heal()
      abortNext(1, 'refused')
      const refused = await todos.insert({ id: 'refused' }).durable.then(() => 'it is durable', error => error.code)
      heal()
      return { succeeded, refused, rows: [...todos.keys()], unhandled }
    })
    assert.deepEqual(seen, { succeeded: ['again', 'refused'], refused: 'quota_exceeded', rows: ['before', 'again'], unhandled: [] })
    await tab.reload()
    await tab.waitForFunction(() => 'driftline' in globalThis, undefined, { polling: 50 })
    const kept = await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: async () => {} } })
      await todos.ready
      return db.transactions.list().map(({ mutations: [{ key }] }) => key)
    })
    assert.deepEqual(kept, ['before', 'again'])
    assert.deepEqual(tab.problems, [])
  })

  test(`${engine}: what structured clone knows is stored, read back after a reload, and handed to persist as it was`, { timeout: 60_000 }, async () => {
    const tab = await open()
    await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: async () => {} } })
      await todos.ready
      db.pause('for the reload')
      const row = {
        id: 'a', at: new Date(5), map: new Map([['k', new Set([1n])]]), blob: new Blob(['text'], { type: 'text/plain' }), file: new File(['bytes'], 'name.bin', { lastModified: 7 }),
        bytes: new Uint8Array([1, 2]), floats: new Float64Array([0.5]), big: 2n ** 70n, gone: undefined, nothing: null, pattern: /a+/gi, wrong: new RangeError('far'), list: [1, , 3],
      }
      row.self = row
      await todos.insert(row).durable
    })
    await tab.reload()
    await tab.waitForFunction(() => 'driftline' in globalThis, undefined, { polling: 50 })
    const seen = await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const told = async row => ({
        at: row.at instanceof Date && row.at.getTime(), map: row.map instanceof Map && row.map.get('k') instanceof Set && row.map.get('k').has(1n),
        blob: row.blob instanceof Blob && [row.blob.type, await row.blob.text()], file: row.file instanceof File && [row.file.name, row.file.lastModified, await row.file.text()],
        bytes: row.bytes instanceof Uint8Array && [...row.bytes], floats: row.floats instanceof Float64Array && [...row.floats], big: row.big === 2n ** 70n,
        gone: 'gone' in row && row.gone === undefined, nothing: row.nothing, pattern: String(row.pattern), wrong: row.wrong instanceof RangeError && row.wrong.message,
        hole: row.list.length === 3 && !(1 in row.list), self: row.self === row,
      })
      let persisted
      const sent = new Promise(resolve => { persisted = resolve })
      const todos = db.collection({
        sync: { id: 'todos', setup: () => new Promise(() => {}) },
        mutationFn: { persist: async ({ mutations: [{ modified }] }) => { persisted(await told(modified)) } },
      })
      await todos.ready
      return { shown: await told(todos.get('a')), sent: await sent }
    })
    const whole = {
      at: 5, map: true, blob: ['text/plain', 'text'], file: ['name.bin', 7, 'bytes'], bytes: [1, 2], floats: [0.5], big: true,
      gone: true, nothing: null, pattern: '/a+/gi', wrong: 'far', hole: true, self: true,
    }
    assert.deepEqual(seen, { shown: whole, sent: whole })
    assert.deepEqual(tab.problems, [])
  })

  test(`${engine}: writes that are made before anything is opened or read are stored, shown and sent in their order`, { timeout: 60_000 }, async () => {
    const tab = await open()
    const early = () => tab.evaluate(async from => {
      const db = await driftline.openDriftline({ name: 'app' })
      const todos = db.collection({ sync: { id: 'todos', setup: () => new Promise(() => {}) }, mutationFn: { persist: () => new Promise(() => {}) } })
      // Nothing of the disk has been read yet.
      const written = Array.from({ length: 6 }, (_, at) => todos.insert({ id: `${from}-${at}`, n: at }))
      const shown = todos.size
      await Promise.all(written.map(({ durable }) => durable))
      return { shown, all: [...todos.keys()], log: db.transactions.list().map(({ mutations: [{ key }] }) => key) }
    }, `${pages++}`)
    let pages = 0
    const names = page => Array.from({ length: 6 }, (_, at) => `${page}-${at}`)
    assert.deepEqual(await early(), { shown: 6, all: names(0), log: names(0) })
    await tab.reload()
    await tab.waitForFunction(() => 'driftline' in globalThis, undefined, { polling: 50 })
    const second = await early()
    assert.deepEqual([second.shown, [...second.all].sort(), second.log], [6, [...names(0), ...names(1)], [...names(0), ...names(1)]])
    assert.deepEqual(tab.problems, [])
  })
}

/** What fails, by which code that is told, and what the page does. */
const FAILURES = {
  'a backend that refuses for good': {
    code: 'non_retriable',
    run: () => { collection('todos', async () => { throw new driftline.NonRetriableError('no') }).insert({ id: 'a' }) },
  },
  'a bug in persist, after its last attempt': {
    code: 'TypeError', status: 'unexpected',
    run: () => { collection('todos', async () => { null.field }).insert({ id: 'a' }) },
  },
  'a transaction that falls with the one it waited for': {
    code: 'cascade',
    run: async () => {
      const todos = collection('todos', async () => { throw new driftline.NonRetriableError('no') })
      await todos.ready
      todos.insert({ id: 'a' })
      todos.update('a', { n: 1 })
    },
    status: 'non_retriable',
  },
  'a feed that does not come': {
    code: 'Error', status: 'unexpected',
    run: () => { collection('todos', undefined, { sync: { id: 'todos', setup: async () => { throw new Error('no feed') } } }) },
  },
  'an insert that turns out to be there already': {
    code: 'duplicate_key',
    run: async () => {
      await collection('todos', () => new Promise(() => {})).insert({ id: 'a' }).durable
      await db.close()
      const next = await driftline.openDriftline({ name: 'app' })
      next.addEventListener('error', ({ detail: { error, transaction } }) => { told.push([error.code, transaction?.state]) })
      globalThis.db = next
      next.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: () => new Promise(() => {}) } }).insert({ id: 'a' })
    },
  },
  'a disk without room': {
    code: 'quota_exceeded',
    run: async () => {
      const todos = collection('todos', () => new Promise(() => {}))
      await todos.ready
      const { add } = IDBObjectStore.prototype
      IDBObjectStore.prototype.add = function () {
        IDBObjectStore.prototype.add = add
        throw new DOMException('no room', 'QuotaExceededError')
      }
      todos.insert({ id: 'a' })
    },
  },
  'a database that is deleted': {
    code: 'storage_unavailable',
    run: async () => {
      const todos = collection('todos', () => new Promise(() => {}))
      await todos.insert({ id: 'a' }).durable
      await new Promise(resolve => { indexedDB.deleteDatabase('driftline:app').onsuccess = resolve })
      todos.insert({ id: 'b' })
    },
  },
}
