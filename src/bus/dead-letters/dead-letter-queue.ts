import type { EventCodec } from '../../codec/index.ts'
import type { GenericEvent } from '../../events/index.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import { resolveOptions } from '../../kit/options.ts'
import { everyLetter } from '../../transport/dead-letter-store.ts'
import type { DeadLetterStore, ReplayRequest, StoredDeadLetter } from '../../transport/transport.ts'
import type { Actor, AuditTrail, Change } from '../audit.ts'
import { HandlerNotFoundError } from '../errors.ts'
import { type BulkChange, changeAll } from './bulk-change.ts'
import {
  type BulkOptions,
  type BulkProgress,
  bulkDefaults,
  bulkRules,
  type ResolvedBulkOptions,
} from './bulk-options.ts'
import { checkId } from './check-id.ts'
import type { DeadLetter } from './dead-letter.ts'
import { checkFilter, checkWhich, type DeadLetterFilter } from './dead-letter-filter.ts'
import { type DeadLetterSummary, SummaryBuilder } from './dead-letter-summary.ts'
import { LetterReader } from './describe-letter.ts'
import { type EventEdit, editedEvent } from './edited-replay.ts'
import { exportLetters } from './export-letters.ts'
import { type ExportedLetter, exportedLetter } from './exported-letter.ts'
import { IMPORT, importLetters } from './import-letters.ts'
import {
  changeOf,
  type DeadLetterList,
  type DeadLetterListOptions,
  type destination,
  importDefaults,
  importRules,
  listDefaults,
  listRules,
  READ_ONLY,
  type ReplayAllOptions,
  type ReplayEditedOptions,
  type ReplayOneOptions,
  replayDefaults,
  replayEditedDefaults,
  replayEditedRules,
  replayOneDefaults,
  replayOneRules,
  replayRules,
  replayTargetOf,
  type SummaryOptions,
  summaryDefaults,
  summaryRules,
} from './queue-options.ts'
import { ReplayTargets } from './replay-targets.ts'

/**
 * Lists, replays, edits, exports and removes dead letters. Connects the bus if necessary; the bus does not have to consume.
 * Each change is recorded; see the option `audit` of the bus.
 */
export class DeadLetterQueue {
  readonly #store: DeadLetterStore
  readonly #codec: EventCodec
  readonly #handlers: HandlerRegistry
  readonly #group: string
  readonly #reader: LetterReader
  readonly #targets: ReplayTargets
  readonly #audit: AuditTrail
  readonly #connect: () => Promise<void>

  constructor(parts: {
    readonly store: DeadLetterStore
    readonly codec: EventCodec
    readonly handlers: HandlerRegistry
    readonly group: string
    readonly audit: AuditTrail
    readonly connect: () => Promise<void>
  }) {
    this.#store = parts.store
    this.#codec = parts.codec
    this.#handlers = parts.handlers
    this.#group = parts.group
    this.#reader = new LetterReader(parts.codec, parts.handlers.classFor)
    this.#targets = new ReplayTargets(parts.handlers, parts.group)
    this.#audit = parts.audit
    this.#connect = parts.connect
  }

  /** A page of dead letters, by default of all, oldest first. Reading changes nothing. */
  async list(options: DeadLetterListOptions = {}): Promise<DeadLetterList> {
    const { limit, cursor, order, filter, maxScanned, signal } = resolveOptions(
      'deadLetters.list',
      options,
      listDefaults,
      listRules,
    )
    checkFilter('deadLetters.list', filter)
    await this.#connect()
    const isUnfiltered = Object.keys(filter).length === 0
    const isPlain = order === 'oldest' && isUnfiltered
    const listing = {
      order,
      signal,
      maxScanned,
      group: filter.consumerGroup,
      matches: isUnfiltered
        ? everyLetter
        : (letter: StoredDeadLetter) => this.#reader.matches(letter, filter),
    }
    const page = await this.#store.list(limit, cursor, isPlain ? undefined : listing)
    return { deadLetters: page.letters.map((letter) => this.#reader.describe(letter)), cursor: page.cursor }
  }

  /** Reads one dead letter. @returns undefined if there is none with this id. */
  async get(id: string): Promise<DeadLetter | undefined> {
    checkId('get', id)
    await this.#connect()
    const letter = await this.#store.get(id)
    return letter === undefined ? undefined : this.#reader.describe(letter)
  }

  /** The event of a dead letter as it is stored, before upcasts; undefined if the body is no event. */
  storedEvent(letter: Pick<DeadLetter, 'headers' | 'body'>): GenericEvent | undefined {
    return this.#reader.storedEvent(letter)
  }

  /** Number of dead letters of all consumer groups, or of those that match, for which all are read. */
  async count(filter: DeadLetterFilter = {}): Promise<number> {
    checkFilter('deadLetters.count', filter)
    await this.#connect()
    if (Object.keys(filter).length === 0) return this.#store.count()
    const options = { ...bulkDefaults, dryRun: true }
    const { matched } = await changeAll(this.#store, this.#reader, {
      filter,
      options,
      verdict: () => 'remove',
    })
    return matched
  }

  /** Counts the dead letters by what they have in common, so that 8,000 dead letters are shown as 3 errors. */
  async summary(options: SummaryOptions = {}): Promise<DeadLetterSummary> {
    const resolved = resolveOptions('deadLetters.summary', options, summaryDefaults, summaryRules)
    const { by, filter, maxScanned, onProgress, signal } = resolved
    checkFilter('deadLetters.summary', filter)
    await this.#connect()
    const builder = new SummaryBuilder(by, this.#reader)
    let [scanned, matched, isComplete] = [0, 0, true]
    const total = onProgress === undefined ? 0 : await this.#store.count(filter.consumerGroup)
    const report = async () =>
      onProgress?.({ groups: builder.groups(), matched, scanned, isComplete: false, total })
    await this.#store.sweep(
      (letter) => {
        isComplete = scanned < maxScanned
        if (!isComplete) return 'end'
        scanned += 1
        if (!this.#reader.matches(letter, filter)) return 'keep'
        matched += 1
        builder.add(letter)
        return 'keep'
      },
      { ...READ_ONLY, group: filter.consumerGroup, onProgress: report, signal },
    )
    return { groups: builder.groups(), matched, scanned, isComplete: isComplete && !signal?.aborted }
  }

  /**
   * Gives a dead letter back to the consumer group and the handlers that failed, and to no others, unless the options name
   * others. A dead letter that eventsource-py wrote goes to all handlers of this bus's group. A crash in between can
   * replay it twice.
   *
   * @returns false if there is none with this id.
   * @throws HandlerNotFoundError if this bus has handlers of the group, and none that the dead letter is for.
   * @throws ConfigError
   */
  async replay(id: string, options: ReplayOneOptions = {}): Promise<boolean> {
    checkId('replay', id)
    const resolved = resolveOptions('deadLetters.replay', options, replayOneDefaults, replayOneRules)
    const request = this.#request(resolved)
    await this.#connect()
    const letter = this.#targets.isUnknown(request) ? undefined : await this.#store.get(id)
    const problem =
      letter === undefined ? undefined : this.#targets.problemOf(this.#reader.describe(letter), request)
    if (problem !== undefined) throw new HandlerNotFoundError(problem, { ids: [id], replayed: 0 })
    return this.#audit.record(changeOf('deadLetters.replay', { id }, resolved), async (changed) => {
      const isReplayed = await this.#store.replay(id, request)
      changed(isReplayed ? 1 : 0)
      return isReplayed
    })
  }

  /**
   * Replays an edited copy of a dead letter: a new event with a new id, caused by the event of the dead letter, for the same
   * consumer group and handlers. The schema of its class checks it. The dead letter is removed when the copy is stored.
   *
   * @returns the id of the new event, with `dryRun` one that is not used; undefined if there is no such dead letter.
   * @throws DecodeError if the schema refuses the payload, or the dead letter is no event.
   * @throws ConfigError if the class of the event is unknown here.
   * @throws HandlerNotFoundError
   */
  async replayEdited(
    id: string,
    edit: EventEdit,
    options: ReplayEditedOptions = {},
  ): Promise<{ readonly eventId: string } | undefined> {
    const { dryRun, ...resolved } = resolveOptions(
      'deadLetters.replayEdited',
      options,
      replayEditedDefaults,
      replayEditedRules,
    )
    const request = this.#request(resolved)
    await this.#connect()
    const letter = await this.#store.get(id)
    if (letter === undefined) return undefined
    const problem = this.#targets.problemOf(this.#reader.describe(letter), request)
    if (problem !== undefined) throw new HandlerNotFoundError(problem, { ids: [id], replayed: 0 })
    const { before, after } = editedEvent(letter, edit, this.#codec, this.#handlers.classFor)
    if (dryRun) return { eventId: after.eventId }
    const target = { id, eventId: before.eventId, newEventId: after.eventId }
    return this.#audit.record(changeOf('deadLetters.edit', target, resolved), async (changed) => {
      const message = this.#codec.encode(after)
      const isReplayed = await this.#store.replay(id, { ...request, message })
      changed(isReplayed ? 1 : 0)
      return isReplayed ? { eventId: after.eventId } : undefined
    })
  }

  /**
   * Replays all dead letters that match now, oldest first within a group. A replay that fails again during the call is not
   * repeated.
   * @returns the number of replayed dead letters; with `dryRun`, of those that match.
   * @throws HandlerNotFoundError at the end, if dead letters were left out because this bus has handlers of their group, and
   * none that they are for.
   * @throws MessageRefusedError at the end, if the broker refused dead letters.
   */
  async replayAll(filter: DeadLetterFilter = {}, options: ReplayAllOptions = {}): Promise<number> {
    checkFilter('deadLetters.replayAll', filter)
    const resolved = resolveOptions('deadLetters.replayAll', options, replayDefaults, replayRules)
    const request = this.#request(resolved)
    const problems = new Map<string, string>()
    const verdict = (letter: StoredDeadLetter) => {
      const problem = resolved.dryRun ? undefined : this.#problemOf(letter, request)
      if (problem !== undefined) problems.set(letter.id, problem)
      return problem === undefined ? request : undefined
    }
    const replayed = await this.#change('deadLetters.replay', { filter, options: resolved, verdict })
    const [problem] = problems.values()
    if (problem === undefined) return replayed
    throw new HandlerNotFoundError(problem, { ids: [...problems.keys()], replayed })
  }

  /** Decodes the dead letter only if the handlers of its group are here. */
  #problemOf(letter: StoredDeadLetter, request: ReplayRequest): string | undefined {
    if (this.#targets.isUnknown(request)) return undefined
    return this.#targets.problemOf(this.#reader.describe(letter), request)
  }

  #request({ handlers, group }: typeof destination): ReplayRequest {
    return { handlerNames: handlers, group, fallbackGroup: this.#group }
  }

  /**
   * Removes one dead letter by its id, or all that match a filter (`{}` matches all). This cannot be undone; `archive` keeps
   * a copy.
   * @returns the number of removed dead letters; with `dryRun`, of those that match.
   * @throws ConfigError without an argument, for an unknown filter field, and for a field that is undefined, because
   * such a call would remove more than intended.
   */
  async purge(which: string | DeadLetterFilter, options: BulkOptions = {}): Promise<number> {
    checkWhich('deadLetters.purge', which, 'removes')
    const resolved = resolveOptions('deadLetters.purge', options, bulkDefaults, bulkRules)
    if (typeof which !== 'string') {
      return this.#change('deadLetters.purge', { filter: which, options: resolved, verdict: () => 'remove' })
    }
    await this.#connect()
    if (resolved.dryRun) return (await this.#store.get(which)) === undefined ? 0 : 1
    return this.#audit.record(changeOf('deadLetters.purge', { id: which }, resolved), async (changed) => {
      const removed = await this.#store.remove([which])
      changed(removed)
      return removed
    })
  }

  /**
   * Removes the dead letters that match, after `write` has stored them elsewhere. If `write` rejects, its dead letters are
   * kept. After a crash in between, they are in both places.
   * @param write - resolves when the dead letters are safe; called with at most `batchSize` at once.
   * @returns the number of removed dead letters; with `dryRun`, of those that match.
   */
  async archive(
    filter: DeadLetterFilter,
    write: (letters: readonly ExportedLetter[]) => void | Promise<void>,
    options: BulkOptions = {},
  ): Promise<number> {
    checkWhich('deadLetters.archive', filter, 'archives')
    const resolved = resolveOptions('deadLetters.archive', options, bulkDefaults, bulkRules)
    return this.#change('deadLetters.archive', {
      filter,
      options: resolved,
      verdict: () => 'remove',
      beforeBatch: async (letters) => write(letters.map(exportedLetter)),
    })
  }

  /** Copies of the dead letters that match, as JSON that `import` reads on any broker. Changes nothing. */
  async *export(
    filter: DeadLetterFilter = {},
    { signal }: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<ExportedLetter, void> {
    checkFilter('deadLetters.export', filter)
    await this.#connect()
    yield* exportLetters({ store: this.#store, reader: this.#reader, filter, signal })
  }

  /**
   * Stores exported dead letters, with new ids. Those without a consumer group become dead letters of this bus's group.
   * @returns their number.
   * @throws ConfigError at the first that is not an exported dead letter; those before it are stored.
   */
  async import(
    letters: Iterable<unknown> | AsyncIterable<unknown>,
    options: Actor & { readonly signal?: AbortSignal } = {},
  ): Promise<number> {
    const resolved = resolveOptions(IMPORT, options, importDefaults, importRules)
    await this.#connect()
    return this.#audit.record(changeOf(IMPORT, {}, resolved), (changed) =>
      importLetters({ store: this.#store, group: this.#group, letters, signal: resolved.signal, changed }),
    )
  }

  async #change(
    action: Change['action'],
    bulk: BulkChange & { readonly options: ResolvedBulkOptions & Partial<typeof destination> },
  ): Promise<number> {
    const { filter, options } = bulk
    await this.#connect()
    if (options.dryRun) return (await changeAll(this.#store, this.#reader, bulk)).matched
    const { limit } = options
    const target = { filter, ...(Number.isFinite(limit) && { limit }), ...replayTargetOf(options) }
    return this.#audit.record(changeOf(action, target, options), async (changed) => {
      const onProgress = (progress: BulkProgress) => {
        changed(progress.changed)
        return options.onProgress(progress)
      }
      const report = await changeAll(this.#store, this.#reader, {
        ...bulk,
        options: { ...options, onProgress },
      })
      const [failure] = report.failures
      if (failure !== undefined) throw failure
      return report.changed
    })
  }
}
