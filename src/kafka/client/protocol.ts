export interface BrokerNode {
  readonly nodeId: number
  readonly host: string
  readonly port: number
}

export interface MetadataResponse {
  readonly brokers: readonly BrokerNode[]
  readonly controllerId: number
  readonly topics: readonly {
    readonly errorCode: number
    readonly name: string
    readonly topicId: string
    readonly partitions: readonly {
      readonly errorCode: number
      readonly partitionIndex: number
      readonly leaderId: number
      readonly replicaNodes: readonly number[]
      /** The replicas that have all records. */
      readonly isrNodes: readonly number[]
    }[]
    /** A bit for each operation that the user may do, if they were asked for. */
    readonly topicAuthorizedOperations: number
  }[]
}

export interface DescribeConfigsResponse {
  readonly results: readonly {
    readonly errorCode: number
    readonly configs: readonly { readonly name: string; readonly value: string | null }[]
  }[]
}

/** Settings of a topic. */
export interface ConfigsToDescribe {
  readonly resourceType: 2
  readonly resourceName: string
  readonly configurationKeys: readonly string[]
}

export interface TopicToCreate {
  readonly name: string
  readonly numPartitions: number
  readonly replicationFactor: number
  readonly assignments: readonly never[]
  readonly configs: readonly { readonly name: string; readonly value: string }[]
}

export interface CreateTopicsResponse {
  readonly topics: readonly {
    readonly name: string
    readonly errorCode: number
    readonly errorMessage: string | null
  }[]
}

export interface DeleteTopicsResponse {
  readonly responses: readonly { readonly name: string | null; readonly errorCode: number }[]
}

export interface DeleteGroupsResponse {
  readonly results: readonly { readonly groupId: string; readonly errorCode: number }[]
}

export interface FindCoordinatorResponse {
  readonly coordinators: readonly (BrokerNode & {
    readonly errorCode: number
    readonly errorMessage: string | null
  })[]
}

export interface JoinGroupResponse {
  readonly errorCode: number
  readonly generationId: number
  readonly protocolName: string | null
  readonly leader: string
  readonly memberId: string
  readonly members: readonly { readonly memberId: string; readonly metadata: Buffer }[]
}

export interface SyncGroupResponse {
  readonly errorCode: number
  readonly assignment: Buffer
}

export interface GroupHeartbeatResponse {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly memberId: string | null
  readonly memberEpoch: number
  readonly heartbeatIntervalMs: number
  readonly assignment: {
    readonly topicPartitions: readonly { readonly topicId: string; readonly partitions: readonly number[] }[]
  } | null
}

export interface OffsetFetchResponse {
  readonly groups: readonly {
    readonly errorCode: number
    readonly topics: readonly {
      readonly name: string
      readonly partitions: readonly {
        readonly partitionIndex: number
        readonly committedOffset: bigint
        readonly committedLeaderEpoch: number
        readonly metadata: string | null
        readonly errorCode: number
      }[]
    }[]
  }[]
}

export interface OffsetCommitTopic {
  readonly name: string
  readonly partitions: readonly {
    readonly partitionIndex: number
    readonly committedOffset: bigint
    readonly committedLeaderEpoch: number
    readonly committedMetadata: string | null
  }[]
}

export interface PartitionResults {
  readonly topics: readonly {
    readonly name: string
    readonly partitions: readonly { readonly partitionIndex: number; readonly errorCode: number }[]
  }[]
}

export interface ListOffsetsResponse {
  readonly topics: readonly {
    readonly name: string
    readonly partitions: readonly {
      readonly partitionIndex: number
      readonly errorCode: number
      readonly offset: bigint
    }[]
  }[]
}

export interface ListOffsetsTopic {
  readonly name: string
  readonly partitions: readonly {
    readonly partitionIndex: number
    readonly currentLeaderEpoch: number
    readonly timestamp: bigint
  }[]
}

export interface GroupToFetch {
  readonly groupId: string
  readonly memberId: string | null
  readonly memberEpoch: number
  readonly topics: readonly { readonly name: string; readonly partitionIndexes: readonly number[] }[]
}

export interface ListGroupsResponse {
  readonly errorCode: number
  readonly groups: readonly {
    readonly groupId: string
    readonly protocolType: string
    /** `classic` or `consumer`; absent before Kafka 3.8. */
    readonly groupType?: string
  }[]
}

export interface DescribeGroupsResponse {
  readonly groups: readonly {
    readonly errorCode: number
    readonly groupId: string
    /** A bit for each operation that the user may do, if they were asked for. */
    readonly authorizedOperations: number
    readonly members: readonly {
      readonly clientId: string
      readonly clientHost: string
      readonly memberMetadata: Buffer
      readonly memberAssignment: Buffer
    }[]
  }[]
}

export interface DescribeConsumerGroupsResponse {
  readonly groups: readonly {
    readonly errorCode: number
    readonly groupId: string
    readonly members: readonly {
      readonly clientId: string
      readonly subscribedTopicNames: readonly string[]
      readonly assignment: {
        readonly topicPartitions: readonly {
          readonly topicName: string
          readonly partitions: readonly number[]
        }[]
      }
    }[]
  }[]
}

export interface OffsetDeleteResponse extends PartitionResults {
  readonly errorCode: number
}

export interface OffsetDeleteTopic {
  readonly name: string
  readonly partitions: readonly { readonly partitionIndex: number }[]
}
