// Many tabs in Firefox. It has no life cycle that freezes a page (and no command for it): a frozen tab is one whose process is stopped.
import { FirefoxProfile, OWN_PROCESSES } from './support/firefox.mjs'
import { tellOfTabs } from './support/tab-stories.mjs'

tellOfTabs({ engine: 'Firefox', launch: () => FirefoxProfile.launch({ preferences: OWN_PROCESSES }) })
