// The wire of LiveStore's sync-s2 against its published proxy helpers in front of s2-lite.
import { after, before } from 'node:test'
import { conformance } from '../support/conformance.mjs'
import { Gate } from '../support/gate.mjs'
import { S2Lite } from '../support/s2-lite.mjs'
import { proxy } from '../sync-s2/proxy.mjs'

let server
let gate
before(async () => {
  server = await S2Lite.start()
  gate = await Gate.start(proxy(server))
})
after(async () => {
  await gate?.close()
  await server?.close()
})

await conformance('sync-s2', () => gate)
