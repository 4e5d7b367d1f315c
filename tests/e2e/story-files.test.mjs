// The story of a photo and a large file: saved offline under their hash, shown by the service worker, uploaded with a moving bar, and
// seen in a second browser, first from the server and then from its own disk.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { durable, hasState, opened, until, world } from './support/demo.mjs'
import { writeLarge, writePicture } from './support/media.mjs'

test('a photo and a 200 MiB file saved offline reach the server and a second browser', { timeout: 300_000 }, async test => {
  const { folder, server, visitor } = await world(test)
  const photo = { name: 'shore.png', ...await writePicture(join(folder, 'shore.png')) }
  const large = { name: 'film.bin', ...await writeLarge(join(folder, 'film.bin'), 200) }
  assert.ok(photo.size >= 1024 * 1024)
  const first = await visitor('first')
  const second = await visitor('second')
  await second.page.getByTestId('keep-all').uncheck()

  await test.test('offline, both are stored under their SHA-256, and the photo is shown by the service worker', async () => {
    await server.stop()
    await first.setOffline(true)
    await hasState(first.page, 'offline')
    await first.page.getByTestId('photo-input').setInputFiles([join(folder, photo.name), join(folder, large.name)])
    for (const file of [photo, large]) await until(async () => await storedSize(first.page, file.sha256) === file.size, `${file.name} is stored`)
    await first.page.getByTestId('photo').nth(1).waitFor()
    await durable(first.page)
    await showsPicture(first.page)
    assert.match(await first.page.getByTestId('picture').getAttribute('src'), /^\/driftline-files\/demo\/|\/\/[^/]+\/driftline-files\/demo\//)
    assert.deepEqual(await servedDigest(first.page, photo.name), { status: 200, sha256: photo.sha256 })
    assert.deepEqual(await servedDigest(first.page, large.name), { status: 200, sha256: large.sha256 })
  })

  await test.test('a reload while offline still shows both', async () => {
    await first.page.reload()
    await opened(first.page)
    await showsPicture(first.page)
    assert.equal(await first.page.getByTestId('photo').count(), 2)
  })

  await test.test('online, both are uploaded with a progress bar that moves and never goes back', async context => {
    await recordProgress(first.page)
    await server.start()
    await first.setOffline(false)
    for (const file of [photo, large]) {
      await until(async () => (await server.get(`/files/${file.sha256}`, { method: 'HEAD' })).status === 200, `${file.name} is on the server`)
      await card(first.page, file.name).and(first.page.locator('[data-upload="done"]')).waitFor()
    }
    const { headers } = await server.get(`/files/${large.sha256}`, { method: 'HEAD' })
    assert.equal(Number(headers.get('content-length')), large.size)
    const values = await first.page.evaluate(name => globalThis.progressSeen[name], large.name)
    context.diagnostic(`the bar of ${large.name} showed ${values.length} values`)
    assert.ok(values.filter(value => value > 0 && value < 1).length >= 3, `the bar showed only ${values}`)
    assert.deepEqual(values, [...values].sort((a, b) => a - b))
  })

  await test.test('the second browser shows the photo from the server, through its own service worker', async () => {
    await showsPicture(second.page)
    assert.equal(await second.page.evaluate(() => navigator.serviceWorker.controller !== null), true)
    assert.equal(await card(second.page, photo.name).getAttribute('data-local'), 'false')
    assert.equal(await storedSize(second.page, photo.sha256), undefined)
    assert.deepEqual(await servedDigest(second.page, photo.name), { status: 200, sha256: photo.sha256 })
  })

  await test.test('then it keeps both on its own disk', async () => {
    await second.page.getByTestId('keep-all').check()
    for (const file of [photo, large]) {
      await card(second.page, file.name).and(second.page.locator('[data-local="true"]')).waitFor({ timeout: 120_000 })
      assert.equal(await storedSize(second.page, file.sha256), file.size)
    }
  })

  await test.test('the server stopped, it still shows after a reload', async () => {
    await server.stop()
    await second.page.reload()
    await opened(second.page)
    await showsPicture(second.page)
    assert.deepEqual(await servedDigest(second.page, photo.name), { status: 200, sha256: photo.sha256 })
    assert.deepEqual(await servedDigest(second.page, large.name), { status: 200, sha256: large.sha256 })
    assert.deepEqual([...first.problems, ...second.problems], [])
  })

  await test.test('a part of it is served as a part', async () => {
    const answer = await second.page.evaluate(async name => {
      const { files } = globalThis.driftlineDemo
      const record = files.listFiles().find(file => file.name === name)
      const response = await fetch(files.fileUrl(record.id), { headers: { Range: 'bytes=1048576-1048585' } })
      return { status: response.status, range: response.headers.get('content-range'), length: (await response.arrayBuffer()).byteLength }
    }, large.name)
    assert.deepEqual(answer, { status: 206, range: `bytes 1048576-1048585/${large.size}`, length: 10 })
  })
})

function card(page, name) {
  return page.getByTestId('photo').filter({ hasText: name })
}

/** Waits until the picture is drawn, by an address of the service worker. */
async function showsPicture(page) {
  await page.waitForFunction(() => {
    const picture = document.querySelector('[data-testid="photo"] img')
    return picture !== null && picture.src.includes('/driftline-files/') && picture.complete && picture.naturalWidth > 0
  })
}

/** The size of a blob in OPFS under its hash, without asking Driftline; undefined if it is not there. */
async function storedSize(page, sha256) {
  return page.evaluate(async hash => {
    try {
      let folder = await navigator.storage.getDirectory()
      for (const name of ['driftline', 'demo', 'blobs', hash.slice(0, 2)]) folder = await folder.getDirectoryHandle(name)
      return (await (await folder.getFileHandle(hash)).getFile()).size
    } catch (error) {
      if (error.name === 'NotFoundError') return undefined
      throw error
    }
  }, sha256)
}

/** Status and digest of what the service worker answers for a file. */
async function servedDigest(page, name) {
  return page.evaluate(async wanted => {
    const { files } = globalThis.driftlineDemo
    const record = files.listFiles().find(file => file.name === wanted)
    const response = await fetch(files.fileUrl(record.id))
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await response.arrayBuffer()))
    return { status: response.status, sha256: Array.from(hash, byte => byte.toString(16).padStart(2, '0')).join('') }
  }, name)
}

/** Notes each value that a progress bar shows, by the name on its card. */
async function recordProgress(page) {
  await page.evaluate(() => {
    globalThis.progressSeen = {}
    const look = () => {
      for (const item of document.querySelectorAll('[data-testid="photo"]')) {
        const bar = item.querySelector('[data-testid="progress"]')
        if (bar.hidden) continue
        const seen = globalThis.progressSeen[item.querySelector('.name').textContent] ??= []
        if (seen.at(-1) !== bar.value) seen.push(bar.value)
      }
      requestAnimationFrame(look)
    }
    look()
  })
}
