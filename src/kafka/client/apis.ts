import { ConnectionError } from '../../transport/errors.ts'
import { CODE } from '../errors.ts'
import type { KafkaApi, KafkaConnection, KafkaLibrary, KafkaWriter } from './client.ts'
import type {
  ConfigsToDescribe,
  CreateTopicsResponse,
  DeleteGroupsResponse,
  DeleteTopicsResponse,
  DescribeConfigsResponse,
  DescribeConsumerGroupsResponse,
  DescribeGroupsResponse,
  FindCoordinatorResponse,
  GroupHeartbeatResponse,
  GroupToFetch,
  JoinGroupResponse,
  ListGroupsResponse,
  ListOffsetsResponse,
  ListOffsetsTopic,
  MetadataResponse,
  OffsetCommitTopic,
  OffsetDeleteResponse,
  OffsetDeleteTopic,
  OffsetFetchResponse,
  PartitionResults,
  SyncGroupResponse,
  TopicToCreate,
} from './protocol.ts'

type JoinGroupArgs = [
  group: string,
  sessionTimeoutMs: number,
  rebalanceTimeoutMs: number,
  memberId: string,
  groupInstanceId: string | null,
  protocolType: string,
  protocols: readonly { readonly name: string; readonly metadata: Buffer }[],
  reason: string,
]

type GroupHeartbeatArgs = [
  group: string,
  memberId: string,
  memberEpoch: number,
  groupInstanceId: string | null,
  rack: string | null,
  rebalanceTimeoutMs: number,
  topics: readonly string[] | null,
  topicPattern: string | null,
  assignor: string | null,
  owned: readonly { readonly topicId: string; readonly partitions: readonly number[] }[] | null,
]

type FetchArgs = [
  maxWaitMs: number,
  minBytes: number,
  maxBytes: number,
  isolationLevel: number,
  sessionId: number,
  sessionEpoch: number,
  topics: readonly FetchTopic[],
  forgotten: readonly never[],
  rack: string,
]

export interface FetchTopic {
  readonly topicId: string
  readonly partitions: readonly {
    readonly partition: number
    readonly currentLeaderEpoch: number
    readonly fetchOffset: bigint
    readonly lastFetchedEpoch: number
    readonly partitionMaxBytes: number
  }[]
}

/** The requests that the bus sends, each in the newest version that the client and one broker share. */
export interface KafkaApis {
  readonly metadata: KafkaApi<[string[] | null, boolean, boolean], MetadataResponse>
  readonly createTopics: KafkaApi<[readonly TopicToCreate[], number, boolean], CreateTopicsResponse>
  readonly findCoordinator: KafkaApi<[number, string[]], FindCoordinatorResponse>
  readonly joinGroup: KafkaApi<JoinGroupArgs, JoinGroupResponse>
  readonly syncGroup: KafkaApi<
    [
      string,
      number,
      string,
      string | null,
      string,
      string | null,
      readonly { readonly memberId: string; readonly assignment: Buffer }[],
    ],
    SyncGroupResponse
  >
  readonly heartbeat: KafkaApi<[string, number, string, string | null], { readonly errorCode: number }>
  readonly leaveGroup: KafkaApi<
    [string, readonly { readonly memberId: string; readonly groupInstanceId?: string | null }[]],
    { readonly errorCode: number }
  >
  readonly groupHeartbeat: KafkaApi<GroupHeartbeatArgs, GroupHeartbeatResponse> | undefined
  readonly offsetFetch: KafkaApi<[readonly GroupToFetch[], boolean], OffsetFetchResponse>
  readonly offsetCommit: KafkaApi<
    [string, number, string, string | null, readonly OffsetCommitTopic[]],
    PartitionResults
  >
  /** For operators; undefined if the broker lacks it. */
  readonly listGroups: KafkaApi<[readonly string[], readonly string[]], ListGroupsResponse> | undefined
  readonly describeGroups: KafkaApi<[readonly string[], boolean], DescribeGroupsResponse> | undefined
  readonly describeConsumerGroups:
    | KafkaApi<[readonly string[], boolean], DescribeConsumerGroupsResponse>
    | undefined
  readonly describeConfigs:
    | KafkaApi<[readonly ConfigsToDescribe[], boolean, boolean], DescribeConfigsResponse>
    | undefined
  readonly offsetDelete: KafkaApi<[string, readonly OffsetDeleteTopic[]], OffsetDeleteResponse> | undefined
  readonly deleteTopics:
    | KafkaApi<[readonly { readonly name: string; readonly topicId: null }[], number], DeleteTopicsResponse>
    | undefined
  readonly deleteGroups: KafkaApi<[readonly string[]], DeleteGroupsResponse> | undefined
  readonly listOffsets: KafkaApi<[number, number, readonly ListOffsetsTopic[]], ListOffsetsResponse>
  readonly initProducerId: KafkaApi<
    [string | null, number],
    { readonly errorCode: number; readonly producerId: bigint; readonly producerEpoch: number }
  >
  readonly produce: KafkaApi<readonly unknown[], unknown>
  readonly fetch: KafkaApi<readonly unknown[], unknown>
  readonly createFetchRequest: (...args: FetchArgs) => KafkaWriter
}

interface ApiModule {
  readonly api: KafkaApi<readonly unknown[], unknown>
  readonly createRequest: (...args: readonly unknown[]) => KafkaWriter
}

interface ApiVersionsResponse {
  readonly apiKeys: readonly {
    readonly apiKey: number
    readonly minVersion: number
    readonly maxVersion: number
  }[]
}

/** The newest version of the Fetch request in each release. A broker does not report its release. */
const FETCH_OF_RELEASE: ReadonlyMap<number, string> = new Map([
  [10, '2.1 or 2.2'],
  [11, '2.3 to 2.6'],
  [12, '2.7 to 3.0'],
])

const FETCH = 1

function releaseOf(apiKeys: ApiVersionsResponse['apiKeys']): string {
  const newest = apiKeys.find(({ apiKey }) => apiKey === FETCH)?.maxVersion
  if (newest === undefined) return 'unknown'
  if (newest < 10) return '2.0 or older'
  return FETCH_OF_RELEASE.get(newest) ?? '3.1 or newer'
}

function tooOld(address: string, release: string, ...missing: readonly string[]): ConnectionError {
  return new ConnectionError(
    'TOPOLOGY_CONFLICT',
    `Kafka at ${address} has version ${release}: it supports none of ${missing.join(', ')}. ` +
      'KafkaEventBus needs Kafka 3.1 or newer.',
  )
}

/** True for the client's error about an answer with this code. */
function isUnsupportedVersion(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false
  const { response } = thrown as Error & { readonly response?: { readonly errorCode?: unknown } }
  return response?.errorCode === CODE.UNSUPPORTED_VERSION
}

/** Reads the versions that a broker supports. @throws ConnectionError if the broker is too old. */
export async function negotiateApis(
  library: KafkaLibrary,
  connection: KafkaConnection,
  address: string,
): Promise<KafkaApis> {
  // The client exports one module per request and version.
  const module = (name: string) => Reflect.get(library, name) as ApiModule | undefined
  // The client's module of that name returns this type.
  const answer = (await module('apiVersionsV3')
    ?.api.async(connection, 'eventspine', '1')
    .catch((thrown: unknown) => {
      throw isUnsupportedVersion(thrown) ? tooOld(address, '2.3 or older', 'apiVersionsV3') : thrown
    })) as ApiVersionsResponse | undefined
  const apiKeys = answer?.apiKeys ?? []
  const find = (...names: readonly string[]): ApiModule | undefined => {
    const modules = names.flatMap((name) => module(name) ?? [])
    return modules.find(({ api }) => {
      const range = apiKeys.find(({ apiKey }) => apiKey === api.key)
      return range !== undefined && api.version >= range.minVersion && api.version <= range.maxVersion
    })
  }
  const need = (...names: readonly string[]): ApiModule => {
    const found = find(...names)
    if (found !== undefined) return found
    throw tooOld(address, releaseOf(apiKeys), ...names)
  }
  const fetch = need('fetchV17', 'fetchV16', 'fetchV15', 'fetchV14', 'fetchV13')
  const apis = {
    metadata: need('metadataV12', 'metadataV11', 'metadataV10').api,
    createTopics: need('createTopicsV7', 'createTopicsV6', 'createTopicsV5').api,
    findCoordinator: need('findCoordinatorV6', 'findCoordinatorV5', 'findCoordinatorV4').api,
    joinGroup: need('joinGroupV9', 'joinGroupV8', 'joinGroupV7').api,
    syncGroup: need('syncGroupV5').api,
    heartbeat: need('heartbeatV4').api,
    leaveGroup: need('leaveGroupV5', 'leaveGroupV4').api,
    groupHeartbeat: find('consumerGroupHeartbeatV1', 'consumerGroupHeartbeatV0')?.api,
    offsetFetch: need('offsetFetchV9', 'offsetFetchV8').api,
    offsetCommit: need('offsetCommitV9', 'offsetCommitV8').api,
    listGroups: find('listGroupsV5', 'listGroupsV4')?.api,
    describeGroups: find('describeGroupsV5')?.api,
    describeConsumerGroups: find('consumerGroupDescribeV0')?.api,
    describeConfigs: find('describeConfigsV4', 'describeConfigsV3', 'describeConfigsV2')?.api,
    offsetDelete: find('offsetDeleteV0')?.api,
    deleteTopics: find('deleteTopicsV6')?.api,
    deleteGroups: find('deleteGroupsV2')?.api,
    listOffsets: need('listOffsetsV9', 'listOffsetsV8', 'listOffsetsV7').api,
    initProducerId: need('initProducerIdV5', 'initProducerIdV4').api,
    produce: need('produceV11', 'produceV10', 'produceV9').api,
    fetch: fetch.api,
    createFetchRequest: fetch.createRequest,
  }
  // The versions named above have the arguments and answers that KafkaApis declares.
  return apis as unknown as KafkaApis
}
