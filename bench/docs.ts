// npm run bench:docs: docs/benchmarks.md and its charts, from the kept results.
import { writeDocs } from './report/write-docs.ts'

writeDocs()
