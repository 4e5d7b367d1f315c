// A small React app on driftline/react. The browser runs it as a part of a bundle, Node draws it as it stands.
import { createElement as h, memo } from 'react'
import { DriftlineProvider, useCollection, useStatus, useTransactions } from 'driftline/react'

/** The app, on a database or on none. */
export function App({ db, backend }) {
  return h(DriftlineProvider, { db }, h(Todos, { backend, name: 'one' }), h(Todos, { backend, name: 'two' }), h(Queue), h(Health))
}

/** A list with a button; its config is made anew at each render, as people write it. */
export function Todos({ name, backend }) {
  const { data, insert, update, delete: remove, status } = useCollection({
    sync: { id: 'todos', setup: given => backend.setup(given) },
    mutationFn: { persist: given => backend.persist(given) },
  })
  return h('section', { id: name, 'data-status': status },
    h('button', { className: 'add', onClick: () => { insert({ id: `t${Object.keys(data).length + 1}`, title: 'Buy milk', done: false }) } }, 'Add'),
    h('ul', null, Object.values(data).map(({ id, title, done }) => h('li', { key: id },
      h('input', { value: title, onChange: event => { update(id, { title: event.target.value }) } }),
      h('span', null, `${title}${done ? ', done' : ''}`),
      h('button', { className: 'delete', onClick: () => { remove(id) } }, 'Delete')))))
}

/** The transactions; a row is drawn again only when it is handed another object. */
export function Queue() {
  return h('ol', { id: 'queue' }, useTransactions({ collection: 'todos' }).map(transaction => h(Entry, { key: transaction.id, transaction })))
}

const Entry = memo(function Entry({ transaction }) {
  return h('li', null, `${transaction.mutations.map(({ type, key }) => `${type} ${key}`).join()}: ${transaction.state}`)
})

/** The status. */
export function Health() {
  const { pending, failed, paused } = useStatus()
  return h('p', { id: 'health' }, `${pending} pending, ${failed} failed${paused === undefined ? '' : `, paused: ${paused.reason}`}`)
}
