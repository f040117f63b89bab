import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Broker } from './broker.ts'
import { cacheFolder } from './cache-folder.ts'
import { findProgram } from './programs.ts'

/** Options of Erlang for RabbitMQ and its tools; see decision 0022. They cost speed under lasting load. */
export const oneScheduler = '+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none'

/** What each start of RabbitMQ and of rabbitmqctl would do again, done once for an installation and kept in the user's cache. */
interface PreparedRabbitMq {
  /**
   * The path, without `.boot`, of a boot script that loads all of RabbitMQ's modules at once. By default Erlang loads each
   * of the 900 modules at its first use, searches 90 folders for it and copies its table of exported functions. One load
   * halves the CPU time of a start. The script has the modules of a running broker.
   */
  readonly bootFile: string
  /** The folder of a rabbitmqctl whose modules are files. The installed one unpacks an archive at each start. */
  readonly toolFolder: string
}

export async function preparedRabbitMq(
  server: string,
  startPlain: () => Promise<Broker>,
): Promise<PreparedRabbitMq> {
  const folder = join(cacheFolder(), `rabbitmq-ready-${await fingerprint(server)}`)
  if (!existsSync(folder)) await prepare(folder, startPlain)
  return { bootFile: join(folder, 'all-modules'), toolFolder: join(folder, 'tools') }
}

/** Names the installed versions without starting Erlang. Packages set the time of their files. */
async function fingerprint(server: string): Promise<string> {
  const hash = createHash('sha256')
  for (const program of [server, (await findProgram('erl')) ?? 'erl']) {
    const path = await realpath(program)
    const { size, mtimeMs } = await stat(path)
    hash.update(`${path} ${size} ${mtimeMs}\n`)
  }
  return hash.digest('hex').slice(0, 16)
}

async function prepare(folder: string, startPlain: () => Promise<Broker>): Promise<void> {
  await mkdir(cacheFolder(), { recursive: true })
  const unfinished = await mkdtemp(`${folder}-`)
  try {
    await using broker = await startPlain()
    await broker.exec('rabbitmqctl', 'eval', writeBootScript(join(unfinished, 'all-modules.boot')))
    const tools = join(unfinished, 'tools')
    await mkdir(tools)
    const plugins = await broker.exec('rabbitmqctl', 'eval', unpackTool(tools))
    await writeFile(join(tools, 'rabbitmqctl'), toolScript(plugins), { mode: 0o755 })
    // Renaming is atomic, so an interrupted preparation is never mistaken for a complete one.
    await rename(unfinished, folder)
  } catch (error) {
    // Another process was faster: renaming onto its non-empty folder fails.
    if (!existsSync(folder)) throw error
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

/**
 * Erlang that writes the usual boot script plus one step, which loads the modules that are loaded now. It leaves out
 * modules that run code when they are loaded, such as those with a native library: these are loaded at their first use.
 */
function writeBootScript(file: string): string {
  return `
    {ok, Usual} = file:read_file(filename:join([code:root_dir(), "bin", "start_sasl.boot"])),
    {script, Id, Steps} = binary_to_term(Usual),
    {Kernel, [Completed | Rest]} = lists:splitwith(fun(Step) -> Step =/= {kernel_load_completed} end, Steps),
    Known = lists:append([Modules || {primLoad, Modules} <- Kernel]),
    RunsAtLoad = fun(Module, File) ->
      {ok, Module, Code} = case file:read_file(File) of
        {ok, <<31, 139, _/binary>> = Compressed} -> {ok, Module, zlib:gunzip(Compressed)};
        {ok, Plain} -> {ok, Module, Plain}
      end,
      erlang:has_prepared_code_on_load(erlang:prepare_loading(Module, Code))
    end,
    More = [Loaded || {Module, File} = Loaded <- code:all_loaded(), is_list(File), filelib:is_regular(File),
      not lists:member(Module, Known), not RunsAtLoad(Module, File)],
    Folders = lists:usort([filename:dirname(File) || {_, File} <- More]),
    {path, Path} = lists:keyfind(path, 1, Kernel),
    Once = [{path, Folders}, {primLoad, [Module || {Module, _} <- More]}, {path, Path}],
    ok = file:write_file(${JSON.stringify(file)}, term_to_binary({script, Id, Kernel ++ Once ++ [Completed | Rest]})).
  `
}

/** Erlang that unpacks the modules of rabbitmqctl into a folder, and prints the folder of the modules that it shares. */
function unpackTool(folder: string): string {
  return `
    Plugins = filename:dirname(code:lib_dir(rabbit)),
    Tool = filename:join([filename:dirname(Plugins), "escript", "rabbitmqctl"]),
    {ok, Parts} = escript:extract(Tool, []),
    {ok, _} = zip:unzip(proplists:get_value(archive, Parts), [{cwd, ${JSON.stringify(folder)}}]),
    Plugins.
  `
}

/** @param plugins - the folder as Erlang prints it, with quotes. */
function toolScript(plugins: string): string {
  return `#!/bin/sh
tools=$(dirname "$0")
ERL_LIBS=${plugins.trim()} exec erl +B ${oneScheduler} -boot start_clean -noinput -noshell -hidden -pa "$tools" \\
  -eval 'rabbitmqctl_escript:main(tl(init:get_plain_arguments())).' -extra rabbitmqctl "$@"
`
}
