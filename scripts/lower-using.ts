// node --import scripts/lower-using.ts program.ts: runs a program with `using`, which Node.js 22 does not parse.
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { transformSync } from 'esbuild'

registerHooks({
  load(url, context, nextLoad) {
    if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context)
    const program = readFileSync(fileURLToPath(url), 'utf8')
    const { code } = transformSync(program, { loader: 'ts', format: 'esm', target: 'node22' })
    return { format: 'module', source: code, shortCircuit: true }
  },
})
