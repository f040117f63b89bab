import { DatabaseSync } from 'node:sqlite'
import { it } from 'vitest'
import { expectFenced, freezeOwner } from '../support/frozen-owner.ts'
import { paced } from '../support/pace.ts'
import { withFile } from './sqlite-scene.ts'

it(
  'pass to another process when their owner is frozen, and the former owner moves no checkpoint afterwards',
  async () => {
    await using scene = withFile()
    await scene.open().ready()
    const own = new DatabaseSync(scene.file)
    own.exec(
      `create table saves (n integer primary key, position integer, fence integer);
     create trigger note_insert after insert on eventspine_checkpoints
       begin insert into saves (position, fence) values (new.position, new.fence); end;
     create trigger note_update after update on eventspine_checkpoints
       begin insert into saves (position, fence) values (new.position, new.fence); end`,
    )
    own.close()

    await freezeOwner({ file: scene.file })

    const reader = new DatabaseSync(scene.file)
    const rows = reader.prepare('select position, fence from saves order by n').all()
    reader.close()
    expectFenced(rows.map(({ position, fence }) => ({ position: Number(position), fence: Number(fence) })))
  },
  paced(120_000),
)
