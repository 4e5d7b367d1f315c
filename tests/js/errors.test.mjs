// Errors are what the generated list of codes says, and importing the package where there is no DOM does no harm.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { AuthRequiredError, DriftlineError, NetworkError, NonRetriableError, RetryAfterError, init, mizu, openDriftline } from '../../dist/index.js'

test('an error is retryable as the list of codes says', async () => {
  const list = await readFile(new URL('../../js/codes.ts', import.meta.url), 'utf8')
  const codes = [...list.matchAll(/^ {2}(\w+): (true|false),$/gm)]
  assert.ok(codes.length > 25)
  for (const [, code, retryable] of codes) assert.equal(new DriftlineError(code, 'x').retryable, retryable === 'true', code)
})

test('an error says what it is, what caused it, and carries its figures', () => {
  const cause = new Error('deep')
  const error = new DriftlineError('too_large', 'It is too large.', { cause, limitBytes: 8, sizeBytes: 9 })
  assert.ok(error instanceof Error)
  assert.deepEqual([error.name, error.code, error.retryable, error.cause, error.limitBytes, error.sizeBytes], ['DriftlineError', 'too_large', false, cause, 8, 9])
  assert.equal('path' in error, false, 'what does not apply is not there')
})

test('the errors for an app’s functions have names, and derive from the one base', () => {
  const errors = [new NonRetriableError('no'), new RetryAfterError('later', 5_000), new AuthRequiredError(), new NetworkError()]
  assert.deepEqual(errors.map(error => [error.name, error.code, error.retryable]), [
    ['NonRetriableError', 'non_retriable', false], ['RetryAfterError', 'retry_after', true], ['AuthRequiredError', 'auth_required', true], ['NetworkError', 'network', true],
  ])
  for (const error of errors) assert.ok(error instanceof DriftlineError)
  assert.equal(errors[1].afterMs, 5_000)
})

test('without a DOM the package imports, and what needs one says so by a rejection', async () => {
  assert.equal(typeof init, 'function')
  assert.equal(mizu({ url: 'https://sync.example/base/', scope: 's' }).url, 'https://sync.example/base')
  await assert.rejects(openDriftline({ name: '' }), { code: 'unexpected' })
  await assert.rejects(openDriftline({ name: 'a', seed: new Uint8Array(3) }), { code: 'unexpected' })
  await assert.rejects(openDriftline({ name: 'a' }), { code: 'storage_unavailable' })
  await assert.rejects(init(new Uint8Array([1, 2, 3])), { code: 'not_initialized' })
})
