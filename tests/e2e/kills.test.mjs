// Chromium killed with SIGKILL at random moments under a storm of writes, opened again on the same profile, and drained in the end.
// DRIFTLINE_KILLS says how often.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Recorder, compare, drained, openApp, reportTo } from './support/storm.mjs'
import { Pages, Profile } from './support/tabs.mjs'

const KILLS = Number(process.env['DRIFTLINE_KILLS'] ?? 12)
const TABS = 2
const STORM_MAX_MS = 800
/** Both tabs write at full speed, the hidden one too. */
const FLAGS = ['--disable-background-timer-throttling', '--disable-renderer-backgrounding']

let pages, folder

before(async () => {
  pages = await Pages.start()
  folder = await mkdtemp(join(tmpdir(), 'driftline-kills-'))
})
after(async () => {
  await pages.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
})

test(`what was durable before any of ${KILLS} kills reaches the server once, each object's changes in order`, { timeout: 120_000 + KILLS * 20_000 }, async test => {
  const recorder = new Recorder()
  recorder.faults = { before: 0.05, after: 0.05 }
  pages.api = recorder.api
  let underWay = 0
  for (let kill = 0; kill < KILLS; kill++) {
    const profile = await Profile.launchHiding(folder, FLAGS)
    await reportTo(recorder, profile)
    for (let at = 0; at < TABS; at++) {
      const tab = await profile.tab(pages.url)
      await openApp(tab, `k${kill}t${at}`)
      await tab.evaluate(() => { storm(15) })
    }
    await new Promise(resolve => setTimeout(resolve, Math.random() * STORM_MAX_MS))
    await profile.kill()
    const arrived = new Set(recorder.applied.map(({ key }) => key))
    underWay += [...recorder.durable].filter(key => !arrived.has(key)).length
  }
  const profile = await Profile.launchHiding(folder, FLAGS)
  try {
    const tab = await profile.tab(pages.url)
    await openApp(tab, 'last')
    await drained(tab)
    await compare(tab, recorder)
    assert.deepEqual(tab.problems, [])
  } finally {
    await profile.close()
  }
  recorder.check()
  assert.ok(recorder.durable.size > 0)
  test.diagnostic(`${KILLS} kills: ${recorder.durable.size} transactions known durable, none lost; ${underWay} waited at a kill; ${recorder.applied.length} arrived, in ${recorder.calls.length} requests`)
})
