// Recovery in both browsers. How a disk is made small and a window private differs.
import { after, before, describe } from 'node:test'
import { chromium } from 'playwright-core'
import { FirefoxProfile } from './support/firefox.mjs'
import { tellOfPrivacy, tellOfRecovery } from './support/recovery-stories.mjs'
import { ARGUMENTS, CHROMIUM, Pages, Profile } from './support/tabs.mjs'

let pages
before(async () => { pages = await Pages.start() })
after(() => pages.stop())

describe('Chromium', () => {
  tellOfRecovery({
    engine: 'Chromium',
    launch: () => Profile.launch(),
    // Before the first write: how much room there is, Chromium looks up once in a while.
    async limitRoom(stage, tab) {
      const session = await stage.profile.context.newCDPSession(tab)
      await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(stage.url).origin, quotaSize: 20 * 1024 * 1024 })
    },
  })
  tellOfPrivacy({
    engine: 'Chromium',
    // Every context that Playwright makes is an incognito one.
    async launchPrivate() {
      const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS })
      const window = async () => Profile.of(await browser.newContext())
      const profile = await window()
      return { profile: Object.assign(profile, { async anew() { await profile.context.close(); return window() } }), url: pages.url, end: () => browser.close() }
    },
    // A person has forbidden sites to store data.
    async launchRefusing() {
      const profile = await Profile.launch({ profile: { default_content_setting_values: { cookies: 2 } } })
      return { profile, url: pages.url, end: () => profile.close() }
    },
  })
})

describe('Firefox', () => {
  tellOfRecovery({
    engine: 'Firefox',
    // Of the limit, in KiB, each site may have a fifth, and 10 MiB at least.
    launch: () => FirefoxProfile.launch({ preferences: { 'dom.quotaManager.temporaryStorage.fixedLimit': 102_400 } }),
    limitRoom: async () => {},
  })
  tellOfPrivacy({
    engine: 'Firefox',
    async launchPrivate() {
      const profile = await FirefoxProfile.launch({ preferences: PRIVATE })
      const { folder } = profile
      let later
      const anew = async () => {
        await profile.kill()
        later = await FirefoxProfile.launch({ folder, preferences: PRIVATE })
        return later
      }
      return { profile: Object.assign(profile, { anew }), url: pages.url, async end() { await later?.kill(); await profile.close() } }
    },
    async launchRefusing() {
      const profile = await FirefoxProfile.launch({ preferences: { ...PRIVATE, 'dom.indexedDB.privateBrowsing.enabled': false } })
      return { profile, url: pages.url, end: () => profile.close() }
    },
  })
})

const PRIVATE = { 'browser.privatebrowsing.autostart': true }
