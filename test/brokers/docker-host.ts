import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrokerHost, LaunchOptions, ServerKind } from './broker.ts'
import {
  type KafkaListener,
  kafkaConfig,
  postgresConfig,
  rabbitMqPlugins,
  redisConfig,
} from './broker-config.ts'
import { guard } from './guard.ts'
import { imageOf } from './images.ts'
import { run } from './run.ts'

let engine: Promise<boolean> | undefined

/** @returns true if a Docker engine answers. */
export function hasDocker(): Promise<boolean> {
  engine ??= run('docker', ['info']).then(
    () => true,
    () => false,
  )
  return engine
}

interface Image {
  /** The broker's port inside its container. */
  readonly port: number
  readonly configFile: string
  readonly config: readonly string[]
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Runs a broker in a container. */
export class DockerHost implements BrokerHost {
  readonly pid = undefined
  readonly #name: string
  readonly #disarm: () => void

  private constructor(name: string) {
    this.#name = name
    this.#disarm = guard('docker rm --force --volumes "$1"', name)
  }

  static async create(kind: ServerKind, port: number, options: LaunchOptions): Promise<DockerHost> {
    const { config = [], listeners = [] } = options
    const host = new DockerHost(`eventspine-${kind}-${randomUUID()}`)
    const image = imageSetup(kind, port, listeners)
    const name = host.#name
    const published = [
      `${port}:${image.port}`,
      ...listeners.map((listener) => `${listener.port}:${listener.port}`),
    ]
    await run('docker', [
      'create',
      '--name',
      name,
      ...published.flatMap((ports) => ['--publish', `127.0.0.1:${ports}`]),
      ...Object.entries(image.env ?? {}).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
      imageOf(kind),
      ...(image.args ?? []),
    ])
    await copyInto(name, image.configFile, [...image.config, ...config].join('\n'))
    return host
  }

  async start(): Promise<void> {
    await run('docker', ['start', this.#name])
  }

  async stop(): Promise<void> {
    await run('docker', ['stop', '-t', '30', this.#name])
  }

  async kill(): Promise<void> {
    await run('docker', ['kill', this.#name])
  }

  async freeze(): Promise<void> {
    await run('docker', ['pause', this.#name])
  }

  async thaw(): Promise<void> {
    await run('docker', ['unpause', this.#name])
  }

  async remove(): Promise<void> {
    await run('docker', ['rm', '--force', '--volumes', this.#name])
    this.#disarm()
  }

  async exec(tool: string, args: readonly string[]): Promise<string> {
    return await run('docker', ['exec', this.#name, tool, ...args])
  }

  async checkAlive(): Promise<void> {
    const state = await run('docker', ['inspect', '--format', '{{.State.Status}}', this.#name])
    if (state.trim() !== 'exited') return
    throw new Error(`The container ${this.#name} ended. Its log ends with:\n${await this.logTail()}`)
  }

  async logTail(): Promise<string> {
    return await run('sh', ['-c', 'docker logs --tail 30 "$1" 2>&1', 'sh', this.#name])
  }
}

function imageSetup(kind: ServerKind, port: number, listeners: readonly KafkaListener[]): Image {
  switch (kind) {
    case 'redis':
      return {
        port: 6379,
        configFile: '/redis.conf',
        config: ['dir /data', 'protected-mode no', ...redisConfig],
        args: ['redis-server', '/redis.conf'],
      }
    case 'rabbitmq':
      return {
        port: 5672,
        configFile: '/etc/rabbitmq/conf.d/90-eventspine.conf',
        config: [],
        args: [
          'sh',
          '-c',
          `rabbitmq-plugins enable --offline ${rabbitMqPlugins.join(' ')} && exec docker-entrypoint.sh rabbitmq-server`,
        ],
      }
    case 'postgres':
      return {
        port: 5432,
        configFile: '/postgresql.conf',
        config: ["listen_addresses = '*'", ...postgresConfig],
        args: ['-c', 'config_file=/postgresql.conf'],
        env: { POSTGRES_HOST_AUTH_METHOD: 'trust' },
      }
    case 'kafka': {
      // Clients reconnect to the advertised port, so it must be the same inside and outside.
      const controllerPort = port === 9093 ? 9094 : 9093
      const node = { bindHost: '0.0.0.0', port, controllerPort, dataFolder: '/tmp/kafka-data', listeners }
      return { port, configFile: '/mnt/shared/config/server.properties', config: kafkaConfig(node) }
    }
  }
}

async function copyInto(container: string, path: string, content: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'eventspine-'))
  const file = join(folder, 'config')
  await writeFile(file, `${content}\n`)
  await run('docker', ['cp', file, `${container}:${path}`])
  await rm(folder, { recursive: true })
}
