#!/usr/bin/env node
import '../node-version.ts'
import { run } from './run.ts'

const { exitCode } = await run(process.argv.slice(2), {
  out: (text) => void process.stdout.write(`${text}\n`),
  err: (text) => void process.stderr.write(`${text}\n`),
})
// Not exit(), so that the output is written in full.
process.exitCode = exitCode
