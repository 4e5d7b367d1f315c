// Many tabs in Chromium. Hidden ones are frozen by its own life cycle, as it does to save power.
import { describe } from 'node:test'
import { tellOfHanging, tellOfTabs } from './support/tab-stories.mjs'
import { Profile } from './support/tabs.mjs'

const told = { engine: 'Chromium', launch: () => Profile.launchHiding() }

describe('in line', () => tellOfTabs(told))
describe('hanging', () => tellOfHanging(told))
