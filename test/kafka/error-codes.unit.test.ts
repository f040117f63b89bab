import { describe, expect, it } from 'vitest'
import { meaningOf } from '../../src/kafka/error-codes.ts'
import { CODE, messageRefusal, refusal } from '../../src/kafka/errors.ts'

/** The highest code of Kafka 4.1. */
const LAST = 133
const codes = Array.from({ length: LAST + 2 }, (_, index) => index - 1)

/** Not a literal, because the package's types do not compile with this project's settings. */
const PACKAGE: string = '@platformatic/kafka'

describe('an error code of the protocol', () => {
  it('has a name and a sentence for every code', () => {
    const meanings = codes.map(meaningOf)

    expect(new Set(meanings.map(({ name }) => name)).size).toBe(codes.length)
    for (const { name, text } of meanings) {
      expect(name).toMatch(/^[A-Z_]+$/)
      expect(text).toMatch(/^[a-z].{10,}[^.]$/)
    }
  })

  it('has the name that the client library and this bus know', async () => {
    // The package exports this table.
    const { protocolErrorsCodesById } = (await import(PACKAGE)) as {
      protocolErrorsCodesById: Readonly<Record<string, string>>
    }
    for (const [code, name] of Object.entries(protocolErrorsCodesById)) {
      expect(meaningOf(Number(code)).name).toBe(name)
    }
    for (const [name, code] of Object.entries(CODE)) expect(meaningOf(code).name).toBe(name)
  })

  it('of a newer Kafka shows its number', () => {
    expect(meaningOf(999)).toMatchObject({ name: 'error 999', isTemporary: true })
  })
})

describe('a refusal', () => {
  it.each([
    [CODE.NOT_COORDINATOR, 'CONNECTION_FAILED'],
    [CODE.KAFKA_STORAGE_ERROR, 'CONNECTION_FAILED'],
    [CODE.INVALID_TIMESTAMP, 'TOPOLOGY_CONFLICT'],
    [CODE.POLICY_VIOLATION, 'TOPOLOGY_CONFLICT'],
    [CODE.INVALID_SESSION_TIMEOUT, 'TOPOLOGY_CONFLICT'],
    [CODE.GROUP_AUTHORIZATION_FAILED, 'AUTHENTICATION_FAILED'],
  ])('with code %i is %s, which is retryable only if waiting helps', (code, kind) => {
    const error = refusal('host:9092', 'Joining the group a', code)

    expect(error).toMatchObject({ code: kind, retryable: kind === 'CONNECTION_FAILED' })
  })

  it("passes the broker's own message on", () => {
    expect(
      refusal('host:9092', 'Creating the topic a', CODE.POLICY_VIOLATION, 'At most 3 replicas.').message,
    ).toBe(
      'Creating the topic a was refused by Kafka at host:9092: POLICY_VIOLATION, a policy of the brokers forbids it (At most 3 replicas).',
    )
    expect(messageRefusal('host:9092', CODE.INVALID_RECORD, 'No key').message).toMatch(
      /INVALID_RECORD, .* \(No key\)\.$/,
    )
  })
})
