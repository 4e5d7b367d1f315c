// The examples as documents: they are well typed against the package, and README.md shows the smallest one as it is.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = name => readFileSync(path.join(root, name), 'utf8')

for (const project of ['examples/demo/tsconfig.json', 'examples/demo/tsconfig.sw.json', 'examples/minimal/tsconfig.json', 'examples/react-minimal/tsconfig.json', 'examples/testing/tsconfig.json', 'tests/types/tsconfig.json']) {
  test(`${project} is well typed against the built package`, () => {
    const tsc = path.join(root, 'node_modules/typescript/bin/tsc')
    try {
      execFileSync(process.execPath, [tsc, '--project', project], { cwd: root, stdio: 'pipe' })
    } catch (error) {
      assert.fail(`${error.stdout}${error.stderr}`)
    }
  })
}

test('README.md quotes the smallest example word by word', () => {
  const code = read('examples/minimal/main.ts')
  assert.ok(read('README.md').includes(`\`\`\`ts\n${code}\`\`\`\n`), 'README.md and examples/minimal/main.ts differ')
})

test('README.md’s links to files of this repository lead somewhere', () => {
  const links = [...read('README.md').matchAll(/\]\(([^)#:]+)\)/g)].map(([, target]) => target)
  assert.ok(links.length > 0)
  for (const target of links) assert.ok(statSync(path.join(root, target)), target)
})
