import { BrokerEventBus, type DeadLetterQueue, type EventBus, type ExportedLetter } from '../bus/index.ts'
import type { ValueReader } from '../filter-line/index.ts'
import { UsageError } from '../filter-line/index.ts'
import type { SubscriptionManager } from '../subscriptions/index.ts'
import type { Activity } from './activity.ts'
import { BusAwayError, HttpError } from './http-error.ts'
import type { Links } from './links.ts'
import type { Masker } from './mask.ts'
import type { OperatorOptions, OperatorStores } from './options.ts'
import type { SectionName } from './sections.ts'
import type { HandlerState, StateKey } from './state.ts'
import { mayDo, type Verb, type Viewer } from './viewer.ts'

/** How long a page waits for a broker, in milliseconds. After that it says that the broker is away. */
const ANSWER_MS = 3000

export interface ContextParts {
  readonly request: Request
  readonly url: URL
  readonly params: Readonly<Record<string, string>>
  /** The fields of the form; empty for GET. */
  readonly form: URLSearchParams
  readonly viewer: Viewer
  readonly busName: string | undefined
  readonly buses: ReadonlyMap<string, EventBus>
  readonly stores: OperatorStores
  readonly subscriptions: ReadonlyMap<string, SubscriptionManager>
  readonly links: Links
  readonly mask: Masker
  readonly activity: Activity
  readonly archive: OperatorOptions['archive']
  readonly state: HandlerState
  readonly sections: ReadonlySet<SectionName>
}

/** A filter line of the query. */
export interface FilterOfQuery<F> {
  /** As it was entered; empty without one. */
  readonly text: string
  /** Undefined without a line, or if it is wrong. */
  readonly filter: F | undefined
  /** What is wrong with it, as a sentence. */
  readonly problem: string | undefined
}

/** One request of a viewer who may see its bus. */
export class RequestContext {
  readonly request: Request
  readonly url: URL
  readonly query: URLSearchParams
  readonly params: Readonly<Record<string, string>>
  readonly form: URLSearchParams
  readonly viewer: Viewer
  readonly buses: ReadonlyMap<string, EventBus>
  readonly stores: OperatorStores
  readonly subscriptions: ReadonlyMap<string, SubscriptionManager>
  readonly links: Links
  /** Hides what nobody may see. Payloads, headers and errors of events pass through it before they are shown. */
  readonly mask: Masker
  readonly activity: Activity
  readonly #parts: ContextParts

  constructor(parts: ContextParts) {
    this.#parts = parts
    this.request = parts.request
    this.url = parts.url
    this.query = parts.url.searchParams
    this.params = parts.params
    this.form = parts.form
    this.viewer = parts.viewer
    this.buses = parts.buses
    this.stores = parts.stores
    this.subscriptions = parts.subscriptions
    this.links = parts.links
    this.mask = parts.mask
    this.activity = parts.activity
  }

  /** Aborts when the viewer has gone. */
  get signal(): AbortSignal {
    return this.request.signal
  }

  /** Name of the bus in the path. @throws HttpError 404 */
  get busName(): string {
    const { busName } = this.#parts
    if (busName === undefined) throw new HttpError(404, 'This page has no bus.')
    return busName
  }

  /** The bus in the path. @throws HttpError 404 */
  get bus(): EventBus {
    const bus = this.buses.get(this.busName)
    if (bus === undefined) throw new HttpError(404, `There is no bus ${this.busName}.`)
    return bus
  }

  /** The dead letters of the bus; undefined in memory, where there are none. */
  get deadLetters(): DeadLetterQueue | undefined {
    return this.bus instanceof BrokerEventBus ? this.bus.deadLetters : undefined
  }

  /** True if the program has a place for archived dead letters. */
  get canArchive(): boolean {
    return this.#parts.archive !== undefined
  }

  /** Stores dead letters that are about to be removed. @throws HttpError 404 */
  async archive(letters: readonly ExportedLetter[]): Promise<void> {
    const { archive } = this.#parts
    if (archive === undefined) throw new HttpError(404, 'The program has no place for archived dead letters.')
    await archive(letters, this.busName)
  }

  /** True if the page has the section, so that a link leads somewhere. */
  has(section: SectionName): boolean {
    return this.#parts.sections.has(section)
  }

  /** A parameter of the path, decoded. */
  param(name: string): string {
    const value = this.params[name]
    if (value === undefined) throw new HttpError(404, 'There is no such page.')
    return value
  }

  /** A field of the form that must not be empty. @throws HttpError 400 */
  field(name: string): string {
    const value = this.form.get(name)?.trim() ?? ''
    if (value === '') throw new HttpError(400, `The field ${name} is empty.`)
    return value
  }

  /** The reason that the viewer gave, for the record. */
  get why(): string | undefined {
    const why = this.form.get('why')?.trim() ?? ''
    return why === '' ? undefined : why
  }

  /** Who makes a change and why: pass it to `bus.admin` and `deadLetters`. */
  get actor(): { readonly by: string; readonly why?: string } {
    const { why } = this
    return { by: this.viewer.name, ...(why !== undefined && { why }) }
  }

  /** True if the viewer may do it, for this bus and the given group. */
  can(verb: Verb, group?: string): boolean {
    const place = { bus: this.#parts.busName, group }
    return mayDo(this.viewer, verb, place)
  }

  /** True if the viewer may see the bus. */
  readonly canSeeBus = (bus: string): boolean => mayDo(this.viewer, 'see', { bus, group: undefined })

  /** @throws HttpError 403 if the viewer may not do it. */
  require(verb: Verb, group?: string): void {
    if (this.can(verb, group)) return
    const what = group === undefined ? '' : ` of the group ${group}`
    throw new HttpError(403, `You may not do this: it needs the role ${verb}${what}.`)
  }

  /** Reads the filter line of the query. */
  filter<F>(reader: ValueReader<F>, name = 'filter'): FilterOfQuery<F> {
    const text = this.query.get(name)?.trim() ?? ''
    if (text === '') return { text, filter: undefined, problem: undefined }
    try {
      return { text, filter: reader(text), problem: undefined }
    } catch (thrown) {
      if (!(thrown instanceof UsageError)) throw thrown
      return { text, filter: undefined, problem: `The filter ${thrown.message}.` }
    }
  }

  /** A part of what the handler keeps between requests. */
  state<T>(key: StateKey<T>): T {
    return this.#parts.state.get(key)
  }

  /**
   * Waits for the broker of this bus, but not long, so that the page can say that it is away.
   * @throws BusAwayError, which the frame shows. Errors of the answer itself are passed on.
   */
  async ask<T>(answer: Promise<T>, timeoutMs = ANSWER_MS): Promise<T> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      const message = `The broker of ${this.busName} has not answered for ${timeoutMs / 1000} seconds.`
      late.reject(new BusAwayError(this.busName, undefined, message))
    }, timeoutMs)
    try {
      return await Promise.race([answer, late.promise])
    } finally {
      clearTimeout(timer)
      answer.catch(() => undefined) // it may fail later; the page has said so
    }
  }
}
