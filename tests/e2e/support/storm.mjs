// A backend that remembers what reached it, and an app in the page that writes to it as fast as it can.
import assert from 'node:assert/strict'

/** The keys of the objects that all tabs write to. */
export const OBJECTS = Array.from({ length: 8 }, (_, index) => `o${index}`)

/** A backend with an effect once per idempotency key; `Pages.api` of a test. */
export class Recorder {
  /** Requests that came, in order: `{ who, key, attempt, changes }`, with those that were refused or repeated. */
  calls = []
  /** Transactions that had their effect, in order. */
  applied = []
  /** What the rows are now. */
  rows = Object.fromEntries(OBJECTS.map(id => [id, { id }]))
  /** Idempotency keys of transactions that a tab has seen become durable. */
  durable = new Set()
  /** The share of requests that fail before their effect, and the share that fail after it. */
  faults = { before: 0, after: 0 }
  /** Called with each request before it is looked at; what it returns is waited for. */
  gate = () => undefined
  #keys = new Set()

  api = async (path, body) => {
    if (path === 'rows') return json(Object.values(this.rows))
    const call = JSON.parse(body)
    this.calls.push(call)
    await this.gate(call)
    if (Math.random() < this.faults.before) return { status: 503 }
    if (!this.#keys.has(call.key)) {
      this.#keys.add(call.key)
      this.applied.push(call)
      for (const [id, change] of Object.entries(call.changes)) Object.assign(this.rows[id] ??= { id }, change)
    }
    return { status: Math.random() < this.faults.after ? 500 : 204 }
  }

  /** How often a request came for something that had had its effect before. */
  get repeats() { return this.calls.length - new Set(this.calls.map(({ key }) => key)).size }

  /** Throws unless each durable transaction had its effect, and each object got each writer's changes in order, without a gap. */
  check() {
    const applied = this.applied.map(({ key }) => key)
    assert.equal(new Set(applied).size, applied.length)
    const lost = [...this.durable].filter(key => !this.#keys.has(key))
    assert.deepEqual(lost, [], `${lost.length} of ${this.durable.size} durable transactions never reached the server`)
    const next = new Map()
    for (const { changes } of this.applied) {
      for (const [id, { by, n }] of Object.entries(changes)) {
        const line = `${id} by ${by}`
        assert.equal(n, next.get(line) ?? 0, `${line} came out of order`)
        next.set(line, n + 1)
      }
    }
  }
}

/** Opens the database in a tab and registers the collection `todos`; `who` names the tab in what the backend is sent. */
export async function openApp(tab, who) {
  await tab.evaluate(async ({ who, objects }) => {
    const db = await driftline.openDriftline({ name: 'app' })
    const todos = db.collection({
      sync: { id: 'todos', setup: async ({ signal }) => ({ data: await (await fetch('/api/rows', { signal })).json() }) },
      retry: { baseDelayMs: 20, maxDelayMs: 40, retries: 1_000_000 },
      mutationFn: {
        persist: async ({ changes, attempt, transaction, fetch }) => {
          const answer = await fetch('/api/send', { method: 'POST', body: JSON.stringify({ who, key: transaction.idempotencyKey, attempt, changes }) })
          if (!answer.ok) throw new Error(`the server says ${answer.status}`)
        },
      },
    })
    await todos.ready
    const counts = new Map()
    const write = () => {
      const id = objects[Math.floor(Math.random() * objects.length)]
      const n = counts.get(id) ?? 0
      // Right after a takeover's first moments a new database may not have its rows yet.
      if (!todos.has(id)) return undefined
      counts.set(id, n + 1)
      const transaction = todos.update(id, { by: who, n })
      transaction.durable.then(() => globalThis.reportDurable?.(transaction.idempotencyKey), () => {})
      return transaction
    }
    Object.assign(globalThis, { db, todos, write, storm: everyMs => setInterval(write, everyMs) })
  }, { who, objects: OBJECTS })
}

/** Has tabs of this profile tell the recorder what has become durable. */
export async function reportTo(recorder, profile) {
  await profile.expose('reportDurable', key => { recorder.durable.add(key) })
}

/** Waits until nothing is pending. */
export async function drained(tab) {
  await tab.waitForFunction(() => db.status.value.pending === 0, undefined, { timeout: 120_000, polling: 50 })
}

/** Opens the database of the only tab anew, and compares what shows after a sync with what the backend has. */
export async function compare(tab, recorder) {
  await tab.evaluate(() => db.close())
  await openApp(tab, 'compared')
  const shown = await tab.evaluate(async ids => {
    await todos.synced
    return Object.fromEntries(ids.map(id => [id, [todos.get(id)?.by ?? null, todos.get(id)?.n ?? null]]))
  }, OBJECTS)
  assert.deepEqual(shown, Object.fromEntries(OBJECTS.map(id => [id, [recorder.rows[id].by ?? null, recorder.rows[id].n ?? null]])))
}

function json(body) {
  return { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}
