// Checks every file of src against the import rules.
import { glob, readFile } from 'node:fs/promises'
import { importFaults } from './import-rules.ts'

const faults: string[] = []
for await (const file of glob('**/*.ts', { cwd: 'src' })) {
  faults.push(...importFaults(file.replaceAll('\\', '/'), await readFile(`src/${file}`, 'utf8')))
}
for (const fault of faults) console.error(fault)
process.exitCode = faults.length === 0 ? 0 : 1
