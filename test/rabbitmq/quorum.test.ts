import { SAME_ON_BOTH_QUEUES } from '../support/variant-omissions.ts'
import { variantRunner } from '../support/variant-suite.ts'
import { describeRabbitMQ } from './conformance.ts'

await describeRabbitMQ('quorum', variantRunner(SAME_ON_BOTH_QUEUES))
