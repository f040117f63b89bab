// A process of check-letters that replays all dead letters, and is killed meanwhile. Arguments: URL and prefix.
import { createEventBus } from '../../src/index.ts'
import { isBrokerBus } from './measure.ts'

const [url = '', prefix = ''] = process.argv.slice(2)
const bus = isBrokerBus(createEventBus(url, { prefix, consumerGroup: 'operator' }))
await bus.deadLetters.replayAll({}, { batchSize: 1, onProgress: ({ changed }) => console.log(changed) })
await bus.shutdown()
