import { withBase } from 'vitepress'
import theme from 'vitepress/theme'
import { h } from 'vue'
import './style.css'

/** In place of the theme's own page, whose content is in no landmark, and whose link has another name than its text. */
const notFound = () =>
  h('main', { class: 'NotFound' }, [
    h('h1', 'Page not found'),
    h('p', [h('a', { href: withBase('/') }, 'To the first page')]),
  ])

export default { extends: theme, Layout: () => h(theme.Layout, null, { 'not-found': notFound }) }
