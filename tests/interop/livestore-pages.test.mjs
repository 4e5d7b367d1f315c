// Driftline's pages in one store with LiveStore's published client, on the published server and on ours: each writes while
// the others can't be reached, the server restarts, and the server is wiped.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import WebSocket from 'ws'
import { Server } from '../e2e/support/server.mjs'
import { Pages, Profile } from '../e2e/support/tabs.mjs'
import { SyncCf } from './support/sync-cf.mjs'
import { until } from './support/until.mjs'
import { PublishedClient } from './sync-cf-0.4/client.mjs'

let pages

before(async () => { pages = await Pages.start() })
after(() => pages?.stop())

/** Our own server, as the published one is driven here. */
class Own {
  static async start() {
    const own = new Own()
    own.data = await mkdtemp(join(tmpdir(), 'driftline-own-'))
    own.server = await Server.start(own.data, ['--allow-origin', pages.url.slice(0, -1)], pages.folder)
    own.url = `${own.server.url}/livestore`
    return own
  }

  start() { return this.server.start() }
  stop() { return this.server.stop() }

  async wipe() {
    await this.stop()
    await rm(this.data, { recursive: true, force: true })
    await this.start()
  }

  async close() {
    await this.stop()
    await rm(this.data, { recursive: true, force: true })
  }
}

const SERVERS = { 'the published server': () => SyncCf.start('0.4'), 'our server': () => Own.start() }

/** A page of a browser of its own, with the collection `todos` of a store. */
async function openPage(test, server, storeId) {
  const profile = await Profile.launch()
  test.after(() => profile.close())
  const tab = await profile.tab(pages.url)
  // A server's start, on a busy machine, takes a part of this.
  tab.setDefaultTimeout(90_000)
  await tab.evaluate(async ({ url, storeId }) => {
    const db = await driftline.openDriftline({ name: 'app' })
    const remote = db.connect(driftline.livestore({ url, storeId }))
    const todos = db.collection({ sync: { id: 'todos', remote, entity: 'todo' } })
    await todos.ready
    Object.assign(globalThis, { db, remote, todos, rows: () => [...todos.keys()].sort() })
  }, { url: server.url, storeId })
  return tab
}

const idle = tab => tab.waitForFunction(() => db.status.value.pending === 0)
const shows = (tab, ids) => tab.waitForFunction(ids => rows().join() === ids.join(), ids)
const insert = (tab, id) => tab.evaluate(id => todos.insert({ id, title: id }).durable, id)

/** Pushes an insertion on whatever the log's head is, as the published client's own rebase does. */
async function pushOnHead(client, id) {
  for (;;) {
    const head = (await client.pull()).at(-1)?.seqNum ?? 0
    const event = { name: 'todo.inserted', args: { id, title: id }, seqNum: head + 1, parentSeqNum: head, clientId: 'published', sessionId: 's' }
    if (await client.push([event]) === undefined) return
  }
}

for (const [name, start] of Object.entries(SERVERS)) {
  test(`on ${name}, pages and the published client that wrote while apart end with all events once, in one order`, { timeout: 240_000 }, async test => {
    const server = await start()
    test.after(() => server.close())
    const storeId = 'shared'
    const connect = async () => {
      const client = await PublishedClient.open({ url: server.url, storeId, WebSocket })
      test.after(() => client.close())
      return client
    }
    const [one, two] = [await openPage(test, server, storeId), await openPage(test, server, storeId)]
    await insert(one, 'a1')
    await idle(one)
    await shows(two, ['a1'])
    const client = await connect()
    await pushOnHead(client, 'p1')
    for (const tab of [one, two]) await shows(tab, ['a1', 'p1'])

    await server.stop()
    for (const id of ['a2', 'a3']) await insert(one, id)
    for (const id of ['b2', 'b3']) await insert(two, id)
    await two.evaluate(() => todos.update('a1', draft => { draft.done = true }).durable)
    await server.start()
    await pushOnHead(await connect(), 'p2')
    for (const tab of [one, two]) await tab.evaluate(() => dispatchEvent(new Event('online')))
    for (const tab of [one, two]) await idle(tab)

    const all = ['a1', 'a2', 'a3', 'b2', 'b3', 'p1', 'p2']
    for (const tab of [one, two]) await shows(tab, all)
    const log = await (await connect()).pull()
    assert.deepEqual(log.map(event => event.seqNum), Array.from(log, (_, at) => at + 1))
    assert.deepEqual(log.filter(event => event.name === 'todo.inserted').map(event => event.args.id).sort(), all)
    assert.deepEqual(log.filter(event => event.name === 'todo.updated').map(event => event.args), [{ id: 'a1', done: true }])
    const order = log.map(event => event.args.id)
    assert.ok(order.indexOf('a2') < order.indexOf('a3') && order.indexOf('b2') < order.indexOf('b3'), order.join())
    for (const tab of [one, two]) {
      await tab.waitForFunction(() => todos.get('a1')?.done === true)
      assert.deepEqual(tab.problems, [])
    }
  })

  test(`on ${name}, a page whose server was wiped says so, and what it had not sent arrives`, { timeout: 240_000 }, async test => {
    const server = await start()
    test.after(() => server.close())
    const tab = await openPage(test, server, 'wiped')
    await tab.evaluate(() => {
      globalThis.told = []
      db.addEventListener('error', event => { told.push(event.detail.error.code) })
    })
    await insert(tab, 'old')
    await idle(tab)
    await server.stop()
    await insert(tab, 'kept')
    await server.wipe()
    await tab.evaluate(() => dispatchEvent(new Event('online')))
    await tab.waitForFunction(() => told.includes('backend_reset'))
    await idle(tab)
    await shows(tab, ['kept'])
    const client = await PublishedClient.open({ url: server.url, storeId: 'wiped', WebSocket })
    test.after(() => client.close())
    await until(async () => (await client.pull()).length > 0)
    assert.deepEqual((await client.pull()).map(event => [event.seqNum, event.args.id]), [[1, 'kept']])
  })
}
