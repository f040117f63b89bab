/** What the tests ask of every Redis, in a container or not: nothing is lost, and no snapshot interferes. */
export const redisConfig = ['appendonly yes', 'appendfsync everysec', 'save ""'] as const

/** A further listener of a Kafka, on a port of its own. */
export interface KafkaListener {
  /** Letters and digits; what is set for it alone begins with `listener.name.<name in lower case>.`. */
  readonly name: string
  readonly protocol: 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL'
  readonly port: number
}

/** One Kafka node that is broker and controller at once, with every internal topic sized for one node. */
export function kafkaConfig(node: {
  readonly bindHost: string
  readonly port: number
  readonly controllerPort: number
  readonly dataFolder: string
  readonly listeners: readonly KafkaListener[]
}): readonly string[] {
  const { bindHost, port, controllerPort, dataFolder } = node
  const clients: readonly KafkaListener[] = [
    { name: 'PLAINTEXT', protocol: 'PLAINTEXT', port },
    ...node.listeners,
  ]
  const bound = [...clients, { name: 'CONTROLLER', protocol: 'PLAINTEXT', port: controllerPort }]
  return [
    'process.roles=broker,controller',
    'node.id=1',
    `controller.quorum.voters=1@127.0.0.1:${controllerPort}`,
    'controller.listener.names=CONTROLLER',
    'inter.broker.listener.name=PLAINTEXT',
    `listeners=${bound.map(({ name, port }) => `${name}://${bindHost}:${port}`).join()}`,
    `advertised.listeners=${clients.map(({ name, port }) => `${name}://127.0.0.1:${port}`).join()}`,
    `listener.security.protocol.map=${bound.map(({ name, protocol }) => `${name}:${protocol}`).join()}`,
    `log.dirs=${dataFolder}`,
    'num.partitions=3',
    'auto.create.topics.enable=false',
    'group.initial.rebalance.delay.ms=0',
    // Members by KIP-848 learn of a rebalance with their next heartbeat, whose interval the broker sets.
    'group.consumer.min.heartbeat.interval.ms=200',
    'group.consumer.heartbeat.interval.ms=200',
    'offsets.topic.num.partitions=4',
    'offsets.topic.replication.factor=1',
    'transaction.state.log.num.partitions=4',
    'transaction.state.log.replication.factor=1',
    'transaction.state.log.min.isr=1',
    // After a kill the controller admits the broker only when the session of the killed process has expired.
    'broker.session.timeout.ms=1500',
    'broker.heartbeat.interval.ms=250',
    // The logs of deleted topics go at once: after a kill the broker recovers every log that is left.
    'log.segment.delete.delay.ms=200',
    'log.initial.task.delay.ms=200',
  ]
}
