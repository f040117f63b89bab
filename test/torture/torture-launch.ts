import { fileURLToPath } from 'node:url'
import type { Part } from '../../src/verify/messages.ts'
import type { Launch } from '../../src/verify/stage.ts'
import type { BrokerKind } from '../brokers/broker.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import type { Breakage } from './broken-transport.ts'
import type { Tampering } from './tampered-client.ts'
import { SCOPE, type TortureBusOptions } from './torture-bus.ts'
import { TortureKafkaProxy } from './torture-kafka-proxy.ts'

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))

export interface LaunchParts {
  readonly kind: BrokerKind
  /** Where the processes connect, each through a proxy. */
  readonly port: number
  readonly breakage: Breakage | Tampering | undefined
  readonly partitions: number
}

/** Each process of a run is behind its own proxy. */
export async function launchBehindProxy(
  { kind, port, breakage, partitions }: LaunchParts,
  { group, consumerName }: Part,
): Promise<Launch> {
  const line =
    kind === 'kafka' ? await TortureKafkaProxy.start(port) : await TcpProxy.start({ host: '127.0.0.1', port })
  const bus: TortureBusOptions = {
    kind,
    port: line.port,
    scope: SCOPE,
    consumerGroup: group,
    consumerName,
    partitions,
    ...(breakage === undefined ? {} : { breakage }),
  }
  return { program: WORKER, execArgv: ['--expose-gc'], more: { bus }, line }
}
