// What is measured: each has a name, the lines it gives, and `run`, which gives samples `{ line, ours, floor }` in ms. The first round
// warms caches and code up and is not counted. Ours and the floor take turns at going first.

/** All measures, in the order of the table. */
export const MEASURES = [
  {
    name: 'insert',
    lines: [{ key: 'insert', title: '10,000 optimistic inserts', floorTitle: 'Map.set', work: 10_000, unit: 'rows' }],
    run: inPage('insert'),
  },
  {
    name: 'durable',
    lines: [
      { key: 'together', title: '1,000 durable transactions, issued together', floorTitle: 'one IndexedDB record that holds them', work: 1_000, unit: 'tx' },
      { key: 'one-by-one', title: '1,000 durable transactions, one by one', floorTitle: 'an IndexedDB transaction each', work: 1_000, unit: 'tx' },
    ],
    run: inPage('durable'),
  },
  {
    name: 'save',
    lines: [{ key: 'save', title: 'saving a file of 64 MiB', floorTitle: 'sync handle write, crypto.subtle, move', work: 64, unit: 'MiB' }],
    run: inPage('save'),
  },
  {
    name: 'serve',
    lines: [{ key: 'serve', title: '64 MiB from the service worker', floorTitle: 'respondWith(new Response(file))', work: 64, unit: 'MiB' }],
    run: serve,
  },
  {
    name: 'reload',
    lines: [{ key: 'reload', title: 'reload with 10,000 pending, until readable', floorTitle: 'getAll of 10,000 records into a Map', work: 10_000, unit: 'rows' }],
    run: reload,
  },
]

/** A measure that needs nothing but the page's own function of that name, called once a round. */
function inPage(name) {
  return async ({ page, runs, tick }) => {
    const samples = []
    for (let round = 0; round <= runs; round++) {
      const taken = await page.evaluate(([called, oursFirst]) => globalThis.bench[called](oursFirst), [name, round % 2 === 0])
      if (round > 0) samples.push(...taken)
      tick()
    }
    return samples
  }
}

/** One page can have one service worker: ours and the hand-written one have a page each. */
async function serve({ context, page, url, runs, tick }) {
  const other = await context.newPage()
  await other.goto(new URL('raw/', url).href)
  await page.evaluate(() => globalThis.bench.serve.prepareOurs())
  await other.evaluate(() => globalThis.bench.serve.prepareFloor())
  const samples = []
  for (let round = 0; round <= runs; round++) {
    const pages = round % 2 === 0 ? [page, other] : [other, page]
    const taken = []
    for (const each of pages) taken.push(await each.evaluate(() => globalThis.bench.serve.take()))
    const [ours, floor] = round % 2 === 0 ? taken : taken.reverse()
    if (round > 0) samples.push({ line: 'serve', ours, floor })
    tick()
  }
  return samples
}

/** The page is loaded anew for each sample, so that nothing is in memory. */
async function reload({ page, runs, tick }) {
  await page.evaluate(() => globalThis.bench.reload.prepare())
  const samples = []
  for (let round = 0; round <= runs; round++) {
    await page.reload()
    const sample = await page.evaluate(oursFirst => globalThis.bench.reload.take(oursFirst), round % 2 === 0)
    if (round > 0) samples.push(sample)
    tick()
  }
  return samples
}
