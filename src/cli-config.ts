import type { CreateEventBusOptions } from './create-event-bus.ts'

/** A bus of the configuration file. */
export interface ConfiguredBus {
  /** As for `createEventBus`. Read secrets from the environment. */
  readonly url: string
  readonly options?: CreateEventBusOptions
  /** If true, commands that remove or replay something ask for the name of the bus. Default false. */
  readonly production?: boolean
}

/** A store of the configuration file. */
export interface ConfiguredStore {
  /** `postgres://…` or `sqlite:path/to/file.db`. */
  readonly url: string
  /** Schema of PostgreSQL. Default `'eventspine'`. */
  readonly schema?: string
}

/** What `eventspine.config.ts` exports as default. */
export interface EventspineConfig {
  readonly buses?: Readonly<Record<string, ConfiguredBus>>
  readonly stores?: Readonly<Record<string, ConfiguredStore>>
  /** Modules that export event classes or registries, relative to the file. With them, payloads are validated. */
  readonly events?: string | readonly string[]
}

/**
 * Checks the type of a configuration for `npx eventspine`.
 *
 * @example
 * // eventspine.config.ts
 * export default defineConfig({ buses: { orders: { url: process.env['BUS_URL'] ?? 'redis://localhost' } } })
 */
export function defineConfig(config: EventspineConfig): EventspineConfig {
  return config
}
