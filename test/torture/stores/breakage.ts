import type { LeaseStore, ListedCheckpoints, Stores } from '../../../src/index.ts'

/** A fault that is planted, so that the judge has something to find. */
export type StoreBreakage = 'confirmsEarly' | 'checkpointsAhead' | 'leasesToAll' | 'naiveFeed'

/** Stores that break a promise. */
export function brokenStores(whole: Stores, breakage: StoreBreakage | undefined): Stores {
  if (breakage === 'checkpointsAhead') return withParts(whole, { checkpoints: ahead(whole) })
  if (breakage === 'leasesToAll')
    return withParts(whole, { leases: forAll(whole), checkpoints: careless(whole) })
  return whole
}

function withParts(whole: Stores, parts: Partial<Stores>): Stores {
  return new Proxy(whole, {
    get(target, key) {
      const member: unknown = Reflect.get(key in parts ? parts : target, key)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

/** Saves positions up to which not all is handled. */
function ahead({ checkpoints, events }: Stores): ListedCheckpoints {
  return {
    list: () => checkpoints.list(),
    load: (name) => checkpoints.load(name),
    save: async (name, checkpoint) => {
      const [present, head] = [await checkpoints.load(name), await events.headPosition()]
      const position = Math.min(head, checkpoint.position + 30)
      const saved = { ...checkpoint, position, eventId: undefined, fence: undefined }
      await checkpoints.save(name, saved, present?.position)
    },
  }
}

function forAll({ leases }: Stores): LeaseStore {
  return {
    acquire: async () => ({ fence: 1 }),
    release: async () => undefined,
    onRelease: (listener) => leases.onRelease(listener),
  }
}

/** Saves regardless of the checkpoint that another instance has saved. */
function careless({ checkpoints }: Stores): ListedCheckpoints {
  return {
    list: () => checkpoints.list(),
    load: (name) => checkpoints.load(name),
    save: async (name, checkpoint) => {
      const present = await checkpoints.load(name)
      await checkpoints.save(name, { ...checkpoint, fence: undefined }, present?.position)
    },
  }
}
