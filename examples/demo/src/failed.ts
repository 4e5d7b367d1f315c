// Changes that the server did not accept: each with its reason, to be tried again or thrown away. Nothing leaves this list by itself.
import type { PendingMutation, Transaction, TransactionLog } from 'driftline'
import { find, keyed, make, onceAFrame, say, short } from './dom.js'
import { explain, notify } from './notices.js'
import { describeTodoChange, type Todo } from './todos.js'

/** Shows the failed changes and keeps them in step with the log. */
export function showFailed(log: TransactionLog): void {
  const card = find('.failed', HTMLElement)
  const list = find('ul', HTMLElement, card)
  const render = () => {
    const failed = log.list({ state: ['failed'] })
    card.hidden = failed.length === 0
    keyed(list, failed, transaction => transaction.id, transaction => item(log, transaction), fill)
  }
  log.subscribe(onceAFrame(render))
  render()
}

function item(log: TransactionLog, { id }: Transaction): HTMLLIElement {
  const retry = make('button', { type: 'button', 'data-testid': 'retry' }, 'Try again')
  retry.addEventListener('click', () => {
    try { log.retry(id) } catch (error) { notify(`It could not be tried again. ${explain(error)}`) }
  })
  const discard = make('button', { type: 'button', className: 'quiet', 'data-testid': 'discard' }, 'Discard')
  discard.addEventListener('click', () => { log.discard(id).catch(error => notify(`It could not be discarded. ${explain(error)}`)) })
  return make('li', { 'data-testid': 'failed-change', 'data-id': id },
    make('div', { className: 'what' }, make('p', { className: 'title' }), make('p', { className: 'why' })), retry, discard)
}

function fill(element: HTMLLIElement, transaction: Transaction): void {
  say(find('.title', HTMLElement, element), transaction.mutations.map(describe).join(', '))
  const reason = transaction.error === undefined ? 'The reason is not known.' : explain(transaction.error.error)
  say(find('.why', HTMLElement, element), short(reason, 300))
}

function describe(mutation: PendingMutation): string {
  if (mutation.collection === 'todos') return describeTodoChange(mutation.type, (mutation.modified ?? mutation.original) as Todo | undefined, mutation.changes as Partial<Todo>)
  const name = ((mutation.modified ?? mutation.original) as { name?: string } | undefined)?.name ?? 'a file'
  const verb = { insert: 'Add', update: 'Change', delete: 'Remove' }[mutation.type]
  return `${verb} “${short(name)}” in the album`
}
