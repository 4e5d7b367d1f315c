// The wire of sync-cf 0.4 against the published server.
import { after, before } from 'node:test'
import { conformance } from './support/conformance.mjs'
import { SyncCf } from './support/sync-cf.mjs'

let server
before(async () => { server = await SyncCf.start('0.4') })
after(() => server?.close())

await conformance('livestore-0.4', () => server)
