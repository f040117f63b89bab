import { type Check, fault, type Problem, unknown, warning } from '../../transport/checkup.ts'
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

/** Numbers of operations in the protocol, which are those of the bits. */
const OPERATION = { Read: 3, Write: 4, Describe: 8 } as const
/** The brokers did not report the operations. */
const UNREPORTED = -2_147_483_648
const MIN_ISR = 'min.insync.replicas'

/** All checks of Kafka. */
export const KAFKA_CHECKS: readonly Check<KafkaCheckContext>[] = [
  { name: 'kafka-topic', run: topicProblems },
  { name: 'kafka-replicas', run: replicaProblems },
  { name: 'kafka-rights', run: rightProblems },
  { name: 'kafka-group-protocol', run: protocolProblems },
  {
    name: 'kafka-clock',
    run: () =>
      Promise.resolve([unknown('Kafka does not report its time, so the clocks of the brokers are unknown.')]),
  },
]

/** The topic of the stream with the operations that the user may do; it is never created. */
async function streamOf({ cluster, options }: KafkaCheckContext): Promise<Topic | undefined> {
  const name = options.topics.stream
  const args: [string[], boolean, boolean] = [[name], false, true]
  const { topics } = await cluster.request(undefined, 'control', ({ metadata }) => metadata, args)
  const found = topics.find((topic) => topic.name === name)
  return found?.errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION ? undefined : found
}

async function topicProblems(context: KafkaCheckContext): Promise<readonly Problem[]> {
  const { topics, createTopics, topicPartitions } = context.options
  const topic = await streamOf(context)
  if (topic === undefined) {
    if (createTopics) return []
    const text = `The topic ${topics.stream} does not exist, and createTopics is false.`
    const remedy = `kafka-topics.sh --create --topic ${topics.stream} --partitions ${topicPartitions}`
    return [fault(text, remedy)]
  }
  if (topic.errorCode === CODE.TOPIC_AUTHORIZATION_FAILED) return [missing('Describe', topics.stream)]
  const without = topic.partitions.filter(({ leaderId }) => leaderId < 0)
  if (without.length === 0) return []
  const numbers = without.map(({ partitionIndex }) => partitionIndex).join(', ')
  const text = `Partitions without a leader: ${numbers}. Their events can be neither published nor read.`
  return [
    fault(
      text,
      'Start the brokers that have their replicas: kafka-topics.sh --describe --unavailable-partitions',
    ),
  ]
}

async function replicaProblems(context: KafkaCheckContext): Promise<readonly Problem[]> {
  const { cluster, options } = context
  const topic = await streamOf(context)
  if (topic === undefined || topic.errorCode !== CODE.NONE) return []
  const partitions = topic.partitions.filter(({ leaderId }) => leaderId >= 0)
  const inSync = Math.min(...partitions.map(({ isrNodes }) => isrNodes.length))
  const replicas = Math.max(...partitions.map(({ replicaNodes }) => replicaNodes.length))
  const problems: Problem[] = []
  const needed = await minInSync(cluster, options.topics.stream)
  if (typeof needed === 'string') {
    problems.push(unknown(`${MIN_ISR} is unknown: ${needed}.`, 'Grant DescribeConfigs on the topic.'))
  } else if (inSync < needed && String(options.acks) !== '0' && String(options.acks) !== '1') {
    const text = `Only ${inSync} replicas are in sync, and ${MIN_ISR} is ${needed}: publishes fail.`
    problems.push(fault(text, `Start the missing brokers, or lower ${MIN_ISR} of ${options.topics.stream}.`))
  } else if (inSync < replicas) {
    const text = `Only ${inSync} of ${replicas} replicas are in sync.`
    problems.push(
      warning(text, 'Start the missing brokers: kafka-topics.sh --describe --under-replicated-partitions'),
    )
  }
  if (replicas === 1 && cluster.brokerIds.length > 1) {
    const text = 'The topic has one replica: the loss of one broker loses events.'
    problems.push(warning(text, 'Add replicas: kafka-reassign-partitions.sh'))
  }
  return problems
}

/** @returns why it is unknown, as text. */
async function minInSync(cluster: KafkaCluster, topic: string): Promise<number | string> {
  const request = [{ resourceType: 2 as const, resourceName: topic, configurationKeys: [MIN_ISR] }]
  const pick = (apis: KafkaApis) => apis.describeConfigs ?? cannot('describe settings')
  const answer = await cluster.request(undefined, 'control', pick, [request, false, false])
  const [result] = answer.results
  if (result?.errorCode !== CODE.NONE) return nameOf(result?.errorCode ?? CODE.UNKNOWN_SERVER_ERROR)
  return Number(result.configs.find(({ name }) => name === MIN_ISR)?.value ?? 1)
}

async function rightProblems(context: KafkaCheckContext): Promise<readonly Problem[]> {
  const { options } = context
  const topic = await streamOf(context)
  const problems: Problem[] = []
  if (topic?.errorCode === CODE.TOPIC_AUTHORIZATION_FAILED)
    return [missing('Describe', options.topics.stream)]
  if (topic !== undefined) {
    for (const operation of ['Write', 'Read'] as const) {
      if (!may(topic.topicAuthorizedOperations, operation)) {
        problems.push(missing(operation, options.topics.stream))
      }
    }
  }
  return [...problems, ...(await groupRightProblems(context))]
}

/**
 * Asking for the coordinator of a group creates the internal topic of a new cluster. So the broker that lists the group is asked,
 * or any broker, which refuses a group without the right to it.
 */
async function groupRightProblems({ cluster, options }: KafkaCheckContext): Promise<readonly Problem[]> {
  const { consumerGroup, broadcast } = options
  if (broadcast) return []
  const listed = await new KafkaGroupDirectory(cluster).find(consumerGroup)
  const pick = (apis: KafkaApis) => apis.describeGroups ?? cannot('describe groups')
  const { groups } = await cluster.request(listed?.node, 'control', pick, [[consumerGroup], true])
  const [group] = groups
  if (group?.errorCode === CODE.GROUP_AUTHORIZATION_FAILED) return [missing('Read', consumerGroup, 'group')]
  const isKnown = listed !== undefined && group?.errorCode === CODE.NONE
  if (!isKnown)
    return [unknown(`The group ${consumerGroup} does not exist yet, so the right to read it is unknown.`)]
  return may(group.authorizedOperations, 'Read') ? [] : [missing('Read', consumerGroup, 'group')]
}

function cannot(what: string): never {
  throw new Error(`the broker does not ${what}`)
}

function may(operations: number, operation: keyof typeof OPERATION): boolean {
  return operations === UNREPORTED || ((operations >> OPERATION[operation]) & 1) === 1
}

function missing(operation: string, name: string, kind: 'topic' | 'group' = 'topic'): Problem {
  return fault(
    `The user has no right ${operation} on the ${kind} ${name}.`,
    `kafka-acls.sh --add --allow-principal User:<user> --operation ${operation} --${kind} ${name}`,
  )
}

/** A classic member and one of the newer protocol cannot be in one group that has members. */
async function protocolProblems({ cluster, options }: KafkaCheckContext): Promise<readonly Problem[]> {
  const { consumerGroup, groupProtocol } = options
  const group = await new KafkaGroupDirectory(cluster).find(consumerGroup)
  const type = group !== undefined && group.members.length > 0 ? group.type : undefined
  if (type === undefined || type === groupProtocol) return []
  return [
    fault(
      `The members of the group ${consumerGroup} use the ${type} protocol, and this bus is set to ${groupProtocol}.`,
      `Set groupProtocol: '${type}', or stop the other members first.`,
    ),
  ]
}
