import type { Masked, Masker } from './mask.ts'

/** A body as it may be downloaded: bit for bit, unless it has values that are hidden. */
export function maskedBody(body: Uint8Array, mask: Masker): Uint8Array {
  const value = parsed(body)
  if (typeof value !== 'object' || value === null) return body
  const { value: masked, hidden } = maskedEnvelope(value, mask)
  return hidden.length === 0 ? body : Buffer.from(JSON.stringify(masked))
}

/** The payload is the body itself, or the `data` of a CloudEvent. */
export function maskedEnvelope(value: object, mask: Masker): Masked {
  const type: unknown = Reflect.get(value, 'event_type') ?? Reflect.get(value, 'type')
  const eventType = typeof type === 'string' ? type : undefined
  const whole = mask.payload(value, eventType)
  if (typeof whole.value !== 'object' || whole.value === null) return whole
  const data: unknown = Reflect.get(whole.value, 'data')
  if (typeof data !== 'object' || data === null) return whole
  const inner = mask.payload(data, eventType)
  return {
    value: { ...whole.value, data: inner.value },
    hidden: [...new Set([...whole.hidden, ...inner.hidden])].toSorted((a, b) => b.length - a.length),
  }
}

/** What a body says in JSON; undefined if it is none. */
export function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'))
  } catch {
    return undefined // not JSON: nothing in it has a name by which it could be hidden
  }
}

/** The texts that are hidden in a body. */
export function hiddenIn(body: Uint8Array, mask: Masker): readonly string[] {
  const value = parsed(body)
  return typeof value === 'object' && value !== null ? maskedEnvelope(value, mask).hidden : []
}
