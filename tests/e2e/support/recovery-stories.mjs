// What becomes of work when the app, the database or the disk is not what it was: told in each browser alike.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stageOf } from './stage.mjs'

/**
 * Registers the tests for one engine; `launch()` starts its browser, and `limitRoom(stage, tab)` leaves the origin little room.
 */
export function tellOfRecovery({ engine, launch, limitRoom }) {
  const stage = stageOf(launch)
  const open = () => stage.profile.tab(stage.url)

  test(`${engine}: work of a collection that is not registered any more waits, is listed whole, and is sent when it is again`, { timeout: 60_000 }, async () => {
    const tab = await open()
    const key = await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const config = id => ({ sync: { id, setup: async () => ({ data: [] }) }, mutationFn: { persist: async () => {} } })
      const [todos, lists] = ['todos', 'lists'].map(id => db.collection(config(id)))
      await todos.ready
      db.pause('until the next release')
      const written = todos.insert({ id: 'a', title: 'Buy milk', tags: new Set(['shop']) })
      await Promise.all([written.durable, lists.insert({ id: 'l' }).durable])
      return written.idempotencyKey
    })
    await reload(tab)
    const seen = await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const sent = []
      const config = id => ({ sync: { id, setup: async () => ({ data: [] }) }, mutationFn: { persist: async ({ transaction, mutations }) => { sent.push([id, transaction.idempotencyKey, mutations[0].modified.tags?.has('shop')]) } } })
      await db.collection(config('lists')).ready
      await db.transactions.list({ collection: 'lists' })[0].completed
      const [left] = db.transactions.list({ state: ['pending'] })
      const listed = [left.mutations[0].collection, left.mutations[0].key, left.mutations[0].modified.title, db.status.value.pending, db.status.value.oldestWaiting.why]
      db.collection(config('todos'))
      await left.completed
      return { listed, sent: sent.map(([id, key, whole]) => id === 'todos' ? [id, key, whole] : id) }
    })
    const why = seen.listed.pop()
    assert.deepEqual(seen, { listed: ['todos', 'a', 'Buy milk', 1], sent: ['lists', ['todos', key, true]] })
    assert.match(why, /todos/)
    assert.deepEqual(tab.problems, [])
  })

  test(`${engine}: work of an older version goes through migrate, and what that refuses is kept with its payload`, { timeout: 60_000 }, async () => {
    const tab = await open()
    await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: async () => {} } })
      await todos.ready
      db.pause('until the next release')
      await Promise.all(['fits', 'null', 'throws'].map(id => todos.insert({ id, name: id }).durable))
    })
    await reload(tab)
    const seen = await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const sent = []
      const asked = []
      const todos = db.collection({
        sync: { id: 'todos', setup: async () => ({ data: [] }) },
        version: 2,
        migrate: (mutation, from) => {
          asked.push([mutation.key, mutation.version, from])
          if (mutation.key === 'null') return null
          if (mutation.key === 'throws') throw new Error('no such field')
          const { name, ...rest } = mutation.modified
          return { ...mutation, modified: { ...rest, title: name } }
        },
        mutationFn: { persist: async ({ mutations }) => { sent.push(...mutations.map(({ modified }) => modified)) } },
      })
      await todos.ready
      const all = db.transactions.list()
      const ends = await Promise.all(all.map(({ completed }) => completed.then(() => 'completed', ({ message }) => message)))
      const kept = db.transactions.list({ state: ['failed'] }).map(({ mutations: [{ key, modified }] }) => [key, modified])
      return { asked, ends, kept, sent, failed: db.status.value.failed }
    })
    assert.deepEqual(seen.asked, [['fits', 1, 1], ['null', 1, 1], ['throws', 1, 1]])
    assert.deepEqual(seen.sent, [{ id: 'fits', title: 'fits' }])
    assert.equal(seen.ends[0], 'completed')
    for (const end of seen.ends.slice(1)) assert.match(end, /kept/)
    assert.deepEqual(seen.kept, [['null', { id: 'null', name: 'null' }], ['throws', { id: 'throws', name: 'throws' }]])
    assert.equal(seen.failed, 2)
    assert.deepEqual(tab.problems, [])
  })

  test(`${engine}: a connection that is lost under a write is opened anew, the write is made once, and no queue reads as empty`, { timeout: 60_000 }, async () => {
    const tab = await open()
    const seen = await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: () => new Promise(() => {}) } })
      await todos.ready
      await todos.insert({ id: 'before' }).durable
      const make = IDBDatabase.prototype.transaction
      const breaks = {
        // What WebKit says when its database process is gone.
        async lost() { IDBDatabase.prototype.transaction = function () { heal(); this.close(); throw new DOMException('Connection to Indexed Database server lost. Refresh the page to try again', 'UnknownError') } },
        // The browser has closed it without a word.
        async closed() { IDBDatabase.prototype.transaction = function (...given) { heal(); this.close(); return make.apply(this, given) } },
        // It goes down with the write on its way.
        async aborted() { IDBDatabase.prototype.transaction = function (...given) { heal(); const made = make.apply(this, given); queueMicrotask(() => { try { made.abort() } catch { /* it has ended */ } this.close() }); return made } },
      }
      const heal = () => { IDBDatabase.prototype.transaction = make }
      for (const [name, broken] of Object.entries(breaks)) {
        await broken()
        await todos.insert({ id: name }).durable
      }
      return { rows: [...todos.keys()], pending: db.status.value.pending, log: db.transactions.list().length }
    })
    const all = ['before', 'lost', 'closed', 'aborted']
    assert.deepEqual(seen, { rows: all, pending: 4, log: 4 })
    await reload(tab)
    const kept = await tab.evaluate(async () => {
      const db = await driftline.openDriftline({ name: 'app' })
      const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: async () => {} } })
      await todos.ready
      return { rows: [...todos.keys()], keys: db.transactions.list().map(({ mutations: [{ key }] }) => key) }
    })
    assert.deepEqual(kept, { rows: all, keys: all })
    assert.deepEqual(tab.problems, [])
  })

  test(`${engine}: a newer release’s upgrade of the database is let through, and writes here are refused in words`, { timeout: 60_000 }, async () => {
    const tab = await open()
    await openTodos(tab)
    await tab.evaluate(() => todos.insert({ id: 'before' }).durable)
    const other = await open()
    await other.evaluate(() => new Promise((resolve, reject) => {
      const request = indexedDB.open('driftline:app', 1_000)
      request.onsuccess = () => { request.result.close(); resolve() }
      request.onblocked = () => reject(new Error('the upgrade is blocked'))
      request.onerror = () => reject(request.error)
    }))
    const refused = await refusal(tab, { id: 'after' })
    assert.equal(refused.code, 'storage_unavailable')
    assert.match(refused.message, /reload/)
    assert.deepEqual([refused.rows, refused.lastError, refused.told], [['before'], 'storage_unavailable', ['storage_unavailable']])
    assert.deepEqual([...tab.problems, ...other.problems], [])
  })

  test(`${engine}: a database that is deleted under the app is not made anew in silence: what is written is refused in words, what shows stays`, { timeout: 60_000 }, async () => {
    const tab = await open()
    await openTodos(tab)
    await tab.evaluate(() => todos.insert({ id: 'before' }).durable)
    const other = await open()
    await other.evaluate(() => new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase('driftline:app')
      request.onsuccess = () => resolve()
      request.onblocked = () => reject(new Error('the deletion is blocked'))
    }))
    const refused = await refusal(tab, { id: 'after' })
    assert.equal(refused.code, 'storage_unavailable')
    assert.match(refused.message, /deleted.*Copy what you need, and reload/)
    assert.deepEqual([refused.rows, refused.pending], [['before'], ['before']], 'what was not sent can still be read')
    await reload(tab)
    await openTodos(tab)
    await tab.evaluate(() => todos.insert({ id: 'anew' }).durable)
    assert.deepEqual(await tab.evaluate(() => [...todos.keys()]), ['anew'])
    assert.deepEqual(await tab.evaluate(() => [db.status.value.lastError?.code, /write the rest again/.test(db.status.value.lastError?.message)]), ['storage_lost', true], 'a loss is told at the next start')
    await reload(tab)
    await openTodos(tab)
    assert.deepEqual(await tab.evaluate(() => [[...todos.keys()], db.status.value.lastError === undefined]), [['anew'], true], 'and only then')
    await tab.evaluate(() => db.destroy())
    await reload(tab)
    await openTodos(tab)
    assert.ok(await tab.evaluate(() => db.status.value.lastError === undefined), 'what the app itself deletes is no loss')
    assert.deepEqual([...tab.problems, ...other.problems], [])
  })

  test(`${engine}: a full disk refuses the write with its figures, takes it back, and keeps what was stored before`, { timeout: 120_000 }, async test => {
    const tab = await open()
    await limitRoom(stage, tab)
    await openTodos(tab)
    await tab.evaluate(() => todos.insert({ id: 'before' }).durable)
    const full = await tab.evaluate(async () => {
      globalThis.told = []
      db.addEventListener('error', ({ detail: { error } }) => { told.push(error.code) })
      for (let at = 0; at < 64; at++) {
        const bytes = new Uint8Array(4 * 1024 * 1024)
        for (let from = 0; from < bytes.length; from += 65_536) crypto.getRandomValues(bytes.subarray(from, from + 65_536))
        const transaction = todos.insert({ id: `large-${at}`, bytes })
        const error = await transaction.durable.then(() => undefined, error => error)
        if (error === undefined) continue
        const { code, message, usage, quota, retryable } = error
        return { at, code, message, usage, quota, retryable, shows: todos.has(`large-${at}`), state: transaction.state, lastError: db.status.value.lastError?.code, told }
      }
      return undefined
    })
    assert.ok(full !== undefined, 'the disk is never full')
    test.diagnostic(`${full.at} rows of 4 MiB fitted; then: ${full.message}`)
    assert.deepEqual([full.code, full.retryable, full.shows, full.state, full.lastError], ['quota_exceeded', true, false, 'failed', 'quota_exceeded'])
    assert.ok(full.usage > 0 && full.quota > 0, `${full.usage} of ${full.quota}`)
    assert.match(full.message, /What was stored before is kept, this write was taken back/)
    assert.deepEqual(full.told, ['quota_exceeded'])
    const rows = ['before', ...Array.from({ length: full.at }, (_, at) => `large-${at}`)]
    await reload(tab)
    await openTodos(tab)
    assert.deepEqual(await tab.evaluate(() => [...todos.keys()]), rows)
    assert.deepEqual(tab.problems, [])
  })

  /** Writes a row that can't be stored, and gives what the app learns of it. */
  function refusal(tab, row) {
    return tab.evaluate(async row => {
      const told = []
      db.addEventListener('error', ({ detail: { error } }) => { told.push(error.code) })
      const { code, message } = await todos.insert(row).durable.then(() => ({ code: 'it is durable' }), error => error)
      const pending = db.transactions.list({ state: ['pending', 'persisting'] }).map(({ mutations: [{ key }] }) => key)
      return { code, message, told, rows: [...todos.keys()], pending, lastError: db.status.value.lastError?.code }
    }, row)
  }
}

/**
 * Registers the tests with browsers that keep nothing (`launchPrivate`), or refuse to keep anything (`launchRefusing`): each gives
 * `{ profile, url, end }`, and a private `profile.anew()` is the next private window after all have been closed.
 */
export function tellOfPrivacy({ engine, launchPrivate, launchRefusing }) {
  test(`${engine}: in a private window everything works as long as it is open, and nothing is left of it`, { timeout: 90_000 }, async () => {
    const { profile, url, end } = await launchPrivate()
    try {
      const tab = await profile.tab(url)
      await openTodos(tab)
      await tab.evaluate(() => todos.insert({ id: 'a' }).durable)
      const second = await profile.tab(url)
      await openTodos(second)
      assert.deepEqual(await second.evaluate(() => [...todos.keys()]), ['a'])
      await reload(tab)
      await openTodos(tab)
      assert.deepEqual(await tab.evaluate(() => [...todos.keys()]), ['a'])
      assert.deepEqual([...tab.problems, ...second.problems], [])
      const later = await profile.anew()
      const afterwards = await later.tab(url)
      await openTodos(afterwards)
      assert.equal(await afterwards.evaluate(() => todos.size), 0)
    } finally {
      await end()
    }
  })

  test(`${engine}: where IndexedDB is refused, nothing pretends to be stored`, { timeout: 90_000 }, async () => {
    const { profile, url, end } = await launchRefusing()
    try {
      const tab = await profile.tab(url)
      const seen = await tab.evaluate(async () => {
        const db = await driftline.openDriftline({ name: 'app' })
        const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: async () => {} } })
        const early = todos.insert({ id: 'early' })
        const shown = todos.has('early')
        const { code, message } = await early.durable.then(() => ({ code: 'it is durable' }), error => error)
        const ready = await todos.ready.then(() => 'it is ready', error => error.code)
        const later = (() => { try { return todos.insert({ id: 'later' }) } catch (error) { return error.code } })()
        return { shown, code, message, ready, later, rows: todos.size, lastError: db.status.value.lastError?.code }
      })
      assert.match(seen.message, /private browsing/)
      delete seen.message
      assert.deepEqual(seen, { shown: true, code: 'storage_unavailable', ready: 'storage_unavailable', later: 'storage_unavailable', rows: 0, lastError: 'storage_unavailable' })
      assert.deepEqual(tab.problems, [])
    } finally {
      await end()
    }
  })
}

/** Opens a collection whose changes stay in the queue. */
async function openTodos(tab) {
  await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: () => new Promise(() => {}) } })
    await todos.ready
    Object.assign(globalThis, { db, todos })
  })
}

async function reload(tab) {
  await tab.reload()
  await tab.waitForFunction(() => 'driftline' in globalThis, undefined, { polling: 50 })
}
