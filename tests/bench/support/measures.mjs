// What is measured: each measure has a name, its contenders, the lines that it gives, and how a sample of one contender is taken. The first
// round warms caches and code up and is not counted; contenders take turns at going first. `peerRounds` bounds the rounds of those that
// take minutes where ours takes seconds.

/** All measures, in the order of the table. */
export const MEASURES = [
  {
    name: 'insert', contenders: ['driftline', 'raw', 'tanstack', 'tanstackLocal', 'replicache'], peerRounds: 1,
    lines: [
      { key: 'total', title: '10,000 optimistic inserts', raw: 'Map.set each, one IndexedDB put', work: 10_000, unit: 'rows' },
      { key: 'p99', title: 'p99 of one of them' },
    ],
  },
  {
    name: 'update', contenders: ['driftline', 'raw', 'tanstack', 'replicache'], peerRounds: 1,
    lines: [
      { key: 'total', title: '10,000 optimistic updates', raw: 'Map.set each, one IndexedDB put', work: 10_000, unit: 'rows' },
      { key: 'p99', title: 'p99 of one of them' },
    ],
  },
  {
    name: 'growth', contenders: ['driftline'], rounds: 3,
    lines: [
      { key: 'first', title: '1,000 inserts, while 1 to 10,000 are pending', work: 1_000, unit: 'rows' },
      { key: 'last', title: '1,000 inserts, while 90,000 to 100,000 are pending', work: 1_000, unit: 'rows' },
      { key: 'p99', title: 'p99 of one of all 100,000' },
    ],
  },
  {
    name: 'durable', contenders: ['driftline', 'raw', 'tanstack', 'replicache'],
    lines: [
      { key: 'together', title: '1,000 durable transactions, issued together', raw: 'one IndexedDB record that holds them', work: 1_000, unit: 'tx' },
      { key: 'one-by-one', title: '1,000 durable transactions, one by one', raw: 'an IndexedDB transaction each', work: 1_000, unit: 'tx' },
    ],
  },
  {
    name: 'manyDurable', contenders: ['driftline', 'raw', 'replicache'], peerRounds: 1,
    lines: [{ key: 'many-together', title: '10,000 durable transactions, issued together', raw: 'one IndexedDB record that holds them', work: 10_000, unit: 'tx' }],
  },
  {
    name: 'manyOneByOne', contenders: ['driftline', 'raw'], rounds: 3,
    lines: [{ key: 'many-one-by-one', title: '10,000 durable transactions, one by one', raw: 'an IndexedDB transaction each', work: 10_000, unit: 'tx' }],
  },
  {
    name: 'reload', contenders: ['driftline', 'raw', 'tanstack', 'replicache'], peerRounds: 1, prepare: true, reloads: true,
    lines: [{ key: 'reload', title: 'reload with 10,000 pending, until readable', raw: 'getAll of 10,000 records into a Map', work: 10_000, unit: 'rows' }],
  },
  {
    name: 'drain', contenders: ['driftline', 'raw', 'tanstack'],
    lines: [
      { key: 'each', title: 'draining 1,000, a request each', raw: 'fetch, six at a time', work: 1_000, unit: 'tx' },
      { key: 'each-errors', title: 'the same, 20% of the requests failing', raw: 'fetch again', work: 1_000, unit: 'tx' },
    ],
  },
  {
    name: 'drainBatches', contenders: ['driftline', 'raw', 'replicache'],
    lines: [
      { key: 'batches', title: 'draining 1,000, 100 in a request', raw: 'fetch, one at a time, and pull', work: 1_000, unit: 'tx' },
      { key: 'batches-errors', title: 'the same, 20% of the changes failing', raw: 'fetch again', work: 1_000, unit: 'tx' },
    ],
  },
  {
    name: 'pullMizu', contenders: ['driftline', 'raw', 'replicache'], seeds: [50_000],
    lines: pullLines('50,000 rows, mizu’s snapshot', 'fetch, JSON.parse, Map, segments in IndexedDB'),
  },
  {
    name: 'pullLivestore', contenders: ['driftline', 'raw'], seeds: [50_000],
    lines: pullLines('50,000 events, LiveStore over a WebSocket', 'the same pages, JSON.parse, Map, segments'),
  },
  {
    name: 'pullHttp', contenders: ['driftline', 'raw'], seeds: [50_000],
    lines: pullLines('50,000 events, LiveStore over HTTP', 'fetch, JSON.parse, Map, segments'),
  },
  {
    name: 'memory', contenders: ['driftline'], rounds: 1, take: memory,
    lines: [
      { key: 'pending', title: 'memory of a pending transaction', measured: 'bytes' },
      { key: 'done', title: 'memory left by one that is completed and pruned', measured: 'bytes' },
    ],
  },
  {
    name: 'save', contenders: ['driftline', 'raw'],
    lines: [{ key: 'save', title: 'saving a file of 64 MiB', raw: 'sync handle write, crypto.subtle, move', work: 64, unit: 'MiB' }],
  },
  {
    name: 'serve', contenders: ['driftline', 'raw'], prepare: true, pages: { raw: 'raw/' },
    lines: [{ key: 'serve', title: '64 MiB from the service worker', raw: 'respondWith(new Response(file))', work: 64, unit: 'MiB' }],
  },
]

/** What each pull is measured by. */
function pullLines(title, raw) {
  return [
    { key: 'readable', title: `${title}: until readable`, raw, work: 50_000, unit: 'rows' },
    { key: 'stored', title: `${title}: until stored`, raw, work: 50_000, unit: 'rows' },
    { key: 'blocked', title: `${title}: longest time the page was blocked` },
  ]
}

/** Takes the samples `{ contender, values }` of a measure: as many of ours and the floor as there are rounds, fewer of slow peers. */
export async function takeSamples(measure, { pageOf, runs, withPeers, tick }) {
  const contenders = measure.contenders.filter(contender => withPeers || OWN.has(contender))
  const rounds = Math.min(runs, measure.rounds ?? runs)
  const samples = []
  for (const contender of measure.prepare ? contenders : []) {
    await (await pageOf(contender)).evaluate(([name, which]) => globalThis.bench[name].prepare[which](), [measure.name, contender])
  }
  for (let round = 0; round <= rounds; round++) {
    const order = contenders.map((_, at) => contenders[(at + round) % contenders.length])
    for (const contender of order) {
      // What is measured for once is measured in the last round, with nothing to warm up.
      const isSlow = !OWN.has(contender) && measure.peerRounds !== undefined
      if (isSlow && round <= rounds - measure.peerRounds) continue
      const page = await pageOf(contender)
      if (measure.reloads) await page.reload()
      const values = measure.take === undefined
        ? await page.evaluate(([name, which]) => globalThis.bench[name][which](), [measure.name, contender])
        : await measure.take(page)
      if (round > 0) samples.push({ contender, round, values })
      tick()
    }
  }
  return samples
}

/** Bytes of a pending transaction, and what one leaves behind when it is completed and pruned: the slope of some thousands of them. */
async function memory(page) {
  const session = await page.context().newCDPSession(page)
  const call = name => page.evaluate(which => globalThis.bench.memory[which](), name)
  const used = async () => {
    for (let round = 0; round < COLLECTIONS; round++) await session.send('HeapProfiler.collectGarbage')
    const { usedSize } = await session.send('Runtime.getHeapUsage')
    return usedSize + await call('wasm')
  }
  await call('before')
  const before = await used()
  await call('pending')
  const pending = (await used() - before) / PENDING
  await call('closePending')
  await call('openOnline')
  // Buffers and tables grow to their size first.
  for (let round = 0; round < WARMING_CYCLES; round++) await call('cycle')
  const start = await used()
  for (let round = 0; round < CYCLES; round++) await call('cycle')
  const done = (await used() - start) / (CYCLES * CYCLE)
  await call('closePending')
  await session.detach()
  return { pending, done }
}

/** Ours and the floor; the others are peers. */
const OWN = new Set(['driftline', 'raw'])
const COLLECTIONS = 3
const PENDING = 10_000
const CYCLE = 2_000
const WARMING_CYCLES = 2
const CYCLES = 4
