// A browser that is killed again and again under a storm of writes, and drained in the end. Each tab writes to two collections: one
// that the app's own `persist` sends, and one that goes to the real driftline-server.
//
// Chromium itself loses a database in about one kill of a hundred: a write that the kill cut in two stays at the end of LevelDB's
// log, the next life writes behind it (`reuse_logs`, google/leveldb#1287), and the life after that finds a wrong checksum and empties
// the database. Such a database has another identity, by which it is told from a loss of ours; what it took with it is counted.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { OBJECTS, Recorder, compare, drained, openApp, reportTo } from './storm.mjs'
import { Server } from './server.mjs'
import { Pages } from './tabs.mjs'

/**
 * Registers the test for one engine; `launch(folder)` starts its browser on a profile. `kills`: how often, unless DRIFTLINE_KILLS says.
 * `empties`: whether the browser may lose the database by itself.
 */
export function tellOfKills({ engine, kills: usual, launch, empties = false }) {
  const kills = Number(process.env['DRIFTLINE_KILLS'] ?? usual)
  const name = `${engine}: what was durable before any of ${kills} kills reaches the server once, each object’s changes in order`
  test(name, { timeout: 120_000 + kills * 20_000 }, async test => {
    const story = await Story.start(empties)
    test.after(() => story.stop())
    for (let kill = 0; kill < kills; kill++) await story.round(kill, launch)
    await story.drain(launch)
    test.diagnostic(`${engine}, ${kills} kills: ${story.summary()}`)
  })
}

class Story {
  /** What the app's own `persist` sends to. */
  #recorder = new Recorder()
  /** `<object> <writer> <number>` of each change for the server that a tab has seen become durable. */
  #durable = new Set()
  #waited = 0
  #duringOpening = 0
  #serverKills = 0
  #changes = []
  /** Of the database, drawn when it was made. */
  #identity
  #emptied = 0
  /** What was durable and had not arrived when the browser lost the database. */
  #lostByBrowser = new Set()

  static async start(empties) {
    const story = new Story()
    story.empties = empties
    story.folder = await mkdtemp(join(tmpdir(), 'driftline-kills-'))
    story.pages = await Pages.start()
    story.server = await Server.start(join(story.folder, 'data'), [], story.pages.folder)
    story.#recorder.faults = { before: 0.05, after: 0.05 }
    const { api } = story.#recorder
    story.pages.api = (path, body, headers) => path.startsWith('sync/') ? story.#forward(path.slice('sync/'.length), body) : api(path, body, headers)
    const mutations = OBJECTS.map(id => ({ id: randomUUID(), scope: SCOPE, name: 'note.create', args: { id } }))
    const { body } = await story.server.post('/_sync/push', { mutations })
    assert.ok(body.results.every(({ ok }) => ok), JSON.stringify(body))
    return story
  }

  async stop() {
    await this.server.stop()
    await this.pages.stop()
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }

  /** One life of the browser, and sometimes one of the server. */
  async round(kill, launch) {
    const profile = await this.#launch(launch)
    const opening = (async () => {
      for (let at = 0; at < TABS; at++) await this.#storm(await profile.tab(this.pages.url), `k${kill}t${at}`)
    })()
    // Now and then it does not even come to open what the last kill left.
    const isEarly = kill % 4 === 3
    if (isEarly) {
      this.#duringOpening++
      opening.catch(() => {})
    } else {
      await opening
    }
    const serverEnds = kill % 3 === 1
    if (serverEnds) {
      this.#serverKills++
      await pause(STORM_MAX_MS / 2)
      await this.server.stop('SIGKILL')
    }
    await pause(STORM_MAX_MS)
    // What was under way in it may never hear of its end, so nothing is waited for.
    await profile.kill()
    if (serverEnds) await this.server.start()
    const sent = new Set(this.#recorder.applied.map(({ key }) => key))
    this.#waited += [...this.#recorder.durable].filter(key => !sent.has(key)).length
  }

  /** Opens it a last time, lets everything be sent, and looks at what has come where. */
  async drain(launch) {
    const profile = await this.#launch(launch)
    try {
      const tab = await profile.tab(this.pages.url)
      await this.#open(tab, 'last')
      await drained(tab)
      assert.equal(await tab.evaluate(() => db.status.value.failed), 0)
      await tab.evaluate(() => notes.synced)
      this.#changes = await this.server.changes(SCOPE)
      const shown = () => tab.evaluate(() => Object.fromEntries([...notes.entries()].map(([id, { by, n }]) => [id, `${by} ${n}`])))
      const there = Object.fromEntries(this.#changes.map(({ data: { note } }) => [note.id, `${note.by} ${note.n}`]))
      assert.deepEqual(await shown(), there, 'the last tab shows what the server has')
      await compare(tab, this.#recorder)
      assert.deepEqual(tab.problems, [])
    } finally {
      await profile.close()
    }
    for (const known of [this.#recorder.durable, this.#durable]) for (const key of this.#lostByBrowser) known.delete(key)
    this.#recorder.check()
    this.#checkServer()
  }

  summary() {
    const { durable, applied, calls } = this.#recorder
    const known = `${durable.size + this.#durable.size} transactions known durable (${this.#durable.size} for the server), none lost`
    const browser = this.#emptied === 0 ? '' : `; the browser lost the database ${this.#emptied} times, and ${this.#lostByBrowser.size} transactions with it`
    return `${known}${browser}; ${this.#waited} waited at a kill; ${this.#duringOpening} kills while it opened, ${this.#serverKills} of the server too; `
      + `${applied.length} arrived at the app’s backend in ${calls.length} requests, ${this.#changes.length} at the server`
  }

  async #launch(launch) {
    const profile = await launch(join(this.folder, 'profile'))
    await reportTo(this.#recorder, profile)
    await profile.expose('reportNote', note => { this.#durable.add(note) })
    return profile
  }

  async #storm(tab, who) {
    await this.#open(tab, who)
    await tab.evaluate(everyMs => { storm(everyMs); setInterval(writeNote, everyMs) }, WRITE_EVERY_MS)
  }

  async #open(tab, who) {
    await openApp(tab, who)
    await tab.evaluate(async ({ who, objects, scope }) => {
      const retry = { baseDelayMs: 20, maxDelayMs: 200, retries: 1_000_000 }
      const notes = db.collection({ sync: { id: 'notes', remote: db.connect(driftline.mizu({ url: '/api/sync', scope, poke: 'none', retry })), entity: 'note' } })
      await notes.ready
      const counts = new Map()
      const writeNote = () => {
        const id = objects[Math.floor(Math.random() * objects.length)]
        if (!notes.has(id)) return
        const n = counts.get(id) ?? 0
        counts.set(id, n + 1)
        notes.update(id, { by: who, n }).durable.then(() => globalThis.reportNote(`${id} ${who} ${n}`), () => {})
      }
      Object.assign(globalThis, { notes, writeNote })
    }, { who, objects: OBJECTS, scope: SCOPE })
    await this.#identify(tab)
  }

  /** Notes whether this is the database of the last life. */
  async #identify(tab) {
    const identity = await tab.evaluate(() => new Promise((resolve, reject) => {
      const opened = indexedDB.open('driftline:app')
      opened.onerror = () => reject(opened.error)
      opened.onsuccess = () => {
        const asked = opened.result.transaction('meta').objectStore('meta').get('identity')
        asked.onsuccess = () => { opened.result.close(); resolve(asked.result) }
      }
    }))
    const known = this.#identity
    this.#identity = identity
    if (known === undefined || known === identity) return
    assert.ok(this.empties, 'the database is the one that it was')
    this.#emptied++
    const changes = await this.server.changes(SCOPE)
    const arrived = new Set([...this.#recorder.applied.map(({ key }) => key), ...changes.map(({ data: { note } }) => `${note.id} ${note.by} ${note.n}`)])
    for (const key of [...this.#recorder.durable, ...this.#durable]) if (!arrived.has(key)) this.#lostByBrowser.add(key)
  }

  /** Hands a request on to the server; some of them are lost, and some answers. */
  async #forward(path, body) {
    if (Math.random() < LOST) return undefined
    const answer = await this.server.post(`/${path}`, body).catch(() => undefined)
    if (answer === undefined || Math.random() < LOST) return undefined
    return { status: answer.status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(answer.body) }
  }

  /** Throws unless what was durable has arrived, once, and each object got each writer's changes in order, without a gap. */
  #checkServer() {
    const next = new Map()
    const arrived = new Set()
    for (const { data: { op, note: { id, by, n } } } of this.#changes.filter(({ data }) => data.op === 'update')) {
      assert.equal(op, 'update')
      assert.equal(n, next.get(`${id} ${by}`) ?? 0, `${id} by ${by} came out of order, or twice`)
      next.set(`${id} ${by}`, n + 1)
      arrived.add(`${id} ${by} ${n}`)
    }
    const lost = [...this.#durable].filter(note => !arrived.has(note))
    assert.deepEqual(lost, [], `${lost.length} of ${this.#durable.size} durable changes never reached the server`)
    assert.ok(this.#durable.size > 0 && this.#recorder.durable.size > 0)
  }
}

/** Waits for a part of a time, by chance. */
async function pause(maxMs) {
  await new Promise(resolve => setTimeout(resolve, Math.random() * maxMs))
}

const SCOPE = 'storm'
const TABS = 2
const WRITE_EVERY_MS = 15
const STORM_MAX_MS = 800
/** The share of requests that are lost on their way, and of answers. */
const LOST = 0.05
