// Firefox killed with SIGKILL at random moments under a storm of writes, opened again on the same profile, and drained in the end.
// DRIFTLINE_KILLS says how often.
import { FirefoxProfile, UNTHROTTLED } from './support/firefox.mjs'
import { tellOfKills } from './support/kills.mjs'

tellOfKills({ engine: 'Firefox', kills: 8, launch: folder => FirefoxProfile.launch({ folder, preferences: UNTHROTTLED }) })
