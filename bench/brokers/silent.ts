const nothing = () => undefined

/** For workloads whose handlers fail deliberately. */
export const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing }
