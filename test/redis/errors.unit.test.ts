import { expect, it } from 'vitest'
import { isForbidden } from '../../src/redis/errors.ts'

it.each([
  "NOPERM this user has no permissions to run the 'hset' command",
  'NOPERM No permissions to access a key',
  // Redis 6.2
  "ERR Error running script (call to f_7a): @user_script:1: The user executing the script can't run this command or subcommand",
  // Redis 7.0
  "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments script: 7a, on @user_script:1.",
  // Redis 8.0 and Valkey
  "ERR ACL failure in script: User limited has no permissions to run the 'hset' command script: 0a, on @user_script:1.",
  "ERR ACL failure in script: No permissions to access the 'b' key script: 0a, on @user_script:1.",
])('recognizes a refusal for lack of rights: %s', (message) => {
  expect(isForbidden(new Error(message))).toBe(true)
})

it('recognizes other errors as such', () => {
  expect(isForbidden(new Error('ERR wrong number of arguments'))).toBe(false)
  expect(isForbidden(new Error('WRONGTYPE Operation against a key'))).toBe(false)
})
