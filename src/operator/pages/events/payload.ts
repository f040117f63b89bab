import type { BrowsedEvent } from '../../../browsing/index.ts'
import { BrokerEventBus, type EventBus } from '../../../bus/index.ts'
import type { Masker } from '../../mask.ts'
import { maskedBody, maskedEnvelope, parsed } from '../../masked-body.ts'

/** The payload of an event, without what is masked; undefined if the body is no event. */
export function payloadOf(
  found: Pick<BrowsedEvent, 'headers' | 'body'>,
  bus: EventBus,
  mask: Masker,
): unknown {
  const stored = bus instanceof BrokerEventBus ? bus.deadLetters.storedEvent(found) : undefined
  if (stored !== undefined) return mask.payload(stored.data, stored.eventType).value
  const value = parsed(found.body)
  return typeof value === 'object' && value !== null ? maskedEnvelope(value, mask).value : undefined
}

/** False for an event in which only a masked value has the text, so that a search does not find out what it is. */
export function showsText(
  found: Pick<BrowsedEvent, 'headers' | 'body'>,
  text: string | undefined,
  mask: Masker,
): boolean {
  if (text === undefined) return true
  const value = parsed(found.body)
  if (typeof value !== 'object' || value === null) return maskedBody(found.body, mask) === found.body
  const masked = maskedEnvelope(value, mask)
  return !masked.isChanged || JSON.stringify(masked.value).includes(text)
}
