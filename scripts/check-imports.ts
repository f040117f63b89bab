// Checks every file of src against the import rules, and src as a whole for circular imports.
import { glob, readFile } from 'node:fs/promises'
import { cycleFaults, importFaults } from './import-rules.ts'

const sources = new Map<string, string>()
for await (const file of glob('**/*.ts', { cwd: 'src' })) {
  sources.set(file.replaceAll('\\', '/'), await readFile(`src/${file}`, 'utf8'))
}
const faults = [...sources].flatMap(([file, source]) => importFaults(file, source))
faults.push(...cycleFaults(sources))
for (const fault of faults) console.error(fault)
process.exitCode = faults.length === 0 ? 0 : 1
