// The demo with its rows in a stream of s2-lite's: `cargo xtask demo --backend s2`.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addTodo, hasState, seesTodos, sent, tick, world } from '../../e2e/support/demo.mjs'
import { S2Lite } from '../support/s2-lite.mjs'

/** The demo's server, and s2-lite at the port behind its own; another try where that is taken. */
async function start(test) {
  for (let tries = 1; ; tries += 1) {
    const made = await world(test)
    await made.server.stop()
    made.server.flags = ['--connect-to', `http://localhost:${made.server.port + 1}`]
    await made.server.start()
    try {
      const s2 = await S2Lite.start(made.server.port + 1)
      test.after(() => s2.close())
      return { ...made, s2 }
    } catch (error) {
      if (tries === 5) throw error
    }
  }
}

test('the demo shares its todos by a stream of S2’s, through an outage', { timeout: 240_000 }, async test => {
  const { s2, visitor } = await start(test)
  const first = await visitor('first')
  await hasState(first.page, 'live')
  await addTodo(first.page, 'Buy milk')
  await sent(first.page)
  const second = await visitor('second')
  await seesTodos(second.page, ['Buy milk'])

  await s2.stop()
  await hasState(first.page, 'offline')
  await addTodo(first.page, 'Call home')
  await tick(second.page, 'Buy milk')
  await seesTodos(first.page, ['Buy milk', 'Call home'])
  await s2.start()
  for (const { page } of [first, second]) {
    await sent(page)
    await seesTodos(page, ['[x] Buy milk', 'Call home'])
    await hasState(page, 'live')
  }
  const events = await s2.events('driftline-demo', 'todos')
  assert.deepEqual(events.map(event => event.name).sort(), ['todo.inserted', 'todo.inserted', 'todo.updated'])
  const folder = process.env['DRIFTLINE_SCREENSHOTS']
  if (folder !== undefined) for (const [name, { page }] of Object.entries({ first, second })) await page.screenshot({ path: `${folder}/s2-${name}.png` })
})
