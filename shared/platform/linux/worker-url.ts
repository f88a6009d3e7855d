/**
 * Where the built worker is. The sources themselves run only under the test runner, which cannot start a thread
 * from TypeScript; it takes the built one, as the integration tests do.
 * @param own `import.meta.url` of a file in the folder of the worker
 * @param path of the worker from the root of the package, without its extension
 */
export function workerUrl(own: string, path: string): URL {
  const up = '../'.repeat(path.split('/').length - 1);
  return new URL(`${up}${own.endsWith('.ts') ? 'dist/' : ''}${path}.js`, own);
}
