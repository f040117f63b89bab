import { ConfigError, describeValue } from '../errors.ts'
import { sourceOf, writtenFormOf } from '../events/domain-event.ts'
import { ImmutableDate } from '../events/immutable.ts'
import type { DomainEvent } from '../events/index.ts'
import { wireTime } from '../events/round-trip.ts'
import { jsonFields } from '../events/wire-form.ts'
import { DecodeError } from './decode-error.ts'
import {
  type EncodedEvent,
  type EncodedMessage,
  type EventClassLookup,
  type EventCodec,
  typeHeaderOf,
} from './event-codec.ts'
import { eventHeaders } from './event-headers.ts'
import { type BodyLimits, HostileJson, resolveBodyLimits } from './hostile-json.ts'
import { refuseUndecodable } from './publish-limits.ts'
import { checkTypeHeader, FieldReader, reviveEvent } from './revive.ts'
import { canOnlyHave } from './type-field.ts'

/** Options of a {@link CloudEventsCodec}. */
export interface CloudEventsCodecOptions extends Partial<BodyLimits> {
  /** The `source` of every encoded event: a URI reference that names the producer, such as `/orders`. */
  readonly source: string
}

/**
 * CloudEvents 1.0, JSON format, structured mode. The aggregate id is the `subject`. Fields without an attribute in CloudEvents
 * are extension attributes (`aggregatetype`, `correlationid`, ...). Metadata is a JSON text in `eventmetadata`, because an
 * extension cannot hold an object.
 *
 * CloudEvents of other producers can be decoded, too. The aggregate id is then the `subject`, or the event's id if there is no
 * subject; the aggregate type is that of the event class, or the `source`; a missing `time` is the time of decoding.
 *
 * Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
 */
export class CloudEventsCodec implements EventCodec {
  readonly contentType = 'application/cloudevents+json'
  readonly #source: string
  readonly #limits: BodyLimits

  /** @throws ConfigError if an option is unknown or wrong. */
  constructor(options: CloudEventsCodecOptions) {
    const { source, ...limits } = Object(options) as CloudEventsCodecOptions // checked by the next line
    if (typeof source !== 'string' || source === '') {
      throw new ConfigError('CloudEventsCodec', [
        `source must be a non-empty URI reference, got ${describeValue(source)}`,
      ])
    }
    this.#source = source
    this.#limits = resolveBodyLimits('CloudEventsCodec', limits, ['source'])
  }

  encode(event: DomainEvent): EncodedEvent {
    const source = sourceOf(event)
    const passedOn = source?.contentType === this.contentType ? source : undefined
    const metadata = passedOn === undefined ? metadataText(event) : undefined
    const body = passedOn?.body ?? this.#write(event, metadata)
    refuseUndecodable(event, this.#limits, ...(metadata === undefined ? [body] : [body, metadata]))
    const headers = eventHeaders(event, passedOn)
    return { key: event.aggregateId, headers, contentType: this.contentType, body }
  }

  decode(message: EncodedMessage, classFor: EventClassLookup): DomainEvent {
    const json = new HostileJson(this.#limits)
    const fields = json.object(message.body)
    const read = new FieldReader(fields)
    if (fields['specversion'] !== '1.0')
      throw new DecodeError('not_an_event', 'The message is not a CloudEvent 1.0.')
    const eventType = read.text('type')
    checkTypeHeader(typeHeaderOf(message), eventType)
    const eventClass = classFor(eventType)
    const eventId = read.text('id')
    const envelope = {
      eventId,
      eventType,
      eventVersion: read.version('eventversion'),
      occurredAt: fields['time'] === undefined ? new ImmutableDate() : read.time('time'),
      aggregateId: read.optionalText('subject') ?? eventId,
      aggregateType: read.optionalText('aggregatetype') ?? eventClass?.aggregateType ?? read.text('source'),
      aggregateVersion: read.version('aggregateversion'),
      tenantId: read.optionalText('tenantid'),
      actorId: read.optionalText('actorid'),
      correlationId: read.optionalText('correlationid') ?? eventId,
      causationId: read.optionalText('causationid'),
    }
    const metadataText = read.optionalText('eventmetadata', Number.POSITIVE_INFINITY)
    const metadata = metadataText === undefined ? undefined : json.object(metadataText)
    const decoded = { envelope, metadata, payload: read.object('data') ?? {} }
    return reviveEvent(eventClass, decoded, { contentType: this.contentType, body: message.body })
  }

  canOnlyBe({ body }: EncodedMessage, eventType: string): boolean {
    return canOnlyHave(body, 'type', eventType)
  }

  #write(event: DomainEvent, eventmetadata: string | undefined): string {
    const { eventVersion, payload } = writtenFormOf(event)
    return JSON.stringify({
      specversion: '1.0',
      id: event.eventId,
      source: this.#source,
      type: event.eventType,
      subject: event.aggregateId,
      time: wireTime(event.occurredAt),
      datacontenttype: 'application/json',
      aggregatetype: event.aggregateType,
      aggregateversion: event.aggregateVersion,
      eventversion: eventVersion,
      tenantid: event.tenantId,
      actorid: event.actorId,
      correlationid: event.correlationId,
      causationid: event.causationId,
      eventmetadata,
      data: jsonFields(payload),
    })
  }
}

/** An extension attribute cannot hold an object, so the metadata is a text. */
function metadataText({ metadata }: DomainEvent): string | undefined {
  const fields = jsonFields(metadata)
  return Object.keys(fields).length === 0 ? undefined : JSON.stringify(fields)
}
