// In a browser a test may use the real IndexedDB: slower, and as durable as the app will be. The clock is the test’s all the same.
import { createTestCollection } from 'driftline/testing'
import { expect, test } from 'vitest'
import type { Todo } from './todos.ts'

const milk: Todo = { id: 'milk', title: 'Buy milk', done: false }

test('what was written offline is on disk, and is sent after a reload', async () => {
  const { collection, syncControl } = await createTestCollection<Todo>({ initialData: [milk], store: 'indexeddb' })
  syncControl.goOffline()
  const written = collection.update('milk', { done: true })
  await written.durable
  expect((await indexedDB.databases()).some(({ name }) => name?.startsWith('driftline:test-'))).toBe(true)

  const { collection: again, db } = await syncControl.reload()
  expect(again.get('milk')?.done).toBe(true)
  syncControl.goOnline()
  await db.transactions.get(written.id)?.completed
  expect(syncControl.persisted.map(({ idempotencyKey, repeated }) => [idempotencyKey, repeated])).toEqual([[written.idempotencyKey, false]])
  await syncControl.dispose()
})

test('files of a row are stored with it', async () => {
  const { collection, syncControl } = await createTestCollection<{ id: string; scan: File }>({ initialData: [], store: 'indexeddb' })
  await collection.insert({ id: 'a', scan: new File(['bytes'], 'scan.txt', { type: 'text/plain' }) }).durable
  const { collection: again } = await syncControl.reload()
  const scan = again.get('a')?.scan
  expect([scan?.name, await scan?.text()]).toEqual(['scan.txt', 'bytes'])
  await syncControl.dispose()
})
