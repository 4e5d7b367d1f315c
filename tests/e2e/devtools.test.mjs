// <driftline-devtools> in a page with a strict Content-Security-Policy: lanes, attempts, steps back and forth, retry and discard.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { ARGUMENTS, CHROMIUM } from './support/tabs.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
let server, browser, url

before(async () => {
  const { outputFiles: [bundle] } = await build({
    stdin: { contents: 'export * from "./dist/index.js"; export * from "./dist/testing.js"; export * from "./dist/devtools.js"', resolveDir: root },
    bundle: true, format: 'esm', target: 'es2022', write: false, logLevel: 'warning',
  })
  const files = {
    '/': ['text/html; charset=utf-8', '<!doctype html><title>devtools</title><body><script type="module" src="/page.js"></script>'],
    '/page.js': ['text/javascript', 'import * as driftline from "/driftline.js"; globalThis.driftline = driftline'],
    '/driftline.js': ['text/javascript', bundle.contents],
    '/wasm/client.wasm': ['application/wasm', await readFile(`${root}/dist/wasm/client.wasm`)],
  }
  server = createServer((request, response) => {
    const [type, body] = files[request.url] ?? []
    if (type === undefined) response.writeHead(request.url === '/favicon.ico' ? 204 : 404).end()
    else response.writeHead(200, { 'content-type': type, 'content-security-policy': "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'" }).end(body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://localhost:${server.address().port}/`
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS })
})
after(async () => {
  await browser.close()
  server.closeAllConnections()
  server.close()
})

/** A page with the panel on a test's database in it, as `made` and `panel`; `problems` has what the console complained of. */
async function open(look = {}) {
  const page = await browser.newPage({ viewport: { width: 1100, height: 420 }, ...look })
  page.setDefaultTimeout(30_000)
  const problems = []
  page.on('pageerror', error => problems.push(error.message))
  page.on('console', message => { if (['error', 'warning'].includes(message.type())) problems.push(message.text()) })
  await page.goto(url)
  await page.waitForFunction(() => 'driftline' in globalThis)
  await page.evaluate(async () => {
    const { createTestCollection } = driftline
    const made = await createTestCollection({
      initialData: [{ id: 'milk', title: 'Buy milk', done: false }, { id: 'tea', title: 'Buy tea', done: true }],
      sync: { id: 'todos' }, retry: { jitter: false },
    })
    const panel = document.createElement('driftline-devtools')
    panel.db = made.db
    panel.style.height = '400px'
    document.body.append(panel)
    /** What a person sees of the lanes: title, state and kinds of bars, the newest first. */
    const lanes = () => [...panel.shadowRoot.querySelectorAll('.lane')].map(lane => [
      lane.querySelector('.label').textContent, lane.querySelector('.state').textContent,
      [...lane.querySelectorAll('.bar, .end')].map(({ className }) => className.replace('bar ', '')).join(' '),
    ])
    const rows = () => Object.fromEntries([...panel.shadowRoot.querySelectorAll('tbody tr')].map(row => [row.dataset.key, [row.className, ...[...row.querySelectorAll('td')].map(cell => cell.textContent)].join('|')]))
    const frame = () => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve))))
    const press = label => panel.shadowRoot.querySelector(`button[aria-label="${label}"]`).click()
    Object.assign(globalThis, { made, panel, lanes, rows, frame, press })
  })
  return Object.assign(page, { problems })
}

/** Some seconds in the life of a queue: one that is sent, one that is refused twice, one behind it, one that fails, one under way. */
const story = async () => {
  const { collection, syncControl } = made
  syncControl.setNetworkDelay(400)
  collection.insert({ id: 'eggs', title: 'Buy eggs', done: false })
  await syncControl.advance(900)
  syncControl.failNextPersist(new Error('the server hiccups'))
  syncControl.failNextPersist(new Error('the server hiccups again'))
  collection.update('milk', { title: 'Buy oat milk' })
  await syncControl.advance(300)
  collection.update('milk', { done: true })
  await syncControl.advance(5_400)
  syncControl.failNextPersist(new driftline.NonRetriableError('the list is full'))
  collection.insert([{ id: 'rice', title: 'Buy rice', done: false }, { id: 'salt', title: 'Buy salt', done: false }])
  await syncControl.advance(1_500)
  collection.update('tea', draft => { draft.done = false })
  await syncControl.advance(100)
  collection.delete('tea')
  await syncControl.advance(150)
  await frame()
}

test('each transaction is a lane with its waits, its attempts and its end', { timeout: 120_000 }, async () => {
  const page = await open()
  assert.match(await page.evaluate(() => panel.shadowRoot.querySelector('.timeline .empty').textContent), /No transactions/)
  await page.evaluate(story)
  assert.deepEqual(await page.evaluate(() => lanes()), [
    ['delete todos/tea', 'queued', 'queued'],
    ['update todos/tea', 'sending', 'attempt'],
    ['insert todos/rice +1', 'failed', 'refused end failed'],
    ['update todos/milk', 'completed', 'waiting attempt end completed'],
    ['update todos/milk', 'completed ×3', 'refused backoff refused backoff attempt end completed'],
    ['insert todos/eggs', 'completed', 'attempt end completed'],
  ])
  assert.match(await page.evaluate(() => panel.shadowRoot.querySelector('.status').textContent), /online.*this tab sends.*2 waiting.*1 failed.*it is being sent/)
  const widths = await page.evaluate(() => [...panel.shadowRoot.querySelectorAll('.lane')].at(-1).querySelector('.bar.attempt').getBoundingClientRect().width)
  assert.ok(widths > 5, 'what took 400 ms has a width')
  assert.deepEqual(page.problems, [])
  await page.close()
})

test('rows are stepped back and forth through what happened to them, and the app’s own rows stay', { timeout: 120_000 }, async () => {
  const page = await open()
  await page.evaluate(story)
  const seen = await page.evaluate(async () => {
    const where = () => panel.shadowRoot.querySelector('.where').textContent.replace(/\d\d:\d\d:\d\d\.\d+/, 'TIME')
    const log = [[where(), rows()]]
    for (let step = 0; step < 20 && !panel.shadowRoot.querySelector('[aria-label="One step back"]').disabled; step++) {
      press('One step back')
      await frame()
      log.push([where(), rows()])
    }
    const marked = panel.shadowRoot.querySelectorAll('.mark').length
    press('The rows as they are now')
    await frame()
    return { log, marked, now: rows(), own: made.collection.data }
  })
  const [[newest, rowsNow], ...back] = seen.log
  assert.match(newest, /^Step \d+ of \d+, TIME: todos, 1 deleted$/)
  assert.equal(rowsNow.tea, 'delete|Buy tea|false')
  assert.deepEqual(back.at(-1), ['Before the first step', { milk: '|Buy milk|false', tea: '|Buy tea|true' }])
  const first = back.at(-2)
  assert.match(first[0], /^Step 1 of \d+, TIME: todos, 1 inserted$/)
  assert.equal(first[1].eggs, 'insert|Buy eggs|false')
  assert.ok(back.some(([text, rows]) => text.includes('1 updated') && rows.milk === 'update|Buy oat milk|false'))
  assert.ok(back.some(([text]) => text.includes('2 inserted')) && back.some(([text]) => text.includes('2 deleted')), 'the refused insert shows and is taken back')
  assert.deepEqual(seen.now, rowsNow)
  assert.deepEqual(seen.own, { milk: { id: 'milk', title: 'Buy oat milk', done: true }, eggs: { id: 'eggs', title: 'Buy eggs', done: false } })
  assert.deepEqual(page.problems, [])
  await page.close()
})

test('a lane that is chosen tells all of its transaction, and a failed one is retried or discarded from there', { timeout: 120_000 }, async () => {
  const page = await open()
  await page.evaluate(story)
  const details = page.locator('driftline-devtools aside')
  assert.equal(await details.isVisible(), false)
  await page.getByRole('button', { name: /insert todos\/rice/ }).click()
  await details.waitFor()
  const text = await details.innerText()
  for (const part of ['insert todos/rice +1', 'failed', 'the list is full', 'insert todos/salt', 'title: "Buy salt"']) assert.ok(text.includes(part), `${part} in ${text}`)
  await details.getByRole('button', { name: 'Make a new transaction of it' }).click()
  await page.waitForFunction(() => lanes().length === 7)
  assert.equal(await page.evaluate(() => made.collection.has('rice')), true)
  await details.getByRole('button', { name: /Drop it/ }).click()
  await page.waitForFunction(() => made.db.transactions.list({ state: ['failed'] }).length === 0)
  await page.waitForFunction(() => lanes().length === 6)
  assert.deepEqual(page.problems, [])
  await page.close()
})

test('the window is moved and zoomed, and follows the clock again when it is told to', { timeout: 120_000 }, async () => {
  const page = await open()
  const seen = await page.evaluate(async () => {
    const { collection, syncControl } = made
    await collection.insert({ id: 'a' }).completed
    await syncControl.advance(60_000)
    collection.insert({ id: 'b' })
    await syncControl.advance(1_000)
    const look = async change => { change(); await frame(); return [lanes().map(([title]) => title).join(), panel.shadowRoot.querySelector('[aria-label="Follow the clock"]').ariaPressed] }
    return [
      await look(() => {}),
      await look(() => { for (let half = 0; half < 5; half++) press('Earlier') }),
      await look(() => { press('Show more time') ; press('Show more time'); press('Show more time') }),
      await look(() => press('Follow the clock')),
      await look(() => { for (let half = 0; half < 8; half++) press('Show less time') }),
    ]
  })
  assert.deepEqual(seen, [['insert todos/b', 'true'], ['', 'false'], ['insert todos/a', 'false'], ['insert todos/b,insert todos/a', 'true'], ['', 'true']])
  assert.deepEqual(page.problems, [])
  await page.close()
})

test('removed it listens to nothing, and put back it shows the present; without a database it says so', { timeout: 120_000 }, async () => {
  const page = await open()
  const seen = await page.evaluate(async () => {
    const { collection, db, syncControl } = made
    let listeners = 0
    for (const of of [collection, db.transactions, db.status]) {
      const { subscribe } = of
      of.subscribe = (...given) => { listeners++; const leave = subscribe.apply(of, given); return () => { listeners--; leave() } }
    }
    panel.remove()
    document.body.append(panel)
    const connected = listeners
    panel.remove()
    const removed = listeners
    await collection.insert({ id: 'a' }).completed
    document.body.append(panel)
    await syncControl.settle()
    await frame()
    const again = lanes().length
    const bare = document.createElement('driftline-devtools')
    document.body.append(bare)
    return { connected, removed, again, rows: Object.keys(rows()), bare: bare.shadowRoot.textContent }
  })
  assert.deepEqual(seen, { connected: 3, removed: 0, again: 1, rows: ['milk', 'tea', 'a'], bare: seen.bare })
  assert.match(seen.bare, /set the element’s db/)
  assert.deepEqual(page.problems, [])
  await page.close()
})

test('it fits a narrow page, a light and a dark one', { timeout: 120_000 }, async () => {
  for (const look of [{ colorScheme: 'light' }, { colorScheme: 'dark' }, { viewport: { width: 390, height: 600 } }]) {
    const page = await open(look)
    await page.evaluate(story)
    await page.getByRole('button', { name: /insert todos\/rice/ }).click()
    await page.locator('driftline-devtools aside').waitFor()
    // For a person to look at; the one in README.md is devtools-light.png.
    const folder = process.env['DRIFTLINE_SCREENSHOTS']
    if (folder !== undefined) await page.locator('driftline-devtools').screenshot({ path: `${folder}/devtools-${look.colorScheme ?? 'narrow'}.png` })
    const outside = await page.evaluate(() => {
      const { left, right } = panel.getBoundingClientRect()
      return [...panel.shadowRoot.querySelectorAll('header, .timeline, .rows, aside')].filter(part => part.getBoundingClientRect().left < left - 1 || part.getBoundingClientRect().right > right + 1).map(({ className, tagName }) => className || tagName)
    })
    assert.deepEqual(outside, [])
    assert.deepEqual(page.problems, [])
    await page.close()
  }
})
