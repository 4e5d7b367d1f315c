// The server that queued work is sent to: as little as each wire needs, in memory, one store a run. It counts what it applies, so that a
// change that came twice or never shows.

/** Answers what is below `/api/<run>`; gives `undefined` for a run or a path that there is not. */
export class Endpoint {
  #runs = new Map()

  /** The answer `{ status, body }` to a request whose body is JSON. */
  answer(method, path, body) {
    const [run, ...rest] = path.split('/')
    if (method === 'POST' && rest.length === 0) {
      this.#runs.set(run, { failing: body.failing, asked: 0, applied: 0, rows: new Map(), seen: new Map(), log: [], clients: {} })
      return ok({})
    }
    const store = this.#runs.get(run)
    if (store === undefined) return undefined
    if (method === 'GET' && rest.length === 0) return ok({ rows: store.rows.size, applied: store.applied })
    switch (rest.join('/')) {
      case 'rows': return fails(store) ? { status: 503, body: { error: 'as asked for' } } : ok(put(store, body))
      case '_sync/push': return ok({ results: body.mutations.map(mutation => pushed(store, mutation)) })
      case '_sync/pull': return ok(page(store, body))
      case '_sync/snapshot': return ok({ data: { rows: Object.fromEntries(store.rows) }, cursor: store.log.length })
      case 'replicache/push': return ok(replicachePush(store, body))
      case 'replicache/pull': return ok(replicachePull(store, body))
      default: return undefined
    }
  }
}

function ok(body) {
  return { status: 200, body }
}

function fails(store) {
  return store.failing > 0 && ++store.asked % store.failing === 0
}

function put(store, row) {
  store.rows.set(row.id, row)
  store.applied++
  store.log.push(row)
  return {}
}

function pushed(store, { id, name, args }) {
  if (name !== 'row.create') return { ok: false, error: 'sync: invalid mutation' }
  const known = store.seen.get(id)
  if (known !== undefined) return { ok: true, cursor: known }
  if (fails(store)) return { ok: false, error: 'sync: internal error: as asked for' }
  put(store, args)
  store.seen.set(id, store.log.length)
  return { ok: true, cursor: store.log.length, changes: [change(store, store.log.length)] }
}

function page(store, { cursor, limit = 100 }) {
  const to = Math.min(store.log.length, cursor + limit)
  const changes = []
  for (let at = cursor + 1; at <= to; at++) changes.push(change(store, at))
  return { changes: changes.length === 0 ? null : changes, has_more: to < store.log.length, ...(changes.length === 0 ? {} : { next_cursor: to }) }
}

function change(store, cursor) {
  return { cursor, scope: 'bench', time: '2026-01-01T00:00:00Z', data: { op: 'create', row: store.log[cursor - 1] } }
}

function replicachePush(store, { mutations }) {
  for (const { clientID, id, args } of mutations) {
    if (id !== (store.clients[clientID] ?? 0) + 1) continue
    put(store, args)
    store.clients[clientID] = id
  }
  return {}
}

function replicachePull(store, { cookie }) {
  const patch = store.log.slice(cookie ?? 0).map(value => ({ op: 'put', key: value.id, value }))
  return { cookie: store.log.length, lastMutationIDChanges: store.clients, patch }
}
