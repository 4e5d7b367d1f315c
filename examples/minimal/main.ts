import { httpRemote, mizu, openDriftline, registerFileServiceWorker } from 'driftline'

interface Todo { id: string; title: string; done: boolean }

// One database per signed-in user. Rows come from, and go to, the server that served this page.
const db = await openDriftline({ name: 'minimal' })
const remote = db.connect(mizu({ url: location.origin, scope: 'minimal' }))
const todos = db.collection<Todo>({ sync: { id: 'todos', remote, entity: 'todo' } })

const show = () => { document.title = `${todos.size} todos, ${db.status.value.pending} waiting` }
todos.subscribe(show)
db.status.subscribe(show)

// It can be read at once; it is in the journal after `durable`, and on the server after `completed`.
const id = crypto.randomUUID()
const written = todos.insert({ id, title: 'Buy milk', done: false })
await written.durable
todos.update(id, draft => { draft.done = true })

// Files are saved on this device under their hash, uploaded when there is a network, and served at plain URLs meanwhile.
await registerFileServiceWorker({ url: '/driftline-sw.js' })
const files = await db.files({ remote: httpRemote({ baseUrl: '/files' }), records: remote })
const note = await files.saveFile(new Blob(['Hello from Driftline'], { type: 'text/plain' }), { name: 'note.txt' })
const answer = await fetch(files.fileUrl(note.id))
document.body.textContent = await answer.text()
