// What a tab tells others of its writes: nothing while nobody is there to hear it, and all of it to whoever comes.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Pages, Profile } from './support/tabs.mjs'

let pages, profile

before(async () => {
  pages = await Pages.start()
  profile = await Profile.launch()
})
after(async () => {
  await profile.close()
  await pages.stop()
})

test('a tab that is alone tells nobody of its writes, and whoever comes hears how far they are and of each that follows', { timeout: 60_000 }, async () => {
  const tab = await profile.tab(pages.url)
  const heard = await tab.evaluate(async () => {
    const channel = new BroadcastChannel('driftline:told')
    const grown = []
    const waiting = []
    channel.onmessage = ({ data: { driftline: [kind, number] } }) => {
      if (kind !== 'grew') return
      grown.push(number)
      waiting.shift()?.()
    }
    const next = () => new Promise(resolve => waiting.push(resolve))
    const db = await driftline.openDriftline({ name: 'told' })
    const todos = db.collection({ sync: { id: 'todos' }, mutationFn: { persist: () => new Promise(() => {}) } })
    await todos.ready
    for (let n = 0; n < 5; n++) await todos.insert({ id: `alone ${n}` }).durable
    // Messages come in their order: those about the writes would be here before the answer.
    const answered = next()
    channel.postMessage({ driftline: ['hello', null, null] })
    await answered
    const upon = [...grown]
    const told = next()
    await todos.insert({ id: 'together' }).durable
    await told
    return { upon, then: grown.slice(upon.length) }
  })
  assert.equal(heard.upon.length, 1)
  assert.ok(heard.upon[0] >= 5, `five records were written, and the log is said to end at ${heard.upon[0]}`)
  assert.ok(heard.then.at(-1) > heard.upon[0])
  assert.deepEqual(tab.problems, [])
})

test('what one of two tabs writes shows in the other, whichever came first', { timeout: 60_000 }, async () => {
  const open = async tab => tab.evaluate(async () => {
    globalThis.db = await driftline.openDriftline({ name: 'both' })
    globalThis.todos = db.collection({ sync: { id: 'todos' }, mutationFn: { persist: () => new Promise(() => {}) } })
    await todos.ready
  })
  const write = (tab, id) => tab.evaluate(async id => { await todos.insert({ id }).durable }, id)
  const shows = (tab, id) => tab.waitForFunction(id => todos.has(id), id)
  const first = await profile.tab(pages.url)
  await open(first)
  await write(first, 'before')
  const second = await profile.tab(pages.url)
  await open(second)
  await shows(second, 'before')
  await write(first, 'by the first')
  await shows(second, 'by the first')
  await write(second, 'by the second')
  await shows(first, 'by the second')
  assert.deepEqual([...first.problems, ...second.problems], [])
})
