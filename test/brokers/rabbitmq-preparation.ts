import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, realpath, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Broker } from './broker.ts'
import { cacheFolder } from './cache-folder.ts'
import { findProgram } from './programs.ts'

/**
 * @returns the path, without `.boot`, of a boot script that loads all of RabbitMQ's modules at once. By default Erlang
 * loads each of the 900 modules at its first use, searches 90 folders for it and copies its table of exported functions.
 * One load halves the CPU time of a start. The script is written once for each installation of RabbitMQ and Erlang, from
 * the modules of a running broker, and kept in the user's cache.
 */
export async function preparedBoot(server: string, startPlain: () => Promise<Broker>): Promise<string> {
  const folder = join(cacheFolder(), `rabbitmq-${await fingerprint(server)}`)
  if (!existsSync(folder)) await prepare(folder, startPlain)
  return join(folder, 'all-modules')
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
