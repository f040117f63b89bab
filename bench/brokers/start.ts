// The broker of a benchmark: the one in the environment variable, or a new instance.
import type { BrokerKind } from '../../test/brokers/broker.ts'
import { launchBroker } from '../../test/brokers/launch-broker.ts'
import { addressVariables } from '../../test/brokers/shared-brokers.ts'

export async function startBroker(kind: BrokerKind): Promise<AsyncDisposable & { readonly url: string }> {
  const given = process.env[addressVariables[kind]]
  if (given === undefined) return await launchBroker(kind, { isMeasured: true })
  return { url: given, [Symbol.asyncDispose]: () => Promise.resolve() }
}
