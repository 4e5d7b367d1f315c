// driftline/react in a real app: rows, transactions and the status in components of React's development build.
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { Site } from './support/react/site.mjs'
import { Profile } from './support/tabs.mjs'

let site, profile, tab

before(async () => { site = await Site.start() })
after(() => site.stop())
beforeEach(async () => {
  profile = await Profile.launch()
  tab = await profile.tab(site.url)
  tab.on('console', message => { if (message.type() === 'error') tab.problems.push(message.text()) })
})
afterEach(() => profile.close())

test('a write shows in both components that use the collection, before the next frame is painted', async () => {
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const backend = new Backend()
    mount(h(App, { db, backend }))
    await until(() => document.querySelector('#two').dataset.status === 'synced')
    const shown = () => ['#one', '#two'].map(name => [...document.querySelectorAll(`${name} li span`)].map(span => span.textContent))
    document.querySelector('#one .add').click()
    await frame()
    const clicked = shown()
    setTimeout(() => document.querySelector('#two .add').click())
    await new Promise(resolve => setTimeout(() => requestAnimationFrame(resolve)))
    const later = shown()
    document.querySelector('#one .delete').click()
    await frame()
    return { clicked, later, deleted: shown(), setups: backend.setups }
  })
  assert.deepEqual(seen.clicked, [['Buy milk'], ['Buy milk']])
  assert.deepEqual(seen.later, [['Buy milk', 'Buy milk'], ['Buy milk', 'Buy milk']])
  assert.deepEqual(seen.deleted, [['Buy milk'], ['Buy milk']])
  assert.equal(seen.setups, 1, 'configs made inline, twice a render in StrictMode, register one collection')
  assert.deepEqual(tab.problems, [])
})

test('typing into the middle of an input that shows a row leaves the caret where it was', async () => {
  await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const backend = new Backend()
    backend.rows = [{ id: 't1', title: 'Buy milk', done: false }]
    mount(h(App, { db, backend }))
    await until(() => document.querySelector('#one input') !== null)
    const input = document.querySelector('#one input')
    input.focus()
    input.setSelectionRange(4, 4)
  })
  await tab.keyboard.type('oat ')
  const seen = await tab.evaluate(() => [...document.querySelectorAll('input')].map(({ value, selectionStart }) => [value, selectionStart]))
  assert.deepEqual(seen[0], ['Buy oat milk', 8])
  assert.equal(seen[1][0], 'Buy oat milk')
  assert.deepEqual(tab.problems, [])
})

test('in StrictMode there is one registration and one listener, and none is left after unmount', async () => {
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const backend = new Backend()
    let registrations = 0, rows
    const register = db.collection.bind(db)
    db.collection = config => {
      registrations++
      const collection = register(config)
      rows = counted(collection)
      return collection
    }
    const transactions = counted(db.transactions)
    const status = counted(db.status)
    const { unmount } = mount(h(App, { db, backend }))
    const mounted = { registrations, rows: rows.now, transactions: transactions.now, status: status.now, twice: transactions.ever > 1 }
    unmount()
    const unmounted = [rows.now, transactions.now, status.now]
    mount(h(App, { db, backend }))
    await until(() => document.querySelector('#two').dataset.status === 'synced')
    return { mounted, unmounted, registrations, again: [rows.now, transactions.now, status.now], setups: backend.setups }
  })
  assert.deepEqual(seen.mounted, { registrations: 1, rows: 1, transactions: 1, status: 1, twice: true })
  assert.deepEqual(seen.unmounted, [0, 0, 0])
  assert.deepEqual(seen.again, [1, 1, 1])
  assert.deepEqual([seen.registrations, seen.setups], [1, 1])
  assert.deepEqual(tab.problems, [])
})

test('what the hooks give stays the same object until it changes, and a thousand writes of a turn are drawn at once', async () => {
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const backend = new Backend()
    const config = { sync: { id: 'todos', setup: given => backend.setup(given) }, mutationFn: { persist: () => backend.persist() } }
    const log = []
    let again
    const Reader = () => {
      again = React.useReducer(count => count + 1, 0)[1]
      log.push({ todos: hooks.useCollection(config), queue: hooks.useTransactions({ state: ['pending', 'persisting'] }), failed: hooks.useTransactions({ state: ['failed'] }), status: hooks.useStatus() })
      return null
    }
    mount(h(hooks.DriftlineProvider, { db }, h(Reader)))
    await until(() => log.at(-1).todos.status === 'synced')
    const first = log.at(-1)
    flushSync(again)
    const unchanged = Object.keys(first).map(name => log.at(-1)[name] === first[name])
    const count = log.length
    const { insert, update } = log.at(-1).todos
    for (let at = 0; at < 1_000; at++) insert({ id: `t${at}`, n: 0 })
    await until(() => Object.keys(log.at(-1).todos.data).length === 1_000 && log.at(-1).status.pending === 1_000 && log.at(-1).queue.length === 1_000)
    const renders = log.length - count
    const before = log.at(-1)
    update('t1', { n: 1 })
    await until(() => log.at(-1).todos.data.t1.n === 1)
    const { todos, failed } = log.at(-1)
    return {
      unchanged, renders,
      rows: [todos.data !== before.todos.data, todos.data.t2 === before.todos.data.t2, todos.data.t1 !== before.todos.data.t1],
      writes: ['insert', 'update', 'delete', 'withMutation'].map(name => todos[name] === first.todos[name]),
      failed: failed === first.failed,
    }
  })
  assert.deepEqual(seen.unchanged, [true, true, true, true])
  assert.ok(seen.renders < 50, `1,000 writes were drawn ${seen.renders} times`)
  assert.deepEqual(seen.rows, [true, true, true])
  assert.deepEqual(seen.writes, [true, true, true, true])
  assert.ok(seen.failed, 'a list that no change concerns stays the same array')
  assert.deepEqual(tab.problems, [])
})

test('a write during a transition that renders does not tear: every commit shows one value', async () => {
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const config = { sync: { id: 'counts', setup: async () => ({ data: [{ id: 'a', n: 0 }] }) }, mutationFn: { persist: async () => {} } }
    const counts = db.collection(config)
    await counts.synced
    const useHook = () => hooks.useCollection(config).data.a.n
    // What tears: the row is read as it is when the component happens to be rendered.
    const useBare = () => {
      const [, again] = React.useReducer(count => count + 1, 0)
      React.useEffect(() => counts.subscribe(again), [])
      return counts.get('a').n
    }
    const run = async useValue => {
      const SLOW = 20
      let rendered = 0, show
      const commits = []
      const Slow = () => {
        const value = useValue()
        const end = performance.now() + 4
        while (performance.now() < end) ;
        rendered++
        return h('b', null, value)
      }
      const Fast = () => h('b', null, useValue())
      const Page = () => {
        const [shown, set] = React.useState(false)
        show = set
        return h('div', null, h(Fast), shown ? Array.from({ length: SLOW }, (_, key) => h(Slow, { key })) : null)
      }
      const { node, unmount } = mount(h(hooks.DriftlineProvider, { db }, h(Page)))
      // It is told after each commit, before anything else runs.
      const observer = new MutationObserver(() => commits.push([...node.querySelectorAll('b')].map(({ textContent }) => textContent)))
      observer.observe(node, { subtree: true, childList: true, characterData: true })
      React.startTransition(() => show(true))
      const renderedAtWrite = await new Promise(resolve => {
        const look = () => {
          if (rendered < 3) return void setTimeout(look)
          const shownAtWrite = node.querySelectorAll('b').length
          counts.update('a', draft => { draft.n++ })
          resolve([rendered, shownAtWrite])
        }
        setTimeout(look)
      })
      await until(() => node.querySelectorAll('b').length === SLOW + 1)
      await frame()
      observer.disconnect()
      unmount()
      return { during: renderedAtWrite[0] < SLOW && renderedAtWrite[1] === 1, commits: commits.map(values => new Set(values).size), value: Number(commits.at(-1)[0]) }
    }
    return { hook: await run(useHook), bare: await run(useBare) }
  })
  assert.ok(seen.hook.during && seen.bare.during, 'the write came while the transition was being rendered')
  assert.ok(seen.hook.commits.length > 0)
  assert.deepEqual(seen.hook.commits.filter(values => values !== 1), [], 'commits that show more than one value')
  assert.equal(seen.hook.value, 1)
  assert.ok(seen.bare.commits.some(values => values > 1), 'without the hook the same write tears, so the test can see it')
  assert.deepEqual(tab.problems, [])
})

test('transactions and the status are drawn as they change, also in a memoised row', async () => {
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const backend = new Backend()
    mount(h(App, { db, backend }))
    await until(() => document.querySelector('#two').dataset.status === 'synced')
    const queue = () => [...document.querySelectorAll('#queue li')].map(({ textContent }) => textContent)
    const health = () => document.querySelector('#health').textContent
    const log = []
    const observer = new MutationObserver(() => { if (log.at(-1) !== queue().join()) log.push(queue().join()) })
    observer.observe(document.querySelector('#queue'), { subtree: true, childList: true, characterData: true })
    document.querySelector('#one .add').click()
    await until(() => queue().join() === 'insert t1: persisting')
    const pending = health()
    await backend.answer()
    await until(() => queue().join() === 'insert t1: completed' && health() === '0 pending, 0 failed')
    db.pause('on a train')
    await until(() => health().includes('on a train'))
    db.resume()
    document.querySelector('#one .add').click()
    await backend.answer(new driftline.NonRetriableError('no'))
    await until(() => queue().at(-1) === 'insert t2: failed')
    await until(() => health() === '0 pending, 1 failed')
    await db.transactions.discard(db.transactions.list({ state: ['failed'] })[0].id)
    await until(() => queue().length === 1)
    return { log, pending, rows: document.querySelectorAll('#one li').length }
  })
  assert.equal(seen.pending, '1 pending, 0 failed')
  assert.equal(seen.log[0], 'insert t1: pending')
  assert.ok(seen.log.includes('insert t1: completed'))
  assert.deepEqual(tab.problems, [])
})

test('what has ended is drawn once and stays the same object, however long the history and whatever comes after it', async () => {
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [] }) }, mutationFn: { persist: async () => {} } })
    await todos.synced
    for (let at = 0; at < 500; at++) todos.insert({ id: `old-${at}` })
    await until(() => db.status.value.pending === 0)
    const drawn = new Map()
    const Entry = React.memo(({ transaction }) => {
      drawn.set(transaction.id, (drawn.get(transaction.id) ?? 0) + 1)
      return h('li', null, transaction.state)
    })
    const History = () => h('ol', null, hooks.useTransactions().map(transaction => h(Entry, { key: transaction.id, transaction })))
    const { node } = mount(h(hooks.DriftlineProvider, { db }, h(History)))
    const old = db.transactions.list().map(({ id }) => id)
    const first = old.map(id => drawn.get(id))
    const later = todos.insert({ id: 'later' })
    await later.completed
    await until(() => node.querySelectorAll('li').length === 501 && node.querySelector('li:last-child').textContent === 'completed')
    return { first: new Set(first).size, again: old.filter((id, at) => drawn.get(id) !== first[at]).length, later: drawn.get(later.id) > 1 }
  })
  assert.deepEqual(seen, { first: 1, again: 0, later: true })
  assert.deepEqual(tab.problems, [])
})

test('after a reload the hooks show what the last session left', async () => {
  const open = async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const backend = new Backend()
    mount(h(App, { db, backend }))
    return { db, backend }
  }
  await tab.evaluate(`(${open})().then(({ db }) => { globalThis.db = db })`)
  await tab.evaluate(async () => {
    await until(() => document.querySelector('#two').dataset.status === 'synced')
    document.querySelector('#one .add').click()
    await db.transactions.list()[0].durable
  })
  await tab.reload()
  await tab.waitForFunction(() => 'driftline' in globalThis)
  await tab.evaluate(`(${open})().then(() => {})`)
  await tab.waitForFunction(() => document.querySelector('#one li span')?.textContent === 'Buy milk')
  await tab.waitForFunction(() => document.querySelector('#queue li')?.textContent.startsWith('insert t1: p'))
  await tab.waitForFunction(() => document.querySelector('#health').textContent === '1 pending, 0 failed')
  assert.deepEqual(tab.problems, [])
})

test('a component that comes when the database is long open shows the rows from disk at its first render', async () => {
  await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    const todos = db.collection({ sync: { id: 'todos', setup: async () => ({ data: [{ id: 'synced' }] }) }, mutationFn: { persist: () => new Promise(() => {}) } })
    await todos.synced
    await todos.insert({ id: 'written' }).durable
    await db.close()
  })
  await tab.reload()
  await tab.waitForFunction(() => 'driftline' in globalThis)
  const seen = await tab.evaluate(async () => {
    const db = await driftline.openDriftline({ name: 'app' })
    await db.collection({ sync: { id: 'other', setup: async () => ({ data: [] }) } }).synced
    const drawn = []
    const Reader = () => {
      const { data, status } = hooks.useCollection({ sync: { id: 'todos', setup: () => new Promise(() => {}) }, mutationFn: { persist: () => new Promise(() => {}) } })
      drawn.push(Object.keys(data).sort().join())
      return h('p', null, status)
    }
    const { node } = mount(h(hooks.DriftlineProvider, { db }, h(Reader)))
    await until(() => node.textContent === 'ready')
    return drawn
  })
  assert.equal(seen[0], 'synced,written')
  assert.equal(seen.at(-1), 'synced,written')
  assert.deepEqual(tab.problems, [])
})

test('another database in the provider shows the other’s rows, and the first is left', async () => {
  const seen = await tab.evaluate(async () => {
    const Reader = ({ config }) => h('p', null, Object.keys(hooks.useCollection(config).data).join())
    const config = id => ({ sync: { id: 'todos', setup: async () => ({ data: [{ id }] }) } })
    const [one, two] = await Promise.all(['user-1', 'user-2'].map(name => driftline.openDriftline({ name })))
    const [mine, yours] = [config('mine'), config('yours')]
    const first = counted(one.collection(mine))
    const { node, render } = mount(h(hooks.DriftlineProvider, { db: one }, h(Reader, { config: mine })))
    await until(() => node.textContent === 'mine')
    render(h(hooks.DriftlineProvider, { db: null }, h(Reader, { config: yours })))
    const between = node.textContent
    render(h(hooks.DriftlineProvider, { db: two }, h(Reader, { config: yours })))
    await until(() => node.textContent === 'yours')
    return { between, listeners: first.now }
  })
  assert.deepEqual(seen, { between: '', listeners: 0 })
  assert.deepEqual(tab.problems, [])
})

test('withMutation and a collection instead of a config do their work, and rows being made in a transaction are not drawn', async () => {
  const seen = await tab.evaluate(async () => {
    const { openDriftline } = driftline
    const db = await openDriftline({ name: 'app' })
    const sent = []
    const todos = db.collection({
      sync: { id: 'todos', setup: async () => ({ data: [{ id: 'a', n: 1 }] }) },
      mutationFn: { persist: async () => { sent.push('own') } },
      mutationFns: { quick: { persist: async ({ transaction }) => { sent.push(['quick', transaction.metadata]) } } },
    })
    await todos.synced
    let view
    const Reader = () => {
      view = hooks.useCollection(todos)
      return h('p', null, Object.values(view.data).map(({ id, n }) => `${id}${n}`).join())
    }
    const { node } = mount(h(Reader))
    const atOnce = [view.status, node.textContent]
    await view.withMutation({ mutationFn: 'quick', metadata: { from: 'drag' } }).update('a', { n: 2 }).completed
    const shown = []
    try {
      db.transaction(() => {
        todos.insert({ id: 'b', n: 1 })
        shown.push(node.textContent)
        throw new Error('not after all')
      })
    } catch ({ message }) { shown.push(message) }
    await frame()
    shown.push(node.textContent)
    return { atOnce, sent, shown }
  })
  assert.deepEqual(seen.atOnce, ['synced', 'a1'], 'a collection that is there is drawn with its rows at once')
  assert.deepEqual(seen.sent, [['quick', { from: 'drag' }]])
  assert.deepEqual(seen.shown, ['a2', 'not after all', 'a2'])
  assert.deepEqual(tab.problems, [])
})
