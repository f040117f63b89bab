import { describeRabbitMQ } from './conformance.ts'

await describeRabbitMQ('quorum')
