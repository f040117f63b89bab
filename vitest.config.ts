import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { bundlePrograms } from './test/support/bundled-programs.ts'
import { measurePace, paced } from './test/support/pace.ts'

/** Tests in these folders run on real servers, except those named `*.unit.test.ts`. */
const backends = ['redis', 'rabbitmq', 'kafka', 'postgres', 'brokers']
const onBrokers = backends.map((folder) => `test/${folder}/**/*.test.ts`)
const unitTests = '**/*.unit.test.ts'

/** Unit tests that replace a module, load it again, or set a variable for the packages that they load. */
const alone = [
  'test/events/copies.test.ts',
  'test/scripts/regular-expressions.test.ts',
  'test/sqlite/network-file.test.ts',
]

/** Tests on servers wait for most of their time; see decision 0022. More than eight workers would start too many servers. */
const maxWorkers = Math.min(availableParallelism() + 1, 8)

/** The files that take longest, 20 seconds and more, the longest first. */
const longest = [
  'rabbitmq/classic',
  'kafka/classic',
  'rabbitmq/quorum',
  'kafka/next',
  'redis/conformance',
  'kafka/client/cluster',
  'rabbitmq/operations',
  'redis/torture',
  'brokers/operator-letters',
  'redis/torture-catches',
  'redis/verify',
  'rabbitmq/verify',
  'kafka/verify',
  'kafka/torture',
  'rabbitmq/torture',
  'brokers/operator-pages',
  'testing/suite-catches',
  'sqlite/conformance',
  'bundles/bundles',
  'postgres/conformance',
  'operator/every-page',
  'kafka/processes',
  'brokers/operator-outage',
  'brokers/effects-torture',
  'rabbitmq/client/cluster',
  'kafka/client/security',
  'rabbitmq/faults',
  'testing/memory-broker-conformance',
  'postgres/pglite',
  'kafka/faults',
  'sqlite/torture',
  'postgres/torture',
  'operator/hostile',
  'operator/page',
  'brokers/handler-outage',
  'redis/rollouts-catch',
  'brokers/network',
  'postgres/wake-up',
  'operator/letters/browser',
  'redis/admin/groups',
  'operator/letters/hostile',
  'rabbitmq/fuzz',
  'kafka/fuzz',
  'rabbitmq/publishing/publisher',
  'kafka/consuming/membership',
  'postgres/feed-check',
  'redis/large-entries',
  'brokers/rabbitmq',
  'rabbitmq/client/connection',
  'kafka/publishing/publisher',
  'subscriptions/crash',
]

/**
 * Starts the long files of each project first, so that no worker is left with one of them at the end. Vitest goes by a file's
 * size. All projects are one group: the first unit tests run when a worker finds no more tests on servers.
 */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const index = longest.findIndex((path) => moduleId.endsWith(`/test/${path}.test.ts`))
      return index === -1 ? longest.length : index
    }
    // A worker runs the files of one project, so the projects are not mixed.
    const projects = Map.groupBy(await super.sort(files), ({ project }) => project.name)
    return [...projects.values()].flatMap((ofOne) => ofOne.toSorted((a, b) => place(a) - place(b)))
  }
}

// Most programs that the tests start load the TypeScript sources. With the cache this takes half the CPU time, and each
// worker loads its packages faster. `npm ci` empties it.
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('./node_modules/.cache/compile', import.meta.url))

await measurePace()
await bundlePrograms()

// The waits of a test have deadlines of their own and report what they waited for. The limits below are for a test that
// hangs elsewhere, and exceed what its waits add up to.
export default defineConfig({
  test: {
    sequence: { sequencer: LongFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [...backends.map((folder) => `test/${folder}/**/!(*.unit).test.ts`), ...alone],
          // The files of a worker share the modules that they load: loading them again takes more CPU time than most tests.
          isolate: false,
          testTimeout: paced(60_000),
          hookTimeout: paced(60_000),
          maxWorkers,
          typecheck: {
            enabled: true,
            include: ['test/**/*.test-d.ts'],
            checker: 'tsc',
            tsconfig: 'tsconfig.types.json', // `npm run typecheck` checks the other files
          },
        },
      },
      {
        test: {
          name: 'unit alone',
          include: alone,
          testTimeout: paced(60_000),
          hookTimeout: paced(60_000),
          maxWorkers,
        },
      },
      {
        test: {
          name: 'brokers',
          include: onBrokers,
          exclude: [unitTests],
          isolate: false,
          globalSetup: 'test/brokers/global-setup.ts',
          setupFiles: 'test/brokers/report-starts.ts',
          testTimeout: paced(180_000),
          hookTimeout: paced(60_000),
          maxWorkers,
        },
      },
    ],
  },
})
