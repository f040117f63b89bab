/** The style of the frame, of tables, forms and cards. */
export const style = `
:root { color-scheme: light dark }
`
