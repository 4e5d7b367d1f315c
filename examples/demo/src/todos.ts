// The shared list: what is typed becomes a row at once, and each row says whether the server has it yet.
import type { Collection, Transaction, TransactionLog } from 'driftline'
import { find, keyed, make, onceAFrame, say, short } from './dom.js'
import { explain, notify } from './notices.js'

/** One line of the list, as it goes over the wire: JSON values only. */
export interface Todo {
  id: string
  title: string
  done: boolean
  /** Milliseconds since 1970, from the clock of the device that added it; only for the order on screen. */
  createdAt: number
}

/** Shows the list and keeps it in step with the collection and its transactions. */
export function showTodos(todos: Collection<Todo>, log: TransactionLog): void {
  const list = find('.todos', HTMLElement)
  const render = () => {
    const waiting = waitingKeys(log, todos.id)
    const rows = [...todos.values()].sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
    keyed(list, rows, todo => todo.id, todo => line(todos, todo.id), (element, todo) => fill(element, todo, waiting.has(todo.id)))
    find('[data-testid="todos-empty"]', HTMLElement).hidden = rows.length > 0
    const open = rows.filter(todo => !todo.done).length
    say(find('[data-testid="todo-count"]', HTMLElement), rows.length === 0 ? '' : `${open} of ${rows.length} open`)
  }
  // A row shows in the frame in which it was written; what became of its transaction may come a frame later, once for many.
  todos.subscribe(render)
  log.subscribe(onceAFrame(render))
  void todos.ready.then(render, error => notify(`The list could not be read. ${explain(error)}`))
  readForm(todos)
}

/** Says in words what a transaction does to a row of the list. */
export function describeTodoChange(type: 'insert' | 'update' | 'delete', row: Partial<Todo> | undefined, changes: Partial<Todo>): string {
  const title = `“${short(row?.title ?? 'a line')}”`
  if (type === 'insert') return `Add ${title}`
  if (type === 'delete') return `Remove ${title}`
  if (changes.done === undefined) return `Change ${title}`
  return `${changes.done ? 'Tick' : 'Untick'} ${title}`
}

function readForm(todos: Collection<Todo>): void {
  const form = find('form.add', HTMLFormElement)
  const input = find('#new-todo', HTMLInputElement)
  const message = find('#new-todo-error', HTMLElement)
  const complain = (text: string) => {
    say(message, text)
    input.toggleAttribute('aria-invalid', false)
    if (text !== '') input.setAttribute('aria-invalid', 'true')
  }
  input.addEventListener('input', () => complain(''))
  form.addEventListener('submit', event => {
    event.preventDefault()
    const title = input.value.trim()
    input.focus()
    if (title === '') return complain('Write what is to be done, then add it.')
    const todo: Todo = { id: crypto.randomUUID(), title, done: false, createdAt: Date.now() }
    const text = input.value
    const refused = (error: unknown) => {
      complain(`“${short(title, 30)}” was not added. ${explain(error)} Your other entries are as they were.`)
      // What was typed stays in the field, to be shortened, unless the next line is being written already.
      if (input.value === '') input.value = text
    }
    try {
      const transaction = todos.insert(todo)
      complain('')
      input.value = ''
      // An error before the write was durable means that nothing holds it: it is told here. Later ones are told as failed changes.
      transaction.durable.catch(refused)
    } catch (error) {
      refused(error)
    }
  })
}

function line(todos: Collection<Todo>, id: string): HTMLLIElement {
  const toggle = make('input', { type: 'checkbox', 'data-testid': 'todo-toggle' })
  toggle.addEventListener('change', () => attempt(() => todos.update(id, { done: toggle.checked }), 'The line was not changed.'))
  const remove = make('button', { type: 'button', className: 'quiet', 'data-testid': 'todo-remove' }, '✕')
  remove.addEventListener('click', () => attempt(() => todos.delete(id), 'The line was not removed.'))
  return make('li', { 'data-testid': 'todo', 'data-id': id },
    make('label', {}, toggle, make('span', { className: 'text' },
      make('span', { className: 'title' }), make('span', { className: 'badge', hidden: true }, 'not sent yet'))),
    remove)
}

function fill(element: HTMLLIElement, todo: Todo, waiting: boolean): void {
  const toggle = find('input', HTMLInputElement, element)
  toggle.checked = todo.done
  element.dataset['done'] = String(todo.done)
  element.dataset['waiting'] = String(waiting)
  // A title from another device may be of any length; the page stays usable with the first part of it.
  say(find('.title', HTMLElement, element), short(todo.title, 500))
  find('.badge', HTMLElement, element).hidden = !waiting
  find('.quiet', HTMLElement, element).setAttribute('aria-label', `Remove “${short(todo.title)}”`)
}

function attempt(write: () => Transaction, otherwise: string): void {
  const refused = (error: unknown) => notify(`${otherwise} ${explain(error)}`)
  try {
    write().durable.catch(refused)
  } catch (error) {
    refused(error)
  }
}

function waitingKeys(log: TransactionLog, collection: string): Set<string> {
  const keys = new Set<string>()
  const waiting = log.list({ state: ['pending', 'queued', 'persisting'], collection })
  for (const transaction of waiting) for (const mutation of transaction.mutations) keys.add(mutation.key)
  return keys
}
