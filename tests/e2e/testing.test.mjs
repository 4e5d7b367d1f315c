// driftline/testing in browsers: on the real IndexedDB as well as in memory, with the same clock, tabs and faults.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { ARGUMENTS, CHROMIUM } from './support/tabs.mjs'
import { Firefox } from './support/firefox.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
let site

before(async () => { site = await serve() })
after(() => site.stop())

const engines = {
  chromium: async () => {
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS })
    const page = await browser.newPage()
    return { goto: url => page.goto(url), evaluate: (body, argument) => page.evaluate(body, argument), close: () => browser.close() }
  },
  firefox: () => Firefox.launch(),
}

for (const [engine, launch] of Object.entries(engines)) {
  for (const store of ['indexeddb', 'memory']) {
    test(`${engine}, ${store}: faults, offline, reload, a crash and a frozen tab`, { timeout: 120_000 }, async () => {
      const browser = await launch()
      try {
        // The story runs as the page's own code: a driver's scripts have globals of their own.
        await browser.goto(`${site.url}?${store}`)
        const told = await browser.evaluate(outcome)
        assert.deepEqual(JSON.parse(told), {
          before: { milk: 1 },
          rejected: 'NonRetriableError',
          rolledBack: { milk: 1 },
          tries: [0, 1_000],
          kept: { milk: 2, tea: 1 },
          onDisk: store === 'indexeddb',
          sentAfterReload: [['tea', false]],
          sentAfterCrash: [['eggs', false], ['eggs', true]],
          oneKey: true,
          second: { milk: 2, tea: 1, eggs: 1 },
          leads: [true, false],
          takenOver: [false, true],
          afterThaw: { milk: 2, tea: 1, eggs: 1, rice: 1 },
          left: [],
        })
      } finally {
        await browser.close()
      }
    })
  }
}

/** Runs in the page, and waits for what the story has seen. */
async function outcome() {
  while (document.title === '') await new Promise(resolve => setTimeout(resolve, 50))
  return document.title
}

/** Runs as a part of the page. */
async function story(store) {
  const { createTestCollection, NonRetriableError } = await import('./testing.js')
  const counts = collection => Object.fromEntries([...collection.entries()].map(([key, { count }]) => [key, count]))
  const databases = async () => (await indexedDB.databases()).map(({ name }) => name).filter(name => name.startsWith('driftline:'))
  const sentSince = start => syncControl.persisted.slice(start).map(({ changes, repeated }) => [Object.keys(changes)[0], repeated])
  const seen = {}
  let { collection, db, syncControl } = await createTestCollection({ initialData: [{ id: 'milk', count: 1 }], retry: { jitter: false }, store })
  await collection.synced
  seen.before = counts(collection)

  syncControl.failNextPersist(new NonRetriableError('no'))
  seen.rejected = await collection.update('milk', { count: 5 }).completed.catch(error => error.name)
  seen.rolledBack = counts(collection)

  syncControl.failNextPersist()
  const retried = collection.update('milk', { count: 2 })
  while (retried.attempts[0]?.retryScheduledFor === undefined) await syncControl.settle()
  await syncControl.advance(1_000)
  await retried.completed
  seen.tries = retried.attempts.map(({ startedAt }) => startedAt - retried.createdAt)

  syncControl.goOffline()
  let start = syncControl.persisted.length
  const pending = collection.insert({ id: 'tea', count: 1 })
  await pending.durable
  ;({ collection, db } = await syncControl.reload())
  seen.kept = counts(collection)
  seen.onDisk = (await databases()).length === 1
  syncControl.goOnline()
  await db.transactions.get(pending.id).completed
  seen.sentAfterReload = sentSince(start)

  start = syncControl.persisted.length
  const crashed = syncControl.crash('afterPersist')
  const cut = collection.insert({ id: 'eggs', count: 1 })
  const { id, idempotencyKey } = cut
  await crashed
  ;({ collection, db } = await syncControl.reload())
  await db.transactions.get(id).completed
  seen.sentAfterCrash = sentSince(start)
  seen.oneKey = syncControl.persisted.slice(start).every(persisted => persisted.idempotencyKey === idempotencyKey)

  const second = await syncControl.secondTab()
  seen.second = counts(second.collection)
  const leads = () => [db, second.db].map(({ status }) => status.value.leader.rows)
  seen.leads = leads()
  syncControl.freezeTab()
  const written = second.collection.insert({ id: 'rice', count: 1 })
  await written.durable
  while (written.state !== 'completed') await syncControl.advance(1_000)
  syncControl.thawTab()
  while (!collection.has('rice') || leads()[0]) await syncControl.advance(1_000)
  seen.takenOver = leads()
  seen.afterThaw = counts(collection)

  await syncControl.dispose()
  seen.left = await databases()
  return seen
}

/** The package as built, in one bundle, on loopback. */
async function serve() {
  const { outputFiles: [bundle] } = await build({
    stdin: { contents: 'export * from "./dist/index.js"; export * from "./dist/testing.js"', resolveDir: root },
    bundle: true, format: 'esm', target: 'es2022', write: false, logLevel: 'warning',
  })
  const files = {
    '/': ['text/html; charset=utf-8', `<!doctype html><script type="module">${story}
      story(location.search.slice(1)).then(seen => { document.title = JSON.stringify(seen) }, error => { document.title = JSON.stringify(String(error)) })</script>`],
    '/testing.js': ['text/javascript', bundle.contents],
    '/wasm/client.wasm': ['application/wasm', await readFile(`${root}/dist/wasm/client.wasm`)],
  }
  const server = createServer(({ url }, response) => {
    const [type, body] = files[url.split('?')[0]] ?? []
    if (type === undefined) response.writeHead(404).end()
    else response.writeHead(200, { 'content-type': type }).end(body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://localhost:${server.address().port}/`,
    stop: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
