const nothing = () => undefined

/** For works in which handlers fail on purpose. */
export const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing }
