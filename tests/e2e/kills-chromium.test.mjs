// Chromium killed with SIGKILL at random moments under a storm of writes, opened again on the same profile, and drained in the end.
// DRIFTLINE_KILLS says how often.
import { tellOfKills } from './support/kills.mjs'
import { Profile } from './support/tabs.mjs'

/** Both tabs write at full speed, the hidden one too. */
const FLAGS = ['--disable-background-timer-throttling', '--disable-renderer-backgrounding']

tellOfKills({ engine: 'Chromium', kills: 16, empties: true, launch: folder => Profile.launchHiding(folder, FLAGS) })
