// How the service worker comes, goes and changes, and how an app's shell is served by it without a network.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { Browser } from './support/browser.mjs'
import { Site } from './support/sw-site.mjs'

let site, browser, page, profile

beforeEach(async () => {
  profile = await mkdtemp(join(tmpdir(), 'driftline-sw-'))
  site = await Site.start()
  browser = await Browser.launch(profile)
  page = browser.page
  await page.goto(site.origin)
})

afterEach(async () => {
  await browser?.close()
  await site?.stop()
  await rm(profile, { recursive: true, force: true })
})

test('a page is controlled when registering resolves, as a classic script and as a module', async () => {
  for (const type of ['classic', 'module']) {
    const registered = await page.evaluate(async type => {
      const { controlled, unregister } = await window.page.register({ type })
      const file = await window.page.ask({ url: '/driftline-files/none/none' })
      return { controlled, present: navigator.serviceWorker.controller !== null, status: file.status, gone: await unregister() }
    }, type)
    assert.deepEqual(registered, { controlled: true, present: true, status: 404, gone: true })
    await page.goto(site.origin)
    assert.equal(await page.evaluate(() => navigator.serviceWorker.controller), null)
  }
})

test('a page outside the scope is told that it is not controlled', async () => {
  assert.equal(await page.evaluate(async () => (await window.page.register({ scope: '/elsewhere/' })).controlled), false)
})

test('a script that can\'t be loaded is an error', async () => {
  await assert.rejects(page.evaluate(() => window.page.register({ url: '/missing.js' })), /TypeError/)
})

test('a page that was loaded around the service worker is controlled again by registering', async () => {
  await page.evaluate(() => window.page.register())
  const session = await page.context().newCDPSession(page)
  const loaded = page.waitForEvent('load')
  await session.send('Page.reload', { ignoreCache: true })
  await loaded
  assert.equal(await page.evaluate(() => navigator.serviceWorker.controller), null, 'the reload went around it')
  assert.equal(await page.evaluate(async () => (await window.page.register()).controlled), true)
  assert.equal(await page.evaluate(async () => (await window.page.ask({ url: '/driftline-files/none/none' })).status), 404)
})

test('the shell is served without a network: its files, its root for any page, and nothing else', async () => {
  await registerApp(page)
  await site.stop()
  await page.goto(`${site.origin}/deep`)
  assert.equal(await page.title(), '1')
  await page.goto(site.origin)
  const answers = await page.evaluate(async () => {
    const script = await window.page.ask({ url: '/page.js' })
    const api = await fetch('/api').catch(error => error.name)
    return { script: script.status, api }
  })
  assert.deepEqual(answers, { script: 200, api: 'TypeError' })
  await assert.rejects(page.evaluate(() => fetch('/page.js?another')))
})

test('a navigation that the network answers gets that answer', async () => {
  await registerApp(page)
  const response = await page.goto(`${site.origin}/unknown-route`)
  assert.equal(response.status(), 404)
})

test('a new version waits until it is accepted, and then takes all tabs at once', async () => {
  await registerApp(page)
  const second = await page.context().newPage()
  await second.goto(site.origin)
  await registerApp(second)

  site.setShell('2', ['/', '/page.js'])
  await update(page)
  await page.reload()
  assert.equal(await page.title(), '1', 'a reload alone changes nothing')
  await registerApp(page)
  await page.waitForFunction(() => window.update)
  const reloaded = Promise.all([page, second].map(tab => tab.waitForEvent('load')))
  await page.evaluate(() => window.update.accept())
  await reloaded
  assert.deepEqual([await page.title(), await second.title()], ['2', '2'])
  const caches = await page.evaluate(() => globalThis.caches.keys())
  assert.deepEqual(caches.map(name => name.split(':').at(-1)), ['2'], 'the old version is dropped')
})

test('a version that can\'t be fetched whole is not installed, and the one before it goes on', async () => {
  await registerApp(page)
  site.setShell('2', ['/', '/page.js', '/missing.js'])
  await update(page)
  const state = await page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration()
    return { waiting: registration.waiting, caches: await caches.keys() }
  })
  assert.equal(state.waiting, null)
  assert.deepEqual(state.caches.map(name => name.split(':').at(-1)), ['1'])
  await site.stop()
  await page.goto(site.origin)
  assert.equal(await page.title(), '1')
})

test('a version that is rolled back is an update like any other', async () => {
  site.setShell('2', ['/', '/page.js'])
  await page.goto(site.origin)
  await registerApp(page)
  site.setShell('1', ['/', '/page.js'])
  await update(page)
  await page.waitForFunction(() => window.update)
  const reloaded = page.waitForEvent('load')
  await page.evaluate(() => window.update.accept())
  await reloaded
  assert.equal(await page.title(), '1')
})

/** Registers the app's own service worker, which serves its shell too; an update that waits is `window.update`. */
async function registerApp(page) {
  const controlled = await page.evaluate(async () => {
    const onUpdate = update => { window.update = update }
    return (await window.page.register({ url: '/app-sw.js', onUpdate })).controlled
  })
  assert.equal(controlled, true)
}

/** Looks for a new version, and waits until it is installed or has failed. */
async function update(page) {
  await page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration()
    const found = new Promise(resolve => registration.addEventListener('updatefound', () => resolve(registration.installing)))
    await registration.update().catch(() => {})
    const worker = await found
    await new Promise(resolve => {
      const check = () => worker.state !== 'installing' && resolve()
      worker.addEventListener('statechange', check)
      check()
    })
  })
}
