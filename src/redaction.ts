/** Longest text of a server or of another library that is quoted, in characters. */
const MAX_QUOTE = 1000
/** How much of such a text is looked at: replacing secrets makes it shorter. */
const MAX_READ = 4 * MAX_QUOTE

/** Stands for a secret. */
const HIDDEN = '***'
/** A shorter text is no secret that could be hidden: it is part of many words. */
const MIN_SECRET = 4
/** Most secrets that are remembered. The oldest is forgotten first. */
const MAX_SECRETS = 1000

/**
 * The secrets among the options of all buses of this process, in the forms in which a text may show them. They are kept
 * here because any text may repeat them: what a server or a client library writes into an error cannot be foreseen.
 */
const secrets = new Set<string>()

/** Remembers the value of an option that is a secret, or an object of TLS options that holds some. */
export function rememberSecret(value: unknown): void {
  if (typeof value === 'string') remember(value)
  else if (typeof value === 'object' && value !== null) {
    for (const name of ['passphrase', 'password', 'key']) {
      const part: unknown = Reflect.get(value, name)
      if (typeof part === 'string') remember(part)
    }
  }
}

/** Remembers the passwords in the value of an option: a URL or a list of servers, however wrong they are written. */
export function rememberCredentials(value: unknown): void {
  if (Array.isArray(value)) for (const item of value) rememberCredentials(item)
  else if (typeof value === 'string') {
    // A comma separates servers, or is part of a password.
    for (const part of new Set([value, ...value.split(',')])) rememberPassword(part)
    rememberParameters(value)
  }
}

/** Remembers the passwords in the options of a connection that the program configured itself, such as that of `pg`. */
export function rememberConnection(options: unknown): void {
  if (typeof options !== 'object' || options === null) return
  rememberSecret(options)
  rememberSecret(Reflect.get(options, 'ssl'))
  rememberCredentials(Reflect.get(options, 'connectionString'))
}

/** Parameters of a URL that hold a secret, as PostgreSQL's clients read them. */
const SECRET_PARAMETER = /[?&](?:password|sslpassword|passphrase)=([^&#]{0,1000})/gi

function rememberParameters(url: string): void {
  for (const [, secret = ''] of url.matchAll(SECRET_PARAMETER)) remember(secret)
}

function rememberPassword(url: string): void {
  const at = url.lastIndexOf('@')
  if (at < 0) return
  const start = url.indexOf('//')
  const userInfo = url.slice(start < 0 ? 0 : start + 2, at)
  const colon = userInfo.indexOf(':')
  // A well-formed URL can have a user without a password, whose name is part of many words.
  if (colon < 0 && URL.canParse(url)) return
  remember(colon < 0 ? userInfo : userInfo.slice(colon + 1))
}

function remember(secret: string): void {
  const decoded = decode(secret)
  for (const plain of new Set([secret, decoded])) {
    const base64 = Buffer.from(plain).toString('base64').replaceAll('=', '')
    for (const form of [
      plain,
      encodeURIComponent(plain.toWellFormed()),
      JSON.stringify(plain).slice(1, -1),
      base64,
    ]) {
      if (form.length < MIN_SECRET) continue
      secrets.delete(form)
      secrets.add(form)
    }
  }
  for (const oldest of secrets) {
    if (secrets.size <= MAX_SECRETS) return
    secrets.delete(oldest)
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // a stray percent sign
  }
}

/**
 * The text without secrets: those of the options, and all that looks like one, namely credentials in URLs and what follows
 * the first line of a PEM block.
 */
export function redact(text: string): string {
  let clean = text
  for (const secret of secrets) if (clean.includes(secret)) clean = clean.replaceAll(secret, HIDDEN)
  return withoutCredentials(withoutPem(clean))
}

const PEM = '-----BEGIN '

function withoutPem(text: string): string {
  const start = text.indexOf(PEM)
  if (start < 0) return text
  const end = text.lastIndexOf('-----')
  const rest = end > start + PEM.length && text.includes('-----END ') ? text.slice(end + 5) : ''
  return `${text.slice(0, start)}(PEM text)${rest}`
}

function withoutCredentials(text: string): string {
  if (!text.includes('@') || !text.includes('//')) return text
  const [before = '', ...authorities] = text.split('//')
  const shown = authorities.map((part) => {
    const end = part.search(/[\s/?#"'<>,]/)
    const at = part.slice(0, end < 0 ? part.length : end).lastIndexOf('@')
    return at < 0 ? part : `${HIDDEN}${part.slice(at)}`
  })
  return [before, ...shown].join('//')
}

/**
 * The beginning of a text, without secrets. It is cut after they are replaced, because a part of a secret is no longer
 * recognized.
 */
export function readable(text: string, maxLength = MAX_QUOTE): string {
  const clean = redact(text.slice(0, 4 * maxLength))
  return clean.length <= maxLength ? clean : `${clean.slice(0, maxLength - 3).toWellFormed()}...`
}

/** The text of a server or another library, as a sentence quotes it: cut, without secrets, full stop and white space at its end. */
export function quote(text: string): string {
  const clean = redact(text.slice(0, MAX_READ))
  let end = Math.min(clean.length, MAX_QUOTE)
  while (end > 0 && (clean[end - 1] === '.' || clean[end - 1]?.trim() === '')) end -= 1
  return clean.slice(0, end).toWellFormed()
}
