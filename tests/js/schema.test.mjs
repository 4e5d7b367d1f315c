// Schemas by Standard Schema, as zod and valibot make them: what they give is what is written, and what they refuse is told whole.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as v from 'valibot'
import * as z from 'zod'
import { DriftlineError } from '../../dist/index.js'
import { createTestCollection } from '../../dist/testing.js'

/** The same schema twice: a title that is trimmed, a date that may come as text, a default, and fields of its own only. */
const schemas = {
  zod: z.object({
    id: z.string(),
    title: z.string().trim().min(1, 'a title is needed'),
    due: z.coerce.date().optional(),
    done: z.boolean().default(false),
    tags: z.set(z.string()).optional(),
    steps: z.array(z.object({ text: z.string().min(1, 'a step has a text') })).optional(),
  }),
  valibot: v.object({
    id: v.string(),
    title: v.pipe(v.string(), v.trim(), v.minLength(1, 'a title is needed')),
    due: v.optional(v.union([v.date(), v.pipe(v.string(), v.transform(text => new Date(text)), v.date())])),
    done: v.optional(v.boolean(), false),
    tags: v.optional(v.set(v.string())),
    steps: v.optional(v.array(v.object({ text: v.pipe(v.string(), v.minLength(1, 'a step has a text')) }))),
  }),
}
const open = (schema, options = {}) => createTestCollection({ initialData: [], schema, ...options })
const refusal = call => {
  try { call() } catch (error) { return error }
  return assert.fail('nothing was thrown')
}

for (const [vendor, schema] of Object.entries(schemas)) {
  test(`${vendor}: an insert is written as the schema makes it`, async () => {
    const { collection, syncControl } = await open(schema)
    const given = { id: 'a', title: '  Buy milk ', due: '2030-01-01T00:00:00Z', unknown: 1 }
    const transaction = collection.insert(given)
    const row = { id: 'a', title: 'Buy milk', due: new Date(Date.UTC(2030)), done: false }
    assert.deepEqual(collection.get('a'), row)
    await transaction.completed
    assert.deepEqual(syncControl.persisted[0].changes, { a: row })
    assert.deepEqual(given, { id: 'a', title: '  Buy milk ', due: '2030-01-01T00:00:00Z', unknown: 1 }, 'what was handed in is as it was')
  })

  test(`${vendor}: an update is checked as the whole row it makes, and its changes are what the schema makes of them`, async () => {
    const row = { id: 'a', title: 'Buy milk', done: false, due: new Date(5), tags: new Set(['x']) }
    const { collection } = await open(schema, { initialData: [{ ...row, fromServer: 1 }] })
    const changesOf = change => collection.update('a', change).mutations[0].changes
    assert.deepEqual(changesOf({ title: ' Buy tea ' }), { title: 'Buy tea' }, 'no field that is as it was')
    assert.deepEqual(changesOf(draft => { draft.due = '2030-01-01T00:00:00Z'; draft.tags.add('y') }), { due: new Date(Date.UTC(2030)), tags: new Set(['x', 'y']) })
    assert.deepEqual(changesOf({ done: undefined, due: undefined }), { done: false, due: undefined }, 'a default takes the place of a field that is removed')
    assert.deepEqual(collection.get('a'), { id: 'a', title: 'Buy tea', done: false, tags: new Set(['x', 'y']), fromServer: 1 }, 'what the schema does not know stays')
  })

  test(`${vendor}: what does not fit is refused with the schema’s own issues, and nothing is written`, async () => {
    const { collection, db } = await open(schema, { initialData: [{ id: 'old', title: 'x', done: false }] })
    const cases = [
      [() => collection.insert({ id: 'a', title: '  ' }), [['title', 'a title is needed']]],
      [() => collection.insert([{ id: 'a', title: 'x' }, { id: 'b', title: 'x', steps: [{ text: 'y' }, { text: '' }] }]), [['steps.1.text', 'a step has a text']]],
      [() => collection.update('old', { title: '' }), [['title', 'a title is needed']]],
      [() => collection.update('old', draft => { draft.title = ' ' }), [['title', 'a title is needed']]],
      [() => db.transaction(() => { collection.delete('old'); collection.insert({ id: 'a', title: '' }) }), [['title', 'a title is needed']]],
    ]
    for (const [call, expected] of cases) {
      const error = refusal(call)
      assert.ok(error instanceof DriftlineError)
      assert.deepEqual([error.code, error.retryable], ['invalid_row', false])
      assert.deepEqual(error.issues.map(({ path, message }) => [path.map(step => step.key ?? step).join('.'), message]), expected)
      assert.ok(error.message.includes(`${expected[0][0]}: ${expected[0][1]}`) && error.message.includes('Nothing was written'), error.message)
    }
    const own = schema['~standard'].validate({ id: 'a', title: '' }).issues
    const { issues } = refusal(() => collection.insert({ id: 'a', title: '' }))
    assert.deepEqual(Object.keys(issues[0]).sort(), Object.keys(own[0]).sort(), 'an issue has all that the library says')
    assert.deepEqual([collection.size, db.transactions.list().length], [1, 0])
  })
}

test('a schema that answers asynchronously is refused, whatever it would say', async () => {
  const asynchronous = {
    zod: z.object({ id: z.string() }).refine(async () => false),
    valibot: v.pipeAsync(v.object({ id: v.string() }), v.checkAsync(async () => true)),
  }
  for (const [vendor, schema] of Object.entries(asynchronous)) {
    const { collection, db } = await open(schema, { initialData: [{ id: 'old' }] })
    for (const call of [() => collection.insert({ id: 'a' }), () => collection.update('old', { n: 1 })]) {
      const error = refusal(call)
      assert.deepEqual([error.code, error.issues], ['invalid_row', []], vendor)
      assert.match(error.message, /asynchronously.*Nothing was written/, vendor)
    }
    assert.deepEqual([collection.size, db.transactions.list().length], [1, 0], vendor)
  }
})

test('a key that the schema gives is the row’s key', async () => {
  const { collection } = await open(z.object({ id: z.string().toLowerCase(), n: z.number() }))
  collection.insert({ id: 'ABC', n: 1 })
  assert.deepEqual([...collection.keys()], ['abc'])
  assert.equal(refusal(() => collection.insert({ id: 'Abc', n: 2 })).code, 'duplicate_key')
})

test('rows from sync are not checked: what the server has is shown', async () => {
  const { collection, syncControl } = await open(schemas.zod)
  await syncControl.emitUpdate([{ id: 'a', title: '' }])
  assert.deepEqual(collection.get('a'), { id: 'a', title: '' })
})
