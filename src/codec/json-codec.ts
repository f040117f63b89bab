import { ConfigError, describeValue } from '../errors.ts'
import { isWireEnvelopeKey, sourceOf } from '../events/domain-event.ts'
import { type DomainEvent, EventValidationError } from '../events/index.ts'
import { DecodeError } from './decode-error.ts'
import {
  type EncodedEvent,
  type EncodedMessage,
  type EventClassLookup,
  type EventCodec,
  typeHeaderOf,
} from './event-codec.ts'
import { eventHeaders } from './event-headers.ts'
import { type BodyLimits, HostileJson, type JsonObject, resolveBodyLimits } from './hostile-json.ts'
import { refuseUndecodable } from './publish-limits.ts'
import { checkTypeHeader, FieldReader, reviveEvent } from './revive.ts'
import { canOnlyHave } from './type-field.ts'

/** Options of a {@link JsonCodec}. */
export interface JsonCodecOptions extends Partial<BodyLimits> {
  /**
   * Spelling of payload fields on the wire. `'asDeclared'` (default) keeps their names. `'snake_case'` converts
   * `customerId` in code to `customer_id` on the wire and back, also in nested objects, for teams that share a stream with
   * Python. Metadata keeps its spelling. A field that consumers would read under another name (`order_id` as `orderId`) is
   * refused when it is published.
   */
  readonly payloadKeys?: 'asDeclared' | 'snake_case'
}

/** The codecs that write a payload as a store does. */
const plain = new WeakSet<EventCodec>()

/** True if the codec writes the JSON of a payload as a store does, and no subclass changes that. */
export function writesStoredText(codec: EventCodec): boolean {
  return plain.has(codec) && codec.encode === JsonCodec.prototype.encode
}

/**
 * The wire format of eventsource-py 0.4: one compact JSON object, first the envelope in snake_case, then the payload.
 *
 * Integers beyond 2^53 are read as `bigint` and written with all their digits. Times are read with a precision of
 * milliseconds. If a decoded event is published again, its body keeps the original bytes, including microseconds, time
 * offsets and decimals.
 */
export class JsonCodec implements EventCodec {
  readonly contentType = 'application/json'
  readonly #limits: BodyLimits
  readonly #isSnakeCase: boolean

  /** @throws ConfigError if an option is unknown or wrong. */
  constructor(options: JsonCodecOptions = {}) {
    const { payloadKeys, ...limits } = options
    this.#limits = resolveBodyLimits('JsonCodec', limits, ['payloadKeys'])
    this.#isSnakeCase = spellingOf(payloadKeys) === 'snake_case'
    if (new.target === JsonCodec && !this.#isSnakeCase) plain.add(this)
  }

  encode(event: DomainEvent): EncodedEvent {
    const source = sourceOf(event)
    const passedOn = source?.contentType === this.contentType ? source : undefined
    const body = passedOn?.body ?? this.#write(event)
    refuseUndecodable(event, this.#limits, body)
    const headers = eventHeaders(event, passedOn)
    return { key: event.aggregateId, headers, contentType: this.contentType, body }
  }

  decode(message: EncodedMessage, classFor: EventClassLookup): DomainEvent {
    const { body } = message
    const fields = new HostileJson(this.#limits).object(body)
    const read = new FieldReader(fields)
    const eventType = read.text('event_type')
    checkTypeHeader(typeHeaderOf(message), eventType)
    const eventClass = classFor(eventType)
    const eventId = read.text('event_id')
    const envelope = {
      eventId,
      eventType,
      eventVersion: read.version('event_version'),
      occurredAt: read.time('occurred_at'),
      aggregateId: read.text('aggregate_id'),
      aggregateType:
        read.optionalText('aggregate_type') ?? eventClass?.aggregateType ?? read.text('aggregate_type'),
      aggregateVersion: read.version('aggregate_version'),
      tenantId: read.optionalText('tenant_id'),
      actorId: read.optionalText('actor_id'),
      correlationId: read.optionalText('correlation_id') ?? eventId,
      causationId: read.optionalText('causation_id'),
    }
    const decoded = { envelope, metadata: read.object('metadata'), payload: this.#payload(fields) }
    const source = { contentType: this.contentType, body, exactTime: exactTime(fields) }
    return reviveEvent(eventClass, decoded, source)
  }

  canOnlyBe({ body }: EncodedMessage, eventType: string): boolean {
    return canOnlyHave(body, 'event_type', eventType)
  }

  #write(event: DomainEvent): string {
    if (!this.#isSnakeCase) return JSON.stringify(event)
    const wire: Record<string, unknown> = {}
    for (const [key, value] of Object.entries(event.toJSON())) {
      if (isWireEnvelopeKey(key)) wire[key] = value
      else
        wire[snakeName(event, key, key)] = renameKeys(
          value,
          (name, path) => snakeName(event, name, path),
          key,
        )
    }
    return JSON.stringify(wire)
  }

  #payload(fields: JsonObject): JsonObject {
    const payload: Record<string, unknown> = {}
    for (const key of Object.keys(fields)) {
      if (!isWireEnvelopeKey(key)) payload[key] = fields[key]
    }
    // The renamed form of an object is an object.
    return this.#isSnakeCase ? (renameKeys(payload, toCamelCase) as JsonObject) : payload
  }
}

/** A program without types may pass any value. */
function spellingOf(payloadKeys: unknown): JsonCodecOptions['payloadKeys'] {
  const spelling = payloadKeys ?? 'asDeclared'
  if (spelling === 'asDeclared' || spelling === 'snake_case') return spelling
  const rule = `payloadKeys must be one of 'asDeclared', 'snake_case', got ${describeValue(spelling)}`
  throw new ConfigError('JsonCodec', [rule])
}

/** Length of a time with milliseconds. A longer time is more precise, or has an offset. */
const TIME_LENGTH = '2025-01-02T03:04:05.678Z'.length

function exactTime({ occurred_at: time }: JsonObject): string | undefined {
  return typeof time === 'string' && time.length > TIME_LENGTH ? time : undefined
}

/** @throws DecodeError if two fields of an object get the same name. */
function renameKeys(value: unknown, rename: (key: string, path: string) => string, path = ''): unknown {
  if (Array.isArray(value)) return value.map((item, index) => renameKeys(item, rename, `${path}[${index}]`))
  if (!isPlainObject(value)) return value
  const renamed: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    const at = path === '' ? key : `${path}.${key}`
    const name = rename(key, at)
    if (Object.hasOwn(renamed, name)) throw sameName(name)
    renamed[name] = renameKeys(item, rename, at)
  }
  return renamed
}

function sameName(name: string): DecodeError {
  const text = `Two fields of one object have the same name in camelCase: ${describeValue(name)}.`
  return new DecodeError('not_an_event', text)
}

/** False for raw JSON (the digits of a bigint), which has no prototype, and for class instances: both are kept as they are. */
function isPlainObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

/** @throws EventValidationError if a consumer would read the field under another name. */
function snakeName(event: DomainEvent, key: string, path: string): string {
  const name = toSnakeCase(key)
  const read = toCamelCase(name)
  if (read === key) return name
  const rule = `is read as ${read} by consumers with payloadKeys 'snake_case'; declare it in camelCase`
  throw new EventValidationError(event.eventType, [{ path, rule }])
}

function toSnakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

function toCamelCase(key: string): string {
  return key.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase())
}
