import 'reflect-metadata'
import type { RequestListener } from 'node:http'
import { connect } from 'node:net'
import { Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import express5 from 'express'
import express4 from 'express4'
import fastify from 'fastify'
import { Hono } from 'hono'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createOperatorHandler, operatorListener } from '../../src/operator/index.ts'
import { demoSystem } from './demo-system.ts'
import { serve } from './serve.ts'

let system: Awaited<ReturnType<typeof demoSystem>>
beforeAll(async () => {
  system = await demoSystem(6)
})
afterAll(() => system.close())

const handlerAt = (basePath: string) =>
  createOperatorHandler({
    buses: { orders: system.bus },
    authorize: () => ({ name: 'anna', roles: ['see', 'read', 'operate', 'change'] }),
    basePath,
  })

/** Opens the page as a browser does: its links, its assets, a form, and where the form leads. */
async function useThePage(url: string): Promise<void> {
  const origin = new URL(url).origin
  const start = await fetch(url)
  const text = await start.text()
  expect(start.url).toBe(`${url}/orders`)
  expect(text).toContain('Consumer groups')
  const links = [...text.matchAll(/(?:href|src)="([^"#]+)"/g)].map(([, link = '']) => link)
  expect(links.length).toBeGreaterThan(8)
  for (const link of links.filter((one) => !one.includes('dead-letters'))) {
    const answer = await fetch(origin + link)
    expect(answer.status, link).toBe(200)
    expect(answer.headers.get('content-security-policy'), link).toContain("default-src 'none'")
    await answer.text()
  }
  const send = (verb: string, why: string) =>
    fetch(`${url}/orders/groups/mails/${verb}`, {
      method: 'POST',
      headers: { origin, 'sec-fetch-site': 'same-origin' },
      body: new URLSearchParams({ why }),
    })
  const paused = await (await send('pause', 'söme reason & more')).text()
  expect(paused).toContain('Paused mails.')
  expect(paused).toContain('söme reason &amp; more')
  expect(await (await send('resume', '')).text()).toContain('Resumed mails.')
  const foreign = await fetch(`${url}/orders/groups/mails/pause`, {
    method: 'POST',
    body: new URLSearchParams({ why: 'x' }),
  })
  expect(foreign.status).toBe(403)
}

async function tryMount(listener: RequestListener, prefix = '/ops'): Promise<void> {
  await using server = await serve(listener)
  await useThePage(server.url + prefix)
}

test('the page works at the root of node:http, and under a path that the option basePath names', async () => {
  await using root = handlerAt('')
  await tryMount(operatorListener(root), '')
  await using handler = handlerAt('/deep/ops')
  await tryMount(operatorListener(handler), '/deep/ops')
})

test.each([
  ['Express 4', express4],
  ['Express 5', express5],
])(
  'the page works in %s, before and after body parsers, without the option basePath',
  async (_name, express) => {
    await using handler = handlerAt('')
    const before = express()
    before.use('/ops', operatorListener(handler))
    before.use(express.json())
    await tryMount(before)
    const after = express()
    after.use(express.json())
    after.use(express.urlencoded({ extended: true }))
    const router = express.Router()
    router.use('/ops', operatorListener(handler))
    after.use('/admin', router)
    await tryMount(after, '/admin/ops')
  },
)

test('the page works in Fastify', async () => {
  await using handler = handlerAt('/ops')
  const listener = operatorListener(handler)
  const app = fastify()
  await app.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, _payload, parsed) => parsed(null))
    for (const path of ['/ops', '/ops/*']) {
      scope.all(path, (request, reply) => {
        reply.hijack()
        listener(request.raw, reply.raw)
      })
    }
    done()
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  await useThePage(`${url}/ops`)
  await app.close()
})

test('the page works in Hono', async () => {
  await using handler = handlerAt('/ops')
  const app = new Hono()
  app.mount('/ops', handler)
  await tryMount(operatorListener((request) => Promise.resolve(app.fetch(request))))
})

class AppModule {}
Module({})(AppModule)

test('the page works in NestJS, on both platforms', async () => {
  await using handler = handlerAt('')
  for (const adapter of [undefined, new FastifyAdapter()]) {
    const options = { logger: false } as const
    const app =
      adapter === undefined
        ? await NestFactory.create(AppModule, options)
        : await NestFactory.create<NestFastifyApplication>(AppModule, adapter, options)
    app.use('/ops', operatorListener(handler))
    await app.listen(0, '127.0.0.1')
    await useThePage(`${(await app.getUrl()).replace('[::1]', '127.0.0.1')}/ops`)
    await app.close()
  }
})

test('hostile requests are answered or cut off, and the page goes on: 100 MB, wrong hosts, a viewer who leaves', async () => {
  await using handler = handlerAt('')
  await using server = await serve(operatorListener(handler))
  const { port } = server
  const sent = (head: string, bytes = 0) =>
    new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      let text = ''
      socket.on('data', (chunk) => {
        text += String(chunk)
      })
      socket.on('error', () => undefined)
      socket.on('close', () => resolve(text))
      socket.write(head)
      if (bytes > 0) socket.write(Buffer.alloc(bytes, 'a'))
    })
  const form =
    'host: localhost\r\nsec-fetch-site: same-origin\r\ncontent-type: application/x-www-form-urlencoded\r\n'
  const pause = 'POST /orders/groups/mails/pause HTTP/1.1\r\n'
  expect(await sent(`${pause}${form}content-length: 104857600\r\n\r\n`, 8_000_000)).toMatch(
    /^HTTP\/1.1 413|^$/,
  )
  expect(await sent('GET /orders HTTP/1.1\r\nhost: a b<>\r\nconnection: close\r\n\r\n')).toMatch(
    /^HTTP\/1.1 4\d\d/,
  )
  expect(await sent('TRACE / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')).toMatch(
    /^HTTP\/1.1 4\d\d/,
  )
  expect(
    await sent('GET //evil.example/orders HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'),
  ).toMatch(/^HTTP\/1.1 4\d\d/)
  connect(port, '127.0.0.1').end('GET /orders HTTP/1.1\r\nhost: localhost\r\n\r\n').destroy()
  const answer = await fetch(`${server.url}/orders`)
  expect(answer.status).toBe(200)
  await answer.text()
})
