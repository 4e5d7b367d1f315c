import { useState } from 'react'
import { createRoot } from 'react-dom/client'
import { httpRemote, mizu, openDriftline, registerFileServiceWorker, type CollectionConfig } from 'driftline'
import { DriftlineProvider, useCollection, useDriftline, useFile, useStatus, useTransactions } from 'driftline/react'

interface Todo { id: string; title: string; done: boolean; photo?: string }

// One database per signed-in user. Rows come from, and go to, the server that served this page.
const db = await openDriftline({ name: 'react-minimal' })
const remote = db.connect(mizu({ url: location.origin, scope: 'react-minimal' }))
const todos: CollectionConfig<Todo> = { sync: { id: 'todos', remote, entity: 'todo' } }
const files = await db.files({ remote: httpRemote({ baseUrl: '/files' }), records: remote })
// Without it, photos are shown by object URLs.
registerFileServiceWorker({ url: '/driftline-sw.js' }).catch(console.warn)

createRoot(document.body.appendChild(document.createElement('main'))).render(<DriftlineProvider db={db}><Todos /><Failures /><Health /></DriftlineProvider>)

function Todos() {
  const { data, insert, update, delete: remove, status } = useCollection(todos)
  const [title, setTitle] = useState('')
  if (status === 'loading') return <p>Loading</p>
  return (
    <>
      <form onSubmit={event => { event.preventDefault(); insert({ id: crypto.randomUUID(), title, done: false }); setTitle('') }}>
        <input aria-label="What is to be done" value={title} onChange={event => setTitle(event.target.value)} />
        <button>Add</button>
      </form>
      <ul>
        {Object.values(data).map(({ id, title, done, photo }) => (
          <li key={id}>
            <label><input type="checkbox" checked={done} onChange={() => { update(id, { done: !done }) }} />{title}</label>
            {photo === undefined ? <PhotoInput onSaved={photo => { update(id, { photo }) }} /> : <Photo id={photo} />}
            <button onClick={() => { remove(id) }}>Delete</button>
          </li>
        ))}
      </ul>
    </>
  )
}

function PhotoInput({ onSaved }: { onSaved(id: string): void }) {
  return <input type="file" aria-label="Photo" onChange={async ({ target }) => { if (target.files?.[0]) onSaved((await files.saveFile(target.files[0])).id) }} />
}

function Photo({ id }: { id: string }) {
  const { record, state, url } = useFile(id)
  return <figure><img src={url} alt={record?.name} height={48} />{state?.uploadStatus === 'inProgress' && <progress value={state.loaded} max={state.total} />}</figure>
}

/** What the server refused: it was taken back from the list, and is kept here until somebody decides. */
function Failures() {
  const { transactions } = useDriftline()
  return useTransactions({ state: ['failed'] }).map(({ id, error }) => (
    <p key={id} role="alert">
      {error?.message}
      <button onClick={() => { transactions.retry(id) }}>Again</button>
      <button onClick={() => { void transactions.discard(id) }}>Forget it</button>
    </p>
  ))
}

function Health() {
  const { online, pending } = useStatus()
  return <footer>{online ? 'Online' : 'Offline'}, {pending} waiting to be sent</footer>
}
