import { isIP } from 'node:net'
import { toError } from '../../errors.ts'
import type { ConnectionError } from '../../transport/errors.ts'
import type { ServerAddress } from '../../transport/transport.ts'
import { handshakeRefused } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaConnection, KafkaLibrary } from './client.ts'
import { guardFrames } from './frame-guard.ts'

interface RequestModule {
  readonly api: { async(connection: KafkaConnection, ...args: readonly unknown[]): Promise<unknown> }
}

const TLS_MISMATCH = 'and this bus do not agree on TLS. Check securityProtocol and the port'
const SASL_REQUIRED = 'asks for a user name at this port. Check securityProtocol and the port'

/**
 * Checks whether the broker expects another securityProtocol. If so, it closes the connection without an answer, as it
 * also does when it stops.
 *
 * @param security - TLS and SASL options of the bus's connections.
 * @returns the error to report; undefined if the failure has another cause.
 */
export async function findMismatch(
  library: KafkaLibrary,
  options: ResolvedKafkaOptions,
  server: ServerAddress,
  security: object,
): Promise<ConnectionError | undefined> {
  const { address, securityProtocol } = options
  const detail = `securityProtocol is '${securityProtocol}'`
  const tls = 'tls' in security ? { tls: security.tls } : undefined
  const own = await probe(library, options, server, tls ?? {})
  if (own === 'requires TLS') return handshakeRefused(address, TLS_MISMATCH, detail)
  if (own === 'requires SASL' && !('sasl' in security))
    return handshakeRefused(address, SASL_REQUIRED, detail)
  if (own !== undefined || tls === undefined) return undefined
  const other = await probe(library, options, server, {})
  return other === undefined ? undefined : handshakeRefused(address, TLS_MISMATCH, detail)
}

/** Connects without credentials to find out what the broker requires; undefined if that remains unknown. */
async function probe(
  library: KafkaLibrary,
  { consumerName, connectTimeoutMs, maxResponseBytes }: ResolvedKafkaOptions,
  { host, port }: ServerAddress,
  tls: object,
): Promise<'requires TLS' | 'requires SASL' | 'uses no SASL' | undefined> {
  // The client exports one module per request and version.
  const request = (name: string) => Reflect.get(library, name) as RequestModule
  const limits = { connectTimeout: connectTimeoutMs, requestTimeout: connectTimeoutMs }
  const name = isIP(host) === 0 ? { tlsServerName: host } : {}
  const connection = new library.Connection(consumerName, { ...limits, ...name, ...tls })
  connection.on('error', () => undefined)
  try {
    const connecting = connection.connect(host, port)
    if (connection.socket !== undefined) guardFrames(connection.socket, maxResponseBytes)
    await connecting
    await request('apiVersionsV3').api.async(connection, 'eventspine', '1')
    return await request('saslHandshakeV1')
      .api.async(connection, 'PLAIN')
      .then(() => 'requires SASL', readRefusal)
  } catch (thrown) {
    return toError(thrown).message.includes('requires TLS') ? 'requires TLS' : undefined
  } finally {
    void connection.close().catch(() => undefined)
  }
}

/** A broker with SASL refuses the mechanism at most. A broker without SASL refuses the request. */
function readRefusal(thrown: unknown): 'requires SASL' | 'uses no SASL' {
  const errors: readonly unknown[] = thrown instanceof AggregateError ? [thrown, ...thrown.errors] : [thrown]
  const hasNone = errors.some((error) => /current SASL state|closed/.test(toError(error).message))
  return hasNone ? 'uses no SASL' : 'requires SASL'
}
