import type { Broker, BrokerKind, LaunchOptions } from '../brokers/broker.ts'
import { freePort } from '../brokers/free-port.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { CANARY, USER } from './secret-watch.ts'

/** A broker of a run, with the user of its processes. */
export interface TortureBroker extends AsyncDisposable {
  readonly broker: Broker
  /** Where the user can connect. */
  readonly port: number
}

export async function launchTortureBroker(kind: BrokerKind): Promise<TortureBroker> {
  const listener = { name: 'PASSWORD', protocol: 'SASL_PLAINTEXT', port: await freePort() } as const
  const options: Readonly<Record<BrokerKind, LaunchOptions>> = {
    // Only with `appendfsync always` does a confirmed event survive a kill of the server.
    redis: { config: ['appendfsync always', `user ${USER} on >${CANARY} ~* &* +@all`] },
    rabbitmq: {},
    kafka: { config: ['group.min.session.timeout.ms=500', ...KAFKA_USER], listeners: [listener] },
  }
  const broker = await launchBroker(kind, options[kind])
  if (kind === 'rabbitmq') {
    await broker.exec('rabbitmqctl', 'add_user', USER, CANARY)
    await broker.exec('rabbitmqctl', 'set_permissions', USER, '.*', '.*', '.*')
  }
  const port = kind === 'kafka' ? listener.port : broker.port
  return { broker, port, [Symbol.asyncDispose]: () => broker.dispose() }
}

const KAFKA_USER = [
  'sasl.enabled.mechanisms=PLAIN',
  'listener.name.password.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule ' +
    `required user_${USER}="${CANARY}";`,
]
