// What structured clone keeps is kept by the real IndexedDB too: over a reload, a checkpoint and another tab.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { faultsOf, rowOfEverything } from '../support/clones.mjs'
import { FirefoxProfile } from './support/firefox.mjs'
import { Pages, Profile } from './support/tabs.mjs'

let pages

before(async () => { pages = await Pages.start() })
after(() => pages.stop())

/** Opens the collection in a page, whose `persist` waits for `answer()`. */
async function open(tab) {
  await tab.evaluate(new Function(`Object.assign(globalThis, { rowOfEverything: ${rowOfEverything}, faultsOf: ${faultsOf} })`))
  await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'clones' })
    const sent = []
    let answer
    const answered = new Promise(resolve => { answer = resolve })
    const things = db.collection({
      sync: { id: 'things', setup: () => new Promise(() => {}) },
      mutationFn: { persist: async ({ changes }) => { sent.push(changes); await answered } },
    })
    await things.ready
    Object.assign(globalThis, { db, things, sent, answer })
  })
}

for (const [engine, launch] of [['Chromium', () => Profile.launch()], ['Firefox', () => FirefoxProfile.launch()]]) {
  test(`${engine}: a row with one of everything is whole after its journal record, after a checkpoint, in another tab, and when it is sent`, { timeout: 240_000 }, async test => {
    const profile = await launch()
    test.after(() => profile.close())
    const tab = await profile.tab(pages.url)
    await open(tab)
    assert.deepEqual(await tab.evaluate(async () => {
      const transaction = things.insert(rowOfEverything())
      const atOnce = await faultsOf(things.get('everything'))
      await transaction.durable
      return atOnce
    }), [])

    await tab.reload()
    await tab.waitForFunction(() => 'driftline' in globalThis)
    await open(tab)
    assert.deepEqual(await tab.evaluate(() => faultsOf(things.get('everything'))), [], 'from the log')

    const other = await profile.tab(pages.url)
    await open(other)
    assert.deepEqual(await other.evaluate(() => faultsOf(things.get('everything'))), [], 'in another tab')
    await other.close()

    // More records than a log grows to before a checkpoint takes its place.
    await tab.evaluate(async () => {
      answer()
      await db.transactions.list()[0].completed
      for (let at = 0; at < 700; at++) await things.insert({ id: `small-${at}` }).durable
    })
    assert.deepEqual(await tab.evaluate(() => faultsOf(sent[0].everything)), [], 'as persist was given it')
    await tab.reload()
    await tab.waitForFunction(() => 'driftline' in globalThis)
    await open(tab)
    assert.deepEqual(await tab.evaluate(() => faultsOf(things.get('everything'))), [], 'from a checkpoint')
    assert.deepEqual(await tab.evaluate(() => faultsOf(db.transactions.list()[0].mutations[0].modified)), [], 'in the history')
    assert.deepEqual(tab.problems, [])
  })

  test(`${engine}: updates of a Map, a Set, a Date, bytes and a sparse array in a draft survive a reload`, { timeout: 240_000 }, async test => {
    const profile = await launch()
    test.after(() => profile.close())
    const tab = await profile.tab(pages.url)
    await open(tab)
    await tab.evaluate(async () => {
      await things.insert({ id: 'drafted', map: new Map([['a', { n: 1 }]]), set: new Set([1]), at: new Date(0), bytes: new Uint8Array(2), sparse: [1, , 3], same: 'x' }).durable
      await things.update('drafted', draft => {
        draft.map.get('a').n++
        draft.set.add(2)
        draft.at.setTime(7)
        draft.bytes[1] = 9
        draft.sparse[4] = 5
      }).durable
    })
    await tab.reload()
    await tab.waitForFunction(() => 'driftline' in globalThis)
    await open(tab)
    assert.deepEqual(await tab.evaluate(() => {
      const { map, set, at, bytes, sparse, same } = things.get('drafted')
      const changes = Object.keys(db.transactions.list().at(-1).mutations[0].changes)
      return { n: map.get('a').n, set: [...set], at: at.getTime(), bytes: [...bytes], sparse: Object.entries(sparse), same, changes }
    }), { n: 2, set: [1, 2], at: 7, bytes: [0, 9], sparse: [['0', 1], ['2', 3], ['4', 5]], same: 'x', changes: ['map', 'set', 'at', 'bytes', 'sparse'] })
    assert.deepEqual(tab.problems, [])
  })
}
