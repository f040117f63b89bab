/** One compression codec of the Kafka protocol. */
export interface KafkaCompression {
  readonly bitmask: number
  readonly available: boolean
  compressSync(bytes: Buffer): Buffer
  decompressSync(bytes: Buffer): Buffer
}
