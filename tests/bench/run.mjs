// The benchmarks: the package as built, in headless Chromium, against what the browser itself can do and against its peers, all in one run,
// so the ratios hold even where the machine is slow. Every result is checked: a wrong one makes the run fail, a slow one never does.
//
//   node tests/bench/run.mjs [--runs N] [--only NAME,NAME] [--no-peers] [--json FILE] [--chromium FILE]
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { buildPages } from './support/build.mjs'
import { installPeers } from './support/peers.mjs'
import { serve } from './support/serve.mjs'
import { seed, startSyncServer } from './support/sync-server.mjs'
import { table } from './support/table.mjs'
import { MEASURES, takeSamples } from './support/measures.mjs'

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    only: { type: 'string' },
    'no-peers': { type: 'boolean', default: false },
    json: { type: 'string' },
    chromium: { type: 'string', default: process.env['CHROMIUM'] ?? '/usr/bin/chromium' },
  },
})

/** Runs what was asked for in a folder of its own; the exit code says whether all results were right. */
async function main() {
  const { runs, chosen } = readOptions()
  installPeers()
  const folder = await mkdtemp(join(tmpdir(), 'driftline-bench-'))
  try {
    const failed = await runAll(folder, { runs, chosen })
    if (failed > 0) process.exitCode = 1
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Runs each measure in a profile of its own; returns how many gave a wrong result. */
async function runAll(folder, { runs, chosen }) {
  await buildPages(join(folder, 'pages'))
  const server = await serve(join(folder, 'pages'))
  const results = []
  let failed = 0
  let browser = ''
  // The server that rows are pulled from and pushed to, if some measure wants it.
  let syncServer
  try {
    const seeds = new Set(chosen.flatMap(measure => measure.seeds ?? []))
    if (chosen.some(measure => measure.seeds !== undefined)) {
      syncServer = await startSyncServer(new URL(server.url).origin)
      await seed(syncServer.url, seeds)
    }
    for (const measure of chosen) {
      const context = await chromium.launchPersistentContext(join(folder, measure.name), { executablePath: options.chromium, args: ARGUMENTS })
      context.setDefaultTimeout(MEASURE_TIMEOUT_MS)
      await context.addInitScript(url => { globalThis.syncUrl = url }, syncServer?.url)
      try {
        const pageOf = pages(context, server.url, measure.pages ?? {})
        browser = await (await pageOf('driftline')).evaluate(() => /Chrom\w+\/[\d.]+/.exec(navigator.userAgent)?.[0] ?? navigator.userAgent)
        process.stderr.write(`${measure.name} `)
        const samples = await takeSamples(measure, { pageOf, runs, withPeers: !options['no-peers'], tick: () => process.stderr.write('.') })
        process.stderr.write('\n')
        results.push(...summarise(measure, samples))
      } catch (error) {
        failed++
        console.error(`\n${measure.name}: ${error.stack ?? error}`)
      } finally {
        await context.close()
      }
    }
  } finally {
    await server.close()
    await syncServer?.stop()
  }
  const load = loadavg().map(average => average.toFixed(1)).join(' ')
  console.log(table(results, options['no-peers'] ? [] : PEERS))
  console.log(`medians of ${runs} rounds (slow peers: one) after one that is not counted; ${browser}, Node ${process.version}, load ${load}, ${new Date().toISOString()}`)
  const json = options.json ?? join(tmpdir(), 'driftline-bench.json')
  await writeFile(json, `${JSON.stringify({ browser, runs, load, at: new Date().toISOString(), failed, results }, null, 2)}\n`)
  console.log(`written to ${json}`)
  if (failed > 0) console.error(`${failed} of ${chosen.length} measures gave a wrong result`)
  return failed
}

/** The page of a contender: one for all of them, but for those that need their own. */
function pages(context, url, own) {
  const open = new Map()
  return contender => {
    const path = own[contender] ?? ''
    if (!open.has(path)) {
      open.set(path, (async () => {
        const page = await context.newPage()
        await page.goto(new URL(path, url).href)
        return page
      })())
    }
    return open.get(path)
  }
}

/** Medians of each line that a measure gives, by contender; the ratio is ours to the floor of the same round. */
function summarise(measure, samples) {
  return measure.lines.map(({ key, ...line }) => {
    const of = contender => samples.filter(sample => sample.contender === contender && sample.values[key] !== undefined)
    const medians = {}
    for (const contender of measure.contenders) {
      const values = of(contender).map(sample => sample.values[key])
      if (values.length > 0) medians[contender] = median(values)
    }
    if (medians.driftline === undefined) throw new Error(`${measure.name} gave no sample of ${key}`)
    const floors = new Map(of('raw').map(({ round, values }) => [round, values[key]]))
    const ratios = of('driftline').filter(({ round }) => floors.has(round)).map(({ round, values }) => values[key] / floors.get(round))
    return {
      measure: measure.name, key, ...line, medians,
      ...(ratios.length === 0 ? {} : { ratio: { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) } }),
      ...(line.work === undefined ? {} : { rate: (line.work / medians.driftline) * 1000 }),
      samples: samples.filter(sample => sample.values[key] !== undefined).map(({ contender, round, values }) => ({ contender, round, value: values[key] })),
    }
  })
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function readOptions() {
  const runs = Number(options.runs)
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs takes a count from 1 on, not ${options.runs}`)
  const names = options.only?.split(',') ?? MEASURES.map(measure => measure.name)
  const chosen = names.map(name => {
    const measure = MEASURES.find(candidate => candidate.name === name)
    if (measure === undefined) throw new Error(`no measure is called ${name}: there are ${MEASURES.map(known => known.name).join(', ')}`)
    return measure
  })
  return { runs, chosen }
}

const PEERS = [
  { name: 'tanstack', title: 'TanStack offline-tx' },
  { name: 'tanstackLocal', title: 'TanStack local-only' },
  { name: 'replicache', title: 'Replicache' },
]
/** The slowest peer takes minutes for one sample. */
const MEASURE_TIMEOUT_MS = 600_000
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']

await main()
