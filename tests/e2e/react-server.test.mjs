// driftline/react on a server without a DOM, and in the page that takes over from it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createElement as h } from 'react'
import { renderToString } from 'react-dom/server'
import { DriftlineError } from 'driftline'
import { DriftlineProvider, useCollection, useDriftline, useFile, useStatus, useTransactions } from 'driftline/react'
import { App } from './support/react/app.mjs'
import { Site } from './support/react/site.mjs'
import { Profile } from './support/tabs.mjs'

test('the app is drawn without a DOM and a database, and the page takes the markup over and fills it', async test => {
  assert.equal(typeof document, 'undefined')
  const markup = renderToString(h(App, { db: null, backend: undefined }))
  assert.match(markup, /<section id="one" data-status="loading">.*<ol id="queue"><\/ol><p id="health">0 pending, 0 failed<\/p>/)

  const site = await Site.start()
  site.markup = markup
  const profile = await Profile.launch()
  test.after(async () => {
    await profile.close()
    await site.stop()
  })
  const tab = await profile.tab(site.url)
  tab.on('console', message => { if (message.type() === 'error') tab.problems.push(message.text()) })
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const backend = new Backend()
    backend.rows = [{ id: 't1', title: 'Buy milk', done: true }]
    const config = { sync: { id: 'todos', setup: given => backend.setup(given) }, mutationFn: { persist: () => backend.persist() } }
    // Registered before React runs: the rows are there while it hydrates, and the markup has none.
    const collection = db.collection(config)
    await collection.synced
    db.collection = () => collection
    const root = document.querySelector('#root')
    const nodes = [...root.querySelectorAll('section, ol, p')]
    const recovered = []
    hydrateRoot(root, h(React.StrictMode, null, h(App, { db, backend })), { onRecoverableError: error => recovered.push(error.message) })
    await until(() => document.querySelectorAll('li span').length === 2)
    return {
      recovered,
      kept: nodes.every(node => node.isConnected),
      rows: [...document.querySelectorAll('li span')].map(({ textContent }) => textContent),
      status: document.querySelector('#one').dataset.status,
    }
  })
  assert.deepEqual(seen, { recovered: [], kept: true, rows: ['Buy milk, done', 'Buy milk, done'], status: 'synced' })
  assert.deepEqual(tab.problems, [])
})

test('outside a provider each hook throws a typed error that names the hook and what to do', () => {
  const config = { sync: { id: 'todos', setup: async () => ({ data: [] }) } }
  const uses = { useCollection: () => useCollection(config), useTransactions: () => useTransactions(), useFile: () => useFile('f1'), useStatus: () => useStatus(), useDriftline: () => useDriftline() }
  for (const [name, use] of Object.entries(uses)) {
    const Component = () => { use(); return null }
    assert.throws(() => renderToString(h(Component)), error => {
      assert.ok(error instanceof DriftlineError, 'it is the class that the page’s entry exports')
      assert.equal(error.code, 'not_initialized')
      assert.ok(error.message.startsWith(`${name}()`) && error.message.includes('<DriftlineProvider'), error.message)
      return true
    })
  }
})

test('while the provider has no database there are no rows, and a write says so', () => {
  let todos, file
  const Component = () => {
    todos = useCollection({ sync: { id: 'todos', setup: async () => ({ data: [] }) } })
    file = useFile('f1')
    return h('p', null, useTransactions().length + useStatus().pending)
  }
  assert.equal(renderToString(h(DriftlineProvider, { db: undefined }, h(Component))), '<p>0</p>')
  assert.deepEqual([todos.data, todos.status], [{}, 'loading'])
  assert.deepEqual(file, { record: undefined, state: undefined, url: undefined })
  for (const write of ['insert', 'update', 'delete', 'withMutation']) {
    assert.throws(() => todos[write]({ id: 't1' }), { name: 'DriftlineError', code: 'not_initialized' })
  }
  const Needs = () => { useDriftline(); return null }
  assert.throws(() => renderToString(h(DriftlineProvider, { db: null }, h(Needs))), { code: 'not_initialized' })
})
