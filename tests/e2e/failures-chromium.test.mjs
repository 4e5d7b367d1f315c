// Failures and faults in Chromium. tests/e2e/README.md says which test stands for which fault of the closest peer.
import { tellOfFailures } from './support/failure-stories.mjs'
import { Profile } from './support/tabs.mjs'

tellOfFailures({ engine: 'Chromium', launch: () => Profile.launch() })
