import type { ConnectionOptions, SecureContext } from 'node:tls'

/** A broker to connect to. */
export interface Endpoint {
  /** Includes the password: for the client only, never for a log line or an error. */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Host, port and virtual host, for log lines and errors. */
  readonly address: string
  readonly isTls: boolean
}

/** The options that an endpoint's URL depends on. */
export interface EndpointOptions {
  readonly heartbeatMs: number
  readonly verifySsl: boolean
  readonly sslOptions: ConnectionOptions | undefined
  readonly sslContext: SecureContext | undefined
  readonly caFile: string | undefined
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
}

/** Parameters that the client reads from a URL. The bus sets `heartbeat`. */
export const URL_PARAMETERS: readonly string[] = ['channelMax', 'frameMax', 'locale', 'maxFrameSize']

export function isAmqpUrl(value: unknown): boolean {
  if (typeof value !== 'string' || !/^amqps?:\/\//.test(value) || !URL.canParse(value)) return false
  const { hostname, searchParams, hash } = new URL(value)
  // The client ignores other parameters.
  return (
    hostname !== '' && hash === '' && [...searchParams.keys()].every((key) => URL_PARAMETERS.includes(key))
  )
}

/** @param text - a URL that {@link isAmqpUrl} accepts. */
export function endpointOf(text: string, options: EndpointOptions): Endpoint {
  const url = new URL(text)
  if (wantsTls(options)) url.protocol = 'amqps:'
  const isTls = url.protocol === 'amqps:'
  if (url.port === '') url.port = isTls ? '5671' : '5672'
  const seconds = Number.isFinite(options.heartbeatMs) ? options.heartbeatMs / 1000 : 0
  url.searchParams.set('heartbeat', String(seconds))
  return {
    url: url.href,
    host: url.hostname,
    port: Number(url.port),
    address: `${url.host}${url.pathname === '' ? '/' : url.pathname}`,
    isTls,
  }
}

/** As in eventsource-py, any TLS option implies TLS, so that a given certificate is never ignored. */
function wantsTls({ verifySsl, sslOptions, sslContext, caFile, certFile }: EndpointOptions): boolean {
  return (
    !verifySsl ||
    sslOptions !== undefined ||
    sslContext !== undefined ||
    caFile !== undefined ||
    certFile !== undefined
  )
}
