// What packages made for Node ask of `process` in a browser. Injected where it is used.
export const process = { browser: true, env: {}, nextTick: (run, ...args) => queueMicrotask(() => run(...args)) }
export const { browser, env, nextTick } = process
export default process
