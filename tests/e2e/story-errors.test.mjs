// Bad input: each gets a clear error, in the page or as JSON, and nothing else is lost.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { addTodo, eventually, hasState, opened, seesTodos, sent, todos, world } from './support/demo.mjs'
import { writeLarge, writePicture } from './support/media.mjs'

test('bad input to the page gets a clear error, and everything else goes on', { timeout: 180_000 }, async test => {
  const { folder, server, visitor } = await world(test, ['--max-file-bytes', String(4 * 1024 * 1024)])
  const first = await visitor('first')
  const { page } = first
  await hasState(page, 'live')
  await addTodo(page, 'Here before')
  await sent(page)

  await test.test('an empty title is refused in words and writes nothing', async () => {
    for (const title of ['', '   ']) {
      await addTodo(page, title)
      assert.match(await page.getByTestId('todo-error').innerText(), /Write what is to be done/)
    }
    assert.deepEqual(await todos(page), ['Here before'])
    assert.equal(await page.evaluate(() => globalThis.driftlineDemo.db.status.value.pending), 0)
  })

  await test.test('a todo of 20 MiB is refused in words with the limit, and stays in the field', async () => {
    await page.evaluate(() => { document.querySelector('[data-testid="new-todo"]').value = 'x'.repeat(20 * 1024 * 1024) })
    await page.getByTestId('add-todo').click()
    await page.getByTestId('todo-error').filter({ hasText: /was not added\. It is too large: 20 MiB, where .+ is the most\./ }).waitFor()
    assert.equal(await page.evaluate(() => document.querySelector('[data-testid="new-todo"]').value.length), 20 * 1024 * 1024)
    assert.deepEqual(await todos(page), ['Here before'])
    await addTodo(page, 'Added after')
    await sent(page)
    await eventually(() => server.todoLog(), ['create Here before', 'create Added after'], 'the server’s log')
  })

  await test.test('a file that is too large for the server is kept here and says so, and a smaller one goes up', async () => {
    const large = { name: 'large.bin', ...await writeLarge(join(folder, 'large.bin'), 5) }
    const photo = { name: 'shore.png', ...await writePicture(join(folder, 'shore.png')) }
    await page.getByTestId('photo-input').setInputFiles([join(folder, large.name), join(folder, photo.name)])
    const card = page.getByTestId('photo').filter({ hasText: large.name })
    await card.and(page.locator('[data-upload="error"]')).waitFor()
    assert.match(await card.innerText(), /not uploaded: .*It is kept on this device\./s)
    assert.equal(await card.getAttribute('data-local'), 'true')
    assert.ok(await card.getByTestId('photo-retry').isVisible())
    await page.getByTestId('photo').filter({ hasText: photo.name }).and(page.locator('[data-upload="done"]')).waitFor()
    assert.equal((await server.get(`/files/${photo.sha256}`, { method: 'HEAD' })).status, 200)
    assert.equal((await server.get(`/files/${large.sha256}`, { method: 'HEAD' })).status, 404)
  })

  await test.test('after a reload all of it is still there', async () => {
    await page.reload()
    await opened(page)
    await seesTodos(page, ['Here before', 'Added after'])
    await page.getByTestId('photo').filter({ hasText: 'large.bin' }).and(page.locator('[data-local="true"]')).waitFor()
    assert.equal(await page.getByTestId('photo').count(), 2)
    assert.deepEqual(first.problems, [])
  })
})

test('a change that the server refuses is listed with its reason until it is discarded', { timeout: 120_000 }, async test => {
  const { server, visitor } = await world(test)
  const { page } = await visitor('first')
  await hasState(page, 'live')
  await addTodo(page, 'Good before')
  await sent(page)

  // The server does not know this row: somebody removed it while this browser looked at it.
  const { id } = await page.evaluate(() => [...globalThis.driftlineDemo.todos.values()][0])
  await page.route('**/_sync/p*', route => route.abort())
  const removed = await server.post('/_sync/push', { mutations: [{ id: randomUUID(), scope: 'demo', name: 'todo.delete', args: { id } }] })
  assert.equal(removed.body.results[0].ok, true)
  await page.getByTestId('todo-toggle').first().click()
  await addTodo(page, 'Good after')
  await page.unroute('**/_sync/p*')

  const change = page.getByTestId('failed-change')
  await change.waitFor()
  assert.match(await change.innerText(), /Tick “Good before”/)
  assert.ok((await change.locator('.why').innerText()).length > 0)
  await seesTodos(page, ['Good after'])
  await eventually(() => server.todoLog(), ['create Good before', `delete ${id}`, 'create Good after'], 'the server’s log')
  assert.equal(await page.getByTestId('status').getAttribute('data-failed'), '1')

  await change.getByTestId('discard').click()
  await page.locator('[data-testid="status"][data-failed="0"]').waitFor()
  assert.ok(!await page.getByTestId('failed').isVisible())
  await seesTodos(page, ['Good after'])
})

test('bad requests to the server get JSON errors, and the log stays as it was', { timeout: 60_000 }, async test => {
  const { server } = await world(test)
  const good = { id: randomUUID(), scope: 'demo', name: 'todo.create', args: { id: 't1', title: 'Good', done: false, createdAt: 1 } }
  assert.equal((await server.post('/_sync/push', { mutations: [good] })).body.results[0].ok, true)

  await test.test('an unknown route is 404 with a code and a message', async () => {
    for (const [method, path] of [['GET', '/_sync/nothing'], ['GET', '/nothing/here'], ['POST', '/nothing/here']]) {
      const { status, body } = await server.get(path, { method })
      assert.equal(status, 404, `${method} ${path}`)
      assert.equal(typeof body.code, 'string', `${method} ${path}`)
      assert.equal(typeof (body.message ?? body.error), 'string', `${method} ${path}`)
    }
  })

  for (const [what, body] of MALFORMED) {
    await test.test(`a push with ${what} is 400 with a code and an error`, async () => {
      const answer = await server.post('/_sync/push', body)
      assert.equal(answer.status, 400)
      assert.equal(typeof answer.body.code, 'string')
      assert.equal(typeof answer.body.error, 'string')
    })
  }

  await test.test('a push that is larger than the limit is 413', async () => {
    const answer = await server.post('/_sync/push', { mutations: [{ ...good, id: randomUUID(), args: { id: 't2', title: 'x'.repeat(20 * 1024 * 1024) } }] })
    assert.equal(answer.status, 413)
    assert.equal(typeof answer.body.code, 'string')
  })

  await test.test('bytes that do not have the digest of their name are refused and not kept', async () => {
    const name = 'a'.repeat(64)
    const answer = await server.get(`/files/${name}`, { method: 'PUT', body: 'other bytes' })
    assert.equal(answer.status, 422)
    assert.equal(typeof answer.body.message, 'string')
    assert.equal((await server.get(`/files/${name}`, { method: 'HEAD' })).status, 404)
  })

  assert.deepEqual(await server.todoLog(), ['create Good'])
})

const MALFORMED = [
  ['broken JSON', '{"mutations":['],
  ['no mutations', '{}'],
  ['mutations of another type', '{"mutations":"many"}'],
  ['an unknown field', '{"mutations":[],"extra":1}'],
]
