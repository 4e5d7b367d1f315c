// Many tabs of one database in one browser: who leads, and what becomes of the work when the leader closes, crashes, freezes or hangs.
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { Recorder, compare, drained, openApp, reportTo } from './support/storm.mjs'
import { Pages, Profile } from './support/tabs.mjs'

let pages, profile, recorder

before(async () => { pages = await Pages.start() })
after(() => pages.stop())
beforeEach(async () => {
  profile = await Profile.launch()
  recorder = new Recorder()
  pages.api = recorder.api
  await reportTo(recorder, profile)
})
afterEach(() => profile.close())

test('the next tab in line goes on at once when the leader closes', { timeout: 60_000 }, async test => {
  const { leader, follower } = await pair()
  recorder.gate = ({ who }) => who === 'leader' ? new Promise(() => {}) : undefined
  const key = await written(follower)
  await eventually(() => recorder.calls.length === 1)
  const closedAt = performance.now()
  await leader.close()
  await drained(follower)
  test.diagnostic(`taken over and drained ${Math.round(performance.now() - closedAt)} ms after the close`)
  assert.deepEqual(recorder.calls.map(({ who, key }) => [who, key]), [['leader', key], ['follower', key]])
  assert.deepEqual(follower.problems, [])
})

test('the next tab in line goes on at once when the leader’s process crashes', { timeout: 60_000 }, async test => {
  const { leader, follower } = await pair()
  recorder.gate = ({ who }) => who === 'leader' ? new Promise(() => {}) : undefined
  const key = await written(follower)
  await eventually(() => recorder.calls.length === 1)
  const crashedAt = performance.now()
  await crash(leader)
  await drained(follower)
  test.diagnostic(`taken over and drained ${Math.round(performance.now() - crashedAt)} ms after the crash`)
  assert.deepEqual(recorder.calls.map(({ who, key }) => [who, key]), [['leader', key], ['follower', key]])
  recorder.check()
  assert.deepEqual(follower.problems, [])
})

test('a frozen leader is robbed of its lease, and when it thaws it sends nothing and follows', { timeout: 90_000 }, async test => {
  await launchHiding()
  const { leader, follower } = await pair()
  // One is under way when the leader freezes, one is written while it is frozen.
  let answer
  recorder.gate = ({ who }) => who === 'leader' ? new Promise(resolve => { answer = resolve }) : undefined
  const first = await written(follower)
  await eventually(() => answer !== undefined)
  const epoch = await epochOf(follower)
  const frozenAt = performance.now()
  await freeze(leader)
  answer()
  const second = await written(follower)
  await follower.waitForFunction(() => db.status.value.leader.todos, undefined, POLLING)
  test.diagnostic(`the lease was stolen ${Math.round(performance.now() - frozenAt)} ms after the freeze`)
  await drained(follower)
  assert.equal(await epochOf(follower), epoch + 1)
  const before = recorder.calls.length
  await thaw(leader)
  await leader.waitForFunction(() => db.status.value.leader.todos === false && db.status.value.pending === 0, undefined, POLLING)
  await written(leader)
  await drained(follower)
  await drained(leader)
  assert.deepEqual(recorder.calls.slice(before).map(({ who }) => who), ['follower'], 'the thawed tab writes, and leaves the sending to the leader')
  assert.equal(recorder.calls.filter(({ who }) => who === 'leader').length, 1)
  assert.deepEqual(new Set(recorder.calls.slice(0, before).map(({ key }) => key)), new Set([first, second]))
  assert.equal(recorder.calls.filter(({ key }) => key === second).length, 1, 'what the frozen tab never sent was sent once')
  assert.equal(await epochOf(follower), epoch + 1)
  recorder.check()
  assert.deepEqual([...leader.problems, ...follower.problems], [])
})

test('a leader that hangs is robbed, and when it goes on its retry is not sent', { timeout: 90_000 }, async () => {
  const { leader, follower } = await pair()
  // The leader's back-off ends while it hangs: its retry is the first thing that it would do.
  recorder.faults.before = 1
  await written(follower)
  await eventually(() => recorder.calls.length > 2)
  const hung = leader.evaluate(() => {
    const until = Date.now() + 12_000
    while (Date.now() < until);
  })
  await follower.waitForFunction(() => db.status.value.leader.todos, undefined, POLLING)
  const before = recorder.calls.filter(({ who }) => who === 'leader').length
  await eventually(() => recorder.calls.some(({ who }) => who === 'follower'))
  await hung
  await leader.waitForFunction(() => db.status.value.leader.todos === false, undefined, POLLING)
  assert.equal(recorder.calls.filter(({ who }) => who === 'leader').length, before)
  recorder.faults.before = 0
  await drained(follower)
  recorder.check()
  assert.deepEqual([...leader.problems, ...follower.problems], [])
})

test('a leader whose timers the browser holds back answers when it is asked, and keeps its lease', { timeout: 60_000 }, async () => {
  const { leader, follower } = await pair(async tab => {
    await tab.addInitScript(() => {
      const { setInterval } = globalThis
      globalThis.setInterval = (call, everyMs, ...rest) => setInterval(call, Math.max(everyMs ?? 0, 600_000), ...rest)
    })
  })
  const epoch = await epochOf(follower)
  await listenIn(follower)
  await follower.waitForFunction(() => heard.filter(([what]) => what === 'beat').length >= 6, undefined, POLLING)
  await written(follower)
  await drained(follower)
  assert.deepEqual(recorder.calls.map(({ who }) => who), ['leader'])
  assert.equal(await epochOf(follower), epoch)
  assert.deepEqual([...leader.problems, ...follower.problems], [])
})

test('a tab that was frozen does not rob the leader when it thaws', { timeout: 60_000 }, async () => {
  await launchHiding()
  const { leader, follower } = await pair()
  const epoch = await epochOf(leader)
  const third = await profile.tab(pages.url)
  await freeze(follower)
  await listenIn(third)
  await third.waitForFunction(() => heard.filter(([what]) => what === 'beat').length >= 8, undefined, POLLING)
  await thaw(follower)
  await third.waitForFunction(() => heard.filter(([what]) => what === 'beat').length >= 11, undefined, POLLING)
  await written(follower)
  await drained(follower)
  assert.deepEqual(recorder.calls.map(({ who }) => who), ['leader'])
  assert.equal(await epochOf(leader), epoch)
})

test('a tab that holds a transaction of the database open delays the others and breaks nothing', { timeout: 60_000 }, async () => {
  const { leader, follower } = await pair()
  const holder = await profile.tab(pages.url)
  await listenIn(holder)
  const epoch = await epochOf(holder)
  await holder.evaluate(async () => {
    const database = await new Promise(resolve => {
      const request = indexedDB.open('driftline:app')
      request.onsuccess = () => resolve(request.result)
    })
    const transaction = database.transaction([...database.objectStoreNames], 'readwrite')
    const store = transaction.objectStore('meta')
    globalThis.let_go = false
    const hold = () => { if (!globalThis.let_go) store.get('checkpoint').onsuccess = hold }
    globalThis.released = new Promise(resolve => { transaction.oncomplete = resolve })
    hold()
    // A request has come back: the others wait from here on.
    await new Promise(resolve => { store.get('checkpoint').onsuccess = resolve })
  })
  const states = await Promise.all([leader, follower].map(tab => tab.evaluate(() => {
    globalThis.mine = write()
    globalThis.isDurable = false
    mine.durable.then(() => { globalThis.isDurable = true })
    return mine.state
  })))
  assert.deepEqual(states, ['pending', 'pending'])
  await holder.waitForFunction(() => heard.filter(([what]) => what === 'beat').length >= 7, undefined, POLLING)
  assert.deepEqual(await Promise.all([leader, follower].map(tab => tab.evaluate(() => isDurable))), [false, false])
  assert.equal(recorder.calls.length, 0, 'nothing is sent before it is durable')
  await holder.evaluate(() => { globalThis.let_go = true; return released })
  for (const tab of [leader, follower]) await tab.evaluate(() => mine.completed.then(() => {}))
  await drained(follower)
  assert.deepEqual(recorder.calls.map(({ who }) => who), ['leader', 'leader'])
  assert.equal(await epochOf(holder), epoch, 'nobody was robbed for waiting')
  recorder.check()
  assert.deepEqual([...leader.problems, ...follower.problems], [])
})

test('ten tabs come, go and crash at random under a storm of writes: what is durable arrives once, in order', { timeout: 180_000 }, async test => {
  recorder.faults = { before: 0.1, after: 0.1 }
  const tabs = []
  const problems = []
  let opened = 0
  let crashes = 0
  const open = async () => {
    const tab = await profile.tab(pages.url)
    await openApp(tab, `t${opened++}`)
    await tab.evaluate(() => { storm(60) })
    tabs.push(tab)
  }
  const leave = async () => {
    const [tab] = tabs.splice(Math.floor(Math.random() * tabs.length), 1)
    problems.push(...tab.problems)
    if (Math.random() < 0.4) {
      crashes++
      await crash(tab)
    }
    await tab.close()
  }
  for (let step = 0; step < TAB_STEPS; step++) {
    if (tabs.length < 10 && (tabs.length < 3 || step < 10 || Math.random() < 0.5)) await open()
    else await leave()
  }
  while (tabs.length > 0) await leave()
  const last = await profile.tab(pages.url)
  await openApp(last, 'last')
  await drained(last)
  await compare(last, recorder)
  recorder.check()
  assert.ok(recorder.durable.size > 0)
  assert.deepEqual([...problems, ...last.problems], [])
  test.diagnostic(`${opened} tabs, ${crashes} of them crashed; ${recorder.durable.size} durable, ${recorder.applied.length} applied, ${recorder.calls.length} requests`)
})

/** Two tabs, of which the first leads. */
async function pair(prepareLeader = async () => {}) {
  const leader = await profile.context.newPage()
  await prepareLeader(leader)
  leader.problems = []
  leader.on('pageerror', error => leader.problems.push(`uncaught: ${error.message}`))
  await leader.goto(pages.url)
  await leader.waitForFunction(() => 'driftline' in globalThis, undefined, POLLING)
  await openApp(leader, 'leader')
  await leader.waitForFunction(() => db.status.value.leader.todos && todos.size > 0, undefined, POLLING)
  await leader.evaluate(() => todos.synced)
  const follower = await profile.tab(pages.url)
  await openApp(follower, 'follower')
  await follower.waitForFunction(() => todos.size > 0 && db.status.value.leader.todos === false, undefined, POLLING)
  return { leader, follower }
}

/** Makes one write and waits until it is durable; answers its key. */
function written(tab) {
  return tab.evaluate(async () => {
    const transaction = write()
    await transaction.durable
    return transaction.idempotencyKey
  })
}

/** Collects in `heard` what the tabs tell each other. */
function listenIn(tab) {
  return tab.evaluate(() => {
    globalThis.heard = []
    globalThis.ear = new BroadcastChannel('driftline:app')
    ear.onmessage = ({ data }) => heard.push(data.driftline)
  })
}

function epochOf(tab) {
  return tab.evaluate(() => new Promise((resolve, reject) => {
    const opened = indexedDB.open('driftline:app')
    opened.onerror = () => reject(opened.error)
    opened.onsuccess = () => {
      const database = opened.result
      const asked = database.transaction('meta').objectStore('meta').get('lease:c/todos')
      asked.onsuccess = () => { database.close(); resolve(asked.result) }
    }
  }))
}

/** Has the test's tabs be hidden behind the front one, so that they can be frozen. */
async function launchHiding() {
  await profile.close()
  profile = await Profile.launchHiding()
  await reportTo(recorder, profile)
}

/** Freezes a hidden tab, as browsers do to save power. */
async function freeze(tab) {
  assert.equal(await tab.evaluate(() => document.visibilityState), 'hidden')
  await tab.evaluate(() => {
    globalThis.lifecycle = []
    for (const name of ['freeze', 'resume']) document.addEventListener(name, () => { lifecycle.push(name) })
  })
  const session = await profile.context.newCDPSession(tab)
  await session.send('Page.setWebLifecycleState', { state: 'frozen' })
  await session.detach()
}

async function thaw(tab) {
  const session = await profile.context.newCDPSession(tab)
  await session.send('Page.setWebLifecycleState', { state: 'active' })
  assert.deepEqual(await tab.evaluate(() => lifecycle), ['freeze', 'resume'])
}

/** Kills a tab's renderer. */
async function crash(tab) {
  const gone = new Promise(resolve => tab.once('crash', resolve))
  const session = await profile.context.newCDPSession(tab)
  // It never answers: who should is gone.
  session.send('Page.crash').catch(() => {})
  await gone
}

async function eventually(holds) {
  while (!holds()) await new Promise(resolve => setTimeout(resolve, 10))
}

const TAB_STEPS = 24
const POLLING = { polling: 50 }
