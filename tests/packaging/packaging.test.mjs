// The package as a user gets it: packed, installed into empty apps outside this checkout, and built by real bundlers.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
const entries = Object.keys(manifest.exports).filter(entry => /^\.(\/[\w-]+)?$/.test(entry))
const bin = (tool, file) => path.join(root, 'node_modules', tool, file)

const scratch = mkdtempSync(path.join(os.tmpdir(), 'driftline-packaging-'))
const app = path.join(scratch, 'app')
const installed = path.join(app, 'node_modules/driftline')

before(async () => {
  await run('npm', ['pack', '--silent', '--pack-destination', scratch], { cwd: root })
  const [tarball] = readdirSync(scratch).filter(name => name.endsWith('.tgz'))
  mkdirSync(app)
  write('package.json', JSON.stringify({ name: 'app', private: true, type: 'module' }))
  // driftline/react is for apps that have React.
  const react = ['react', '@types/react'].map(name => `${name}@${manifest.devDependencies[name]}`)
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', path.join(scratch, tarball), ...react], { cwd: app })
  write('index.html', '<!doctype html><title>app</title><script type="module" src="/main.js"></script>')
  write('main.js', `
    import { openDriftline } from 'driftline'
    openDriftline({ name: 'app' }).then(db => { document.title = String(db.status.value.pending) })
  `)
})

after(() => rmSync(scratch, { recursive: true, force: true }))

test('every path that the exports map names is in the package', () => {
  const files = listFiles(installed)
  const targets = Object.values(manifest.exports).flatMap(target => (typeof target === 'string' ? [target] : Object.values(target)))
  assert.ok(targets.length > 0)
  for (const target of targets) {
    const pattern = new RegExp(`^${target.replace(/^\.\//, '').replace(/[.+]/g, '\\$&').replace('*', '[^/]+')}$`)
    assert.ok(files.some(file => pattern.test(file)), `${target} is not packed; there are ${files.join(', ')}`)
  }
})

test('nothing in the package names a path of the machine that built it', () => {
  const forbidden = [root.replace(/\/$/, ''), process.env.CARGO_HOME, path.join(os.homedir(), '.cargo')].filter(Boolean)
  for (const file of listFiles(installed)) {
    const bytes = readFileSync(path.join(installed, file))
    for (const text of forbidden) assert.ok(!bytes.includes(text), `${file} holds a path of this machine`)
  }
})

for (const entry of entries) {
  const specifier = path.posix.join('driftline', entry)
  test(`importing ${specifier} in plain Node, without a DOM, does not throw`, async () => {
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', `
      const names = Object.keys(await import('${specifier}'))
      console.log(JSON.stringify(names))
    `], { cwd: app })
    assert.ok(JSON.parse(stdout).length > 0, `${specifier} exports nothing`)
  })
}

for (const entry of entries) {
  const specifier = path.posix.join('driftline', entry)
  // The other entries are for pages; a service worker has other globals.
  const globals = entry === './sw' ? 'webworker,webworker.iterable' : 'dom,dom.iterable'
  test(`the types of ${specifier} hold in an app that checks its libraries too`, async () => {
    const file = `types-${path.basename(entry)}.ts`.replace('..', '.')
    write(file, `import * as entry from '${specifier}'\nexport { entry }\n`)
    for (const resolution of [['--module', 'esnext', '--moduleResolution', 'bundler'], ['--module', 'nodenext']]) {
      const options = ['--strict', '--noEmit', '--target', 'es2022', '--lib', `es2023,${globals}`, '--types', '', ...resolution]
      await runOrShow(process.execPath, [bin('typescript', 'bin/tsc'), ...options, file])
    }
  })
}

test('a Vite app builds, with the worker and the wasm file among its assets', async () => {
  // On a busy machine the bundler warns that it was slow.
  write('vite.config.js', 'export default { build: { rolldownOptions: { checks: { bundlerTimings: false } } } }')
  const { stdout, stderr } = await runOrShow(process.execPath, [bin('vite', 'bin/vite.js'), 'build', '--logLevel', 'warn'])
  assert.equal(stdout.trim() + stderr.trim(), '', 'Vite warns of nothing')
  const assets = readdirSync(path.join(app, 'dist/assets'))
  assert.ok(assets.some(name => /^client-.*\.wasm$/.test(name)), `the page's wasm file is not among ${assets}`)
  assert.ok(assets.some(name => /^worker-.*\.js$/.test(name)), `the worker is not among ${assets}`)
})

test('with the plugin, Vite’s build has the ready service worker where the page looks for it, and warns of nothing', async () => {
  write('with-plugin.config.js', `
    import { driftline } from 'driftline/vite'
    export default { base: '/app/', plugins: [driftline({ serviceWorker: '/workers/files.js' })], build: { outDir: 'with-plugin', rolldownOptions: { checks: { bundlerTimings: false } } } }
  `)
  const { stdout, stderr } = await runOrShow(process.execPath, [bin('vite', 'bin/vite.js'), 'build', '--logLevel', 'warn', '--config', 'with-plugin.config.js'])
  assert.equal(stdout.trim() + stderr.trim(), '', 'Vite warns of nothing')
  const emitted = path.join(app, 'with-plugin/workers/files.js')
  const source = readFileSync(emitted, 'utf8')
  assert.ok(readFileSync(path.join(installed, 'dist/sw.js'), 'utf8').startsWith(source.trimEnd()))
  assert.doesNotMatch(source, /sourceMappingURL/)
  await run(process.execPath, ['--check', emitted])
})

test('with the plugin, Vite’s dev server gives the service worker, the library as it is, and its wasm file', async () => {
  const { driftline } = await import(pathToFileURL(path.join(installed, 'dist/vite.js')).href)
  const { createServer } = await import('vite')
  const server = await createServer({ root: app, configFile: false, logLevel: 'error', plugins: [driftline()], server: { port: 0, host: '127.0.0.1', ws: false } })
  try {
    await server.listen()
    const { port } = server.httpServer.address()
    const get = async at => {
      const answer = await fetch(`http://127.0.0.1:${port}${at}`)
      return { type: answer.headers.get('content-type'), text: await answer.text() }
    }
    const worker = await get('/driftline-sw.js')
    assert.match(worker.type, /^text\/javascript/)
    assert.ok(readFileSync(path.join(installed, 'dist/sw.js'), 'utf8').startsWith(worker.text.trimEnd()))
    const page = await get('/main.js')
    const [, library] = /["'](\/[^"']*driftline[^"']*)["']/.exec(page.text) ?? []
    assert.equal(library?.replace(/\?.*$/, ''), '/node_modules/driftline/dist/index.js', 'it is not bundled ahead, away from its files')
    const { text } = await get(library)
    const [, wasm] = /new URL\(["']([^"']*client\.wasm)["']/.exec(text) ?? []
    assert.ok(wasm !== undefined, 'the library says where its wasm file is')
    const file = await get(new URL(wasm, `http://localhost${library}`).pathname)
    assert.equal(file.type, 'application/wasm')
  } finally {
    await server.close()
  }
})

test('an esbuild app builds without a warning', async () => {
  const { stderr } = await runOrShow(bin('esbuild', 'bin/esbuild'), ['main.js', '--bundle', '--format=esm', '--outfile=out/main.js', '--log-level=warning'])
  assert.equal(stderr.trim(), '')
  assert.match(readFileSync(path.join(app, 'out/main.js'), 'utf8'), /wasm\/client\.wasm/)
})

test('the ready service worker is one script that needs no other file', async () => {
  const source = readFileSync(path.join(installed, 'dist/sw.js'), 'utf8')
  assert.doesNotMatch(source, /^\s*(import|export)\b/m)
  assert.doesNotMatch(source, /\bimportScripts\(/)
  await run(process.execPath, ['--check', path.join(installed, 'dist/sw.js')])
})

function write(name, text) {
  writeFileSync(path.join(app, name), text)
}

function listFiles(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => path.relative(folder, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'))
}

/** Runs in the app; a failure shows what the tool said. */
async function runOrShow(program, words) {
  try {
    return await run(program, words, { cwd: app })
  } catch (error) {
    throw new Error(`${words.join(' ')}\n${error.stdout ?? ''}${error.stderr ?? ''}`, { cause: error })
  }
}
