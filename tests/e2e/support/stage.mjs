// One browser for all tests of a file, and for each test an origin of its own.
import { after, afterEach, before, beforeEach } from 'node:test'
import { Pages } from './tabs.mjs'

/**
 * What the tests of a suite play on: `profile`, `url`, `answer(api)`, which sets what answers below `/api/`. `prepared(stage)` is called
 * once the browser runs.
 */
export function stageOf(launch, prepared = async () => {}) {
  const stage = {}
  let pages
  let played = 0

  before(async () => {
    pages = await Pages.start()
    stage.answer = api => { pages.api = api }
    stage.profile = await launch()
    await prepared(stage)
  })
  after(async () => {
    await stage.profile?.close()
    await pages?.stop()
  })
  beforeEach(() => {
    stage.url = pages.url.replace('localhost', `test-${++played}.localhost`)
    stage.answer(() => ({ status: 404 }))
  })
  afterEach(() => stage.profile.closeTabs())
  return stage
}
