// Fills tests/fuzz/corpus with the texts of the transcripts, each a file, for every target: `node tests/fuzz/corpus.mjs`.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const transcripts = `${here}../vectors/transcripts`
const targets = readdirSync(`${here}fuzz_targets`).map(file => file.replace('.rs', ''))

for (const target of targets) mkdirSync(`${here}corpus/${target}`, { recursive: true })
for (const file of readdirSync(transcripts)) {
  for (const line of readFileSync(`${transcripts}/${file}`, 'utf8').split('\n').filter(Boolean)) {
    const { raw, body, sse, chunk } = JSON.parse(line)
    for (const text of [raw, body, sse, chunk].filter(text => typeof text === 'string')) {
      const name = createHash('sha256').update(text).digest('hex').slice(0, 16)
      for (const target of targets) writeFileSync(`${here}corpus/${target}/${name}`, text)
    }
  }
}
