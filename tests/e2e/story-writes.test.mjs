// The story of a write: on screen in the same frame, on the server, through an outage and a killed browser, to a second browser.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addTodo, addTodoAndLook, durable, eventually, hasState, opened, seesTodos, sent, statusText, tick, todos, world } from './support/demo.mjs'

test('what is written offline survives a killed browser and reaches the server and a second browser once and in order', { timeout: 180_000 }, async test => {
  const { server, visitor } = await world(test)
  const first = await visitor('first')
  const second = await visitor('second')

  await test.test('a todo shows in the same frame, and the server gets it', async () => {
    await hasState(first.page, 'live')
    assert.deepEqual(await addTodoAndLook(first.page, 'Buy milk'), ['Buy milk'])
    await eventually(() => server.todoLog(), ['create Buy milk'], 'the server’s log')
    await sent(first.page)
    assert.match(await statusText(first.page), /^Online The server has everything\.$/)
  })

  await test.test('a second browser shows it without reloading', async () => {
    await second.page.evaluate(() => { globalThis.sameLoad = true })
    await seesTodos(second.page, ['Buy milk'])
  })

  await test.test('offline, two more and a tick show at once, and the status line says what waits', async () => {
    await server.stop()
    await first.setOffline(true)
    await hasState(first.page, 'offline')
    assert.deepEqual(await addTodoAndLook(first.page, 'Call home'), ['Buy milk', 'Call home'])
    assert.deepEqual(await addTodoAndLook(first.page, 'Water the plants'), ['Buy milk', 'Call home', 'Water the plants'])
    await tick(first.page, 'Buy milk')
    await seesTodos(first.page, ['[x] Buy milk', 'Call home', 'Water the plants'])
    await durable(first.page)
    assert.match(await statusText(first.page), /^Offline since .+ The server can’t be reached\. 3 changes wait to be sent, the oldest since /)
  })

  await test.test('killed and started again offline, the page and all of it is there', async () => {
    await first.kill()
    await first.launch()
    await first.setOffline(true)
    await first.page.goto(server.url)
    await opened(first.page)
    await seesTodos(first.page, ['[x] Buy milk', 'Call home', 'Water the plants'])
    await hasState(first.page, 'offline')
    assert.equal(await first.page.getByTestId('status').getAttribute('data-pending'), '3')
  })

  await test.test('online again, everything reaches the server once and in order, and the second browser without reloading', async context => {
    await server.start()
    await first.setOffline(false)
    const started = Date.now()
    await eventually(() => server.todoLog(), ['create Buy milk', 'create Call home', 'create Water the plants', 'update Buy milk done'], 'the server’s log')
    context.diagnostic(`on the server after ${Date.now() - started} ms`)
    await sent(first.page)
    context.diagnostic(`told to be there after ${Date.now() - started} ms`)
    await seesTodos(second.page, ['[x] Buy milk', 'Call home', 'Water the plants'])
    context.diagnostic(`in the second browser after ${Date.now() - started} ms`)
    assert.equal(await second.page.evaluate(() => globalThis.sameLoad), true)
  })

  await test.test('the second browser’s write comes back to the first, live', async context => {
    await hasState(first.page, 'live')
    await hasState(second.page, 'live')
    const started = Date.now()
    await addTodo(second.page, 'Write a letter')
    await seesTodos(first.page, ['[x] Buy milk', 'Call home', 'Water the plants', 'Write a letter'])
    context.diagnostic(`seen in the other browser after ${Date.now() - started} ms`)
    await sent(second.page)
  })

  await test.test('nothing was sent twice, and no page met an uncaught error', async () => {
    const log = await server.todoLog()
    assert.deepEqual(log, ['create Buy milk', 'create Call home', 'create Water the plants', 'update Buy milk done', 'create Write a letter'])
    assert.deepEqual(await todos(first.page), await todos(second.page))
    assert.deepEqual([...first.problems, ...second.problems], [])
  })
})
