// Runs the servers of the tests until Ctrl-C, and prints the shell commands that export their addresses.
import { once } from 'node:events'
import type { ServerKind } from '../test/brokers/broker.ts'
import { addressVariables, startSharedBrokers } from '../test/brokers/shared-brokers.ts'

const { addresses, stop } = await startSharedBrokers()
const kinds: readonly ServerKind[] = ['redis', 'rabbitmq', 'kafka', 'postgres']
for (const kind of kinds) console.log(`export ${addressVariables[kind]}=${addresses[kind]}`)
console.error('The servers run until Ctrl-C.')

const keepAlive = setInterval(() => {}, 60_000)
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
clearInterval(keepAlive)
await stop()
