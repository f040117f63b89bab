import { MASK, type Masked, type Masker } from './mask.ts'

/** A body as it may be downloaded: bit for bit, unless it has something to hide. */
export function maskedBody(body: Uint8Array, mask: Masker): Uint8Array {
  const value = parsed(body)
  if (value === undefined) return mask.namesSecret(textOf(body)) ? Buffer.from(MASK) : body
  if (typeof value !== 'object' || value === null) return body
  const { value: masked, isChanged } = maskedEnvelope(value, mask)
  return isChanged ? Buffer.from(JSON.stringify(masked)) : body
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
    hidesField: whole.hidesField || inner.hidesField,
    isChanged: whole.isChanged || inner.isChanged,
  }
}

/** What a body says in JSON; undefined if it is none. */
export function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(textOf(body))
  } catch {
    return undefined // not JSON
  }
}

function textOf(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
}

/** The texts that are hidden in a body. */
export function hiddenIn(body: Uint8Array, mask: Masker): readonly string[] {
  const value = parsed(body)
  return typeof value === 'object' && value !== null ? maskedEnvelope(value, mask).hidden : []
}
