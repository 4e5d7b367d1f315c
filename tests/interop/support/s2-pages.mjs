// Driftline's pages on a stream of s2-lite's, directly or through the proxy of LiveStore's sync-s2.
import assert from 'node:assert/strict'
import { Profile } from '../../e2e/support/tabs.mjs'
import { BASIN as PROXY_BASIN, proxy } from '../sync-s2/proxy.mjs'
import { Gate } from './gate.mjs'
import { S2Lite } from './s2-lite.mjs'

export const BASIN = 'driftline-pages'
export const STREAM = 'a/shared store'

/** The wires, each with what a page connects by, and which stream of s2-lite's holds the events. */
export const WIRES = {
  's2()': {
    gate: server => Gate.start(server.url),
    backend: url => `driftline.s2({ baseUrl: '${url}', basin: '${BASIN}', stream: '${STREAM}', create: true, token: () => globalThis.token, retry })`,
    events: server => server.events(BASIN, STREAM),
  },
  's2Proxy()': {
    gate: server => Gate.start(proxy(server)),
    backend: url => `driftline.s2Proxy({ endpoint: '${url}', storeId: 'shared', headers: () => ({ authorization: globalThis.token }), retry })`,
    events: server => server.events(PROXY_BASIN, 'shared'),
  },
}

/** s2-lite for one test. */
export async function startServer(test) {
  const server = await S2Lite.start()
  test.after(() => server.close())
  return server
}

/** A page of a browser of its own with a gate of its own, and the collection `todos`. */
export async function openPage(test, pages, server, wire) {
  const gate = await wire.gate(server)
  const profile = await Profile.launch()
  test.after(async () => {
    await profile.close()
    await gate.close()
  })
  const tab = await profile.tab(pages.url)
  // A server's start, on a busy machine, takes a part of this.
  tab.setDefaultTimeout(90_000)
  await tab.evaluate(async ({ backend }) => {
    // The gate is near: it may be asked often.
    globalThis.retry = { baseDelayMs: 100, maxDelayMs: 1_000 }
    globalThis.token = 'first'
    globalThis.told = []
    const db = await driftline.openDriftline({ name: 'app' })
    db.addEventListener('error', event => { told.push(event.detail.error.code) })
    const remote = db.connect(eval(backend))
    const todos = db.collection({ sync: { id: 'todos', remote, entity: 'todo' } })
    await todos.ready
    Object.assign(globalThis, { db, remote, todos, rows: () => [...todos.keys()].sort() })
  }, { backend: wire.backend(gate.url) })
  await isLive(tab)
  return Object.assign(tab, { gate })
}

export const isLive = tab => tab.waitForFunction(() => remote.status.value.state === 'live')
export const hasState = (tab, state) => tab.waitForFunction(state => remote.status.value.state === state, state)
export const idle = tab => tab.waitForFunction(() => db.status.value.pending === 0)
export const shows = (tab, ids) => tab.waitForFunction(ids => rows().join() === ids.join(), ids)
export const insert = (tab, id) => tab.evaluate(id => todos.insert({ id, title: id }).durable, id)

/** The network is back: a page need not wait for its next try. */
export async function cameBack(tab) {
  tab.gate.rule = () => 'pass'
  await tab.evaluate(() => dispatchEvent(new Event('online')))
}

/** That the stream has these rows' insertions, each once, and that what each page wrote is in the order in which it did. */
export function assertOnce(events, ids, ...orders) {
  const inserted = events.filter(event => event.name === 'todo.inserted').map(event => event.args.id)
  assert.deepEqual([...inserted].sort(), [...ids].sort())
  for (const order of orders) assert.deepEqual(inserted.filter(id => order.includes(id)), order)
}
