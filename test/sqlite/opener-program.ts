// Opens a file and prints the identity of its store: node opener-program.ts <file>.
import { SqliteStores } from '../../src/sqlite/index.ts'

await using stores = new SqliteStores({ file: process.argv[2] ?? '' })
console.log(await stores.events.identity())
