// Failures and faults in Firefox. tests/e2e/README.md says which test stands for which fault of the closest peer.
import { tellOfFailures } from './support/failure-stories.mjs'
import { FirefoxProfile } from './support/firefox.mjs'

tellOfFailures({ engine: 'Firefox', launch: () => FirefoxProfile.launch() })
