import { defineConfig } from 'vitepress'
import { anchorOf } from '../anchors.ts'
import { CONTENTS, ENTRY_POINTS } from '../contents.ts'

export default defineConfig({
  title: 'eventspine',
  description:
    'Domain events for Node.js services, over process memory, Redis Streams, RabbitMQ and Apache Kafka.',
  lang: 'en-US',
  // No icon: without this line, browsers ask for one.
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  srcDir: '.cache/pages',
  outDir: 'dist',
  cacheDir: '.cache/vitepress',
  cleanUrls: false,
  markdown: {
    anchor: { slugify: anchorOf },
    theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' },
  },
  themeConfig: {
    search: {
      provider: 'local',
      options: {
        miniSearch: {
          searchOptions: {
            // Guides come before the reference and the pages of the project. The function is part of the page: it uses no other.
            boostDocument: (id: string) =>
              /^\/(?:api|decisions|files|changelog|contributing|benchmarks|reliability)/.test(id) ? 0.25 : 1,
          },
        },
      },
    },
    outline: [2, 3],
    nav: [
      { text: 'First steps', link: '/first-steps' },
      { text: 'How do I ...', link: '/how-do-i' },
      { text: 'API', link: '/api/' },
      { text: 'Changes', link: '/changelog' },
    ],
    sidebar: [
      ...CONTENTS.map(({ title, pages }) => ({
        text: title,
        items: pages.map(([name, text]) => ({ text, link: `/${name}` })),
      })),
      {
        text: 'API',
        items: ENTRY_POINTS.map((name) => ({
          text: name === 'index' ? 'eventspine' : `eventspine/${name}`,
          link: `/api/${name}/`,
        })),
      },
      {
        text: 'Project',
        items: [
          { text: 'Design decisions', link: '/decisions/' },
          { text: 'Contributing', link: '/contributing' },
          { text: 'Security', link: '/security' },
          { text: 'Changes', link: '/changelog' },
        ],
      },
    ],
  },
})
