// useFile: a file's record, its state and an address, with a service worker and without one.
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { Site } from './support/react/site.mjs'
import { Profile } from './support/tabs.mjs'

let site, profile, tab

before(async () => { site = await Site.start() })
after(() => site.stop())
beforeEach(async () => {
  profile = await Profile.launch()
  tab = await profile.tab(site.url)
  await prepare()
})
afterEach(() => profile.close())

/** Opens the store, and gives the page a component that notes what `useFile` gave at each render. */
async function prepare() {
  await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const opening = db.files({ remote: driftline.httpRemote({ baseUrl: '/files' }), autoUpload: false })
    const seen = []
    const Shown = ({ id }) => {
      seen.push(hooks.useFile(id))
      return h('img', { src: seen.at(-1).url })
    }
    const text = async url => (await fetch(url)).text()
    Object.assign(globalThis, { db, opening, seen, Shown, text })
  })
}

test('without a service worker a file has an object URL: another one for other bytes, and none is left after unmount', async () => {
  const found = await tab.evaluate(async () => {
    // Drawn while the store still opens.
    const { unmount } = mount(h(hooks.DriftlineProvider, { db }, h(Shown, { id: 'f1' })))
    const early = Object.values(seen.at(-1)).filter(value => value !== undefined)
    const files = await opening
    const listeners = counted(files)
    await files.saveFile(new Blob(['first'], { type: 'text/plain' }), { id: 'f1', name: 'note.txt' })
    await until(() => seen.at(-1).url !== undefined)
    const first = seen.at(-1)
    const texts = [await text(first.url)]
    await files.updateFile('f1', new Blob(['second']))
    await until(() => seen.at(-1).url !== undefined && seen.at(-1).url !== first.url && seen.at(-1).record.contentHash !== first.record.contentHash)
    const second = seen.at(-1)
    texts.push(await text(second.url))
    const mixed = seen.filter(({ record, url }) => url === first.url && record?.contentHash !== first.record.contentHash).length
    await files.deleteFile('f1')
    await until(() => seen.at(-1).record === undefined && seen.at(-1).url === undefined)
    unmount()
    const again = mount(h(hooks.DriftlineProvider, { db }, h(Shown, { id: 'f2' })))
    const mounted = listeners.now
    await files.saveFile(new Blob(['third']), { id: 'f2' })
    await until(() => seen.at(-1).url !== undefined)
    const third = seen.at(-1).url
    again.unmount()
    const dead = await Promise.all([first.url, second.url, third].map(url => fetch(url).then(() => false, () => true)))
    return { early, record: first.record.name, state: [first.state.local, first.state.uploadStatus], texts, mixed, dead, mounted, left: listeners.now }
  })
  assert.deepEqual(found, {
    early: [], record: 'note.txt', state: [true, 'none'], texts: ['first', 'second'], mixed: 0,
    dead: [true, true, true], mounted: 1, left: found.mounted - 1,
  })
  assert.deepEqual(tab.problems, [])
})

test('what useFile gives stays the same object until the file changes', async () => {
  const same = await tab.evaluate(async () => {
    const files = await opening
    await files.saveFile(new Blob(['first']), { id: 'f1' })
    let again
    const Again = () => {
      again = React.useReducer(count => count + 1, 0)[1]
      return h(Shown, { id: 'f1' })
    }
    mount(h(hooks.DriftlineProvider, { db }, h(Again)))
    await until(() => seen.at(-1).url !== undefined && seen.at(-1).state?.local)
    await files.awaitIdle()
    await frame()
    const before = seen.at(-1)
    flushSync(again)
    const unchanged = seen.at(-1) === before
    await files.saveFile(new Blob(['other']), { id: 'f2' })
    flushSync(again)
    return { unchanged, other: seen.at(-1) === before }
  })
  assert.deepEqual(same, { unchanged: true, other: true })
  assert.deepEqual(tab.problems, [])
})

test('under a service worker a file has the plain URL that it serves', async () => {
  await tab.evaluate(() => driftline.registerFileServiceWorker({ url: '/driftline-sw.js' }))
  await tab.reload()
  await tab.waitForFunction(() => 'driftline' in globalThis && navigator.serviceWorker.controller !== null)
  await prepare()
  const found = await tab.evaluate(async () => {
    const files = await opening
    await files.saveFile(new Blob(['served'], { type: 'text/plain' }), { id: 'f1', name: 'note.txt' })
    mount(h(hooks.DriftlineProvider, { db }, h(Shown, { id: 'f1' })))
    const { url } = seen.at(-1)
    return { url, expected: files.fileUrl('f1'), text: await text(url), object: seen.some(({ url }) => url?.startsWith('blob:')) }
  })
  assert.equal(found.url, found.expected, 'it is there at the first render')
  assert.match(found.url, /\/driftline-files\/app\/f1\/note\.txt$/)
  assert.equal(found.text, 'served')
  assert.equal(found.object, false)
})

test('useFile before db.files() says which call is missing', async () => {
  const error = await tab.evaluate(async () => {
    const other = await driftline.openDriftline({ name: 'without files' })
    class Boundary extends React.Component {
      state = {}
      static getDerivedStateFromError(error) { return { error } }
      render() { return this.state.error === undefined ? this.props.children : h('p', null, `${this.state.error.code}: ${this.state.error.message}`) }
    }
    return mount(h(Boundary, null, h(hooks.DriftlineProvider, { db: other }, h(Shown, { id: 'f1' })))).node.textContent
  })
  assert.match(error, /^not_initialized: .*db\.files\(\)/)
})
