// Makes dist/: bundles js/ and sw/ with the glue that wasm-pack left under target/, copies the wasm files, emits the types.
// `cargo xtask build` calls it; the glue must be there before.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')

/** What the package holds: source, output, format. The ready service worker runs as a classic script and as a module. */
const bundles = [
  { source: 'js/index.ts', out: 'index.js', format: 'esm' },
  { source: 'js/react.ts', out: 'react.js', format: 'esm', over: 'js/index.ts' },
  { source: 'js/testing.ts', out: 'testing.js', format: 'esm', over: 'js/index.ts' },
  { source: 'js/devtools.ts', out: 'devtools.js', format: 'esm', over: 'js/index.ts' },
  { source: 'js/vite.ts', out: 'vite.js', format: 'esm' },
  { source: 'js/worker.ts', out: 'worker.js', format: 'esm', standsAlone: true },
  { source: 'sw/index.ts', out: 'sw/index.js', format: 'esm' },
  { source: 'sw/ready.ts', out: 'sw.js', format: 'iife', standsAlone: true },
]
const wasmFiles = ['client', 'worker', 'sw']
const typeProjects = ['tsconfig.json', 'tsconfig.worker.json']

await main()

async function main() {
  const missing = [
    ...bundles.map(({ source }) => source),
    ...wasmFiles.map(name => wasmSource(name)),
  ].filter(file => !existsSync(join(root, file)))
  if (missing.length > 0) fail(`these are missing, and dist/ was left as it is: ${missing.join(', ')}`)

  rmSync(dist, { recursive: true, force: true })
  for (const bundle of bundles) await bundleOne(bundle)
  mkdirSync(join(dist, 'wasm'), { recursive: true })
  for (const name of wasmFiles) copyFileSync(join(root, wasmSource(name)), join(dist, 'wasm', `${name}.wasm`))
  for (const project of typeProjects) tsc(project)
}

/**
 * A bundle that stands alone is loaded by its URL, so it takes its dependencies in and is minified.
 * One over another imports that one's output: classes are there once, so that `instanceof` holds across entries.
 */
async function bundleOne({ source, out, format, over, standsAlone = false }) {
  await build({
    absWorkingDir: root,
    entryPoints: [source],
    outfile: join(dist, out),
    format,
    bundle: true,
    platform: 'browser',
    target: 'es2022',
    packages: standsAlone ? 'bundle' : 'external',
    plugins: [ownImports(), ...(over === undefined ? [] : [importOutput(over)])],
    loader: { '.wasm': 'binary' },
    minify: standsAlone,
    sourcemap: true,
    legalComments: 'none',
    logLevel: 'warning',
  })
  if (/new URL\(["'`][^"'`]*_bg\.wasm/.test(readFileSync(join(dist, out), 'utf8'))) {
    fail(`${out} holds the glue's own URL of a wasm file, which bundlers would try to resolve: see omit-default-module-path`)
  }
}

/** Resolves `#wasm/...` as package.json's `imports` does, also where packages stay external: it is none of another's. */
function ownImports() {
  const resolve = ({ path }) => ({ path: join(root, 'target/wasm-pack', path.slice('#wasm/'.length)) })
  return { name: 'own-imports', setup: ({ onResolve }) => onResolve({ filter: /^#wasm\// }, resolve) }
}

/** Leaves imports of another bundle's source as imports of its output, which stands in the same folder. */
function importOutput(source) {
  const { out } = bundles.find(bundle => bundle.source === source)
  const resolve = ({ path, resolveDir }) => (join(resolveDir, path) === join(root, source) ? { path: `./${out}`, external: true } : undefined)
  return { name: 'import-output', setup: ({ onResolve }) => onResolve({ filter: /^\./ }, resolve) }
}

function wasmSource(name) {
  return `target/wasm-pack/${name}/${name}_bg.wasm`
}

function tsc(project) {
  try {
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--project', project], { cwd: root, stdio: 'inherit' })
  } catch {
    fail(`tsc --project ${project} found errors`)
  }
}

function fail(message) {
  console.error(`${basename(import.meta.url)}: ${message}`)
  process.exit(1)
}
