// Ten tabs at once, in both browsers.
import { describe } from 'node:test'
import { FirefoxProfile, OWN_PROCESSES, UNTHROTTLED } from './support/firefox.mjs'
import { tellOfTabStorm } from './support/tab-stories.mjs'
import { Profile } from './support/tabs.mjs'

const preferences = { ...OWN_PROCESSES, ...UNTHROTTLED }

describe('Chromium', () => tellOfTabStorm({ engine: 'Chromium', steps: 18, launch: () => Profile.launch() }))
describe('Firefox', () => tellOfTabStorm({ engine: 'Firefox', steps: 14, launch: () => FirefoxProfile.launch({ preferences }) }))
