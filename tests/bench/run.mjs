// The benchmarks: the package as built, in headless Chromium, against what the browser itself can do. Ours and the floor are
// measured in turn in one run, so the ratio holds even where the machine is slow. Every result is checked: a wrong one makes the
// run fail, a slow one never does.
//
//   node tests/bench/run.mjs [--runs N] [--only NAME,NAME] [--json FILE] [--chromium FILE]
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { buildPages } from './support/build.mjs'
import { serve } from './support/serve.mjs'
import { table } from './support/table.mjs'
import { MEASURES } from './support/measures.mjs'

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    only: { type: 'string' },
    json: { type: 'string' },
    chromium: { type: 'string', default: process.env['CHROMIUM'] ?? '/usr/bin/chromium' },
  },
})

/** Runs what was asked for in a folder of its own; the exit code says whether all results were right. */
async function main() {
  const folder = await mkdtemp(join(tmpdir(), 'driftline-bench-'))
  try {
    const failed = await runAll(folder, readOptions())
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
  try {
    for (const measure of chosen) {
      const context = await chromium.launchPersistentContext(join(folder, measure.name), { executablePath: options.chromium, args: ARGUMENTS })
      try {
        const page = context.pages()[0] ?? await context.newPage()
        page.setDefaultTimeout(MEASURE_TIMEOUT_MS)
        await page.goto(server.url)
        browser = await page.evaluate(() => /Chrom\w+\/[\d.]+/.exec(navigator.userAgent)?.[0] ?? navigator.userAgent)
        process.stderr.write(`${measure.name} `)
        const samples = await measure.run({ context, page, url: server.url, runs, tick: () => process.stderr.write('.') })
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
  }
  console.log(table(results))
  console.log(`medians of ${runs} runs after one that is not counted; ${browser}, Node ${process.version}, ${new Date().toISOString()}`)
  const json = options.json ?? join(tmpdir(), 'driftline-bench.json')
  await writeFile(json, `${JSON.stringify({ browser, runs, at: new Date().toISOString(), failed, results }, null, 2)}\n`)
  console.log(`written to ${json}`)
  if (failed > 0) console.error(`${failed} of ${chosen.length} measures gave a wrong result`)
  return failed
}

/** Medians and spread of each line that a measure gives, from its samples `{ line, ours, floor }` in ms. */
function summarise(measure, samples) {
  return measure.lines.map(({ key, title, floorTitle, work, unit }) => {
    const own = samples.filter(sample => sample.line === key)
    if (own.length === 0) throw new Error(`${measure.name} gave no sample of ${key}`)
    const ours = median(own.map(sample => sample.ours))
    const floor = median(own.map(sample => sample.floor))
    const ratios = own.map(sample => sample.ours / sample.floor)
    return {
      key, title, floorTitle, ours, floor, ratio: median(ratios), ratioMin: Math.min(...ratios), ratioMax: Math.max(...ratios),
      rate: (work / ours) * 1000, unit, samples: own,
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

const MEASURE_TIMEOUT_MS = 300_000
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']

await main()
