// What a collection's config must be, checked when it is registered: a mistake in it would show much later, or never.
import { DriftlineError } from './errors.ts'
import type { CollectionConfig, MutationStrategy } from './types.ts'

/** Refuses a config that can't be meant so. */
export function checkConfig<T>(config: CollectionConfig<T>): void {
  const sync: unknown = (config as Partial<CollectionConfig<T>> | undefined)?.sync
  const id = (sync as { id?: unknown } | undefined)?.id
  if (typeof id !== 'string' || id === '') throw refused('A collection needs an id: { sync: { id: "todos" } }')
  const { strategy, mutationFn, mutationFns = {}, merges = {}, getKey, migrate, schema } = config
  const wanted = (what: string, value: unknown) => {
    if (value !== undefined && typeof value !== 'function') throw refused(`${what} of the collection ${id} is a function; this is ${typeof value}`)
  }
  wanted('sync.setup', (sync as { setup?: unknown }).setup)
  wanted('getKey', getKey)
  wanted('migrate', migrate)
  for (const [name, functions] of Object.entries({ ...mutationFns, ...(mutationFn === undefined ? {} : { mutationFn }) })) {
    const { persist, awaitSync } = (functions ?? {}) as Partial<typeof functions>
    if (persist === undefined) throw refused(`${name} of the collection ${id} has no persist function`)
    wanted(`${name}.persist`, persist)
    wanted(`${name}.awaitSync`, awaitSync)
  }
  for (const [name, merge] of Object.entries(merges)) wanted(`merges.${name}`, merge)
  if (schema !== undefined && typeof schema['~standard']?.validate !== 'function') {
    throw refused(`schema of the collection ${id} follows no Standard Schema: it has no ["~standard"].validate`)
  }
  checkStrategy(strategy, id)
}

/** Refuses a strategy that there is not. */
export function checkStrategy<T>(strategy: MutationStrategy<T> | undefined, id: string): void {
  if (strategy === undefined) return
  const { type } = strategy
  if (type !== 'ordered' && type !== 'parallel') throw refused(`A strategy of the collection ${id} is "ordered" or "parallel"; this is ${String(type)}`)
  if (type === 'ordered' && strategy.scope !== undefined && strategy.scope !== 'object' && strategy.scope !== 'collection') {
    throw refused(`The scope of an ordered strategy of the collection ${id} is "object" or "collection"; this is ${String(strategy.scope)}`)
  }
}

function refused(what: string): DriftlineError {
  return new DriftlineError('unexpected', `${what}. Nothing was registered or written; correct that and call again.`)
}
