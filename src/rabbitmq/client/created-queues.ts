import { channel } from 'node:diagnostics_channel'

/**
 * Gets the name of each queue that is made of the content of a message or of a list of types, when it is declared. AMQP cannot
 * list queues, and `npx eventspine verify` deletes those of its run.
 */
export const createdQueues = channel('eventspine:rabbitmq:created-queue')
