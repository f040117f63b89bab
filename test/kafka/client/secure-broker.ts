import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { loadKafka } from '../../../src/kafka/client/client.ts'
import type { Broker } from '../../brokers/broker.ts'
import type { KafkaListener } from '../../brokers/broker-config.ts'
import { freePort } from '../../brokers/free-port.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import type { Certificates } from '../../support/certificates.ts'

const NAMES = ['ENCRYPTED', 'MUTUAL', 'ELSEWHERE', 'PASSWORD', 'BOTH', 'INNER'] as const
export type ListenerName = (typeof NAMES)[number]

const PROTOCOLS = {
  ENCRYPTED: 'SSL',
  MUTUAL: 'SSL',
  ELSEWHERE: 'SSL',
  PASSWORD: 'SASL_PLAINTEXT',
  BOTH: 'SASL_SSL',
  INNER: 'PLAINTEXT',
} as const satisfies Record<ListenerName, KafkaListener['protocol']>

export interface SecureBroker {
  readonly broker: Broker
  portOf(name: ListenerName): number
}

/** The address that the listener `INNER` announces: a name that only its container could resolve. */
export const INNER_ADDRESS = 'kafka-internal.invalid:9092'

/**
 * A Kafka with a listener of each kind: encryption (`ENCRYPTED`), encryption with client certificates (`MUTUAL`), the
 * certificate of another host (`ELSEWHERE`), passwords (`PASSWORD`), passwords with encryption
 * (`BOTH`), and one that announces a name that cannot be resolved (`INNER`).
 */
export async function launchSecureBroker(
  certificates: Certificates,
  plainUser: { readonly username: string; readonly password: string },
): Promise<SecureBroker> {
  const listeners: KafkaListener[] = []
  for (const name of NAMES) {
    const advertised = name === 'INNER' ? { advertised: INNER_ADDRESS } : {}
    listeners.push({ name, protocol: PROTOCOLS[name], port: await freePort(), ...advertised })
  }
  const config = [
    ...(await serverIdentity(certificates, '', 'server')),
    ...(await serverIdentity(certificates, 'listener.name.elsewhere.', 'elsewhere')),
    'listener.name.mutual.ssl.client.auth=required',
    'sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    ...['password', 'both'].flatMap((name) => jaas(name, plainUser)),
  ]
  const broker = await launchBroker('kafka', { config, listeners })
  const portOf = (name: ListenerName) => listeners.find((listener) => listener.name === name)?.port ?? 0
  return { broker, portOf }
}

/** The PEM text is part of the settings, because a container cannot read the test's files. */
async function serverIdentity(
  certificates: Certificates,
  prefix: string,
  name: string,
): Promise<readonly string[]> {
  const inOneLine = async (file: string) => (await certificates.read(file)).trim().replaceAll('\n', '\\n')
  return [
    `${prefix}ssl.keystore.type=PEM`,
    `${prefix}ssl.keystore.key=${await inOneLine(`${name}.key`)}`,
    `${prefix}ssl.keystore.certificate.chain=${await inOneLine(`${name}.pem`)}`,
    `${prefix}ssl.truststore.type=PEM`,
    `${prefix}ssl.truststore.certificates=${await inOneLine('ca.pem')}`,
  ]
}

function jaas(
  listener: string,
  { username, password }: { readonly username: string; readonly password: string },
): readonly string[] {
  const security = 'org.apache.kafka.common.security'
  return [
    `listener.name.${listener}.plain.sasl.jaas.config=${security}.plain.PlainLoginModule required user_${username}="${password}";`,
    ...['scram-sha-256', 'scram-sha-512'].map(
      (mechanism) =>
        `listener.name.${listener}.${mechanism}.sasl.jaas.config=${security}.scram.ScramLoginModule required;`,
    ),
  ]
}

interface ScramUser {
  readonly username: string
  readonly password: string
  readonly mechanism: 'SCRAM-SHA-256' | 'SCRAM-SHA-512'
}

const SCRAM = {
  'SCRAM-SHA-256': { code: 1, bytes: 32, hash: 'sha256' },
  'SCRAM-SHA-512': { code: 2, bytes: 64, hash: 'sha512' },
} as const
const ITERATIONS = 4096

/** Sets the passwords of users. */
export async function addScramUsers(broker: Broker, users: readonly ScramUser[]): Promise<void> {
  const upsertions = users.map(({ username, password, mechanism }) => {
    const { code, bytes, hash } = SCRAM[mechanism]
    const salt = randomBytes(16)
    const saltedPassword = pbkdf2Sync(password, salt, ITERATIONS, bytes, hash)
    return { name: username, mechanism: code, iterations: ITERATIONS, salt, saltedPassword }
  })
  await alterScram(broker, [], upsertions)
}

/** Deletes a user's password. */
export async function removeScramUser(broker: Broker, { username, mechanism }: ScramUser): Promise<void> {
  await alterScram(broker, [{ name: username, mechanism: SCRAM[mechanism].code }], [])
}

interface AlterScram {
  readonly api: {
    async(connection: object, deletions: readonly object[], upsertions: readonly object[]): Promise<unknown>
  }
}

async function alterScram(
  broker: Broker,
  deletions: readonly object[],
  upsertions: readonly object[],
): Promise<void> {
  const library = await loadKafka()
  // The client exports the request under this name.
  const { api } = library['alterUserScramCredentialsV0'] as AlterScram
  const connection = new library.Connection('administrator', {})
  await connection.connect('127.0.0.1', broker.port)
  try {
    await api.async(connection, deletions, upsertions)
  } finally {
    await connection.close()
  }
}
