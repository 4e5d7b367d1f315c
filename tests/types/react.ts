// What the compiler must refuse of driftline/react, and what it must know: checked, never run.
import type { Collection, CollectionConfig, Transaction } from 'driftline'
import { useCollection, useFile, useTransactions } from 'driftline/react'

interface Todo { id: string; title: string; done: boolean }
declare const config: CollectionConfig<Todo>
declare const collection: Collection<Todo>

export function useTypes(): void {
  const { data, insert, update, delete: remove, withMutation, status } = useCollection(config)
  const todo: Todo | undefined = data['t1']
  const inserted: Transaction = insert({ id: 't1', title: 'Buy milk', done: false })
  // @ts-expect-error a row has all its fields
  insert({ id: 't1' })
  // @ts-expect-error a field keeps its type
  update('t1', { done: 'yes' })
  update(['t1', 't2'], draft => { draft.done = true })
  // @ts-expect-error rows are not written in place
  data['t1'] = { id: 't1', title: '', done: true }
  withMutation({ strategy: { type: 'parallel' }, metadata: { from: 'drag' } }).update('t1', { title: 'Oat milk' })
  // @ts-expect-error there is no such status
  if (status === 'pending') remove('t1')

  const same: Readonly<Record<string, Todo>> = useCollection(collection).data
  // The type of the rows comes from the config itself too.
  const inline = useCollection({ sync: { id: 'counts', setup: async () => ({ data: [{ id: 'a', n: 1 }] }) } })
  const n: number | undefined = inline.data['a']?.n

  const failed: readonly Transaction[] = useTransactions({ state: ['failed'], since: new Date(0) })
  // @ts-expect-error there is no such state
  useTransactions({ state: ['lost'] })
  const url: string | undefined = useFile('f1').url
  void [todo, inserted, same, n, failed, url]
}
