// The ready service worker in Firefox: the same vectors, from this device and from remotes.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Firefox } from './support/firefox.mjs'
import { requestOf, runVectors, seedFiles } from './support/sw-cases.mjs'
import { Site, readVectors } from './support/sw-site.mjs'

const vectors = await readVectors()
const { blobs } = vectors
let site, other, page

before(async () => {
  site = await Site.start()
  other = await Site.start()
  for (const { hash, bytes } of Object.values(blobs)) {
    site.blobs.set(hash, bytes)
    other.blobs.set(hash, bytes)
  }
  page = await Firefox.launch()
  await page.goto(site.origin)
  assert.equal(await page.evaluate(async () => (await window.page.register()).controlled), true)
})

after(async () => {
  await page?.close()
  await site?.stop()
  await other?.stop()
})

test('stored files are served as RFC 9110 says, case by case', async () => {
  await seedFiles(page, 'local', { blobs })
  await runVectors(page, 'local', vectors)
  assert.deepEqual(site.asked, [], 'nothing was asked of the remote')
})

test('files that only the remote has are served alike, case by case', async () => {
  await seedFiles(page, 'remote', { blobs, stored: false, meta: { files: { baseUrl: '/remote' } } })
  await runVectors(page, 'remote', vectors)
  assert.ok(site.asked.some(({ range }) => range === 'bytes=2-5'), 'ranges are passed on')
})

test('files of a remote on another origin are served alike, case by case', async () => {
  await seedFiles(page, 'elsewhere', { blobs, stored: false, meta: { files: { baseUrl: `${other.origin}/remote` } } })
  await runVectors(page, 'elsewhere', vectors)
  assert.ok(other.asked.some(({ range }) => range === 'bytes=2-5'), 'ranges are passed on')
})

test('a token is asked of a page, anew after 401', async () => {
  site.behaviour = 'locked'
  await seedFiles(page, 'locked', { blobs, stored: false, meta: { files: { baseUrl: '/remote', auth: true } } })
  const request = requestOf({ blob: 'ten', headers: {} }, blobs, 'locked')
  const answer = await page.evaluate(request => window.page.ask(request), request)
  assert.deepEqual([answer.status, answer.body], [200, [...blobs.ten.bytes]])
})

test('a database that does not exist is 404 and is not made', async () => {
  const answer = await page.evaluate(() => window.page.ask({ url: '/driftline-files/never-made/ten/x' }))
  assert.equal(answer.status, 404)
  assert.ok(!(await page.evaluate(() => indexedDB.databases())).some(({ name }) => name === 'driftline:never-made'))
})
