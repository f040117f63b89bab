import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { toError } from '../../errors.ts'
import { booleanOption, nonEmptyText, type OptionRule, oneOf, optional, pemPath } from '../../kit/options.ts'
import { ConnectionError } from '../../transport/errors.ts'

/** Options for encryption and authentication, with eventsource-py's names. */
export interface KafkaSecurityOptions {
  /** `SASL_` authenticates with a user name and password, `SSL` encrypts. Default `'PLAINTEXT'`. */
  readonly securityProtocol?: 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL'
  /** How to authenticate. Required with `SASL_`. Default: none. */
  readonly saslMechanism?: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'
  /** User name. Required with `SASL_`. Default: none. */
  readonly saslUsername?: string
  /** Password. Required with `SASL_`. Default: none. */
  readonly saslPassword?: string
  /** PEM file with the trusted certificate authorities. Default: the authorities that Node.js trusts. */
  readonly sslCafile?: string
  /** PEM file with the certificate of this client, for mutual TLS. Default: none. */
  readonly sslCertfile?: string
  /** PEM file with the private key of `sslCertfile`. Default: none. */
  readonly sslKeyfile?: string
  /** Whether to refuse a broker whose certificate is for another host name. Default true. */
  readonly sslCheckHostname?: boolean
}

export const securityDefaults = {
  securityProtocol: 'PLAINTEXT',
  saslMechanism: undefined as string | undefined,
  saslUsername: undefined as string | undefined,
  saslPassword: undefined as string | undefined,
  sslCafile: undefined as string | undefined,
  sslCertfile: undefined as string | undefined,
  sslKeyfile: undefined as string | undefined,
  sslCheckHostname: true,
}

type ResolvedSecurity = Readonly<typeof securityDefaults>

export const securityRules: Readonly<Record<keyof typeof securityDefaults, OptionRule>> = {
  securityProtocol: oneOf('PLAINTEXT', 'SSL', 'SASL_PLAINTEXT', 'SASL_SSL'),
  saslMechanism: optional(oneOf('PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512')),
  saslUsername: optional(nonEmptyText),
  saslPassword: { ...optional(nonEmptyText), isSecret: true },
  sslCafile: optional(pemPath),
  sslCertfile: optional(pemPath),
  sslKeyfile: optional(pemPath),
  sslCheckHostname: booleanOption,
}

/** One sentence for each option that is missing or does not fit `securityProtocol`. */
export function securityFaults(options: ResolvedSecurity): readonly string[] {
  const { securityProtocol, sslCertfile, sslKeyfile } = options
  const faults: string[] = []
  const sasl = ['saslMechanism', 'saslUsername', 'saslPassword'] as const
  const ssl = ['sslCafile', 'sslCertfile', 'sslKeyfile'] as const
  if (securityProtocol.startsWith('SASL_')) {
    const missing = sasl.filter((name) => options[name] === undefined)
    if (missing.length > 0)
      faults.push(`securityProtocol '${securityProtocol}' needs ${missing.join(' and ')}`)
  } else {
    const extra = sasl.filter((name) => options[name] !== undefined)
    if (extra.length > 0) faults.push(`${needs(extra)} securityProtocol 'SASL_SSL' or 'SASL_PLAINTEXT'`)
  }
  if (!securityProtocol.endsWith('SSL')) {
    const extra = ssl.filter((name) => options[name] !== undefined)
    if (extra.length > 0) faults.push(`${needs(extra)} securityProtocol 'SSL' or 'SASL_SSL'`)
  }
  if ((sslCertfile === undefined) !== (sslKeyfile === undefined)) {
    faults.push('sslCertfile and sslKeyfile must be given together')
  }
  return faults
}

/** Log lines about permitted but insecure settings. */
export function securityWarnings({
  securityProtocol,
  sslCheckHostname,
}: ResolvedSecurity): readonly string[] {
  if (securityProtocol === 'SASL_PLAINTEXT')
    return ['credentials and events travel unencrypted (SASL_PLAINTEXT)']
  const isUnchecked = securityProtocol.endsWith('SSL') && !sslCheckHostname
  return isUnchecked ? ['the host name of the broker is not checked (sslCheckHostname)'] : []
}

function needs(names: readonly string[]): string {
  return `${names.join(' and ')} ${names.length === 1 ? 'needs' : 'need'}`
}

/** TLS and SASL options for the client's connections. Reads the files. @throws ConnectionError */
export async function connectionSecurity(options: ResolvedSecurity): Promise<object> {
  const { securityProtocol, saslMechanism, saslUsername, saslPassword } = options
  return {
    ...(securityProtocol.endsWith('SSL') ? { tls: await tlsOptions(options) } : {}),
    ...(securityProtocol.startsWith('SASL_')
      ? { sasl: { mechanism: saslMechanism, username: saslUsername, password: saslPassword } }
      : {}),
  }
}

async function tlsOptions(options: ResolvedSecurity): Promise<object> {
  const [ca, cert, key] = await Promise.all([
    readPem('sslCafile', options.sslCafile),
    readPem('sslCertfile', options.sslCertfile),
    readPem('sslKeyfile', options.sslKeyfile),
  ])
  if (ca !== undefined && !/-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----/.test(ca))
    throw unusable('sslCafile', 'it contains no certificate')
  const files = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  }
  try {
    createSecureContext(files)
  } catch (thrown) {
    throw unusable('sslCertfile or sslKeyfile', toError(thrown).message)
  }
  return {
    ...files,
    // The certificate chain is still verified, but not the host name.
    ...(options.sslCheckHostname ? {} : { checkServerIdentity: () => undefined }),
  }
}

async function readPem(option: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw unusable(option, toError(cause).message)
  }
}

function unusable(option: string, detail: string): ConnectionError {
  return new ConnectionError('AUTHENTICATION_FAILED', `${option} cannot be used: ${detail}.`)
}
