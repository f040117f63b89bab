import { defineEvent } from '../../src/index.ts'

export class Reloaded extends defineEvent<object>()({ type: 'Reloaded', aggregateType: 'Sample' }) {}
