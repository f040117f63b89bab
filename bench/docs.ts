// npm run bench:docs: generates docs/benchmarks.md and its charts from the stored results.
import { writeDocs } from './report/write-docs.ts'

writeDocs()
