// Bundles the benchmark's pages with the package as built, and puts Driftline's own worker, service worker and wasm beside them.
import { cp, mkdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const bench = join(dirname(fileURLToPath(import.meta.url)), '..')
const library = join(bench, '../../dist')

/** Writes all that the benchmark's server serves into `folder`. */
export async function buildPages(folder) {
  await stat(join(library, 'index.js')).catch(() => { throw new Error('dist/ is not built: run `npm run build` first') })
  await mkdir(join(folder, 'raw'), { recursive: true })
  await build({
    entryPoints: { bench: join(bench, 'page/bench.js'), 'raw-save-worker': join(bench, 'page/raw-save-worker.js'), 'raw/sw': join(bench, 'page/raw-sw.js') },
    // The folder has a package of its own, for the peers, so that the name alone would not lead to the package around it.
    alias: { driftline: join(library, 'index.js') },
    outdir: folder, bundle: true, format: 'esm', minify: true, target: 'es2022', logLevel: 'warning',
  })
  for (const name of ['worker.js', 'wasm']) await cp(join(library, name), join(folder, name), { recursive: true })
  await cp(join(library, 'sw.js'), join(folder, 'driftline-sw.js'))
  for (const name of ['index.html', 'raw/index.html']) await writeFile(join(folder, name), PAGE)
}

const PAGE = '<!doctype html><meta charset="utf-8"><title>Driftline benchmarks</title><script type="module" src="/bench.js"></script>\n'
