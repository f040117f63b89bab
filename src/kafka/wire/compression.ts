/** One compression codec of the Kafka protocol, as the client library has it. */
export interface KafkaCompression {
  readonly bitmask: number
  readonly available: boolean
  compressSync(bytes: Buffer): Buffer
}
