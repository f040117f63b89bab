import { homedir } from 'node:os'
import { join } from 'node:path'

/** The folder for downloaded brokers. */
export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'eventspine')
}
