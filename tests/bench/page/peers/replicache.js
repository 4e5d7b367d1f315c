// Replicache: mutators over a store that is persisted when the page is idle. Its own `persist` is called where a write must be durable.
import { dropDatabase, makeIDBName } from 'replicache'
import { ReplicacheImpl } from 'replicache/impl'

/** Opens a store. Nothing is sent before `drained` is called; without `server`, nothing at all. `puller` answers pulls instead. */
export function openReplicache({ name = `replicache-${crypto.randomUUID()}`, server, puller } = {}) {
  let open
  const opened = new Promise(resolve => { open = resolve })
  const replicache = new ReplicacheImpl({
    name,
    mutators: {
      put: (tx, row) => tx.set(row.id, row),
      putAll: async (tx, rows) => { for (const row of rows) await tx.set(row.id, row) },
      change: async (tx, { id, changes }) => tx.set(id, { ...await tx.get(id), ...changes }),
    },
    pullInterval: null,
    logLevel: 'error',
    pushDelay: 0,
    requestOptions: { minDelayMs: 1, maxDelayMs: 100 },
    pusher: async request => {
      await opened
      return server === undefined ? new Promise(() => {}) : ask(`${server}/replicache/push`, request)
    },
    ...(puller === undefined ? {} : { puller }),
    ...(server === undefined ? {} : { puller: async request => ask(`${server}/replicache/pull`, request) }),
  })
  return {
    replicache,
    insert: row => replicache.mutate.put(row),
    insertAll: rows => replicache.mutate.putAll(rows),
    update: (id, changes) => replicache.mutate.change({ id, changes }),
    persist: () => replicache.persist(),
    rows: () => replicache.query(tx => tx.scan().values().toArray()),
    pending: async () => (await replicache.experimentalPendingMutations()).length,
    /** Sends everything and waits until the server's answer to a pull has confirmed it. */
    drained: async () => {
      open()
      for (;;) {
        await replicache.push({ now: true })
        await replicache.pull({ now: true })
        if ((await replicache.experimentalPendingMutations()).length === 0) return
      }
    },
    close: () => replicache.close(),
    destroy: async () => {
      await replicache.close()
      await dropDatabase(makeIDBName(name, '')).catch(() => {})
    },
  }
}

async function ask(url, body) {
  const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
  const answer = await response.json()
  return { response: answer, httpRequestInfo: { httpStatusCode: response.status, errorMessage: '' } }
}
