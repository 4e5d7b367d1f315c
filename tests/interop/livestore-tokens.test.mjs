// Expired tokens on the published servers, whose `validatePayload` refuses them: a hold, a refresh, and on.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Proxy } from '../e2e/support/proxy.mjs'
import { Pages, Profile } from '../e2e/support/tabs.mjs'
import { SyncCf } from './support/sync-cf.mjs'

let pages

before(async () => { pages = await Pages.start() })
after(() => pages?.stop())

for (const [dialect, transport] of [['0.4', 'auto'], ['0.4', 'ws'], ['0.4', 'http'], ['0.3', undefined]]) {
  test(`a payload that sync-cf ${dialect} takes no longer holds what waits, and a fresh one sends it on${transport === undefined ? '' : ` (${transport})`}`, { timeout: 240_000 }, async test => {
    const server = await SyncCf.start(dialect, { token: 'first' })
    test.after(() => server.close())
    const profile = await Profile.launch()
    test.after(() => profile.close())
    const tab = await profile.tab(pages.url)
    tab.setDefaultTimeout(90_000)
    await tab.evaluate(async ({ url, dialect, transport }) => {
      globalThis.token = 'first'
      const db = await driftline.openDriftline({ name: 'app' })
      const remote = db.connect(driftline.livestore({ url, storeId: 's', dialect, transport, payload: async () => ({ authToken: token }), retry: { maxDelayMs: 1_000 } }))
      const todos = db.collection({ sync: { id: 'todos', remote, entity: 'todo' } })
      await todos.ready
      await todos.insert({ id: 'a', title: 'a' }).completed
      Object.assign(globalThis, { db, remote, todos })
    }, { url: server.url, dialect, transport })
    await server.stop()
    server.token = 'second'
    await server.start()
    await tab.waitForFunction(() => remote.status.value.state === 'auth')
    await tab.evaluate(() => todos.insert({ id: 'kept', title: 'kept' }).durable)
    assert.deepEqual(await tab.evaluate(() => [remote.isConnected.value, remote.status.value.lastError.code, db.status.value.pending]), [false, 'auth_required', 1])
    await tab.evaluate(() => {
      globalThis.token = 'second'
      db.resume()
    })
    await tab.waitForFunction(() => db.status.value.pending === 0 && remote.isConnected.value)
    assert.deepEqual(await tab.evaluate(() => [...todos.keys()].sort()), ['a', 'kept'])
    assert.deepEqual(tab.problems, [])
  })
}

test('where no WebSocket gets through to sync-cf 0.4, its wire goes by HTTP', { timeout: 240_000 }, async test => {
  const server = await SyncCf.start('0.4')
  test.after(() => server.close())
  const proxy = await Proxy.start(server.url)
  test.after(() => proxy.stop())
  proxy.onSocket = () => 'refuse'
  const profile = await Profile.launch()
  test.after(() => profile.close())
  const tab = await profile.tab(pages.url)
  tab.setDefaultTimeout(90_000)
  const cursor = await tab.evaluate(async url => {
    const db = await driftline.openDriftline({ name: 'app' })
    const remote = db.connect(driftline.livestore({ url, storeId: 's', retry: { maxDelayMs: 1_000 } }))
    const todos = db.collection({ sync: { id: 'todos', remote, entity: 'todo' } })
    await todos.ready
    await todos.insert({ id: 'a', title: 'a' }).completed
    Object.assign(globalThis, { db, remote, todos })
    return remote.status.value.cursor
  }, proxy.url)
  assert.equal(cursor, 1)
  assert.equal(await tab.evaluate(() => remote.status.value.state), 'polling')
  proxy.onSocket = () => 'pass'
  await tab.waitForFunction(() => remote.status.value.state === 'live')
})
