// The hardest moment of a push: the server has acted, and its answer is lost.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addTodo, eventually, hasState, seesTodos, sent, world } from './support/demo.mjs'

test('a push whose answer is lost is sent again and applied once', { timeout: 120_000 }, async test => {
  const { server, visitor } = await world(test)
  const { page } = await visitor('first')
  await hasState(page, 'live')

  let lost = 0
  await page.route('**/_sync/push', async route => {
    if (lost > 0) return route.continue()
    lost++
    await route.fetch()
    await route.abort('connectionreset')
  })
  await addTodo(page, 'Only once')
  await addTodo(page, 'And then this')

  await sent(page)
  assert.equal(lost, 1)
  await eventually(() => server.todoLog(), ['create Only once', 'create And then this'], 'the server’s log')
  await seesTodos(page, ['Only once', 'And then this'])
})

test('an update behind an insert that is on its way waits for it and arrives after it', { timeout: 120_000 }, async test => {
  const { server, visitor } = await world(test)
  const { page } = await visitor('first')
  await hasState(page, 'live')

  let release
  const held = new Promise(resolve => { release = resolve })
  await page.route('**/_sync/push', async route => {
    await held
    await route.continue()
  })
  await addTodo(page, 'First made')
  await page.getByTestId('todo-toggle').click()
  await seesTodos(page, ['[x] First made'])
  release()

  await sent(page)
  assert.deepEqual(await server.todoLog(), ['create First made', 'update First made done'])
  await seesTodos(page, ['[x] First made'])
})
