import { nonEmptyText, optional, resolveOptions, suggestion } from '../../kit/options.ts'
import type { Logger } from '../../observability/logger.ts'
import type { GroupInfo, TransportAdmin } from '../../transport/admin.ts'
import { GroupInUseError, GroupNotFoundError } from '../errors.ts'
import type { BusAdmin, DeleteGroupOptions } from './bus-admin.ts'

/** The operator's calls over a transport. */
export class Operator implements BusAdmin {
  readonly #transport: TransportAdmin
  readonly #logger: Logger

  constructor(transport: TransportAdmin, logger: Logger) {
    this.#transport = transport
    this.#logger = logger
  }

  groups(): Promise<readonly GroupInfo[]> {
    return this.#transport.groups()
  }

  async group(name: string): Promise<GroupInfo> {
    const groups = await this.groups()
    const found = groups.find((group) => group.name === name)
    if (found !== undefined) return found
    const known = groups.map((group) => group.name)
    throw new GroupNotFoundError(name, known.length === 0 ? ' (there are none)' : suggestion(name, known))
  }

  async deleteGroup(name: string, options: DeleteGroupOptions = {}): Promise<GroupInfo> {
    const defaults = { by: undefined as string | undefined, reason: undefined as string | undefined }
    const rules = { by: optional(nonEmptyText), reason: optional(nonEmptyText) }
    const { by, reason } = resolveOptions('admin.deleteGroup', options, defaults, rules)
    const group = await this.group(name)
    if (!(await this.#transport.deleteGroup(name))) throw new GroupInUseError(name, group.members)
    const { lag, retriesWaiting } = group
    this.#logger.warn('consumer group deleted', { consumerGroup: name, lag, retriesWaiting, by, reason })
    return group
  }
}
