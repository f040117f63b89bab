import type { EventBus, ExportedLetter } from '../bus/index.ts'
import { ConfigError, describeValue } from '../errors.ts'
import { functionOption, type OptionRule, objectWith, optional, resolveOptions } from '../kit/options.ts'
import type { FieldsFirstLogger, Logger } from '../observability/logger.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import type { Stores, SubscriptionManager } from '../subscriptions/index.ts'
import type { OperatorAudit } from './activity.ts'
import type { MaskOptions } from './mask.ts'
import type { Viewer } from './viewer.ts'

/** What the page needs of stores: their checkpoints and parked events. */
export type OperatorStore = Pick<Stores, 'checkpoints' | 'deadLetters' | 'events'>

/** The stores, by name. */
export type OperatorStores = ReadonlyMap<string, OperatorStore>

/** Options of the operator's page. */
export interface OperatorOptions {
  /** The buses, by the name that the page and its URLs show. */
  readonly buses: Readonly<Record<string, EventBus>>
  /**
   * Says who looks at the page, and what that person may do; a `Response` refuses or asks to log in. It runs for every request.
   * There is no default: a page that anybody may see lets anybody replay and purge.
   */
  readonly authorize: (request: Request) => Viewer | Response | Promise<Viewer | Response>
  /** Durable stores, for their subscriptions, by name. */
  readonly stores?: Readonly<Record<string, Stores>>
  /** Managers of this process, whose subscriptions can be paused and rebuilt, by name. */
  readonly subscriptions?: Readonly<Record<string, SubscriptionManager>>
  /** Values that the page never shows. */
  readonly mask?: MaskOptions
  /** Stores an entry before and after each change, and for each that is refused. If it rejects, the change is not made. */
  readonly audit?: OperatorAudit
  /**
   * Stores the dead letters that a viewer archives, before they are removed from the bus of this name. If it rejects, they are
   * kept. Without it, dead letters can be exported, but not archived.
   */
  readonly archive?: (letters: readonly ExportedLetter[], bus: string) => void | Promise<void>
  /**
   * The host names, with port unless it is the default one, under which browsers may reach the page. Others get 421, so
   * that no other site can reach it by a name of its own. `'any'` if a proxy checks the name. Default: those of this machine.
   */
  readonly hosts?: readonly string[] | 'any'
  /** The path under which a framework mounts the page, such as `/ops`, if its request does not say so. Default none. */
  readonly basePath?: string
  /** Shown at the top. `production` is shown in a warning color. Default none. */
  readonly environment?: string
  /** Logger for errors of the page itself; `console` by default. */
  readonly logger?: Logger | FieldsFirstLogger
}

const isRecord = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function recordOf(what: string, methods: readonly string[]): OptionRule {
  return {
    rule: `an object with ${what} by name`,
    isValid: (value) =>
      isRecord(value) &&
      Object.values(value).every(
        (one: unknown) => isRecord(one) && methods.every((name) => Reflect.get(one, name) !== undefined),
      ),
  }
}

const texts = (value: unknown) =>
  Array.isArray(value) && value.every((one) => typeof one === 'string' && one !== '')

const maskRule: OptionRule = {
  rule: 'an object with keys and paths, which are arrays of non-empty strings',
  isValid: (value) =>
    isRecord(value) &&
    Object.entries(value).every(
      ([name, one]) => ['keys', 'paths'].includes(name) && (one === undefined || texts(one)),
    ),
}

const hostsRule: OptionRule = {
  rule: `a non-empty array of host names, or 'any'`,
  isValid: (value) => value === 'any' || (texts(value) && Array.isArray(value) && value.length > 0),
}

const pathRule: OptionRule = {
  rule: "a path such as '/ops'",
  isValid: (value) => typeof value === 'string' && /^(?:\/[\w.~-]+)*\/?$/.test(value),
}

const textRule: OptionRule = {
  rule: 'a non-empty string of at most 40 characters',
  isValid: (value) => typeof value === 'string' && value !== '' && value.length <= 40,
}

const operatorDefaults = {
  buses: undefined as OperatorOptions['buses'] | undefined,
  authorize: undefined as OperatorOptions['authorize'] | undefined,
  stores: {} as NonNullable<OperatorOptions['stores']>,
  subscriptions: {} as NonNullable<OperatorOptions['subscriptions']>,
  mask: {} as MaskOptions,
  audit: undefined as OperatorAudit | undefined,
  archive: undefined as OperatorOptions['archive'],
  hosts: undefined as OperatorOptions['hosts'],
  basePath: '',
  environment: undefined as string | undefined,
  logger: undefined as Logger | FieldsFirstLogger | undefined,
}

const operatorRules: Readonly<Record<keyof typeof operatorDefaults, OptionRule>> = {
  buses: recordOf('at least one event bus', ['admin', 'publish']),
  authorize: { ...functionOption, rule: 'a function that says who looks at the page, and what they may do' },
  stores: recordOf('stores', ['checkpoints', 'events']),
  subscriptions: recordOf('subscription managers', ['status', 'pause']),
  mask: maskRule,
  audit: optional(functionOption),
  archive: optional(functionOption),
  hosts: optional(hostsRule),
  basePath: pathRule,
  environment: optional(textRule),
  logger: optional(objectWith('a logger with debug, info, warn and error', 'debug', 'info', 'warn', 'error')),
}

export interface ResolvedOperatorOptions {
  readonly buses: ReadonlyMap<string, EventBus>
  readonly authorize: OperatorOptions['authorize']
  readonly stores: OperatorStores
  readonly subscriptions: ReadonlyMap<string, SubscriptionManager>
  readonly mask: MaskOptions
  readonly audit: OperatorAudit | undefined
  readonly archive: OperatorOptions['archive']
  readonly hosts: readonly string[] | 'any' | undefined
  /** Without a slash at the end. */
  readonly basePath: string
  readonly environment: string | undefined
  readonly logger: Logger
}

/** @throws ConfigError */
export function resolveOperatorOptions(given: OperatorOptions): ResolvedOperatorOptions {
  const options = resolveOptions('createOperatorHandler', given, operatorDefaults, operatorRules)
  const { buses = {}, authorize } = options
  const faults = [
    ...(Object.keys(buses).length === 0 ? ['buses must have at least one bus'] : []),
    ...Object.keys(buses)
      .filter((name) => name === '' || name === '_' || name === '.' || name === '..')
      .map((name) => `${describeValue(name)} is no name for a bus`),
  ]
  // The second condition is for the type: `resolveOptions` requires the option.
  if (faults.length > 0 || authorize === undefined) throw new ConfigError('createOperatorHandler', faults)
  return {
    ...options,
    authorize,
    logger: resolveLogger(options.logger),
    buses: new Map(Object.entries(buses)),
    stores: new Map(Object.entries(options.stores)),
    subscriptions: new Map(Object.entries(options.subscriptions)),
    basePath: options.basePath.replace(/\/$/, ''),
  }
}
