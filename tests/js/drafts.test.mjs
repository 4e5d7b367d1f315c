// Drafts: whatever a function does to one, of whatever the row is made, becomes the change that it looks like, and nothing else.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTestCollection } from '../../dist/testing.js'

const open = row => createTestCollection({ initialData: [{ id: 'a', ...row }] })
/** What an update by a draft changes, and the row that shows. */
async function update(row, change) {
  const { collection } = await open(row)
  const before = structuredClone(collection.get('a'))
  const shown = collection.get('a')
  const { mutations: [{ changes, original }] } = collection.update('a', change)
  assert.deepEqual(shown, before, 'the row that was handed out before is as it was')
  assert.deepEqual(original, before)
  return { changes, row: collection.get('a') }
}

test('fields that are set, added, deleted and set to undefined are the changes, and no other', async () => {
  const { changes, row } = await update({ n: 1, text: 'x', gone: 1, off: 1, same: { deep: 1 } }, draft => { draft.n++; draft.added = [1]; delete draft.gone; draft.off = undefined; draft.text = 'x' })
  assert.deepEqual(changes, { n: 2, added: [1], gone: undefined, off: undefined })
  assert.deepEqual(row, { id: 'a', n: 2, text: 'x', added: [1], same: { deep: 1 } })
})

test('nested objects and arrays: only the field that holds them changes, and untouched parts stay the same objects', async () => {
  const { collection } = await open({ list: [{ n: 1 }, { n: 2 }], other: { x: 1 } })
  const { list: [, second], other } = collection.get('a')
  collection.update('a', draft => { draft.list[0].n = 5; draft.list.push({ n: 3 }) })
  assert.deepEqual(collection.get('a').list, [{ n: 5 }, { n: 2 }, { n: 3 }])
  assert.equal(collection.get('a').other, other)
  assert.deepEqual(collection.get('a').list[1], second)
})

test('Maps and Sets, nested ones too', async () => {
  const { changes, row } = await update({ map: new Map([['a', new Map([['b', { n: 1 }]])]]), set: new Set([1, 2]), untouched: new Map([[1, 1]]) }, draft => {
    draft.map.get('a').get('b').n = 2
    draft.map.set('new', new Set(['x']))
    draft.set.delete(1)
    draft.set.add({ x: 1 })
  })
  assert.deepEqual(Object.keys(changes), ['map', 'set'])
  assert.deepEqual(row.map, new Map([['a', new Map([['b', { n: 2 }]])], ['new', new Set(['x'])]]))
  assert.deepEqual(row.set, new Set([2, { x: 1 }]))
})

test('a Date and bytes that are changed in place', async () => {
  const { changes, row } = await update({ at: new Date(0), other: new Date(1), bytes: new Uint8Array([1, 2]), deep: { list: [new Date(5)] } }, draft => {
    draft.at.setUTCFullYear(2030)
    draft.bytes.set([9], 1)
    draft.deep.list[0].setTime(6)
  })
  assert.deepEqual(changes, { at: new Date(Date.UTC(2030)), bytes: new Uint8Array([1, 9]), deep: { list: [new Date(6)] } })
  assert.deepEqual(row.other, new Date(1))
})

test('a Date that is replaced by an equal one is no change', async () => {
  const { changes } = await update({ at: new Date(5), n: 1 }, draft => { draft.at = new Date(5); draft.n = 2 })
  assert.deepEqual(changes, { n: 2 })
})

test('an instance of a class that is put into a draft is stored as its fields', async () => {
  class Point { constructor(x) { this.x = x } double() { return this.x * 2 } }
  const point = new Point(3)
  const { row } = await update({ points: [] }, draft => { draft.points.push(point); draft.at = point })
  assert.deepEqual(row, { id: 'a', points: [{ x: 3 }], at: { x: 3 } })
  assert.equal(Object.getPrototypeOf(row.at), Object.prototype)
  assert.equal(row.points[0], row.at, 'one object in two places stays one')
  point.x = 4
  assert.equal(row.at.x, 3)
})

test('an object that is in two places of a row is one object in its draft', async () => {
  const shared = { n: 1 }
  const { changes, row } = await update({ one: shared, two: { inner: shared }, three: 1 }, draft => { draft.two.inner.n = 2 })
  assert.deepEqual(changes, { one: { n: 2 }, two: { inner: { n: 2 } } })
  assert.equal(row.one, row.two.inner)
})

test('a cycle in a field stays one', async () => {
  const node = { name: 'x' }
  node.self = node
  const { changes, row } = await update({ node, n: 1 }, draft => { draft.n = 2 })
  assert.deepEqual(changes, { n: 2 })
  assert.equal(row.node.self, row.node)
  const renamed = await update({ node, n: 1 }, draft => { draft.node.self.self.name = 'y' })
  assert.deepEqual([Object.keys(renamed.changes), renamed.row.node.name, renamed.row.node.self === renamed.row.node], [['node'], 'y', true])
})

test('holes of an array stay, and writing beyond its end makes more', async () => {
  const { row } = await update({ list: [1, , 3] }, draft => { draft.list[2] = 'three'; draft.list[4] = 5 })
  assert.deepEqual(Object.entries(row.list), [['0', 1], ['2', 'three'], ['4', 5]])
  assert.equal(row.list.length, 5)
})

test('sorting, splicing and other methods of arrays', async () => {
  const { row } = await update({ list: [3, 1, 2], at: new Date(0) }, draft => { draft.list.sort(); draft.list.splice(1, 1); draft.list.unshift(0) })
  assert.deepEqual(row.list, [0, 1, 3])
  const tree = await update({ list: [3, 1, 2] }, draft => { draft.list.sort(); draft.list.splice(1, 1); draft.list.unshift(0) })
  assert.deepEqual(tree.row.list, [0, 1, 3])
})

test('a throw in a draft changes nothing, and is thrown on', async () => {
  for (const extra of [{}, { at: new Date(0) }]) {
    const { collection, db } = await open({ n: 1, ...extra })
    assert.throws(() => collection.update('a', draft => { draft.n = 2; draft.at?.setTime(5); throw new RangeError('mine') }), { name: 'RangeError', message: 'mine' })
    assert.deepEqual(collection.get('a'), { id: 'a', n: 1, ...extra })
    assert.equal(db.transactions.list().length, 0)
  }
})

test('a draft that is kept and changed later changes nothing', async () => {
  for (const extra of [{}, { at: new Date(0) }]) {
    const { collection } = await open({ n: 1, list: [{ x: 1 }], ...extra })
    let kept
    collection.update('a', draft => { kept = draft; draft.n = 2 })
    try { kept.n = 3; kept.list[0].x = 2 } catch { /* Some drafts are closed after use. */ }
    assert.deepEqual(collection.get('a'), { id: 'a', n: 2, list: [{ x: 1 }], ...extra })
  }
})

test('an asynchronous function is refused, and nothing is written', async () => {
  const { collection, db } = await open({ n: 1 })
  assert.throws(() => collection.update('a', async draft => { draft.n = 2; throw new Error('unheard') }), { code: 'unexpected' })
  assert.deepEqual([collection.get('a').n, db.transactions.list().length], [1, 0])
})

test('one function makes the changes of several rows, each of its own draft', async () => {
  const { collection } = await createTestCollection({ initialData: [{ id: 'a', n: 1 }, { id: 'b', n: 5 }] })
  const { mutations } = collection.update(['a', 'b'], draft => { draft.n *= 2 })
  assert.deepEqual(mutations.map(({ changes }) => changes), [{ n: 2 }, { n: 10 }])
})
