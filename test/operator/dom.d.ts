// The types of the browser driver name these types of browsers, which are not global in programs for Node.js.
export {}

declare global {
  interface Node {
    readonly nodeName: string
  }
  interface HTMLElement extends Node {
    readonly tagName: string
  }
  interface SVGElement extends Node {
    readonly tagName: string
  }
  interface HTMLElementTagNameMap {
    readonly div: HTMLElement
  }
}
