// The demo with LiveStore's wire for its rows: `cargo xtask demo --backend livestore`.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import WebSocket from 'ws'
import { addTodo, hasState, seesTodos, sent, tick, world } from '../e2e/support/demo.mjs'
import { until } from './support/until.mjs'
import { PublishedClient } from './sync-cf-0.4/client.mjs'

test('the demo shares its todos by LiveStore events: with a second browser and with LiveStore’s published client', { timeout: 240_000 }, async test => {
  const { server, visitor } = await world(test)
  const first = await visitor('first')
  await hasState(first.page, 'live')
  await addTodo(first.page, 'Buy milk')
  await sent(first.page)
  const second = await visitor('second')
  await seesTodos(second.page, ['Buy milk'])

  await server.stop()
  await hasState(first.page, 'offline')
  await addTodo(first.page, 'Call home')
  await tick(second.page, 'Buy milk')
  await seesTodos(first.page, ['Buy milk', 'Call home'])
  await server.start()
  for (const { page } of [first, second]) {
    await sent(page)
    await seesTodos(page, ['[x] Buy milk', 'Call home'])
  }

  const client = await PublishedClient.open({ url: `${server.url}/livestore`, storeId: 'demo', WebSocket })
  test.after(() => client.close())
  const log = await client.pull()
  assert.deepEqual(log.map(event => event.name).sort(), ['todo.inserted', 'todo.inserted', 'todo.updated'])
  const head = log.at(-1)
  const row = { ...log.find(event => event.args.title === 'Call home').args, id: 'from-livestore', title: 'From LiveStore' }
  const event = { name: 'todo.inserted', args: row, seqNum: head.seqNum + 1, parentSeqNum: head.seqNum, clientId: 'published', sessionId: 's' }
  assert.equal(await client.push([event]), undefined)
  for (const { page } of [first, second]) {
    await until(async () => (await page.getByTestId('todo').allTextContents()).some(text => text.includes('From LiveStore')))
    assert.deepEqual(await page.evaluate(() => driftlineDemo.db.status.value.pending), 0)
  }
})
