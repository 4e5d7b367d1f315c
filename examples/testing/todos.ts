// The code under test: what an app knows of its to-dos, apart from how it draws them.
import { NonRetriableError, RetryAfterError, type Collection, type MutationFn } from 'driftline'

export interface Todo { id: string; title: string; done: boolean }

/** Sends changes to the app's server, and tells apart what may work later and what never will. */
export function sendTo(save: (key: string, changes: Partial<Todo>, idempotencyKey: string) => Promise<{ status: number }>): MutationFn<Todo> {
  return {
    persist: async ({ changes, transaction }) => {
      for (const [key, changed] of Object.entries(changes)) {
        const { status } = await save(key, changed, transaction.idempotencyKey)
        if (status === 429) throw new RetryAfterError('The server is busy.', 5_000)
        if (status === 422) throw new NonRetriableError('The server does not take this.')
        if (status >= 400) throw new Error(`The server answered ${status}.`)
      }
    },
  }
}

/** Marks everything as done, in one transaction that holds or fails as a whole. */
export function completeAll(todos: Collection<Todo>): void {
  todos.update([...todos.values()].filter(todo => !todo.done).map(todo => todo.id), { done: true })
}

export function remaining(todos: Collection<Todo>): number {
  return [...todos.values()].filter(todo => !todo.done).length
}
