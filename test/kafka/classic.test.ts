import { describeKafka } from './conformance.ts'

await describeKafka('classic')
