// An empty client that pulls 50,000 changes from our server: until all rows can be read, and until they are stored. The floor fetches the same
// JSON, parses it into a Map and writes the rows to IndexedDB, some hundreds a record, in one transaction. `blocked` is the longest time that
// the page could not do anything else meanwhile.
import { livestore, mizu, openDriftline } from 'driftline'
import { check } from './common.js'
import { openReplicache } from './peers/replicache.js'

/** Over mizu's wire, whose bootstrap is one answer with all rows. */
export const pullMizu = {
  driftline: () => ours(PULLED, mizu({ url: syncUrl, scope: `rows-${PULLED}`, poke: 'none' })),
  raw: () => floor(async () => Object.entries((await post('/_sync/snapshot', { scope: `rows-${PULLED}` })).data.rows)),
  async replicache() {
    const store = openReplicache({
      puller: async ({ cookie }) => {
        if (cookie !== null) return { response: { cookie, lastMutationIDChanges: {}, patch: [] }, httpRequestInfo: OK }
        const { data, cursor } = await post('/_sync/snapshot', { scope: `rows-${PULLED}` })
        const patch = Object.entries(data.rows).map(([key, value]) => ({ op: 'put', key, value }))
        return { response: { cookie: cursor, lastMutationIDChanges: {}, patch }, httpRequestInfo: OK }
      },
    })
    const start = performance.now()
    await store.replicache.pull({ now: true })
    while ((await store.rows()).length < PULLED) await new Promise(resolve => setTimeout(resolve, 1))
    const readable = performance.now() - start
    await store.persist()
    const stored = performance.now() - start
    await store.destroy()
    return { readable, stored }
  },
}

/** Over LiveStore's, in pages that are acknowledged one by one. */
export const pullLivestore = {
  driftline: () => ours(PULLED, livestore({ url: `${syncUrl}/livestore`, storeId: `rows-${PULLED}` })),
  raw: () => floor(() => rawPages(`rows-${PULLED}`)),
}

/** The same in one answer over HTTP. */
export const pullHttp = {
  driftline: () => ours(PULLED, livestore({ url: `${syncUrl}/livestore`, storeId: `rows-${PULLED}`, transport: 'http' })),
  raw: () => floor(async () => {
    const payload = { storeId: `rows-${PULLED}`, cursor: { _tag: 'None' } }
    const frames = await post(`/livestore?storeId=rows-${PULLED}&transport=http`, { _tag: 'Request', id: '0', tag: 'SyncHttpRpc.Pull', payload, headers: [] })
    return frames.slice(0, -1).flatMap(({ values }) => values.flatMap(({ batch }) => batch.map(entryOf)))
  }),
}

/** Pulls all of a scope into a database of its own; checks what shows, and what a reload would find. */
async function ours(count, backend) {
  const name = `bench-${crypto.randomUUID()}`
  const db = await openDriftline({ name })
  const stopBlocked = watchBlocked()
  const start = performance.now()
  const remote = db.connect(backend)
  const collection = db.collection({ sync: { id: 'rows', remote, entity: 'row' } })
  const readable = await new Promise(resolve => {
    const stop = collection.subscribe(() => {
      if (collection.size < count) return
      stop()
      resolve(performance.now() - start)
    })
  })
  await collection.synced
  const stored = performance.now() - start
  const blocked = stopBlocked()
  check(collection.size === count && collection.get(`row-${count - 1}`)?.order === count - 1, `${collection.size} rows are readable`)
  await db.close()
  const again = await openDriftline({ name })
  const kept = again.collection({ sync: { id: 'rows', remote: again.connect(backend), entity: 'row' } })
  // What is there before anything can have been asked for.
  await kept.ready
  check(kept.size === count, `${kept.size} of ${count} rows were stored`)
  await again.destroy()
  return { readable, stored, blocked }
}

async function floor(fetchEntries) {
  const name = `raw-${crypto.randomUUID()}`
  const database = await new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => request.result.createObjectStore('segments')
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  const start = performance.now()
  const map = new Map(await fetchEntries())
  const readable = performance.now() - start
  const transaction = database.transaction('segments', 'readwrite', { durability: 'relaxed' })
  const rows = [...map.values()]
  for (let at = 0; at < rows.length; at += SEGMENT) transaction.objectStore('segments').put(rows.slice(at, at + SEGMENT), at)
  await new Promise((resolve, reject) => {
    transaction.oncomplete = resolve
    transaction.onabort = () => reject(transaction.error)
    transaction.commit()
  })
  const stored = performance.now() - start
  check(map.size === PULLED && map.get(`row-${PULLED - 1}`)?.order === PULLED - 1, `${map.size} rows are in the map`)
  database.close()
  indexedDB.deleteDatabase(name)
  return { readable, stored }
}

/** All pages of a store over a WebSocket, each acknowledged as it comes. */
function rawPages(store) {
  return new Promise((resolve, reject) => {
    const entries = []
    const socket = new WebSocket(`${syncUrl.replace('http', 'ws')}/livestore?storeId=${store}&transport=ws`)
    socket.onopen = () => socket.send(JSON.stringify({ _tag: 'Request', id: '0', tag: 'SyncWsRpc.Pull', payload: { storeId: store, live: true, cursor: { _tag: 'None' } }, headers: [] }))
    socket.onerror = reject
    socket.onmessage = ({ data }) => {
      const { values } = JSON.parse(data)
      socket.send('{"_tag":"Ack","requestId":"0"}')
      for (const { batch } of values) for (const stored of batch) entries.push(entryOf(stored))
      if (values.at(-1).pageInfo._tag !== 'NoMore') return
      socket.close()
      resolve(entries)
    }
  })
}

function entryOf({ eventEncoded: { args } }) {
  return [args.id, args]
}

/** Gives what tells the longest time that a task of its own had to wait, in ms. */
function watchBlocked() {
  const { port1, port2 } = new MessageChannel()
  let last = performance.now()
  let longest = 0
  port1.onmessage = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    timer = setTimeout(() => { port2.postMessage(0) }, PROBE_MS)
  }
  let timer = setTimeout(() => { port2.postMessage(0) }, PROBE_MS)
  return () => {
    clearTimeout(timer)
    port1.close()
    return Math.max(longest, performance.now() - last) - PROBE_MS
  }
}

async function post(path, body) {
  const response = await fetch(`${syncUrl}${path}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(`${path} answered ${response.status} ${await response.text()}`)
  return response.json()
}

const PULLED = 50_000
const SEGMENT = 500
/** How often the page is looked at. */
const PROBE_MS = 4
const OK = { httpStatusCode: 200, errorMessage: '' }
