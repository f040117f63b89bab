import { SAME_IN_BOTH_PROTOCOLS } from '../support/variant-omissions.ts'
import { variantRunner } from '../support/variant-suite.ts'
import { describeKafka } from './conformance.ts'

await describeKafka('consumer', variantRunner(SAME_IN_BOTH_PROTOCOLS))
