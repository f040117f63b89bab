import { types } from 'node:util'
import { ConfigError, describeValue } from '../errors.ts'
import type { DomainEvent, EventClass } from '../events/index.ts'
import { escapeControls } from '../observability/readable.ts'
import type { HandlerContext } from './event-handler.ts'
import { GroupRate, type GroupTurns, NO_GROUP } from './group-rate.ts'
import { HandlerLimit } from './handler-limit.ts'
import { type GivenPolicy, type HandlerPolicy, readPolicy } from './handler-policy.ts'
import { type GuardChange, guardOptions, OutageGuard } from './outage-guard.ts'

/** One subscription of one handler, in the form that the dispatcher uses. */
export interface HandlerEntry {
  /** Display name for logs, spans and metrics: the given name, or the name of the function or class. */
  readonly name: string
  /**
   * The name that the user gave the handler. Retries and replays use it to find the handler after a restart and in a
   * new release. Undefined if no name was given: names of functions and classes are not used, because a minifier
   * changes them, and the order of subscription is not used, because a release may change it.
   */
  readonly id: string | undefined
  /** Names that the handler had in earlier releases. */
  readonly aliases: readonly string[]
  /** The handler as the user passed it, for `unsubscribe`. */
  readonly handler: unknown
  readonly invoke: (event: DomainEvent, context: HandlerContext) => unknown
  /** Returns false if the handler declines the event; undefined if it accepts all. */
  readonly accepts: ((event: DomainEvent) => boolean) | undefined
  /** How its failures are treated; undefined if the bus decides. */
  readonly policy: GivenPolicy | undefined
  /** How often it may run; undefined if that is not limited. Shared by the events of one subscription. */
  readonly limit: HandlerLimit | undefined
}

/** Options of one subscription: the name of the handler, and how its failures are treated. */
export interface SubscribeOptions extends HandlerPolicy {
  /**
   * The handler's identity. After a restart, retries and replays of dead letters find the handler by this name, even in
   * later releases, so do not change it. If an event has only one handler in a consumer group, that handler needs no
   * name. If it has several, a handler without a name handles the event again after a restart or a replay, because a
   * recorded success cannot be assigned to it. Default: the `name` of a handler object, if it has one. Names of
   * functions and classes appear in logs and spans only.
   */
  readonly name?: string
  /** Names that the handler had in earlier releases, whose retries and dead letters it takes over. */
  readonly aliases?: readonly string[]
}

/** Stands for a handler without a name in dead letters. */
export const UNNAMED_HANDLER = '(unnamed)'

/** A handler whose display name is not yet made unique. */
export type ReadHandler = Omit<HandlerEntry, 'name'> & { readonly displayName: string }

export function entryOf(
  { displayName, ...handler }: ReadHandler,
  taken: readonly HandlerEntry[],
): HandlerEntry {
  let name = displayName
  for (let n = 2; taken.some((entry) => entry.name === name); n += 1) name = `${displayName}#${n}`
  return { name, ...handler }
}

/** The names under which the success of this handler may be recorded. */
export function namesOf({ id, aliases }: Pick<HandlerEntry, 'id' | 'aliases'>): readonly string[] {
  return id === undefined ? aliases : [id, ...aliases]
}

/** True if a success recorded under this name belongs to this handler. */
export function isCalled({ id, aliases }: HandlerEntry, name: string): boolean {
  return id === name || aliases.includes(name)
}

/** The name under which the success of this handler is recorded. */
export function recordedName({ id }: Pick<HandlerEntry, 'id'>): string {
  return id ?? UNNAMED_HANDLER
}

/** Called when a handler pauses or resumes. */
export type PauseListener = (handlerName: string, change: GuardChange) => void

export function readHandler(
  handler: unknown,
  options: SubscribeOptions | undefined,
  {
    onPause = () => undefined,
    maxHeld = Number.POSITIVE_INFINITY,
    groupTurns = NO_GROUP,
  }: HandlerSurroundings = {},
): ReadHandler {
  // A program without types may pass null.
  const { name, aliases: givenAliases, ...policyOptions } = options ?? {}
  const aliases = listOfAliases(givenAliases)
  const { invoke, accepts, ownName, ownId } = readCallable(handler)
  const id = name ?? ownId
  for (const given of id === undefined ? aliases : [id, ...aliases]) checkName(given)
  const displayName = id ?? ownName
  const policy = readPolicy(`subscribe ${displayName}`, policyOptions)
  const waits = policy?.longWaits === undefined ? "onDeadLetter 'park'" : 'longWaits'
  if (policy !== undefined && needsName(policy) && id === undefined) {
    const problem = `${waits} needs a name, by which later processes find the handler of a waiting event`
    throw new ConfigError(`subscribe ${displayName}`, [problem])
  }
  const limit = limitOf(policy, { handlerName: displayName, id, onPause, maxHeld, groupTurns })
  return { handler, invoke, accepts, id, aliases: Object.freeze([...aliases]), displayName, policy, limit }
}

function needsName({ longWaits, onDeadLetter }: GivenPolicy): boolean {
  return longWaits !== undefined || onDeadLetter === 'park'
}

/** What a handler gets from its bus or subscription. */
export interface HandlerSurroundings {
  readonly onPause?: PauseListener
  /** Maximum number of events that the process holds. */
  readonly maxHeld?: number
  readonly groupTurns?: GroupTurns
}

interface LimitedHandler extends Required<HandlerSurroundings> {
  readonly handlerName: string
  readonly id: string | undefined
}

function limitOf(policy: GivenPolicy | undefined, handler: LimitedHandler): HandlerLimit | undefined {
  if (policy === undefined) return undefined
  const { handlerName, onPause, maxHeld } = handler
  const { concurrency, ratePerSecond, outageGuard } = policy
  const options = guardOptions(`subscribe ${handlerName}`, outageGuard, maxHeld)
  const groupRate = groupRateOf(policy, handler)
  if ((concurrency ?? ratePerSecond ?? groupRate ?? options) === undefined) return undefined
  const guard = options && new OutageGuard(options, (change) => onPause(handlerName, change))
  return new HandlerLimit({ concurrency, ratePerSecond, groupRate, guard })
}

/** @throws ConfigError */
function groupRateOf(
  { groupRatePerSecond }: GivenPolicy,
  { handlerName, id, groupTurns }: LimitedHandler,
): GroupRate | undefined {
  if (groupRatePerSecond === undefined) return undefined
  const take = groupTurns()
  const isNamed = id !== undefined
  if (typeof take === 'function' && isNamed) return new GroupRate(() => take(id, groupRatePerSecond))
  const problem = typeof take === 'string' ? take : 'needs a name, by which the members of the group find it'
  throw new ConfigError(`subscribe ${handlerName}`, [`groupRatePerSecond: ${problem}`])
}

/** Maximum length of a name, in characters. */
const MAX_NAME = 255

function listOfAliases(aliases: readonly string[] | undefined): readonly string[] {
  if (Array.isArray(aliases ?? [])) return aliases ?? []
  throw new TypeError(`The aliases of a handler must be an array of names, got ${describeValue(aliases)}.`)
}

function checkName(name: unknown): void {
  if (typeof name !== 'string' || name === '' || name === UNNAMED_HANDLER) {
    throw new TypeError(
      `A handler's name must be a non-empty string other than ${UNNAMED_HANDLER}, got ${describeValue(name)}.`,
    )
  }
  // Brokers store names as UTF-8, in a few kilobytes, and next to entries that start with a control character.
  if (name.length <= MAX_NAME && name.isWellFormed() && escapeControls(name) === name) return
  throw new TypeError(
    `A handler's name must have at most ${MAX_NAME} characters, no control characters and no halves of surrogate pairs, got ${describeValue(name)}.`,
  )
}

interface Callable extends Pick<HandlerEntry, 'invoke' | 'accepts'> {
  readonly ownName: string
  /** The `name` of a handler object. */
  readonly ownId: string | undefined
}

function readCallable(handler: unknown): Callable {
  if (typeof handler === 'function') {
    refuseGenerator(handler)
    // The compiler has checked that the function takes events.
    const invoke = handler as HandlerEntry['invoke']
    const ownName = handler.name === '' ? 'anonymous' : handler.name
    return { invoke, accepts: undefined, ownName, ownId: undefined }
  }
  if (
    typeof handler === 'object' &&
    handler !== null &&
    'handle' in handler &&
    typeof handler.handle === 'function'
  ) {
    // `handle` is read at each call, so that a replaced or spied method takes effect.
    const target = handler as HandlerObject
    refuseGenerator(target.handle)
    const ownName = handler.constructor?.name ?? 'Object'
    return {
      invoke: (event, context) => target.handle(event, context),
      accepts: acceptsOf(target, ownName),
      ownName,
      ownId:
        'name' in handler && typeof handler.name === 'string' && handler.name !== ''
          ? handler.name
          : undefined,
    }
  }
  throw new TypeError(
    `A handler must be a function or an object with a handle(event) method, got ${describeValue(handler)}.`,
  )
}

/** @throws TypeError for a generator function: a call does not run its body, so each event would count as handled. */
export function refuseGenerator(handler: unknown): void {
  if (!types.isGeneratorFunction(handler)) return
  throw new TypeError(
    'A handler must not be a generator function (function*): calling it does not run its body.',
  )
}

interface HandlerObject {
  readonly handle: HandlerEntry['invoke']
  readonly canHandle?: unknown
}

/**
 * A result that is not a boolean fails the attempt. If it were treated as false, the event would be dropped silently.
 */
function acceptsOf(target: HandlerObject, ownName: string): HandlerEntry['accepts'] {
  if (target.canHandle === undefined) return undefined
  if (typeof target.canHandle !== 'function') {
    throw new TypeError(`canHandle of ${ownName} must be a function, got ${describeValue(target.canHandle)}.`)
  }
  return (event) => {
    const verdict: unknown = Reflect.apply(target.canHandle as CallableFunction, target, [event])
    if (typeof verdict === 'boolean') return verdict
    if (verdict instanceof Promise) verdict.catch(() => undefined) // reported as a wrong return type instead
    throw new TypeError(`canHandle of ${ownName} must return a boolean, got ${describeValue(verdict)}.`)
  }
}

/** The event classes that a subscriber declares. @throws TypeError */
export function declaredClasses(subscriber: unknown): readonly EventClass[] {
  if (typeof subscriber === 'object' && subscriber !== null) {
    if ('subscribedTo' in subscriber && typeof subscriber.subscribedTo === 'function') {
      return asClasses(subscriber.subscribedTo(), 'subscribedTo')
    }
    // `instanceof` is not used, because it fails for a handler whose class comes from another copy of the package.
    if ('eventTypes' in subscriber && typeof subscriber.eventTypes === 'function') {
      return asClasses(subscriber.eventTypes(), 'eventTypes')
    }
  }
  throw new TypeError(
    `subscribeAll takes an object with subscribedTo() and handle(event), or an AsyncEventHandler, got ${describeValue(subscriber)}.`,
  )
}

function asClasses(classes: unknown, method: string): readonly EventClass[] {
  // Each item is checked where it is subscribed to.
  if (Array.isArray(classes)) return classes as readonly EventClass[]
  throw new TypeError(`${method}() must return an array of event classes, got ${describeValue(classes)}.`)
}
