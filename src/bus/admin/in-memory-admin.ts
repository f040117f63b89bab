import type { TransportAdmin } from '../../transport/admin.ts'

/** The bus in memory has no consumer groups: `publish` runs the handlers. */
export const NO_GROUPS: TransportAdmin = {
  groups: () => Promise.resolve([]),
  deleteGroup: () => Promise.resolve(true),
}
