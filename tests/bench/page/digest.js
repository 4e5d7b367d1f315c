// SHA-256 as the browser has it; on its own, so that the raw worker is not bundled with Driftline.

/** The SHA-256 of bytes, in hex. */
export async function digest(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(hash, byte => byte.toString(16).padStart(2, '0')).join('')
}
