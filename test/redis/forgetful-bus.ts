// A release that forgets the upcast of version 1. The conformance suite loads this file in another process.
import { type EncodedMessage, type EventCodec, JsonCodec } from '../../src/index.ts'
import type { RedisEventBus } from '../../src/redis/index.ts'
import type { CreateBusOptions } from '../../src/testing/index.ts'
import { create as createBus } from './conformance-bus.ts'

const json = new JsonCodec()
const codec: EventCodec = {
  contentType: json.contentType,
  encode: (event) => json.encode(event),
  decode: (message: EncodedMessage, classFor) => {
    const body = Buffer.from(message.body).toString().replace('"event_version":1,', '"event_version":2,')
    return json.decode({ ...message, body }, classFor)
  },
}

export function create(options: CreateBusOptions): RedisEventBus {
  return createBus({ ...options, codec })
}
