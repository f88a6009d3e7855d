import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { startAgent } from '../../../host-agent/agent.ts';
import { hostConfig } from '../../../host-agent/config.ts';
import { HANDSHAKE_TEXT } from '../../../shared/link/handshake.ts';
import { silentLogger } from '../../../shared/logger.ts';

it('a shim that dials while the host agent is still starting is let in', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'portferry-'));
  const path = join(dir, 'host.sock');
  let starts = 0;
  try {
    for (let i = 0; i < 20; i++) {
      let agent: Awaited<ReturnType<typeof startAgent>> | undefined;
      const starting = startAgent(
        hostConfig({ listen: [`unix://${path}`], engine: 'portable' }),
        silentLogger(),
      );
      const started = starting.then((up) => {
        agent = up;
      });
      let greeted = false;
      // As soon as the socket is there, which is before `listen` has returned.
      while (!greeted) {
        const stream = connect(path, () => stream.write(HANDSHAKE_TEXT));
        greeted = await new Promise<boolean>((resolve) => {
          stream.once('data', () => resolve(true)).once('error', () => resolve(false));
        });
        stream.destroy();
        await turn();
      }
      await started;
      await agent?.close();
      starts++;
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  expect(starts).toBe(20);
});
