import type { KafkaEventBusOptions } from '../../src/kafka/index.ts'
import { kafkaVersion } from '../brokers/images.ts'
import { itUnless } from '../support/left-out.ts'

export type GroupProtocol = NonNullable<KafkaEventBusOptions['groupProtocol']>

/** Options that choose how a group shares its partitions. */
export type GroupOptions = Pick<KafkaEventBusOptions, 'groupProtocol' | 'partitionAssignor'>

/** Both group protocols. */
export const protocols = {
  classic: { groupProtocol: 'classic' },
  consumer: { groupProtocol: 'consumer' },
} as const satisfies Record<string, GroupOptions>

/** The group protocol and the assignors that hand partitions over without stopping the others. */
export const gradualProtocols: Readonly<Record<string, GroupOptions>> = {
  'cooperative-sticky': { partitionAssignor: 'cooperative-sticky' },
  roundrobin: { partitionAssignor: 'roundrobin' },
  'the protocol of KIP-848': { groupProtocol: 'consumer' },
}

/** Why the tested Kafka cannot serve this protocol; undefined if it can. */
export function obstacleToProtocol(protocol: GroupProtocol = 'classic'): string | undefined {
  const version = kafkaVersion()
  return protocol === 'consumer' && Number.parseInt(version, 10) < 4
    ? `lacks groupProtocol 'consumer': it needs Kafka 4.0, this is ${version}`
    : undefined
}

/** Defines a test for each of these groups; `%s` in its name stands for the group. */
export function itWithEach<Options extends GroupOptions>(
  groups: Readonly<Record<string, Options>>,
  name: string,
  run: (options: Options) => Promise<void>,
): void {
  for (const [group, options] of Object.entries(groups))
    itUnless(obstacleToProtocol(options.groupProtocol), name.replace('%s', group), () => run(options))
}
