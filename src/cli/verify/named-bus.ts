import { loadConfig } from '../config-file.ts'
import type { BusTarget } from '../target.ts'

/** The bus of a command line, as data for another process. */
export interface NamedBus {
  readonly url: string
  /** Name in the configuration; undefined for a URL. */
  readonly name: string | undefined
  /** The file of the configuration; undefined for the one of the working directory. */
  readonly config: string | undefined
  readonly workingDirectory: string
}

/** The bus with the options of its configuration, which may contain functions. */
export async function targetOf({ url, name, config, workingDirectory }: NamedBus): Promise<BusTarget> {
  if (name === undefined) return { url, name, events: [] }
  const { buses, events } = await loadConfig(workingDirectory, config)
  return { ...buses[name], url, name, events }
}
