// The first import of each entry point. It runs before the other modules, some of which need a newer Node.js.

/** The oldest supported version, as in `engines` of package.json. */
export const OLDEST_NODE = '22.22.0'

/** @returns one sentence if the version is too old. */
export function nodeVersionFault(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_NODE.split('.').map(Number)
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return undefined
  return `eventspine needs Node.js ${oldestMajor}.${oldestMinor} or newer, and this is Node.js ${version}: install a newer version, for example from https://nodejs.org.`
}

// Other runtimes report a version of Node.js that they imitate.
const isNode = !('bun' in process.versions || 'deno' in process.versions)
const fault = isNode ? nodeVersionFault(process.versions.node) : undefined
if (fault !== undefined) throw new Error(fault)
