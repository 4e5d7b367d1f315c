// The ready service worker in Chromium: the vectors, from this device and from a remote, and what a stored page may do.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { Browser } from './support/browser.mjs'
import { requestOf, runVectors, seedFiles } from './support/sw-cases.mjs'
import { Site, readVectors } from './support/sw-site.mjs'

const vectors = await readVectors()
const { blobs } = vectors
const DATABASE = 'app:user/42 ü'
let site, other, browser, page, profile

before(async () => {
  profile = await mkdtemp(join(tmpdir(), 'driftline-sw-'))
  site = await Site.start()
  other = await Site.start()
  for (const { hash, bytes } of Object.values(blobs)) {
    site.blobs.set(hash, bytes)
    other.blobs.set(hash, bytes)
  }
  browser = await Browser.launch(profile)
  page = browser.page
  await page.goto(site.origin)
  const { controlled } = await page.evaluate(() => window.page.register())
  assert.equal(controlled, true)
})

beforeEach(() => {
  for (const remote of [site, other]) {
    remote.behaviour = 'ranges'
    remote.asked.length = 0
  }
})

after(async () => {
  await browser?.close()
  await site?.stop()
  await other?.stop()
  await rm(profile, { recursive: true, force: true })
})

test('stored files are served as RFC 9110 says, case by case', async () => {
  await seed(DATABASE, {})
  await runVectors(page, DATABASE, vectors)
  assert.deepEqual(site.asked, [], 'nothing was asked of the remote')
})

test('files that only the remote has are served alike, case by case', async () => {
  await seed('remote', { stored: false, meta: { files: { baseUrl: '/remote' } } })
  await runVectors(page, 'remote', vectors)
  assert.ok(site.asked.some(({ range, ifRange }) => range === 'bytes=2-5' && ifRange === `"${blobs.ten.hash}"`), 'ranges are passed on')
})

test('files of a remote on another origin are served alike, case by case', async () => {
  await seed('elsewhere', { stored: false, meta: { files: { baseUrl: `${other.origin}/remote/` } } })
  await runVectors(page, 'elsewhere', vectors)
  assert.ok(other.asked.some(({ range }) => range === 'bytes=2-5'), 'ranges are passed on')
})

test('a remote without ranges is cut to the range that was asked for', async () => {
  site.behaviour = 'no ranges'
  await seed('plain', { stored: false, meta: { files: { baseUrl: '/remote' } } })
  await runVectors(page, 'plain', vectors)
})

test('the pages are told what is wanted of the remote', async () => {
  await seed('wanted', { stored: false, meta: { files: { baseUrl: '/remote' } } })
  await ask('wanted', 'thousand', { headers: { range: 'bytes=0-0' } })
  const wanted = { type: 'driftline:wanted', database: 'wanted', id: 'thousand', hash: blobs.thousand.hash }
  await page.waitForFunction(hash => window.page.heard.some(message => message.database === 'wanted' && message.hash === hash), wanted.hash)
  const heard = await page.evaluate(() => window.page.heard.filter(message => message.database === 'wanted'))
  assert.deepEqual(heard, [wanted])
})

test('a token is asked of a page, anew after 401, and is in no URL', async () => {
  site.behaviour = 'locked'
  await seed('locked', { stored: false, meta: { files: { baseUrl: '/remote', auth: true } } })
  const answer = await ask('locked', 'ten', {})
  assert.equal(answer.status, 200)
  assert.deepEqual(answer.body, [...blobs.ten.bytes])
  assert.deepEqual(site.asked.map(({ authorization }) => authorization), ['Bearer stale', 'Bearer good'])
})

for (const [behaviour, id, headers] of [
  ['other tag', 'ten', {}],
  ['other tag', 'ten', { range: 'bytes=0-1' }],
  ['other size', 'ten', {}],
  ['other size', 'ten', { range: 'bytes=0-1' }],
  ['broken', 'ten', {}],
  ['locked', 'ten', {}],
]) {
  test(`a remote with the fault "${behaviour}" is 502, ${headers.range ? 'by range' : 'whole'}`, async () => {
    site.behaviour = behaviour
    await seed('faults', { stored: false, meta: { files: { baseUrl: '/remote' } } })
    const answer = await ask('faults', id, { headers })
    assert.equal(answer.status, 502)
    assert.equal(JSON.parse(Buffer.from(answer.body)).code, 'remote_error')
    assert.equal(answer.headers['cache-control'], 'no-store')
  })
}

test('a remote\'s answer that ends early is broken off, never taken for the whole', async () => {
  site.behaviour = 'ends early'
  await seed('short', { stored: false, meta: { files: { baseUrl: '/remote' } } })
  for (const headers of [{}, { range: 'bytes=500-999' }]) {
    const answer = await ask('short', 'thousand', { headers })
    assert.ok(answer.broken, JSON.stringify(headers))
  }
})

test('a client that leaves ends the request to the remote', async () => {
  site.behaviour = 'hangs'
  await seed('left', { stored: false, meta: { files: { baseUrl: '/remote' } } })
  const { url } = requestOf({ blob: 'thousand', headers: {} }, blobs, 'left')
  await page.evaluate(async url => {
    const leaving = new AbortController()
    const { body } = await fetch(url, { signal: leaving.signal })
    await body.getReader().read()
    leaving.abort()
  }, url)
  await site.left
})

test('a remote that can\'t be reached is 503, with when to ask again', async () => {
  const gone = await Site.start()
  await gone.stop()
  await seed('offline', { stored: false, meta: { files: { baseUrl: `${gone.origin}/remote` } } })
  const answer = await ask('offline', 'ten', {})
  assert.equal(answer.status, 503)
  assert.match(answer.headers['retry-after'], /^\d+$/)
  assert.equal(JSON.parse(Buffer.from(answer.body)).code, 'offline')
  assert.equal((await ask('offline', 'ten', { method: 'HEAD' })).status, 503)
})

test('a file that was not uploaded yet, and is not here, is 503 by another name', async () => {
  await seed('fresh', { stored: false, uploaded: false, meta: { files: { baseUrl: '/remote' } } })
  const answer = await ask('fresh', 'ten', {})
  assert.equal(answer.status, 503)
  assert.equal(JSON.parse(Buffer.from(answer.body)).code, 'not_uploaded')
  assert.deepEqual(site.asked, [])
})

test('a local file of another size than its record is not served', async () => {
  const bytes = { ...blobs.ten, bytes: blobs.ten.bytes.subarray(0, 5) }
  await seed('partial', { blobs: { ten: bytes }, meta: { files: { baseUrl: '/remote' } } })
  const answer = await ask('partial', 'ten', {})
  assert.deepEqual(answer.body, [...blobs.ten.bytes])
  assert.equal(site.asked.length, 1)
})

test('what is unknown is 404: no database, no record, no name, a deleted record, a signed-out database', async () => {
  await seed('signed-out', { meta: { signedOut: true } })
  await seed('deleted', { deletedAt: 1, meta: {} })
  for (const path of ['never-made/ten/x', `${encodeURIComponent(DATABASE)}/nothing/x`, `${encodeURIComponent(DATABASE)}/sha256/${'0'.repeat(64)}`,
    '', 'a', '%ff/ten', 'signed-out/ten/x', 'deleted/ten/x', `deleted/sha256/${blobs.ten.hash}`]) {
    const answer = await page.evaluate(url => window.page.ask({ url }), `/driftline-files/${path}`)
    assert.equal(answer.status, 404, path)
    assert.equal(JSON.parse(Buffer.from(answer.body)).code, 'not_found', path)
  }
  const databases = await page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name))
  assert.ok(!databases.includes('driftline:never-made'), 'asking makes no database')
})

test('a database can be deleted and made again under the service worker', async () => {
  await seed('again', {})
  assert.equal((await ask('again', 'ten', {})).status, 200)
  await page.evaluate(() => new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase('driftline:again')
    request.onsuccess = resolve
    request.onerror = reject
  }))
  assert.equal((await ask('again', 'ten', {})).status, 404)
  await seed('again', {})
  assert.equal((await ask('again', 'ten', {})).status, 200)
})

test('other methods and other paths go to the network', async () => {
  const url = `/driftline-files/${encodeURIComponent(DATABASE)}/ten/ten.txt`
  const answers = await page.evaluate(url => window.page.askAll([{ url, method: 'POST' }, { url: '/driftline-file/x' }]), url)
  assert.deepEqual(answers.map(({ status, body }) => [status, JSON.parse(Buffer.from(body)).message]), [[404, 'no such page'], [404, 'no such page']])
})

test('a stored HTML page that is opened is saved, and never becomes a document of the app', async () => {
  await seed('hostile', { blobs: { page: { ...blobs.page, ...HOSTILE } } })
  const url = `${site.origin}/driftline-files/hostile/page/page.html`
  const opened = await page.context().newPage()
  const download = opened.waitForEvent('download')
  await opened.goto(url).catch(() => {})
  assert.equal((await download).suggestedFilename(), 'a _page_ – ü.html')
  await opened.close()
  await page.evaluate(url => new Promise(resolve => {
    const frame = document.createElement('iframe')
    frame.src = url
    document.body.append(frame)
    fetch(url).then(resolve)
  }), url)
  assert.equal(await page.evaluate(() => localStorage.getItem('ran')), null)
})

test('were it shown all the same, its sandbox keeps it from running and from the app\'s storage', async () => {
  await seed('hostile', { blobs: { page: { ...blobs.page, ...HOSTILE } } })
  const { headers } = await ask('hostile', 'page', {})
  const { 'content-disposition': _, 'content-length': __, ...rest } = headers
  const show = async headers => {
    site.replay = { headers, body: HOSTILE.bytes }
    return page.evaluate(() => new Promise(resolve => {
      localStorage.removeItem('ran')
      const frame = document.createElement('iframe')
      frame.onload = () => {
        const reachable = frame.contentDocument !== null
        frame.remove()
        resolve({ reachable, ran: localStorage.getItem('ran') })
      }
      frame.src = '/replay'
      document.body.append(frame)
    }))
  }
  assert.deepEqual(await show(rest), { reachable: false, ran: null })
  const { 'content-security-policy': policy, ...unguarded } = rest
  assert.match(policy, /^sandbox/)
  assert.deepEqual(await show(unguarded), { reachable: true, ran: 'yes' }, 'without the policy it would have run')
})

const hostile = Buffer.from('<!doctype html><script>localStorage.setItem("ran", "yes")</script>\n')
const HOSTILE = { bytes: hostile, size: hostile.length, hash: 'ab'.repeat(32) }

async function ask(database, id, { method, headers = {} }) {
  const request = requestOf({ blob: id, method, headers }, blobs, database)
  return page.evaluate(request => window.page.ask(request), request)
}

function seed(database, options) {
  return seedFiles(page, database, { blobs, ...options })
}
