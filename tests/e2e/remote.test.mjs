// Collections over a mizu backend: the real server, two tabs and a second device; and a backend that asks for credentials.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Server } from './support/server.mjs'
import { Pages, Profile } from './support/tabs.mjs'

let pages

before(async () => { pages = await Pages.start() })
after(() => pages.stop())

test('two tabs and a second device share rows through the server, over an outage, and each change arrives once', { timeout: 120_000 }, async test => {
  const data = await mkdtemp(join(tmpdir(), 'driftline-remote-'))
  const server = await Server.start(data, ['--allow-origin', pages.url.slice(0, -1)], pages.folder)
  const profiles = [await Profile.launch(), await Profile.launch()]
  test.after(async () => {
    for (const profile of profiles) await profile.close()
    await server.stop()
    await rm(data, { recursive: true, force: true })
  })
  const open = async profile => {
    const tab = await profile.tab(pages.url)
    await tab.evaluate(async url => {
      const db = await driftline.openDriftline({ name: 'app' })
      const remote = db.connect(driftline.mizu({ url, scope: 'shared' }))
      const todos = db.collection({ sync: { id: 'todos', remote, entity: 'todo' } })
      await todos.ready
      Object.assign(globalThis, { db, remote, todos })
    }, server.url)
    return tab
  }
  const state = (tab, wanted) => tab.waitForFunction(wanted => remote.status.value.state === wanted, wanted)
  const leader = await open(profiles[0])
  await state(leader, 'live')
  const follower = await open(profiles[0])
  const other = await open(profiles[1])
  await state(follower, 'live')
  await state(other, 'live')
  assert.deepEqual(await follower.evaluate(() => [db.status.value.leader, remote.metadata.protocol]), [{ todos: false }, 'mizu v0.3'])

  await follower.evaluate(() => todos.insert({ id: 'a', title: 'from the follower', done: false }).completed)
  await other.waitForFunction(() => todos.get('a')?.title === 'from the follower')
  await leader.waitForFunction(() => todos.has('a'))
  await other.evaluate(() => todos.update('a', draft => { draft.done = true; delete draft.title }).completed)
  await follower.waitForFunction(() => todos.get('a')?.done === true)

  await server.stop()
  await follower.evaluate(() => Promise.all([todos.insert({ id: 'b', title: 'in the outage' }).durable, todos.delete('a').durable]))
  await leader.waitForFunction(() => !todos.has('a') && todos.has('b'))
  for (const tab of [leader, follower]) await state(tab, 'offline')
  assert.equal(await follower.evaluate(() => db.status.value.pending), 2)
  assert.match(await follower.evaluate(() => remote.status.value.lastError.code), /offline/)
  await server.start()
  await leader.evaluate(() => dispatchEvent(new Event('online')))
  for (const tab of [leader, follower]) await tab.waitForFunction(() => db.status.value.pending === 0)
  await other.evaluate(() => dispatchEvent(new Event('online')))
  await other.waitForFunction(() => !todos.has('a') && todos.has('b'))

  const log = (await server.changes('shared')).map(({ data }) => `${data.op} ${data.todo.id}`)
  assert.deepEqual(log.slice(0, 2), ['create a', 'update a'])
  assert.deepEqual(log.slice(2).sort(), ['create b', 'delete a'])
  for (const tab of [leader, follower, other]) assert.deepEqual(tab.problems, [])
})

test('credentials are asked for at each request, a refusal holds the queue, and resume() sends what waited', { timeout: 60_000 }, async test => {
  const profile = await Profile.launch()
  test.after(() => profile.close())
  const applied = new Map()
  pages.api = (path, body, headers) => {
    if (!/^Bearer good-\d+$/.test(headers.authorization ?? '')) return { status: 401, body: JSON.stringify({ code: 'auth_required', error: 'sign in' }) }
    const { mutations, cursor } = JSON.parse(body)
    if (path === '_sync/push') {
      const results = mutations.map(({ id, args }) => {
        if (!applied.has(id)) applied.set(id, args)
        return { ok: true, cursor: applied.size, changes: [] }
      })
      return { status: 200, body: JSON.stringify({ results }) }
    }
    if (path === '_sync/snapshot') return { status: 200, body: JSON.stringify({ data: { todos: Object.fromEntries([...applied.values()].map(todo => [todo.id, todo])) }, cursor: applied.size }) }
    const changes = [...applied.values()].slice(cursor).map((todo, index) => ({ cursor: cursor + index + 1, scope: 'mine', time: new Date().toISOString(), data: { op: 'create', todo } }))
    return { status: 200, body: JSON.stringify({ changes, has_more: false }) }
  }
  const tab = await profile.tab(pages.url)
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    let asked = 0
    let token = 'stale'
    const remote = db.connect(driftline.mizu({ url: '/api', scope: 'mine', poke: 'none', headers: async () => ({ authorization: `Bearer ${token}-${++asked}` }) }))
    const todos = db.collection({ sync: { id: 'todos', remote, entity: 'todo' } })
    await todos.ready
    const transaction = todos.insert({ id: 'a', title: 'x' })
    await new Promise(resolve => remote.status.subscribe(({ state }) => { if (state === 'auth') resolve() }))
    await new Promise(resolve => { const look = () => transaction.state === 'pending' ? resolve() : setTimeout(look, 1); look() })
    const held = [transaction.state, db.status.value.paused?.reason, todos.has('a')]
    token = 'good'
    db.resume()
    await transaction.completed
    const stored = await new Promise((resolve, reject) => {
      const open = indexedDB.open('driftline:app')
      open.onsuccess = () => {
        const read = open.result.transaction('log').objectStore('log').getAll()
        read.onsuccess = () => resolve(JSON.stringify(read.result.map(({ bytes, values }) => [new TextDecoder('latin1').decode(bytes), values])))
        read.onerror = () => reject(read.error)
      }
    })
    return { held, asked, row: todos.get('a'), state: remote.status.value.state, leaks: /good-|stale-/.test(stored) }
  })
  assert.deepEqual(seen.held, ['pending', 'auth', true])
  assert.ok(seen.asked > 2)
  assert.deepEqual([seen.row, seen.state, seen.leaks], [{ id: 'a', title: 'x' }, 'polling', false])
  assert.equal(applied.size, 1)
  assert.deepEqual(tab.problems, [])
})
