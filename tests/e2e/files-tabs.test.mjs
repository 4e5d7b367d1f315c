// Files in several tabs: one tab's worker runs the transfers of all, and another takes over when that tab freezes.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from './support/demo.mjs'
import { Server } from './support/server.mjs'
import { Profile } from './support/tabs.mjs'

test('transfers go on in another tab when the one that ran them freezes, and that one follows when it thaws', { timeout: 120_000 }, async test => {
  const data = await mkdtemp(join(tmpdir(), 'driftline-files-tabs-'))
  const server = await Server.start(data)
  const profile = await Profile.launchHiding()
  test.after(async () => {
    await profile.close()
    await server.stop()
    await rm(data, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  })
  const open = () => profile.tab(server.url, undefined, 'driftlineDemo')
  /** Saves a file of these words, and gives its hash. */
  const save = (tab, words) => tab.evaluate(async words => (await driftlineDemo.files.saveFile(new Blob([words]), { name: `${words}.txt` })).contentHash, words)
  const isThere = hash => server.get(`/files/${hash}`, { method: 'HEAD' }).then(({ status }) => status === 200)
  const first = await open()
  await until(async () => await holder(first) !== undefined, 'the first tab runs the transfers')
  const leader = await holder(first)
  const second = await open()
  const before = await save(second, 'before the freeze')
  await until(() => isThere(before), 'the first tab sends what the second one saved')
  assert.equal(await holder(second), leader)

  await profile.freeze(first)
  const meanwhile = await save(second, 'while it is frozen')
  await until(() => isThere(meanwhile), 'the second tab sends it')
  const thief = await holder(second)
  assert.notEqual(thief, leader)

  await profile.thaw(first)
  const afterwards = await save(first, 'after the thaw')
  await until(() => isThere(afterwards), 'it is sent')
  assert.equal(await holder(second), thief, 'who was robbed follows')
  assert.deepEqual([...first.problems, ...second.problems], [])
})

/** Which client holds the lock of the transfers. */
function holder(tab) {
  return tab.evaluate(async () => (await navigator.locks.query()).held.find(({ name }) => name.endsWith(':files'))?.clientId)
}
