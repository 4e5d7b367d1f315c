/** Resolves once the condition holds; fails after a time that no machine needs. */
export async function until(condition, patienceMs = 60_000) {
  const end = Date.now() + patienceMs
  while (!await condition()) {
    if (Date.now() > end) throw new Error(`after ${patienceMs} ms still not: ${condition}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
