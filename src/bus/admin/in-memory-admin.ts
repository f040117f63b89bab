import type { EventClassLookup } from '../../codec/index.ts'
import type { TransportAdmin } from '../../transport/admin.ts'
import type { MessageReader } from './browsed-message.ts'
import type { EventRing } from './event-ring.ts'

/** @param ring - undefined if the bus keeps no events. */
export async function loadRingAdmin(ring: EventRing | undefined): Promise<TransportAdmin> {
  const { RingAdmin } = await import('./ring-admin.ts')
  return new RingAdmin(ring)
}

export async function loadRingReader(classFor: EventClassLookup): Promise<MessageReader> {
  const { RING_CODEC } = await import('./ring-admin.ts')
  return { codec: RING_CODEC, classFor }
}
