/** The module that all pages load. Pages work without it. */
export const script = `
`
