import type { ServerKind } from './broker.ts'

/** A server other than the default one, chosen by environment variables. `npm run test:versions` sets them. */
export interface ChosenServer {
  /** The root folder of the Debian release that the server is started from. */
  readonly root?: string | undefined
  /** The server's program; undefined for the usual one. */
  readonly program?: string | undefined
  /** The version to download; Kafka and PostgreSQL alone. */
  readonly version?: string | undefined
}

/** The environment variables that choose a server. */
export const serverVariables = {
  redis: { root: 'EVENTSPINE_TEST_REDIS_ROOT', program: 'EVENTSPINE_TEST_REDIS_PROGRAM' },
  rabbitmq: { root: 'EVENTSPINE_TEST_RABBITMQ_ROOT' },
  kafka: { version: 'EVENTSPINE_TEST_KAFKA_VERSION' },
  postgres: { version: 'EVENTSPINE_TEST_POSTGRES_VERSION' },
} as const satisfies Record<ServerKind, Partial<Record<keyof ChosenServer, string>>>

/** @returns the server that the environment chooses; undefined for the default one. */
export function chosenServer(kind: ServerKind): ChosenServer | undefined {
  const chosen = Object.entries(serverVariables[kind]).flatMap(([part, variable]) => {
    const value = process.env[variable]
    return value ? [[part, value] as const] : []
  })
  return chosen.length > 0 ? Object.fromEntries(chosen) : undefined
}
