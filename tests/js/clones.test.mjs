// What structured clone keeps is kept by every journey of a row, and what the app holds and what is stored never share an object.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTestCollection } from '../../dist/testing.js'
import { faultsOf, rowOfEverything } from '../support/clones.mjs'

const open = (options = {}) => createTestCollection({ initialData: [], ...options })

test('a row with one of everything is whole when it shows, in the mutation, at the backend, after a reload and back from sync', async () => {
  const { collection, syncControl } = await open()
  assert.deepEqual(await faultsOf(rowOfEverything()), ['a class instance is its fields'], 'the check itself, on a row that nothing has copied')
  syncControl.goOffline()
  const given = rowOfEverything()
  const transaction = collection.insert(given)
  assert.deepEqual(await faultsOf(collection.get('everything')), [])
  assert.deepEqual(await faultsOf(transaction.mutations[0].modified), [])
  await transaction.durable
  const reloaded = await syncControl.reload()
  assert.deepEqual(await faultsOf(reloaded.collection.get('everything')), [])
  syncControl.goOnline()
  await reloaded.db.transactions.get(transaction.id).completed
  assert.deepEqual(await faultsOf(syncControl.persisted[0].changes.everything), [])
  await syncControl.settle()
  assert.deepEqual(await faultsOf(reloaded.collection.get('everything')), [])
})

test('an update carries the same, and leaves the other fields as they are', async () => {
  const { collection, syncControl } = await open({ initialData: [{ id: 'everything', kept: new Map([[1, 2]]) }] })
  const { id, ...fields } = rowOfEverything()
  const transaction = collection.update('everything', { ...fields, nothing: undefined })
  const row = { nothing: undefined, ...collection.get('everything') }
  assert.deepEqual(await faultsOf(row), [])
  assert.equal('nothing' in collection.get('everything'), false, 'undefined in a change removes the field')
  await transaction.completed
  const { collection: again } = await syncControl.reload()
  assert.deepEqual(await faultsOf({ nothing: undefined, ...again.get('everything') }), [])
  assert.deepEqual(again.get('everything').kept, new Map([[1, 2]]))
})

test('what the app changes after a write or a sync update is not in the row', async () => {
  const { collection, syncControl } = await open()
  const given = { id: 'a', list: [1], at: new Date(5), tags: new Map([['x', { n: 1 }]]), bytes: new Uint8Array([1]) }
  const spoil = row => { row.list.push(2); row.at.setTime(9); row.tags.get('x').n = 2; row.bytes[0] = 9; row.extra = true }
  collection.insert(given)
  const synced = structuredClone({ ...given, id: 'b' })
  await syncControl.emitUpdate([synced])
  spoil(given)
  spoil(synced)
  for (const id of ['a', 'b']) {
    assert.deepEqual(collection.get(id), { id, list: [1], at: new Date(5), tags: new Map([['x', { n: 1 }]]), bytes: new Uint8Array([1]) }, id)
  }
})

test('rows that are handed out are frozen, down through objects, arrays, Maps and Sets, wherever they come from', async () => {
  const row = id => ({ id, list: [{ n: 1 }], tags: new Map([['x', { n: 1 }]]) })
  const { collection, db, syncControl } = await open({ initialData: [row('synced')] })
  collection.insert(row('written'))
  await collection.update('synced', { more: { deep: [1] } }).durable
  const heard = []
  collection.subscribe(changes => heard.push(...changes))
  collection.update('written', draft => { draft.list.push({ n: 2 }) })
  const { collection: again } = await syncControl.reload()
  for (const of of [collection, again]) {
    for (const shown of [...of.values(), ...Object.values(of.data)]) {
      assert.throws(() => { shown.id = 'other' }, TypeError)
      assert.throws(() => { shown.list.push(1) }, TypeError)
      assert.throws(() => { shown.list[0].n = 2 }, TypeError)
      assert.throws(() => { shown.tags.get('x').n = 2 }, TypeError)
    }
  }
  assert.throws(() => { again.get('synced').more.deep.push(2) }, TypeError)
  assert.throws(() => { heard[0].value.list.push(1) }, TypeError)
  assert.throws(() => { heard[0].previous.id = 'x' }, TypeError)
  const [mutation] = db.transactions.list()[0].mutations
  assert.throws(() => { mutation.modified.id = 'x' }, TypeError)
  mutation.changes.id = 'mine'
  assert.equal(db.transactions.list()[0].mutations[0].changes.id, 'written', 'changes are a copy for whoever asks')
})

test('what persist does to its changes is in no other attempt, and in no row', async () => {
  const seen = []
  const { collection, syncControl } = await open({
    retry: { jitter: false },
    mutationFn: { persist: async ({ changes, attempt }) => { seen.push(Object.keys(changes.a).join()); delete changes.a.local; if (attempt === 1) throw new Error('again') } },
  })
  const transaction = collection.insert({ id: 'a', local: 1 })
  await syncControl.advance(1_000)
  assert.deepEqual([seen, transaction.state, collection.get('a').local], [['id,local', 'id,local'], 'completed', 1])
})

test('a value that can’t be stored is named by its path, in Maps, Sets and sparse arrays too', async () => {
  const { collection } = await open()
  const sparse = []
  sparse[3] = { f: () => {} }
  const cases = [
    [{ id: 'a', deep: { list: [1, { call: () => {} }] } }, 'deep.list[1].call'],
    [{ id: 'a', tags: new Map([['x', { f: Symbol('s') }]]) }, 'tags.get("x").f'],
    [{ id: 'a', set: new Set([() => {}]) }, 'set.values()'],
    [{ id: 'a', sparse }, 'sparse[3].f'],
    [{ id: 'a', weak: new WeakMap() }, 'weak'],
    [{ id: 'a', promise: Promise.resolve() }, 'promise'],
    [{ id: 'a', bytes: new Uint8Array(new SharedArrayBuffer(8)) }, 'bytes'],
    [{ id: 'a', module: new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])) }, 'module'],
    [{ id: 'a', map: new Proxy(new Map(), {}) }, 'map'],
  ]
  for (const [row, path] of cases) {
    assert.throws(() => collection.insert(row), error => error.code === 'not_cloneable' && error.path === path && error.message.includes('Nothing was written'), path)
  }
  assert.equal(collection.size, 0)
})

test('a feed that delivers what can’t be stored is told by the path, stops no other work, and is asked again', async () => {
  const feed = [[{ id: 'bad', deep: { call: () => {} } }], [{ id: 'good' }]]
  let onUpdate, begin
  const begun = new Promise(resolve => { begin = resolve })
  const { collection, db, syncControl } = await open({
    sync: { id: 'rows', setup: async given => { onUpdate = given.onUpdate; await begun; return { data: feed.shift() } } },
  })
  const heard = []
  db.addEventListener('error', ({ detail: { error } }) => heard.push([error.code, error.path]))
  begin()
  await syncControl.settle()
  assert.deepEqual(heard, [['not_cloneable', 'deep.call']])
  await collection.insert({ id: 'mine' }).completed
  await syncControl.advance(60_000)
  assert.deepEqual([feed.length, collection.has('good'), collection.has('bad')], [0, true, false])
  assert.throws(() => onUpdate({ upsert: [{ id: 'worse', f: () => {} }] }), { code: 'not_cloneable', path: 'f' })
  assert.equal(collection.has('worse'), false)
})

test('a row may be nested without end, or five hundred deep', async () => {
  const { collection, syncControl } = await open()
  const endless = { id: 'endless' }
  endless.self = endless
  let deep = {}
  for (let level = 0; level < 500; level++) deep = { deep }
  collection.insert([endless, { id: 'deep', deep }])
  await syncControl.settle()
  const { collection: again } = await syncControl.reload()
  assert.equal(again.get('endless').self, again.get('endless'))
  let levels = 0
  for (let at = again.get('deep').deep; at.deep !== undefined; at = at.deep) levels++
  assert.equal(levels, 500)
})
