#!/usr/bin/env node
import '../node-version.ts'
import { processTerminal } from './process-terminal.ts'
import { run } from './run.ts'

// Not exit(), so that the output is written in full.
process.exitCode = await run(process.argv.slice(2), processTerminal())
