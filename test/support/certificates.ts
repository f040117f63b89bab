import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Creates certificates in a temporary folder: `name.pem` and its key `name.key`. */
export class Certificates {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async create(): Promise<Certificates> {
    return new Certificates(await mkdtemp(join(tmpdir(), 'eventspine-tls-')))
  }

  path(file: string): string {
    return join(this.#folder, file)
  }

  read(file: string): Promise<string> {
    return readFile(this.path(file), 'utf8')
  }

  /** A certificate authority, with a self-signed certificate. */
  async makeAuthority(name: string): Promise<void> {
    await this.#make(name)
  }

  /** A certificate that an authority signed. @param names - names of its host, such as `DNS:localhost`. */
  async make(name: string, authority: string, ...names: readonly string[]): Promise<void> {
    const alternatives = names.length === 0 ? [] : ['-addext', `subjectAltName=${names.join()}`]
    const signer = ['-CA', `${authority}.pem`, '-CAkey', `${authority}.key`]
    await this.#make(name, ...signer, '-addext', 'basicConstraints=critical,CA:FALSE', ...alternatives)
  }

  /** A self-signed certificate that was valid for a day in 2020. */
  async makeExpired(name: string): Promise<void> {
    const settings = [
      '[ca]\ndefault_ca = only',
      '[only]\nnew_certs_dir = .\ndatabase = index\nrand_serial = yes\ndefault_md = sha256\npolicy = any',
      '[any]\ncommonName = supplied',
    ]
    await writeFile(this.path('ca.cnf'), settings.join('\n'))
    await writeFile(this.path('index'), '')
    const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.csr`]
    await run('openssl', ['req', ...key, '-subj', `/CN=${name}`], { cwd: this.#folder })
    const dates = ['-startdate', '200101000000Z', '-enddate', '200102000000Z']
    const files = ['-in', `${name}.csr`, '-keyfile', `${name}.key`, '-out', `${name}.pem`]
    const ca = ['ca', '-config', 'ca.cnf', '-selfsign', '-batch', '-notext', ...files, ...dates]
    await run('openssl', ca, { cwd: this.#folder })
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true })
  }

  async #make(name: string, ...args: readonly string[]): Promise<void> {
    const key = [
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
      '-days',
      '2',
    ]
    await run('openssl', ['req', '-x509', ...key, '-subj', `/CN=${name}`, ...args], { cwd: this.#folder })
  }
}
