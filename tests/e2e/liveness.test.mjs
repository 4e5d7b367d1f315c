// Whether a remote is there, as a page sees it: through outages, failures of each kind, pokes of each kind, and expired tokens.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Proxy } from './support/proxy.mjs'
import { Server } from './support/server.mjs'
import { until } from './support/demo.mjs'
import { Pages, Profile } from './support/tabs.mjs'

let pages
let profile

before(async () => {
  pages = await Pages.start()
  profile = await Profile.launch()
})
after(async () => {
  await profile?.close()
  await pages?.stop()
})

/** How far the page's clock goes at a time, in seconds. */
const STEP_S = 4

/** Our server with a proxy before it. */
async function serve(test, flags = []) {
  const data = await mkdtemp(join(tmpdir(), 'driftline-liveness-'))
  const server = await Server.start(data, ['--allow-origin', pages.url.slice(0, -1), ...flags], pages.folder)
  const proxy = await Proxy.start(server.url)
  test.after(async () => {
    proxy.stop()
    await server.stop()
    await rm(data, { recursive: true, force: true })
  })
  return { server, proxy }
}

let databases = 0

/** A page with the collection `todos` of a backend, in a database of its own; `make` is run in the page. */
async function open(test, make, given, prepare) {
  const tab = await profile.tab(pages.url, prepare)
  test.after(() => tab.close())
  await tab.evaluate(async ({ make, given, name }) => {
    const db = await driftline.openDriftline({ name })
    const backend = (0, eval)(`(${make})`)(given)
    const remote = db.connect(backend)
    const todos = db.collection({ sync: { id: 'todos', remote, entity: 'todo' } })
    await todos.ready
    const told = []
    db.addEventListener('error', event => { told.push(event.detail.error.code) })
    const states = []
    remote.status.subscribe(({ state }) => { if (states.at(-1) !== state) states.push(state) })
    Object.assign(globalThis, { db, remote, todos, told, states })
  }, { make: make.toString(), given, name: `app-${++databases}` })
  return tab
}

const state = (tab, wanted) => tab.waitForFunction(wanted => remote.status.value.state === wanted, wanted)
const idle = tab => tab.waitForFunction(() => db.status.value.pending === 0)
const shows = (tab, ids) => tab.waitForFunction(ids => [...todos.keys()].sort().join() === ids.join(), ids)
const insert = (tab, id) => tab.evaluate(id => todos.insert({ id, title: id }).durable, id)
const mizu = given => driftline.mizu(given)
const livestore = given => driftline.livestore(given)

test('status and isConnected follow the server through its stop and its start, and a listener hears of each change', { timeout: 120_000 }, async test => {
  const { server } = await serve(test)
  for (const [make, path] of [[mizu, ''], [livestore, '/livestore']]) {
    const tab = await open(test, make, { url: server.url + path, scope: 's', storeId: 's', pingIntervalMs: 1_000, retry: { maxDelayMs: 1_000 } })
    await tab.evaluate(() => {
      globalThis.connections = []
      remote.isConnected.subscribe(is => { if (connections.at(-1) !== is) connections.push(is) })
    })
    await state(tab, 'live')
    await tab.waitForFunction(() => remote.isConnected.value)
    await server.stop()
    await state(tab, 'offline')
    assert.equal(await tab.evaluate(() => remote.isConnected.value), false)
    assert.deepEqual(await tab.evaluate(() => [remote.status.value.lastError.name, remote.status.value.lastError instanceof driftline.IsOfflineError]), ['IsOfflineError', true])
    await server.start()
    await state(tab, 'live')
    assert.equal(await tab.evaluate(() => remote.isConnected.value), true)
    assert.deepEqual(await tab.evaluate(() => connections.slice(-3)), [true, false, true])
    assert.equal(await tab.evaluate(() => remote.status.value.lastError), undefined)
    assert.deepEqual(tab.problems, [])
  }
})

test('a server that hangs while nothing is asked of it is missed by the ping, and without pings it is not', { timeout: 120_000 }, async test => {
  const { proxy } = await serve(test)
  const pinged = await open(test, mizu, { url: proxy.url, scope: 's', poke: 'none', pingIntervalMs: 500 })
  await state(pinged, 'polling')
  const before = proxy.count('POST /_sync/')
  await pinged.waitForFunction(() => remote.isConnected.value)
  await until(() => proxy.count('POST /_sync/') > before + 2)
  proxy.onRequest = () => 'break'
  await pinged.waitForFunction(() => !remote.isConnected.value)
  await state(pinged, 'offline')
  proxy.onRequest = () => 'pass'
  await pinged.waitForFunction(() => remote.isConnected.value)
  await pinged.evaluate(() => db.close())
  // In the page's time, which is the test's: nothing is asked before the poll after 30 s.
  const silent = await open(test, mizu, { url: proxy.url, scope: 's', poke: 'none', pingIntervalMs: false }, page => page.clock.install())
  await state(silent, 'polling')
  const asked = proxy.seen.length
  await silent.clock.runFor(15_000)
  await silent.evaluate(() => fetch('/favicon.ico').then(() => {}))
  assert.equal(proxy.seen.length, asked, proxy.seen.slice(asked).join())
  await silent.clock.runFor(30_000)
  await until(() => proxy.seen.length > asked)
})

const FAILING = { status: 500, body: '{"code":"internal_error","error":"broken"}' }
const FAILURES = {
  'a pull that fails': [mizu, '', { poke: 'none' }, ({ path }) => /\/(pull|snapshot)$/.test(path) ? FAILING : 'pass'],
  'a push that fails': [mizu, '', { poke: 'none' }, ({ path }) => path.endsWith('/push') ? FAILING : 'pass'],
  'a 200 with an error': [livestore, '/livestore', { transport: 'http' }, () => ({ status: 200, body: '[{"_tag":"Defect","defect":"broken"}]' })],
  'a connection that breaks': [livestore, '/livestore', {}, () => 'break', () => 'refuse'],
}

for (const [what, [make, path, given, onRequest, onSocket = () => 'pass']] of Object.entries(FAILURES)) {
  test(`${what} is tried again ever more slowly: the requests are counted`, { timeout: 240_000 }, async test => {
    const { proxy } = await serve(test)
    Object.assign(proxy, { onRequest, onSocket })
    // In the page's time, which is the test's, so that ten minutes are soon over.
    const options = { ...given, url: proxy.url + path, scope: 's', storeId: 's', pingIntervalMs: false, retry: { retries: 1_000 } }
    const tab = await open(test, make, options, page => page.clock.install())
    await insert(tab, 'a')
    proxy.seen.length = 0
    const seenAt = []
    for (let second = 0; second < 600; second += STEP_S) {
      const before = proxy.seen.length
      await tab.clock.runFor(STEP_S * 1_000)
      // What was asked has its answer before the clock goes on.
      await tab.evaluate(() => fetch('/favicon.ico').then(() => {}))
      if (proxy.seen.length > before) seenAt.push(second)
    }
    const asked = what === 'a push that fails' ? proxy.count('POST /_sync/push') : proxy.seen.length
    assert.ok(asked >= 8 && asked <= 200, `${asked} requests in ten minutes`)
    const waits = seenAt.slice(1).map((at, index) => at - seenAt[index])
    assert.ok(new Set(waits.slice(-12)).size > 2, `the waits are not all alike: ${waits}`)
  })
}

for (const dialect of ['v0.3', 'plan']) {
  for (const poke of ['ws', 'sse', 'auto', 'none']) {
    test(`mizu ${dialect} with pokes by ${poke}: two devices share rows on our server`, { timeout: 120_000 }, async test => {
      const { server, proxy } = await serve(test)
      const url = target => dialect === 'plan' ? `${target}/plan` : target
      const writer = await open(test, mizu, { url: url(server.url), scope: 's', dialect, poke: 'none', pingIntervalMs: false })
      const reader = await open(test, mizu, { url: url(proxy.url), scope: 's', dialect, poke, pingIntervalMs: false })
      await state(reader, poke === 'none' ? 'polling' : 'live')
      await insert(writer, 'a')
      await idle(writer)
      if (poke === 'none') await reader.evaluate(() => remote.ping())
      await shows(reader, ['a'])
      const sockets = proxy.seen.filter(asked => asked.startsWith('WS ')).length
      assert.equal(sockets > 0, poke === 'ws', proxy.seen.join())
      assert.equal(reader.problems.length + writer.problems.length, 0)
    })
  }
}

test('what was missed is caught up with when the page is seen again, and when the network is back', { timeout: 120_000 }, async test => {
  const { server, proxy } = await serve(test)
  const writer = await open(test, mizu, { url: server.url, scope: 's' })
  // Neither poke nor ping nor the poll every 30 s can be it.
  const reader = await open(test, mizu, { url: proxy.url, scope: 's', poke: 'none', pingIntervalMs: false })
  await state(reader, 'polling')
  await insert(writer, 'a')
  await idle(writer)
  await reader.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
  await shows(reader, ['a'])
  await insert(writer, 'b')
  await idle(writer)
  await reader.evaluate(() => dispatchEvent(new Event('online')))
  await shows(reader, ['a', 'b'])
})

test('answers that are lost, and a server that hangs, leave every change on the server once', { timeout: 180_000 }, async test => {
  const { server, proxy } = await serve(test)
  for (const [make, given] of [
    [mizu, { url: proxy.url, scope: 'lost' }],
    [mizu, { url: `${proxy.url}/plan`, dialect: 'plan', scope: 'lost-plan' }],
    [livestore, { url: `${proxy.url}/livestore`, storeId: 'lost', transport: 'http' }],
  ]) {
    const tab = await open(test, make, { ...given, retry: { maxDelayMs: 500 } })
    await tab.waitForFunction(() => remote.isConnected.value)
    let losses = 2
    proxy.onRequest = ({ path, body }) => (path.endsWith('/push') || body.includes('.Push"')) && losses-- > 0 ? 'lose' : 'pass'
    for (const id of ['a', 'b', 'c']) await insert(tab, id)
    await idle(tab)
    assert.ok(losses < 2, 'an answer was lost')
    proxy.onRequest = () => 'pass'
    const other = await open(test, make, given)
    await shows(other, ['a', 'b', 'c'])
    assert.deepEqual(tab.problems, [])
  }
  const log = (await server.changes('lost')).map(({ data }) => data.todo.id)
  assert.deepEqual(log.sort(), ['a', 'b', 'c'])
  const planned = (await server.changes('lost-plan')).map(({ data }) => data.todo.id)
  assert.deepEqual(planned.sort(), ['a', 'b', 'c'])
})

test('over a WebSocket an answer that is lost is read back, and a peer that says nothing is left', { timeout: 180_000 }, async test => {
  const { proxy } = await serve(test)
  for (const dialect of ['0.4', '0.3']) {
    const given = { url: `${proxy.url}/livestore${dialect === '0.3' ? '/websocket' : ''}`, storeId: `lost-${dialect}`, dialect }
    const tab = await open(test, livestore, { ...given, pingIntervalMs: 1_000, retry: { maxDelayMs: 500 } })
    await state(tab, 'live')
    let deaf = true
    // The push arrives, and from then on the page hears nothing over this connection.
    proxy.onFrame = (from, text) => {
      if (from === 'page' && /\.Push"|PushReq/.test(text) && deaf) deaf = 'from here'
      return from === 'page' || deaf !== 'from here'
    }
    proxy.onSocket = () => {
      if (deaf === 'from here') deaf = false
      return 'pass'
    }
    await insert(tab, 'a')
    await tab.waitForFunction(() => states.includes('offline'))
    await idle(tab)
    await state(tab, 'live')
    const other = await open(test, livestore, given)
    await shows(other, ['a'])
    assert.deepEqual(tab.problems, [])
  }
})

test('a server that was wiped is told, shows as such until its rows are there, and gets what waits', { timeout: 120_000 }, async test => {
  const { server } = await serve(test)
  for (const [make, given] of [[mizu, { url: server.url, scope: 'wiped' }], [livestore, { url: `${server.url}/livestore`, storeId: 'wiped' }]]) {
    const tab = await open(test, make, { ...given, retry: { maxDelayMs: 500 } })
    await state(tab, 'live')
    for (const id of ['a', 'b', 'c']) await insert(tab, id)
    await idle(tab)
    await server.stop()
    await insert(tab, 'kept')
    await rm(server.data, { recursive: true, force: true })
    await server.start()
    await tab.waitForFunction(() => told.includes('backend_reset'))
    await idle(tab)
    await state(tab, 'live')
    await shows(tab, ['kept'])
    // Where rows come all in one answer, there is nothing between the news and the end.
    if (make === livestore) assert.ok((await tab.evaluate(() => states)).includes('reset'))
    const other = await open(test, make, given)
    await shows(other, ['kept'])
    assert.deepEqual(tab.problems, [])
  }
})

test('what no backend could carry is refused at the write, or fails by itself with its limit, and the next one goes on', { timeout: 120_000 }, async test => {
  const { proxy } = await serve(test)
  for (const [make, given] of [[mizu, { url: proxy.url, scope: 'large' }], [livestore, { url: `${proxy.url}/livestore`, storeId: 'large' }]]) {
    const tab = await open(test, make, given)
    const seen = await tab.evaluate(async () => {
      let refused
      try { todos.insert({ id: 'large', title: 'x'.repeat(1_200_000) }) } catch (error) { refused = error }
      // As an event it is larger than as a row, which only shows when it is made.
      const grown = remote.metadata.name === 'mizu' ? undefined : db.collection({
        sync: { id: 'grown', remote, entity: 'grown', toEvents: ({ key, changes }) => [{ name: 'grown', args: { id: key, text: changes.title.repeat(10) } }], applyEvent: () => [] },
      })
      const failed = await grown?.insert({ id: 'g', title: 'x'.repeat(200_000) }).completed.then(() => undefined, error => error)
      await todos.insert({ id: 'small', title: 'x' }).completed
      const figures = error => error && { code: error.code, isOver: error.sizeBytes > error.limitBytes }
      return { refused: figures(refused), failed: figures(failed), rows: [...todos.keys()] }
    })
    const tooLarge = { code: 'too_large', isOver: true }
    assert.deepEqual(seen, { refused: tooLarge, failed: make === mizu ? undefined : tooLarge, rows: ['small'] })
  }
})

test('where no WebSocket gets through, LiveStore’s wire goes by HTTP, and by a WebSocket again when one does', { timeout: 120_000 }, async test => {
  const { server, proxy } = await serve(test)
  proxy.onSocket = () => 'refuse'
  const tab = await open(test, livestore, { url: `${proxy.url}/livestore`, storeId: 'blocked', retry: { maxDelayMs: 500 } })
  await state(tab, 'polling')
  await insert(tab, 'a')
  await idle(tab)
  const other = await open(test, livestore, { url: `${server.url}/livestore`, storeId: 'blocked' })
  await shows(other, ['a'])
  proxy.onSocket = () => 'pass'
  await state(tab, 'live')
  await insert(other, 'b')
  await shows(tab, ['a', 'b'])
  assert.deepEqual(await tab.evaluate(() => remote.metadata.protocol), 'sync-cf 0.4 over ws or http')
  const strict = await open(test, livestore, { url: `${proxy.url}/livestore`, storeId: 'blocked', transport: 'ws', retry: { maxDelayMs: 500 } })
  await state(strict, 'live')
  proxy.onSocket = () => 'refuse'
  proxy.closeSockets(1011)
  await strict.waitForFunction(() => remote.status.value.state === 'offline' && remote.status.value.lastError.message.includes('no WebSocket'))
})

for (const [what, make, path] of [['mizu', mizu, ''], ['LiveStore', livestore, '/livestore'], ['LiveStore 0.3', livestore, '/livestore/websocket']]) {
  test(`a token that our server takes no longer holds what waits, and a fresh one sends it on: ${what}`, { timeout: 120_000 }, async test => {
    const { server } = await serve(test, ['--auth-token', 'first'])
    const tab = await open(test, given => {
      globalThis.token = 'first'
      globalThis.asked = 0
      if (given.make === 'mizu') return driftline.mizu({ ...given, headers: async () => { asked++; return { authorization: `Bearer ${token}` } } })
      return driftline.livestore({ ...given, payload: async () => { asked++; return { authToken: token } } })
    }, { make: make === mizu ? 'mizu' : 'livestore', url: server.url + path, scope: 's', storeId: 's', dialect: what === 'LiveStore 0.3' ? '0.3' : undefined, retry: { maxDelayMs: 500 } })
    await state(tab, 'live')
    await insert(tab, 'a')
    await idle(tab)
    await server.stop()
    server.flags = [...server.flags.slice(0, -1), 'second']
    await server.start()
    await state(tab, 'auth')
    await insert(tab, 'kept')
    assert.deepEqual(await tab.evaluate(() => [remote.isConnected.value, remote.status.value.lastError.code, db.status.value.paused?.reason]), [false, 'auth_required', 'auth'])
    const asked = await tab.evaluate(() => {
      globalThis.token = 'second'
      db.resume()
      return globalThis.asked
    })
    await idle(tab)
    await state(tab, 'live')
    await shows(tab, ['a', 'kept'])
    assert.ok(await tab.evaluate(() => globalThis.asked) > asked, 'the fresh token was asked for')
    // One that the app refreshes by itself is never held.
    await server.stop()
    server.flags = [...server.flags.slice(0, -1), 'third']
    await tab.evaluate(() => {
      globalThis.states.length = 0
      globalThis.token = 'third'
    })
    await server.start()
    await state(tab, 'live')
    assert.ok(!await tab.evaluate(() => states.includes('auth')))
    assert.deepEqual(tab.problems, [])
  })
}

for (const code of [4401, 1008, 3000]) {
  test(`a connection that is closed by ${code} is opened with fresh credentials, and held if those are refused, too`, { timeout: 120_000 }, async test => {
    const { proxy } = await serve(test)
    const given = { url: `${proxy.url}/livestore`, storeId: 's', retry: { maxDelayMs: 500 } }
    const tab = await open(test, given => {
      globalThis.token = 1
      return driftline.livestore({ ...given, payload: () => ({ authToken: token++ }) })
    }, given)
    const tokens = []
    proxy.onSocket = ({ url }) => {
      tokens.push(/authToken\D+(\d+)/.exec(decodeURIComponent(decodeURIComponent(url)))?.[1])
      return 'pass'
    }
    await state(tab, 'live')
    proxy.closeSockets(code)
    await tab.waitForFunction(() => states.length > 1)
    await state(tab, 'live')
    assert.ok(!await tab.evaluate(() => states.includes('auth')))
    assert.ok(tokens.length > 0 && new Set(tokens).size === tokens.length, `each connection has a token of its own: ${tokens}`)
    proxy.onSocket = () => code
    proxy.closeSockets(code)
    await state(tab, 'auth')
    proxy.onSocket = () => 'pass'
    await insert(tab, 'kept')
    await tab.evaluate(() => db.resume())
    await idle(tab)
    await state(tab, 'live')
    assert.deepEqual(tab.problems, [])
  })
}

test('a tab that leads without knowing a collection gives way to one that does', { timeout: 120_000 }, async test => {
  const { server } = await serve(test)
  const name = `app-${++databases}`
  const opened = async ids => {
    const tab = await profile.tab(pages.url)
    test.after(() => tab.close())
    await tab.evaluate(async ({ name, ids, url }) => {
      const db = await driftline.openDriftline({ name })
      const remote = db.connect(driftline.mizu({ url, scope: 'turns' }))
      const [todos] = ids.map(id => db.collection({ sync: { id, remote, entity: id.slice(0, -1) } }))
      await todos.ready
      Object.assign(globalThis, { db, remote, todos })
    }, { name, ids, url: server.url })
    return tab
  }
  const leader = await opened(['todos'])
  await state(leader, 'live')
  const other = await opened(['notes'])
  await insert(other, 'note')
  await idle(other)
  assert.equal((await server.changes('turns')).length, 1)
  // And back, for what the first one knows alone.
  await insert(leader, 'todo')
  await idle(leader)
  assert.deepEqual((await server.changes('turns')).map(({ data }) => data.note?.id ?? data.todo?.id), ['note', 'todo'])
  for (const tab of [leader, other]) assert.deepEqual(tab.problems, [])
})

test('a collection with applyEvent that is registered late has what came before it', { timeout: 120_000 }, async test => {
  const { server } = await serve(test)
  const given = { url: `${server.url}/livestore`, storeId: 'late' }
  const tab = await open(test, livestore, given)
  for (const id of ['a', 'b', 'c']) await insert(tab, id)
  await idle(tab)
  await tab.evaluate(() => {
    globalThis.titles = db.collection({
      getKey: row => row.title,
      sync: {
        id: 'titles', remote, entity: 'title',
        applyEvent: ({ name, args }) => name === 'todo.inserted' ? [{ type: 'put', key: args.title, value: { title: args.title } }] : [],
      },
    })
  })
  await tab.waitForFunction(() => [...titles.keys()].sort().join() === 'a,b,c')
  await insert(tab, 'd')
  await tab.waitForFunction(() => titles.has('d'))
  assert.deepEqual([await tab.evaluate(() => todos.size), tab.problems], [4, []])
})
