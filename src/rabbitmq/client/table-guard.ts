/** Deepest table that is left as it is. A message with tables deeper than `MAX_DEPTH` of its headers is refused anyway. */
const MAX_TABLE_DEPTH = 40

const HEADER_FRAME = 2
/** Type, channel and size. */
const FRAME_HEAD_BYTES = 7
const BODY_SIZE_AT = FRAME_HEAD_BYTES + 4
/** Class, weight and body size, before the flags of the properties. */
const FLAGS_AT = FRAME_HEAD_BYTES + 12
const FRAME_END = 0xce
const HAS_CONTENT_TYPE = 0x8000
const HAS_CONTENT_ENCODING = 0x4000
const HAS_HEADERS = 0x2000

const TABLE = tag('F')
const ARRAY = tag('A')
const BYTES = tag('x')
const TEXT = tag('S')

/** Bytes of the values that have a fixed size, by their tag. */
const FIXED_SIZES: ReadonlyMap<number, number> = new Map(
  Object.entries({ b: 1, B: 1, t: 1, s: 2, u: 2, I: 4, i: 4, f: 4, D: 5, d: 8, l: 8, T: 8, V: 0 }).map(
    ([name, size]) => [tag(name), size],
  ),
)

function tag(name: string): number {
  return name.charCodeAt(0)
}

/** The part of amqplib's connection that receives frames. */
export interface FrameReceiver {
  /** What has arrived and is not decoded. */
  readonly rest: Buffer
  /** Decodes the first frame of `rest`, and calls itself again if it has to read more. */
  recvFrame(): unknown
}

/** Header of a message whose properties amqplib cannot decode. Its value is their bytes. */
export const MALFORMED_PROPERTIES = 'x-malformed-properties'

/**
 * Guards amqplib against properties of messages that break its connection. The broker would deliver such a message again
 * on the next connection, and break that one, too.
 *
 * - amqplib calls itself for each level of a table, so one with some thousand levels would overflow the stack. They are
 *   made flat before it decodes them.
 * - amqplib throws if a field has a type that it does not know, or ends beyond its frame. Its message then has no properties
 *   but the header {@link MALFORMED_PROPERTIES}.
 */
export function guardTables(connection: FrameReceiver): void {
  const receive = connection.recvFrame.bind(connection)
  connection.recvFrame = () => {
    const bytes = connection.rest
    flattenHeaders(bytes)
    try {
      return receive()
    } catch (error) {
      const frame = withoutProperties(bytes)
      if (frame === undefined) throw error
      return frame
    }
  }
}

/**
 * What amqplib makes of the header frame of a message, with its properties as bytes. It has already removed the frame from
 * what has arrived. Undefined if the bytes do not start with a complete and well-formed frame of this kind.
 */
function withoutProperties(bytes: Buffer): object | undefined {
  if (bytes[0] !== HEADER_FRAME || bytes.length < FLAGS_AT) return undefined
  const end = FRAME_HEAD_BYTES + bytes.readUInt32BE(3)
  if (end < FLAGS_AT || bytes[end] !== FRAME_END) return undefined
  return {
    id: bytes.readUInt16BE(FRAME_HEAD_BYTES),
    channel: bytes.readUInt16BE(1),
    size: Number(bytes.readBigUInt64BE(BODY_SIZE_AT)),
    fields: { headers: { [MALFORMED_PROPERTIES]: bytes.subarray(FLAGS_AT, end) } },
  }
}

/**
 * Turns the tables and arrays at the deepest allowed level of a message's headers into byte arrays of the same size, in
 * place. Does nothing if the bytes do not start with a complete frame of headers.
 * https://www.rabbitmq.com/amqp-0-9-1-errata#section_3
 */
export function flattenHeaders(bytes: Buffer): void {
  if (bytes[0] !== HEADER_FRAME || bytes.length < FLAGS_AT + 2) return
  const end = FRAME_HEAD_BYTES + bytes.readUInt32BE(3)
  if (bytes.length <= end) return
  const flags = bytes.readUInt16BE(FLAGS_AT)
  if ((flags & HAS_HEADERS) === 0) return
  let at = FLAGS_AT + 2
  if ((flags & HAS_CONTENT_TYPE) !== 0) at += 1 + (bytes[at] ?? 0)
  if ((flags & HAS_CONTENT_ENCODING) !== 0) at += 1 + (bytes[at] ?? 0)
  flattenTable(bytes.subarray(at, end))
}

/** A table or an array whose values are being read. */
interface Level {
  readonly end: number
  readonly hasNames: boolean
}

/** @param bytes - start with the size of a table. Invalid tables are not changed; amqplib refuses them. */
function flattenTable(bytes: Buffer): void {
  if (bytes.length < 4) return
  const levels: Level[] = [{ end: Math.min(bytes.length, 4 + bytes.readUInt32BE(0)), hasNames: true }]
  let at = 4
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    if (at >= level.end) {
      levels.pop()
      continue
    }
    if (level.hasNames) at += 1 + (bytes[at] ?? 0)
    const type = bytes[at] ?? 0
    at += 1
    const fixed = FIXED_SIZES.get(type)
    if (fixed !== undefined) {
      at += fixed
      continue
    }
    if (at + 4 > bytes.length) return
    const size = bytes.readUInt32BE(at)
    const isNested = type === TABLE || type === ARRAY
    if (!isNested && type !== TEXT && type !== BYTES) return
    at += 4
    if (isNested && levels.length < MAX_TABLE_DEPTH) {
      levels.push({ end: Math.min(bytes.length, at + size), hasNames: type === TABLE })
      continue
    }
    if (isNested) bytes[at - 5] = BYTES
    at += size
  }
}
