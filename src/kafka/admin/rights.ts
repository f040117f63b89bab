import { fault, type Problem, unknown, warning } from '../../transport/checkup.ts'
import type { KafkaApis } from '../client/apis.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { MetadataResponse } from '../client/protocol.ts'
import { CODE, nameOf } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { KafkaGroupDirectory } from './group-directory.ts'

export interface KafkaCheckContext {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
}

type Topic = MetadataResponse['topics'][number]
type Operation = 'Describe' | 'Write' | 'Read' | 'Create'

/** Numbers of operations in the protocol, which are those of the bits. */
const OPERATION = { Read: 3, Write: 4 } as const
/** The brokers did not report the operations. */
const UNREPORTED = -2_147_483_648
/** What the broker answers to a user who may not create a topic. */
const REFUSED: ReadonlySet<number> = new Set([
  CODE.TOPIC_AUTHORIZATION_FAILED,
  CODE.CLUSTER_AUTHORIZATION_FAILED,
])

/** The rights that docs/kafka.md names and the user lacks. */
export async function rightProblems(context: KafkaCheckContext): Promise<readonly Problem[]> {
  const { topics, consumerGroup, enableDlq, broadcast, groupProtocol } = context.options
  const stored = enableDlq ? [topics.deadLetters, topics.replays(consumerGroup)] : []
  const types = groupProtocol === 'consumer' ? [topics.types] : []
  return [
    ...(await topicRights(context, [topics.stream, ...(broadcast ? [] : stored)], fault)),
    ...(await topicRights(context, [topics.control, topics.presence, ...types], warning)),
    ...(await groupRights(context)),
  ]
}

async function topicRights(
  context: KafkaCheckContext,
  names: readonly string[],
  levelOf: typeof fault,
): Promise<readonly Problem[]> {
  const { options } = context
  const lacking: Record<Operation, string[]> = { Describe: [], Write: [], Read: [], Create: [] }
  const found = await topicsOf(context, names)
  for (const { name, errorCode, topicAuthorizedOperations } of found) {
    if (errorCode === CODE.TOPIC_AUTHORIZATION_FAILED) lacking.Describe.push(name ?? '')
    if (errorCode !== CODE.NONE) continue
    for (const operation of ['Write', 'Read'] as const) {
      if (!may(topicAuthorizedOperations, operation)) lacking[operation].push(name ?? '')
    }
  }
  const missing = found.filter(({ errorCode }) => errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION)
  const refused = new Map<string, string[]>()
  if (options.createTopics && missing.length > 0) {
    for (const { name, errorCode } of await triedToCreate(
      context,
      missing.map((one) => one.name ?? ''),
    )) {
      if (REFUSED.has(errorCode)) lacking.Create.push(name)
      else refused.set(nameOf(errorCode), [...(refused.get(nameOf(errorCode)) ?? []), name])
    }
  }
  const rights = Object.entries(lacking).flatMap(([operation, topics]) => {
    const inOrder = names.filter((name) => topics.includes(name))
    return inOrder.length === 0 ? [] : [missingRight(options, operation, inOrder, levelOf)]
  })
  const all = Array.from(refused, ([reason, topics]) =>
    notCreated(
      reason,
      names.filter((name) => topics.includes(name)),
    ),
  )
  return [...rights, ...all]
}

/** Topics with the operations that the user may do; none is created. */
export async function topicsOf(
  { cluster }: KafkaCheckContext,
  names: readonly string[],
): Promise<readonly Topic[]> {
  const args: [string[], boolean, boolean] = [[...names], false, true]
  const { topics } = await cluster.request(undefined, 'control', ({ metadata }) => metadata, args)
  return topics
}

/** Lets the brokers check what they would answer to the creation of topics. @returns those that they would refuse. */
async function triedToCreate(
  { cluster, options }: KafkaCheckContext,
  names: readonly string[],
): Promise<readonly { readonly name: string; readonly errorCode: number }[]> {
  const { topicPartitions: numPartitions, replicationFactor, requestTimeoutMs } = options
  const request = names.map((name) => ({
    ...{ name, numPartitions, replicationFactor, assignments: [], configs: [] },
  }))
  const args: [typeof request, number, boolean] = [request, requestTimeoutMs, true]
  const { topics } = await cluster.request(undefined, 'control', (apis) => apis.createTopics, args)
  return topics.filter(({ errorCode }) => errorCode !== CODE.NONE && errorCode !== CODE.TOPIC_ALREADY_EXISTS)
}

function notCreated(reason: string, names: readonly string[]): Problem {
  return fault(
    `The brokers refuse to create the missing ${names.length === 1 ? 'topic' : 'topics'} ${names.join(', ')}: ${reason}.`,
    'Correct topicPartitions and replicationFactor, or create the topic.',
  )
}

/**
 * Asking for the coordinator of a group creates the internal topic of a new cluster. So the broker that lists the group is asked,
 * or any broker, which refuses a group without the right to it.
 */
async function groupRights({ cluster, options }: KafkaCheckContext): Promise<readonly Problem[]> {
  const { consumerGroup, broadcast } = options
  if (broadcast) return []
  const listed = await new KafkaGroupDirectory(cluster).find(consumerGroup)
  const pick = (apis: KafkaApis) => apis.describeGroups ?? cannot('describe groups')
  const { groups } = await cluster.request(listed?.node, 'control', pick, [[consumerGroup], true])
  const [group] = groups
  const lacksIt = missingRight(options, 'Read', [consumerGroup], fault, 'group')
  if (group?.errorCode === CODE.GROUP_AUTHORIZATION_FAILED) return [lacksIt]
  const isKnown = listed !== undefined && group?.errorCode === CODE.NONE
  if (!isKnown)
    return [unknown(`The group ${consumerGroup} does not exist yet, so the right to read it is unknown.`)]
  return may(group.authorizedOperations, 'Read') ? [] : [lacksIt]
}

export function cannot(what: string): never {
  throw new Error(`the broker does not ${what}`)
}

function may(operations: number, operation: keyof typeof OPERATION): boolean {
  return operations === UNREPORTED || ((operations >> OPERATION[operation]) & 1) === 1
}

export function missingRight(
  options: ResolvedKafkaOptions,
  operation: string,
  names: readonly string[],
  levelOf: typeof fault,
  kind: 'topic' | 'group' = 'topic',
): Problem {
  const kinds = names.length === 1 ? kind : `${kind}s`
  const effect = levelOf === fault ? '' : ' The bus works without it; docs/kafka.md says how.'
  return levelOf(
    `The user has no right ${operation} on the ${kinds} ${names.join(', ')}.${effect}`,
    grantOf(options, operation, kind, names),
  )
}

/** The command that grants a right. */
export function grantOf(
  options: ResolvedKafkaOptions,
  operation: string,
  kind: 'topic' | 'group',
  names: readonly string[],
): string {
  const resources = names.map((name) => `--${kind} ${name}`).join(' ')
  const principal = `--allow-principal User:${options.saslUsername ?? '<user>'}`
  return `${tool('kafka-acls.sh', options)} --add ${principal} --operation ${operation} ${resources}`
}

/** A tool of Kafka's distribution, with the address of the cluster. */
export function tool(name: string, { address }: ResolvedKafkaOptions): string {
  return `${name} --bootstrap-server ${address}`
}
