import { appendFile, mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Broker, type LaunchOptions } from './broker.ts'
import { rabbitMqPlugins } from './broker-config.ts'
import { chosenServer } from './chosen-server.ts'
import { dataFolder } from './data-folder.ts'
import { freePort } from './free-port.ts'
import { type NativeCommand, NativeHost } from './native-host.ts'
import { findProgram, requirePrograms } from './programs.ts'
import { oneScheduler, preparedRabbitMq } from './rabbitmq-preparation.ts'

/** Debian's scripts on the PATH switch to the user rabbitmq, who cannot write to the test's folder; these do not. */
const debianFolder = '/usr/lib/rabbitmq/bin'

/** Settings that the nodes of a cluster share. */
export interface ClusterMembership {
  readonly cookie: string
  readonly epmdPort: number
}

/** The command of a RabbitMQ that starts fast, unless it is measured. */
export async function rabbitMqCommand(
  folder: string,
  port: number,
  options: LaunchOptions,
  cluster?: ClusterMembership,
): Promise<NativeCommand> {
  const command = await plainCommand(folder, port, options, cluster)
  // The chosen server of a root folder has an Erlang of its own.
  if (options.isMeasured === true || command.root !== undefined) return command
  const { bootFile, toolFolder } = await prepareRabbitMq()
  await appendFile(join(folder, 'rabbitmq-env.conf'), `SASL_BOOT_FILE='${bootFile}'\n`)
  return { ...command, tools: { rabbitmqctl: join(toolFolder, 'rabbitmqctl') } }
}

/** Prepares the installed RabbitMQ, which takes as long as two starts. */
export async function prepareRabbitMq() {
  return await preparedRabbitMq(await serverScript(), startPlain)
}

async function startPlain(): Promise<Broker> {
  const port = await freePort()
  const folder = await mkdtemp(join(dataFolder, 'eventspine-rabbitmq-'))
  const broker = new Broker('rabbitmq', port, new NativeHost(await plainCommand(folder, port, {})))
  await broker.start()
  return broker
}

/** Sets a private value for every path and port that RabbitMQ and Erlang would share with other instances. */
async function plainCommand(
  folder: string,
  port: number,
  { config = [], plugins = rabbitMqPlugins, isMeasured = false }: LaunchOptions,
  cluster?: ClusterMembership,
): Promise<NativeCommand> {
  const root = chosenServer('rabbitmq')?.root
  if (root === undefined) await requirePrograms('rabbitmq-server', 'epmd')
  const path = (name: string) => join(folder, name)
  const lines = [`listeners.tcp.1 = 127.0.0.1:${port}`, 'log.console = true', ...config]
  await writeFile(path('rabbitmq.conf'), lines.join('\n'))
  await writeFile(path('enabled_plugins'), `[${plugins.join(', ')}].`)
  await mkdir(path('home'))
  if (cluster) await writeFile(path('home/.erlang.cookie'), cluster.cookie, { mode: 0o400 })
  return {
    folder,
    root,
    toolFolder: debianFolder,
    // epmd, Erlang's name server, outlives the node that starts it. Started here, it belongs to the broker's process
    // group and ends with it. `exec` makes the node the leader of the group, which receives the signals.
    command: '/bin/sh',
    args: [
      '-c',
      'epmd & exec "$0"',
      root === undefined ? await serverScript() : `${debianFolder}/rabbitmq-server`,
    ],
    env: {
      HOME: path('home'),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_EPMD_PORT: String(cluster?.epmdPort ?? (await freePort())),
      RABBITMQ_NODENAME: `eventspine-${port}@localhost`,
      RABBITMQ_DIST_PORT: String(await freePort()),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `${isMeasured ? '' : oneScheduler} -kernel inet_dist_use_interface {127,0,0,1}`,
      RABBITMQ_CONFIG_FILE: path('rabbitmq.conf'),
      RABBITMQ_CONFIG_FILES: path('conf.d'),
      RABBITMQ_ADVANCED_CONFIG_FILE: path('advanced.config'),
      RABBITMQ_CONF_ENV_FILE: path('rabbitmq-env.conf'),
      RABBITMQ_ENABLED_PLUGINS_FILE: path('enabled_plugins'),
      RABBITMQ_MNESIA_BASE: path('data'),
      RABBITMQ_LOG_BASE: folder,
      RABBITMQ_LOGS: '-',
      RABBITMQ_PID_FILE: path('rabbitmq.pid'),
      RUNNING_UNDER_SYSTEMD: 'true', // the node replaces the script, instead of being a child that outlives it
    },
  }
}

async function serverScript(): Promise<string> {
  return (
    (await findProgram(join(debianFolder, 'rabbitmq-server'))) ??
    (await findProgram('rabbitmq-server')) ??
    'rabbitmq-server'
  )
}
