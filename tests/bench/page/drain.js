// 1,000 queued transactions until the server has all of them and they are completed: one request each, six at a time, and in batches of
// 100, one at a time. The floor is a plain loop of fetches that sends the same with the same concurrency, and sends again what failed. In
// the lines with errors the server answers each fifth request, or each fifth mutation of a batch, with one.
import { openDriftline, mizu } from 'driftline'
import { check, concurrently, rows } from './common.js'
import { openReplicache } from './peers/replicache.js'
import { openTanstack } from './peers/tanstack.js'

/** A request each. */
export const drain = {
  async driftline() {
    return { each: await oursEach(0), 'each-errors': await oursEach(5) }
  },
  async raw() {
    return { each: await rawEach(0), 'each-errors': await rawEach(5) }
  },
  async tanstack() {
    // One at a time is all it can; and an error makes it wait for a second or more with everything.
    const run = await server(0)
    const send = sender(run)
    const store = await openTanstack({ persist: mutation => send(mutation.modified) })
    const written = rows(COUNT).map(store.insert)
    await Promise.all(written.map(({ durable }) => durable))
    const took = await timed(async () => {
      store.goOnline()
      await Promise.all(written.map(({ completed }) => completed))
    })
    await checkServer(run)
    await store.close()
    await store.destroy()
    return { each: took }
  },
}

/** 100 in a request. */
export const drainBatches = {
  async driftline() {
    return { batches: await oursInBatches(0), 'batches-errors': await oursInBatches(5) }
  },
  async raw() {
    return { batches: await rawInBatches(0), 'batches-errors': await rawInBatches(5) }
  },
  async replicache() {
    const run = await server(0)
    const store = openReplicache({ server: run })
    for (const row of rows(COUNT)) await store.insert(row)
    await store.persist()
    const took = await timed(() => store.drained())
    await checkServer(run)
    await store.destroy()
    return { batches: took }
  },
}

async function oursEach(failing) {
  const run = await server(failing)
  const db = await openDriftline({ name: `bench-${crypto.randomUUID()}` })
  db.pause()
  const collection = db.collection({
    sync: { id: 'rows' },
    retry: { retries: RETRIES, baseDelayMs: 0, jitter: false },
    maxConcurrentPersists: CONCURRENT,
    mutationFn: { persist: async ({ mutations }) => { for (const mutation of mutations) await sender(run)(mutation.modified) } },
  })
  await collection.ready
  const took = await drained(db, collection)
  await checkServer(run)
  await db.destroy()
  return took
}

async function oursInBatches(failing) {
  const run = await server(failing)
  const db = await openDriftline({ name: `bench-${crypto.randomUUID()}` })
  const remote = db.connect(mizu({ url: run, scope: 'bench', poke: 'none', retry: { retries: RETRIES, baseDelayMs: 0, jitter: false } }))
  const collection = db.collection({ sync: { id: 'rows', remote, entity: 'row' } })
  await collection.synced
  db.pause()
  const took = await drained(db, collection)
  await checkServer(run)
  await db.destroy()
  return took
}

async function drained(db, collection) {
  const written = rows(COUNT).map(row => collection.insert(row))
  await Promise.all(written.map(({ durable }) => durable))
  const took = await timed(async () => {
    db.resume()
    await Promise.all(written.map(({ completed }) => completed))
  })
  check(db.status.value.pending === 0, `${db.status.value.pending} are still pending`)
  return took
}

async function rawEach(failing) {
  const run = await server(failing)
  const send = sender(run)
  const took = await timed(() => concurrently(rows(COUNT), CONCURRENT, row => untilTaken(() => send(row))))
  await checkServer(run)
  return took
}

async function rawInBatches(failing) {
  const run = await server(failing)
  const mutations = rows(COUNT).map(row => ({ id: crypto.randomUUID(), scope: 'bench', name: 'row.create', args: row }))
  const took = await timed(async () => {
    let waiting = mutations
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH)
      const { results } = await post(`${run}/_sync/push`, { mutations: batch })
      waiting = [...batch.filter((_, index) => !results[index].ok), ...waiting.slice(BATCH)]
    }
    // What it brought about is pulled, as ours does to confirm it.
    for (let cursor = 0, more = true; more;) {
      const page = await post(`${run}/_sync/pull`, { scope: 'bench', cursor, limit: 1_000 })
      more = page.has_more
      cursor = page.next_cursor ?? cursor
    }
  })
  await checkServer(run)
  return took
}

/** A fresh server in the bench's own: the address that its requests go to. */
async function server(failing) {
  const run = crypto.randomUUID()
  await post(`/api/${run}`, { failing })
  return new URL(`/api/${run}`, location.href).href
}

/** Whether it has every row once. */
async function checkServer(run) {
  const { rows: kept, applied } = await (await fetch(run)).json()
  check(kept === COUNT, `the server has ${kept} of ${COUNT} rows`)
  check(applied === COUNT, `the server has applied ${applied} changes of ${COUNT}`)
}

function sender(run) {
  return async row => { await post(`${run}/rows`, row) }
}

async function post(url, body) {
  const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${url} answered ${response.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}

async function untilTaken(send) {
  for (;;) {
    try {
      return await send()
    } catch {
      // It is sent again.
    }
  }
}

async function timed(run) {
  const start = performance.now()
  await run()
  return performance.now() - start
}

const COUNT = 1_000
const CONCURRENT = 6
const BATCH = 100
const RETRIES = 100
