import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('..', import.meta.url));
const project = (name: string, timeout: number) => ({
  test: {
    name,
    root,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: timeout,
    hookTimeout: timeout,
    environment: 'node' as const,
    // Those in this process share nothing but modules, which are loaded once then: so no vi.mock.
    isolate: name === 'integration',
  },
});

export default defineConfig({
  test: {
    root,
    // Most tests wait for processes, so one at a time would leave the machine idle.
    maxWorkers: 4,
    projects: [project('unit', 30_000), project('conformance', 60_000), project('integration', 120_000)],
  },
});
