import { connect } from 'node:net'
import type { ServerKind } from './broker.ts'
import type { Endpoint } from './endpoint.ts'

interface Probe {
  readonly greeting: Buffer
  readonly isReady: (answer: Buffer) => boolean
}

const probes: Record<ServerKind, Probe> = {
  redis: {
    greeting: Buffer.from('PING\r\n'),
    // "-LOADING" means not ready. With a password set, "-NOAUTH" proves as much as a PONG.
    isReady: (answer) => /^(\+PONG|-NOAUTH)/.test(answer.toString('latin1')),
  },
  rabbitmq: {
    greeting: Buffer.from('AMQP\x00\x00\x09\x01', 'latin1'),
    // A method frame on channel 0 with class 10, method 10: Connection.Start (AMQP 0-9-1, 1.4.2.1).
    isReady: (answer) => answer.length >= 11 && answer[0] === 1 && answer.readUInt32BE(7) === 0x000a_000a,
  },
  kafka: {
    greeting: kafkaMetadataRequest(),
    // The broker lists itself only after its controller has admitted it; ApiVersions answers earlier.
    isReady: (answer) => answer.length >= 12 && answer.readInt32BE(8) > 0,
  },
  postgres: {
    greeting: postgresStartup(),
    // An authentication request, or an error of any kind but "starting up", "shutting down" and "in recovery".
    isReady: (answer) => answer[0] === 0x52 || (answer[0] === 0x45 && !answer.includes('C57P0')),
  },
}

/** @returns true if the broker at the address completes the first exchange of its protocol in time. */
export function isAnswering(kind: ServerKind, endpoint: Endpoint, timeoutMs: number): Promise<boolean> {
  const { greeting, isReady } = probes[kind]
  return new Promise((resolve) => {
    let answer = Buffer.alloc(0)
    const socket = connect({ ...endpoint }, () => socket.write(greeting))
    const settle = (answering: boolean) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answering)
    }
    const timer = setTimeout(settle, timeoutMs, false)
    socket.on('data', (chunk) => {
      answer = Buffer.concat([answer, chunk])
      if (isReady(answer)) settle(true)
    })
    socket.on('error', () => settle(false))
    socket.on('close', () => settle(false))
  })
}

/** A start-up message of protocol 3.0, for the user and the database `postgres`. */
function postgresStartup(): Buffer {
  const parameters = Buffer.from('user\0postgres\0database\0postgres\0\0')
  const head = Buffer.alloc(8)
  head.writeInt32BE(head.length + parameters.length, 0)
  head.writeInt32BE(3 << 16, 4)
  return Buffer.concat([head, parameters])
}

/** A Metadata request, version 1, without topics: the shortest request whose answer lists the brokers. */
function kafkaMetadataRequest(): Buffer {
  const request = Buffer.alloc(18)
  request.writeInt32BE(14, 0) // bytes that follow
  request.writeInt16BE(3, 4) // api key
  request.writeInt16BE(1, 6) // api version
  request.writeInt32BE(1, 8) // correlation id
  request.writeInt16BE(-1, 12) // no client id
  request.writeInt32BE(0, 14) // no topics
  return request
}
