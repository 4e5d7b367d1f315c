// Driftline's pages that share a stream of s2-lite's, directly and through the proxy of LiveStore's sync-s2: each writes while it
// can't reach the server, answers are lost, the server restarts, is wiped, is trimmed, refuses, and falls silent.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Pages } from '../../e2e/support/tabs.mjs'
import { BASIN, STREAM, WIRES, assertOnce, cameBack, hasState, idle, insert, isLive, openPage, shows, startServer } from '../support/s2-pages.mjs'
import { until } from '../support/until.mjs'
import { PublishedClient } from '../sync-s2/client.mjs'

const TIMEOUT = { timeout: 240_000 }

let pages
before(async () => { pages = await Pages.start() })
after(() => pages?.stop())

for (const [name, wire] of Object.entries(WIRES)) {
  test(`by ${name}, pages that wrote while each was offline end with all events once, in one order`, TIMEOUT, async test => {
    const server = await startServer(test)
    const [one, two] = [await openPage(test, pages, server, wire), await openPage(test, pages, server, wire)]
    await insert(one, 'a1')
    await idle(one)
    await shows(two, ['a1'])
    for (const tab of [one, two]) await tab.gate.shut()
    for (const id of ['a2', 'a3']) await insert(one, id)
    for (const id of ['b2', 'b3']) await insert(two, id)
    await two.evaluate(() => todos.update('a1', draft => { draft.done = true }).durable)
    for (const tab of [one, two]) await hasState(tab, 'offline')
    for (const tab of [one, two]) await cameBack(tab)
    for (const tab of [one, two]) await idle(tab)
    const all = ['a1', 'a2', 'a3', 'b2', 'b3']
    for (const tab of [one, two]) {
      await shows(tab, all)
      await tab.waitForFunction(() => todos.get('a1')?.done === true)
      await isLive(tab)
      assert.deepEqual(await tab.evaluate(() => told), [])
      assert.deepEqual(tab.problems, [])
    }
    const events = await wire.events(server)
    assertOnce(events, all, ['a1', 'a2', 'a3'], ['b2', 'b3'])
    assert.deepEqual(events.filter(event => event.name === 'todo.updated').map(event => event.args), [{ id: 'a1', done: true }])
  })

  test(`by ${name}, what landed though its answer was lost is there once`, TIMEOUT, async test => {
    const server = await startServer(test)
    const [one, two] = [await openPage(test, pages, server, wire), await openPage(test, pages, server, wire)]
    let lost = 0
    one.gate.rule = ({ method }) => {
      if (method !== 'POST' || lost === 3) return 'pass'
      lost += 1
      return 'lose'
    }
    for (const id of ['a1', 'a2', 'a3', 'a4']) {
      await insert(one, id)
      await idle(one)
    }
    assert.equal(lost, 3)
    await shows(two, ['a1', 'a2', 'a3', 'a4'])
    assertOnce(await wire.events(server), ['a1', 'a2', 'a3', 'a4'], ['a1', 'a2', 'a3', 'a4'])
    assert.deepEqual(await one.evaluate(() => told), [])
  })

  test(`by ${name}, pages that write at once end with all events once, in one order`, TIMEOUT, async test => {
    const server = await startServer(test)
    const tabs = [await openPage(test, pages, server, wire), await openPage(test, pages, server, wire)]
    const ids = [0, 1].map(at => Array.from({ length: 25 }, (_, n) => `${'ab'[at]}${String(n).padStart(2, '0')}`))
    await Promise.all(tabs.map((tab, at) => tab.evaluate(async ids => {
      for (const id of ids) await todos.insert({ id, title: id }).durable
    }, ids[at])))
    for (const tab of tabs) await idle(tab)
    for (const tab of tabs) await shows(tab, ids.flat().sort())
    // What is sent again behind what others wrote may come behind what was written since, as rows that have nothing to do
    // with each other may.
    assertOnce(await wire.events(server), ids.flat())
  })

  test(`by ${name}, a server that is killed and started again is gone on with`, TIMEOUT, async test => {
    const server = await startServer(test)
    const [one, two] = [await openPage(test, pages, server, wire), await openPage(test, pages, server, wire)]
    await insert(one, 'before')
    await idle(one)
    await shows(two, ['before'])
    await server.stop()
    await hasState(one, 'offline')
    await insert(one, 'during')
    await server.start()
    for (const tab of [one, two]) await cameBack(tab)
    await idle(one)
    for (const tab of [one, two]) {
      await shows(tab, ['before', 'during'])
      await isLive(tab)
      assert.deepEqual(await tab.evaluate(() => told), [])
    }
    assertOnce(await wire.events(server), ['before', 'during'], ['before', 'during'])
  })

  test(`by ${name}, a page whose server was wiped says so, and what it had not sent arrives`, TIMEOUT, async test => {
    const server = await startServer(test)
    const tab = await openPage(test, pages, server, wire)
    for (const id of ['old', 'older']) {
      await insert(tab, id)
      await idle(tab)
    }
    await server.stop()
    await insert(tab, 'kept')
    await server.wipe()
    await cameBack(tab)
    await tab.waitForFunction(() => told.includes('backend_reset'))
    await idle(tab)
    await shows(tab, ['kept'])
    assert.deepEqual((await wire.events(server)).map(event => [event.place, event.args.id]), [[0, 'kept']])
    await isLive(tab)
  })

  test(`by ${name}, credentials that expire are asked for anew, and waited for`, TIMEOUT, async test => {
    const server = await startServer(test)
    const tab = await openPage(test, pages, server, wire)
    let valid = 'second'
    const status = name === 's2()' ? 403 : 401
    const isValid = ({ headers }) => headers.authorization?.endsWith(valid)
    tab.gate.rule = asked => isValid(asked) ? 'pass' : { status, body: '{"code":"permission_denied","message":"expired"}' }
    tab.gate.breakAll()
    await insert(tab, 'waits')
    await hasState(tab, 'auth')
    assert.equal(await tab.evaluate(() => db.status.value.pending), 1)
    await tab.evaluate(() => {
      token = 'second'
      db.resume()
    })
    await idle(tab)
    await isLive(tab)
    // One that the app has a new token for at once is nobody's concern.
    valid = 'third'
    await tab.evaluate(() => { token = 'third' })
    tab.gate.breakAll()
    await insert(tab, 'goes')
    await idle(tab)
    assertOnce(await wire.events(server), ['waits', 'goes'], ['waits', 'goes'])
    assert.ok(tab.gate.asked.every(({ path }) => !/first|second|third/.test(path)), 'no token is in an address')
  })
}

test('by s2(), a change that is too large is taken back with its reason, and what is behind it goes on', TIMEOUT, async test => {
  const server = await startServer(test)
  const tab = await openPage(test, pages, server, WIRES['s2()'])
  const failed = await tab.evaluate(async () => {
    const large = todos.insert({ id: 'large', text: '"'.repeat(600_000) })
    todos.insert({ id: 'small', title: 'small' })
    return large.completed.then(() => 'completed', error => error.code)
  })
  assert.equal(failed, 'too_large')
  await tab.waitForFunction(() => db.transactions.list().some(transaction => transaction.state === 'completed'))
  await shows(tab, ['small'])
  // Nearly as large, and all of it escaped on its way.
  await tab.evaluate(() => todos.insert({ id: 'large', text: '"'.repeat(500_000) }).completed)
  assertOnce(await WIRES['s2()'].events(server), ['small', 'large'], ['small', 'large'])
})

test('by s2(), a page that slept while its stream was trimmed says so and takes what is left', TIMEOUT, async test => {
  const server = await startServer(test)
  const wire = WIRES['s2()']
  const [one, two] = [await openPage(test, pages, server, wire), await openPage(test, pages, server, wire)]
  await insert(one, 'a')
  await idle(one)
  await shows(two, ['a'])
  await two.gate.shut()
  for (const id of ['b', 'c', 'd']) await insert(one, id)
  await idle(one)
  await server.trim(BASIN, STREAM, 2)
  await cameBack(two)
  await two.waitForFunction(() => told.includes('backend_reset'))
  await shows(two, ['c', 'd'])
  await insert(two, 'e')
  await idle(two)
  await shows(one, ['a', 'b', 'c', 'd', 'e'])
  assert.deepEqual(await one.evaluate(() => told), [])
})

test('by s2(), a live read that falls silent is made anew, and brings what was missed', TIMEOUT, async test => {
  const server = await startServer(test)
  const wire = WIRES['s2()']
  const [one, two] = [await openPage(test, pages, server, wire), await openPage(test, pages, server, wire)]
  two.gate.silence()
  const reads = () => two.gate.asked.filter(({ headers }) => headers.accept === 'text/event-stream').length
  const before = reads()
  await insert(one, 'unheard')
  await idle(one)
  await until(() => reads() > before)
  await shows(two, ['unheard'])
  await isLive(two)
})

test('beside LiveStore’s published client in one store, each sees what the other writes', TIMEOUT, async test => {
  const server = await startServer(test)
  const wire = WIRES['s2Proxy()']
  const tab = await openPage(test, pages, server, wire)
  const gate = await wire.gate(server)
  const client = await PublishedClient.open({ url: gate.url, storeId: 'shared' })
  test.after(async () => {
    await client.close()
    await gate.close()
  })
  const heard = []
  client.listen(event => heard.push(event.args.id))
  await insert(tab, 'a1')
  await idle(tab)
  await until(() => heard.length === 1)
  const event = (id, seqNum) => ({ name: 'todo.inserted', args: { id, title: id }, seqNum, parentSeqNum: seqNum - 1, clientId: 'published', sessionId: 's' })
  await client.push([event('p1', 2), event('p2', 3)])
  await shows(tab, ['a1', 'p1', 'p2'])
  // Both write behind the same event: this wire takes both, and all see them in the order in which they came.
  tab.gate.rule = ({ method }) => method === 'POST' ? 'drop' : 'pass'
  await insert(tab, 'a2')
  await client.push([event('p3', 4)])
  tab.gate.rule = () => 'pass'
  await idle(tab)
  await shows(tab, ['a1', 'a2', 'p1', 'p2', 'p3'])
  await until(() => heard.length === 5)
  const log = await client.pull()
  assert.deepEqual(log.map(event => event.args.id), heard)
  // Two may have one number here, so that only their places say which came first.
  assert.deepEqual(log.map(event => event.args.id), (await wire.events(server)).map(event => event.args.id))
  assertOnce(await wire.events(server), ['a1', 'a2', 'p1', 'p2', 'p3'], ['a1', 'a2'], ['p1', 'p2', 'p3'])
})
