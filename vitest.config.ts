import { defineConfig } from 'vitest/config'

/** What lies directly in these folders; their subfolders are unit tests. */
const needsBrokers = ['redis', 'rabbitmq', 'kafka', 'brokers'].map((folder) => `test/${folder}/*.test.ts`)

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: needsBrokers,
          typecheck: { enabled: true, include: ['test/**/*.test-d.ts'], checker: 'tsc' },
        },
      },
      {
        test: {
          name: 'brokers',
          include: needsBrokers,
          globalSetup: 'test/brokers/global-setup.ts',
          testTimeout: 30_000,
          hookTimeout: 30_000,
          maxWorkers: 2,
        },
      },
    ],
  },
})
