// Driftline's pages on the published sync-cf 0.3: conflicts, what was acknowledged and never stored, and administration.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Proxy } from '../e2e/support/proxy.mjs'
import { Pages, Profile } from '../e2e/support/tabs.mjs'
import { ADMIN_SECRET, SyncCf } from './support/sync-cf.mjs'

let pages
let server

before(async () => {
  pages = await Pages.start()
  server = await SyncCf.start('0.3')
})
after(async () => {
  await server?.close()
  await pages?.stop()
})

/** A page of a browser of its own, with the collection `todos` of a store. */
async function openPage(test, url, storeId) {
  const profile = await Profile.launch()
  test.after(() => profile.close())
  const tab = await profile.tab(pages.url)
  tab.setDefaultTimeout(90_000)
  await tab.evaluate(async ({ url, storeId }) => {
    const db = await driftline.openDriftline({ name: 'app' })
    const remote = db.connect(driftline.livestore({ url, storeId, dialect: '0.3', retry: { maxDelayMs: 1_000 } }))
    const todos = db.collection({ sync: { id: 'todos', remote, entity: 'todo' } })
    await todos.ready
    Object.assign(globalThis, { db, remote, todos, rows: () => [...todos.keys()].sort() })
  }, { url, storeId })
  return tab
}

const idle = tab => tab.waitForFunction(() => db.status.value.pending === 0)
const state = (tab, wanted) => tab.waitForFunction(wanted => remote.status.value.state === wanted, wanted)
const shows = (tab, ids) => tab.waitForFunction(ids => rows().join() === ids.join(), ids)
const insert = (tab, id) => tab.evaluate(id => todos.insert({ id, title: id }).durable, id)

test('two pages that wrote while apart end with all events once, on the published server of 0.3', { timeout: 240_000 }, async test => {
  const [one, two] = [await openPage(test, server.url, 'shared'), await openPage(test, server.url, 'shared')]
  await insert(one, 'a1')
  await idle(one)
  await shows(two, ['a1'])
  // Both at once, over and over: each time one of them is behind.
  for (let round = 2; round < 6; round++) {
    await Promise.all([insert(one, `a${round}`), insert(two, `b${round}`)])
  }
  for (const tab of [one, two]) await idle(tab)
  await server.stop()
  for (const tab of [one, two]) await state(tab, 'offline')
  for (const id of ['a6', 'a7']) await insert(one, id)
  for (const id of ['b6', 'b7']) await insert(two, id)
  await two.evaluate(() => todos.update('a1', draft => { draft.done = true }).durable)
  await server.start()
  for (const tab of [one, two]) await idle(tab)
  const all = ['a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'a7', 'b2', 'b3', 'b4', 'b5', 'b6', 'b7']
  for (const tab of [one, two]) {
    await shows(tab, all)
    await tab.waitForFunction(() => todos.get('a1')?.done === true)
    assert.deepEqual(tab.problems, [])
  }
  // A device that comes new reads all of it, once.
  const fresh = await openPage(test, server.url, 'shared')
  await shows(fresh, all)
  assert.equal(await fresh.evaluate(() => remote.status.value.cursor), all.length + 1)
})

test('what the server of 0.3 acknowledged and never stored is sent again', { timeout: 240_000 }, async test => {
  const proxy = await Proxy.start(server.url)
  test.after(() => proxy.stop())
  const tab = await openPage(test, proxy.url, 'forgotten')
  await state(tab, 'live')
  let forgotten = 0
  proxy.onFrame = (from, text) => {
    if (from === 'server' || !text.includes('PushReq') || forgotten === 2) return true
    forgotten++
    return JSON.stringify({ _tag: 'WSMessage.PushAck', requestId: JSON.parse(text).requestId })
  }
  await insert(tab, 'kept')
  await idle(tab)
  assert.equal(forgotten, 2)
  const other = await openPage(test, server.url, 'forgotten')
  await shows(other, ['kept'])
  assert.equal(await other.evaluate(() => remote.status.value.cursor), 1)
  assert.deepEqual(tab.problems, [])
})

test('administration of the server of 0.3 asks for the secret each time, and keeps it nowhere', { timeout: 240_000 }, async test => {
  const tab = await openPage(test, server.url, 'administered')
  await insert(tab, 'old')
  await idle(tab)
  const refused = await tab.evaluate(() => remote.admin.info('a guess').then(() => 'let in', error => error.code))
  assert.equal(refused, 'auth_required')
  const info = await tab.evaluate(secret => remote.admin.info(secret), ADMIN_SECRET)
  assert.match(info.durableObjectId, /^[0-9a-f]{64}$/)
  await tab.evaluate(secret => remote.admin.reset(secret), ADMIN_SECRET)
  // The secret is nowhere in what the page keeps.
  const kept = await tab.evaluate(async () => {
    const open = indexedDB.open('driftline:app')
    await new Promise(resolve => { open.onsuccess = resolve })
    const stores = [...open.result.objectStoreNames]
    const reads = await Promise.all(stores.map(store => new Promise(resolve => {
      const read = open.result.transaction(store).objectStore(store).getAll()
      read.onsuccess = () => resolve(read.result)
    })))
    return JSON.stringify(reads, (_, value) => value instanceof Uint8Array ? new TextDecoder('latin1').decode(value) : value) + JSON.stringify({ ...localStorage })
  })
  assert.ok(kept.includes('administered') && !kept.includes(ADMIN_SECRET))
  assert.deepEqual(tab.problems, [])
})
