/** What the tests ask of every Redis, in a container or not: nothing is lost, and no snapshot interferes. */
export const redisConfig = ['appendonly yes', 'appendfsync everysec', 'save ""'] as const

/** One Kafka node that is broker and controller at once, with every internal topic sized for one node. */
export function kafkaConfig(node: {
  readonly bindHost: string
  readonly port: number
  readonly controllerPort: number
  readonly dataFolder: string
}): readonly string[] {
  const { bindHost, port, controllerPort, dataFolder } = node
  return [
    'process.roles=broker,controller',
    'node.id=1',
    `controller.quorum.voters=1@127.0.0.1:${controllerPort}`,
    'controller.listener.names=CONTROLLER',
    'inter.broker.listener.name=PLAINTEXT',
    `listeners=PLAINTEXT://${bindHost}:${port},CONTROLLER://${bindHost}:${controllerPort}`,
    `advertised.listeners=PLAINTEXT://127.0.0.1:${port}`,
    'listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL',
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
    // After a kill the controller lets the broker in only once the session of its former self has run out.
    'broker.session.timeout.ms=3000',
    'broker.heartbeat.interval.ms=500',
  ]
}
