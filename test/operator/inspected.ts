import type { Page } from 'playwright-core'

// What the function that runs in the browser uses of it.
interface ReadElement {
  readonly tagName: string
  readonly outerHTML: string
  readonly attributes: Iterable<{ readonly name: string; readonly value: string }>
}
interface ReadDocument {
  readonly body: { readonly textContent: string }
  querySelectorAll(selector: string): Iterable<ReadElement>
}
declare const DOMParser: new () => { parseFromString(text: string, type: string): ReadDocument }

/** A page of the handler, and a text that it must show. */
export interface Answer {
  readonly where: string
  readonly markup: string
  /** As `shownText` returns it. */
  readonly text: string
  /** How often the page shows it, at least. */
  readonly times: number
}

/**
 * Reads pages as Chromium reads them, many at once, without opening them.
 * @param blank - a page of the browser that shows nothing.
 * @returns one line for each text that is not shown, or that has become markup.
 */
export function faultsIn(blank: Page, answers: readonly Answer[]): Promise<readonly string[]> {
  return blank.evaluate((all) => {
    const forbidden =
      'base, body ~ *, body body, img, iframe, object, embed, applet, style, template, noscript:not(head > noscript), math, plaintext, xmp, listing, marquee, video, audio, portal, keygen, frameset, dialog:not(#keys), ' +
      'script:not([src^="/_/"]), link:not([href^="/_/"]), meta[http-equiv]:not(head > noscript > meta), svg:not(.brand svg, .spark, .map svg, .icon)'
    const urls = ['href', 'src', 'action', 'formaction', 'xlink:href', 'data', 'poster']
    const attributeFault = (element: ReadElement) =>
      [...element.attributes].find(
        ({ name, value }) =>
          /^on|^style$|^srcdoc$|^background$|[^a-zA-Z0-9:-]/.test(name) ||
          (urls.includes(name) && !/^(\/(?!\/)|#|\?)/.test(value)),
      )
    return all.flatMap(({ where, markup, text, times }) => {
      const read = new DOMParser().parseFromString(markup, 'text/html')
      const faults: string[] = []
      for (const found of read.querySelectorAll(forbidden)) faults.push(found.outerHTML.slice(0, 100))
      for (const element of read.querySelectorAll('*')) {
        const fault = attributeFault(element)
        if (fault !== undefined) faults.push(`${element.tagName} ${fault.name}=${fault.value}`)
      }
      const shown = read.body.textContent.replaceAll(/\s/g, '')
      const count = text === '' ? times : shown.split(text).length - 1
      if (count < times) faults.push(`shown ${count} times: ${text}`)
      return faults.map((fault) => `${where}: ${fault}`)
    })
  }, answers)
}
