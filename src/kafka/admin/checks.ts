import { counted } from '../../kit/counted.ts'
import { type Check, fault, type Problem, unknown, warning } from '../../transport/checkup.ts'
import type { KafkaApis } from '../client/apis.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { MetadataResponse } from '../client/protocol.ts'
import { CODE, nameOf } from '../errors.ts'
import { KafkaGroupDirectory } from './group-directory.ts'
import {
  cannot,
  grantOf,
  type KafkaCheckContext,
  missingRight,
  rightProblems,
  tool,
  topicsOf,
} from './rights.ts'

type Topic = MetadataResponse['topics'][number]

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
async function streamOf(context: KafkaCheckContext): Promise<Topic | undefined> {
  const [found] = await topicsOf(context, [context.options.topics.stream])
  return found?.errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION ? undefined : found
}

async function topicProblems(context: KafkaCheckContext): Promise<readonly Problem[]> {
  const { options } = context
  const { topics, createTopics, topicPartitions } = options
  const topic = await streamOf(context)
  if (topic === undefined) {
    if (createTopics) return []
    const text = `The topic ${topics.stream} does not exist, and createTopics is false.`
    const what = `--create --topic ${topics.stream} --partitions ${topicPartitions}`
    return [fault(text, `${tool('kafka-topics.sh', options)} ${what}`)]
  }
  if (topic.errorCode === CODE.TOPIC_AUTHORIZATION_FAILED)
    return [missingRight(options, 'Describe', [topics.stream], fault)]
  const without = topic.partitions.filter(({ leaderId }) => leaderId < 0)
  if (without.length === 0) return []
  const numbers = without.map(({ partitionIndex }) => partitionIndex).join(', ')
  const text = `Partitions without a leader: ${numbers}. Their events can be neither published nor read.`
  return [
    fault(
      text,
      `Start the brokers that have their replicas: ${tool('kafka-topics.sh', options)} --describe --unavailable-partitions`,
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
    problems.push(
      unknown(
        `${MIN_ISR} is unknown: ${needed}.`,
        grantOf(options, 'DescribeConfigs', 'topic', [options.topics.stream]),
      ),
    )
  } else if (inSync < needed && String(options.acks) !== '0' && String(options.acks) !== '1') {
    const text = `Only ${counted(inSync, 'replica is', 'replicas are')} in sync, and ${MIN_ISR} is ${needed}: publishes fail.`
    const change = `--alter --topic ${options.topics.stream} --add-config ${MIN_ISR}=${inSync}`
    problems.push(
      fault(text, `Start the missing brokers, or lower it: ${tool('kafka-configs.sh', options)} ${change}`),
    )
  } else if (inSync < replicas) {
    const text = `Only ${inSync} of ${replicas} replicas ${inSync === 1 ? 'is' : 'are'} in sync.`
    problems.push(
      warning(
        text,
        `Start the missing brokers: ${tool('kafka-topics.sh', options)} --describe --under-replicated-partitions`,
      ),
    )
  }
  if (replicas === 1 && cluster.brokerIds.length > 1) {
    const text = 'The topic has one replica: the loss of one broker loses events.'
    const change = '--execute --reassignment-json-file <file with the replicas of each partition>'
    problems.push(warning(text, `${tool('kafka-reassign-partitions.sh', options)} ${change}`))
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
