// Many tabs of one database in one browser: who leads, and what becomes of the work when the leader closes, crashes, freezes or hangs.
// Told in each browser alike.
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { stageOf } from './stage.mjs'
import { Recorder, compare, drained, openApp, reportTo } from './storm.mjs'

/**
 * Registers the tests for one engine; `launch()` starts a browser whose tabs have processes of their own, and whose tabs behind the
 * front one are hidden.
 */
export function tellOfTabs({ engine, launch }) {
  const { stage, pair } = theatre(launch)

  test(`${engine}: the next tab in line goes on at once when the leader closes`, { timeout: 60_000 }, async test => {
    const { leader, follower } = await pair()
    stage.recorder.gate = ({ who }) => who === 'leader' ? new Promise(() => {}) : undefined
    const key = await written(follower)
    await eventually(() => stage.recorder.calls.length === 1)
    const closedAt = performance.now()
    await leader.close()
    await drained(follower)
    test.diagnostic(`taken over and drained ${Math.round(performance.now() - closedAt)} ms after the close`)
    assert.deepEqual(stage.recorder.calls.map(({ who, key }) => [who, key]), [['leader', key], ['follower', key]])
    assert.deepEqual(follower.problems, [])
  })

  test(`${engine}: the next tab in line goes on at once when the leader’s process crashes`, { timeout: 60_000 }, async test => {
    const { leader, follower } = await pair()
    stage.recorder.gate = ({ who }) => who === 'leader' ? new Promise(() => {}) : undefined
    const key = await written(follower)
    await eventually(() => stage.recorder.calls.length === 1)
    const crashedAt = performance.now()
    await stage.profile.crash(leader)
    await drained(follower)
    test.diagnostic(`taken over and drained ${Math.round(performance.now() - crashedAt)} ms after the crash`)
    assert.deepEqual(stage.recorder.calls.map(({ who, key }) => [who, key]), [['leader', key], ['follower', key]])
    stage.recorder.check()
    assert.deepEqual(follower.problems, [])
  })

  test(`${engine}: a frozen leader is robbed of its lease, and when it thaws it sends nothing and follows`, { timeout: 90_000 }, async test => {
    const { leader, follower } = await pair()
    // One is under way when the leader freezes, one is written while it is frozen.
    let answer
    stage.recorder.gate = ({ who }) => who === 'leader' ? new Promise(resolve => { answer = resolve }) : undefined
    const first = await written(follower)
    await eventually(() => answer !== undefined)
    const epoch = await epochOf(follower)
    const frozenAt = performance.now()
    await stage.profile.freeze(leader)
    answer()
    const second = await written(follower)
    await follower.waitForFunction(() => db.status.value.leader.todos, undefined, POLLING)
    test.diagnostic(`the lease was stolen ${Math.round(performance.now() - frozenAt)} ms after the freeze`)
    await drained(follower)
    assert.equal(await epochOf(follower), epoch + 1)
    const before = stage.recorder.calls.length
    await stage.profile.thaw(leader)
    await leader.waitForFunction(() => db.status.value.leader.todos === false && db.status.value.pending === 0, undefined, POLLING)
    await written(leader)
    await drained(follower)
    await drained(leader)
    assert.deepEqual(stage.recorder.calls.slice(before).map(({ who }) => who), ['follower'], 'the thawed tab writes, and leaves the sending to the leader')
    assert.equal(stage.recorder.calls.filter(({ who }) => who === 'leader').length, 1)
    assert.deepEqual(new Set(stage.recorder.calls.slice(0, before).map(({ key }) => key)), new Set([first, second]))
    assert.equal(stage.recorder.calls.filter(({ key }) => key === second).length, 1, 'what the frozen tab never sent was sent once')
    assert.equal(await epochOf(follower), epoch + 1)
    stage.recorder.check()
    assert.deepEqual([...leader.problems, ...follower.problems], [])
  })

  test(`${engine}: a leader whose timers the browser holds back answers when it is asked, and keeps its lease`, { timeout: 60_000 }, async () => {
    const prepareLeader = tab => tab.addInitScript(() => {
      const { setInterval } = globalThis
      globalThis.setInterval = (call, everyMs, ...rest) => setInterval(call, Math.max(everyMs ?? 0, 600_000), ...rest)
    })
    const { leader, follower } = await pair(prepareLeader)
    const epoch = await epochOf(follower)
    await listenIn(follower)
    await follower.waitForFunction(() => heard.filter(([what]) => what === 'beat').length >= 6, undefined, POLLING)
    await written(follower)
    await drained(follower)
    assert.deepEqual(stage.recorder.calls.map(({ who }) => who), ['leader'])
    assert.equal(await epochOf(follower), epoch)
    assert.deepEqual([...leader.problems, ...follower.problems], [])
  })

  test(`${engine}: a tab that was frozen does not rob the leader when it thaws`, { timeout: 60_000 }, async () => {
    const { leader, follower } = await pair()
    const epoch = await epochOf(leader)
    const third = await stage.profile.tab(stage.url)
    await stage.profile.freeze(follower)
    await listenIn(third)
    await third.waitForFunction(() => heard.filter(([what]) => what === 'beat').length >= 8, undefined, POLLING)
    await stage.profile.thaw(follower)
    await third.waitForFunction(() => heard.filter(([what]) => what === 'beat').length >= 11, undefined, POLLING)
    await written(follower)
    await drained(follower)
    assert.deepEqual(stage.recorder.calls.map(({ who }) => who), ['leader'])
    assert.equal(await epochOf(leader), epoch)
  })

  test(`${engine}: a tab that holds a transaction of the database open delays the others and breaks nothing`, { timeout: 60_000 }, async () => {
    const { leader, follower } = await pair()
    const holder = await stage.profile.tab(stage.url)
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
    assert.equal(stage.recorder.calls.length, 0, 'nothing is sent before it is durable')
    await holder.evaluate(() => { globalThis.let_go = true; return released })
    for (const tab of [leader, follower]) await tab.evaluate(() => mine.completed.then(() => {}))
    await drained(follower)
    assert.deepEqual(stage.recorder.calls.map(({ who }) => who), ['leader', 'leader'])
    assert.equal(await epochOf(holder), epoch, 'nobody was robbed for waiting')
    stage.recorder.check()
    assert.deepEqual([...leader.problems, ...follower.problems], [])
  })
}

/**
 * Registers the test with a tab that does nothing else for a while, in the midst of its retries. A synchronous request stops a page of
 * Chromium for as long as the test wants; Firefox hands messages to the page meanwhile, so that it does not hang.
 */
export function tellOfHanging({ engine, launch }) {
  const { stage, pair } = theatre(launch)

  test(`${engine}: a leader that hangs is robbed, and when it goes on its retry is not sent`, { timeout: 90_000 }, async () => {
    const { leader, follower } = await pair()
    // The leader's back-off ends while it hangs: its retry is the first thing that it would do.
    stage.recorder.faults.before = 1
    await written(follower)
    await eventually(() => stage.recorder.calls.length > 2)
    const { api } = stage.recorder
    let goOn
    stage.answer((path, ...request) => path === 'hang' ? new Promise(resolve => { goOn = () => resolve({ status: 204 }) }) : api(path, ...request))
    const hung = leader.evaluate(() => {
      const request = new XMLHttpRequest()
      request.open('GET', '/api/hang', false)
      request.send()
    })
    await follower.waitForFunction(() => db.status.value.leader.todos, undefined, POLLING)
    const before = stage.recorder.calls.filter(({ who }) => who === 'leader').length
    await eventually(() => stage.recorder.calls.some(({ who }) => who === 'follower'))
    goOn()
    await hung
    await leader.waitForFunction(() => db.status.value.leader.todos === false, undefined, POLLING)
    assert.equal(stage.recorder.calls.filter(({ who }) => who === 'leader').length, before)
    stage.recorder.faults.before = 0
    await drained(follower)
    stage.recorder.check()
    assert.deepEqual([...leader.problems, ...follower.problems], [])
  })
}

/** Registers the test with many tabs at once; it opens or ends a tab in each of its `steps`. */
export function tellOfTabStorm({ engine, launch, steps }) {
  const { stage } = theatre(launch)

  test(`${engine}: ten tabs come, go and crash at random under a storm of writes: what is durable arrives once, in order`, { timeout: 300_000 }, async test => {
    stage.recorder.faults = { before: 0.1, after: 0.1 }
    const tabs = []
    const problems = []
    let opened = 0
    let crashes = 0
    const open = async () => {
      const tab = await stage.profile.tab(stage.url)
      await openApp(tab, `t${opened++}`)
      await tab.evaluate(everyMs => { storm(everyMs) }, STORM_WRITE_EVERY_MS)
      tabs.push(tab)
    }
    const leave = async () => {
      const [tab] = tabs.splice(Math.floor(Math.random() * tabs.length), 1)
      problems.push(...tab.problems)
      if (Math.random() < 0.4) {
        crashes++
        await stage.profile.crash(tab)
      }
      await tab.close()
    }
    for (let step = 0; step < steps; step++) {
      if (tabs.length < 10 && (tabs.length < 3 || opened < 10 || Math.random() < 0.5)) await open()
      else await leave()
    }
    while (tabs.length > 0) await leave()
    const last = await stage.profile.tab(stage.url)
    await openApp(last, 'last')
    await drained(last)
    await compare(last, stage.recorder)
    stage.recorder.check()
    assert.ok(stage.recorder.durable.size > 0)
    assert.deepEqual([...problems, ...last.problems], [])
    test.diagnostic(`${opened} tabs, ${crashes} of them crashed; ${stage.recorder.durable.size} durable, ${stage.recorder.applied.length} applied, ${stage.recorder.calls.length} requests`)
  })
}

/** A stage with a backend that remembers, and a way to open two tabs. */
function theatre(launch) {
  const stage = stageOf(launch, stage => reportTo({ get durable() { return stage.recorder.durable } }, stage.profile))
  beforeEach(() => {
    stage.recorder = new Recorder()
    stage.answer(stage.recorder.api)
  })

  /** Two tabs, of which the first leads. */
  async function pair(prepareLeader) {
    const leader = await stage.profile.tab(stage.url, prepareLeader)
    await openApp(leader, 'leader')
    await leader.waitForFunction(() => db.status.value.leader.todos && todos.size > 0, undefined, POLLING)
    await leader.evaluate(() => todos.synced)
    const follower = await stage.profile.tab(stage.url)
    await openApp(follower, 'follower')
    await follower.waitForFunction(() => todos.size > 0 && db.status.value.leader.todos === false, undefined, POLLING)
    return { leader, follower }
  }

  return { stage, pair }
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

async function eventually(holds) {
  while (!holds()) await new Promise(resolve => setTimeout(resolve, 10))
}

/** Ten tabs that write faster keep two cores busy with nothing else. */
const STORM_WRITE_EVERY_MS = 150
const POLLING = { polling: 50 }
