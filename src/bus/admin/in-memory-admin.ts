import type { EventClassLookup } from '../../codec/index.ts'
import type { TransportAdmin } from '../../transport/admin.ts'
import type { PresenceStore } from '../../transport/presence.ts'
import type { MessageReader } from './browsed-message.ts'
import type { EventRing } from './event-ring.ts'
import type { OwnActivity } from './own-presence.ts'

/** @param ring - undefined if the bus keeps no events. */
export async function loadRingAdmin(ring: EventRing | undefined): Promise<TransportAdmin> {
  const { RingAdmin } = await import('./ring-admin.ts')
  return new RingAdmin(ring)
}

export async function loadRingReader(classFor: EventClassLookup): Promise<MessageReader> {
  const { RING_CODEC } = await import('./ring-admin.ts')
  return { codec: RING_CODEC, classFor }
}

export async function loadOwnPresence(activity: OwnActivity): Promise<Pick<PresenceStore, 'list'>> {
  const { ownPresence } = await import('./own-presence.ts')
  return ownPresence(activity)
}
