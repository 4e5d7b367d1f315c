// The wire of S2's REST v1 against the published server.
import { after, before } from 'node:test'
import { conformance } from '../support/conformance.mjs'
import { S2Lite } from '../support/s2-lite.mjs'

let server
before(async () => { server = await S2Lite.start() })
after(() => server?.close())

await conformance('s2', () => server)
