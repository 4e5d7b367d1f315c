// LiveStore's published client of sync-cf 0.4 against our own server: what it pushes, pulls and hears of.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import WebSocket from 'ws'
import { Server } from '../e2e/support/server.mjs'
import { until } from './support/until.mjs'
import { PublishedClient } from './sync-cf-0.4/client.mjs'

let server
let data

before(async () => {
  data = await mkdtemp(join(tmpdir(), 'driftline-interop-'))
  await writeFile(join(data, 'index.html'), '')
  server = await Server.start(data, [], data)
})
after(async () => {
  await server?.stop()
  await rm(data, { recursive: true, force: true })
})

const open = (test, storeId) => PublishedClient.open({ url: `${server.url}/livestore`, storeId, WebSocket }).then(client => {
  test.after(() => client.close())
  return client
})

const events = (clientId, first, last) => Array.from({ length: last - first + 1 }, (_, at) => ({
  name: 'todo.inserted', args: { id: `t${first + at}`, text: 'ä "q"', list: [1, null] },
  seqNum: first + at, parentSeqNum: first + at - 1, clientId, sessionId: 'session',
}))

test('the published client gets back what it pushed, whatever its size', async test => {
  const client = await open(test, 'pages')
  const all = events('one', 1, 230)
  assert.equal(await client.push(all), undefined)
  assert.deepEqual(await client.pull(), all)
  assert.deepEqual(await client.pull(200), all.slice(200))
  assert.deepEqual(await client.pull(230), [])
})

test('two published clients in one store hear of each other, and whoever is behind is told so', async test => {
  const [one, two] = [await open(test, 'shared'), await open(test, 'shared')]
  const heard = { one: [], two: [] }
  one.listen(event => heard.one.push(event.seqNum))
  two.listen(event => heard.two.push(event.seqNum))
  assert.equal(await one.push(events('one', 1, 2)), undefined)
  await until(() => heard.two.length === 2)
  assert.equal(await two.push(events('two', 1, 1)), 'ServerAheadError')
  assert.equal(await two.push(events('two', 3, 3)), undefined)
  await until(() => heard.one.length === 3 && heard.two.length === 3)
  assert.deepEqual(heard, { one: [1, 2, 3], two: [1, 2, 3] })
  assert.deepEqual((await one.pull()).map(event => event.clientId), ['one', 'one', 'two'])
})

test('the published client goes on after the server was killed, and nothing that it was told is lost', async test => {
  const client = await open(test, 'killed')
  const heard = []
  client.listen(event => heard.push(event.seqNum))
  assert.equal(await client.push(events('one', 1, 5)), undefined)
  await until(() => heard.length === 5)
  await server.stop('SIGKILL')
  await server.start()
  const later = await open(test, 'killed')
  assert.deepEqual(await later.pull(), events('one', 1, 5))
  assert.equal(await later.push(events('one', 6, 6)), undefined)
})
