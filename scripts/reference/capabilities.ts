import { CAPABILITIES, type Capability } from '../../src/testing/conformance/capabilities.ts'
import { LACKS } from '../../test/support/lacks-of-buses.ts'
import { table } from './tables.ts'

/** The table of what each bus can, from what its run of the conformance suite leaves out. */
export function capabilitiesTable(): string {
  const buses = [LACKS.memory, LACKS.redis, LACKS.rabbitmq, LACKS.kafka]
  // The keys of CAPABILITIES are the capabilities.
  const rows = (Object.entries(CAPABILITIES) as [Capability, string][]).map(([capability, meaning]) => [
    meaning,
    ...buses.map((lacks: Partial<Record<Capability, string>>) =>
      lacks[capability] === undefined ? 'yes' : `no: ${lacks[capability]}`,
    ),
  ])
  return table(['a bus', 'memory', 'Redis', 'RabbitMQ', 'Kafka'], rows)
}
