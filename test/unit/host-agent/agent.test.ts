import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startAgent } from '../../../host-agent/agent.ts';
import { hostConfig } from '../../../host-agent/config.ts';
import { HOST_SCHEMA } from '../../../host-agent/schema.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { parseSettings } from '../../../shared/settings/read-settings.ts';
import { callApi } from '../../helpers/api.ts';
import { hostPort } from '../../helpers/processes.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portferry-'));
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

it('chooses ports that a new policy allows, though the range to choose from is the old one until a restart', async () => {
  const api = join(dir, 'api.sock');
  const config = (...lines: string[]) =>
    hostConfig(
      { api, connect: [`unix://${dir}/shim.sock`], engine: 'portable' },
      parseSettings(lines.join('\n'), 'pf.toml', HOST_SCHEMA),
    );
  const agent = await startAgent(config('port-range = "50000-50999"'), silentLogger());
  try {
    await agent.enforce(config('port-range = "20000-29999"', '[policy]', 'ports = ["20000-29999"]'));
    const { status, body } = await callApi(api, 'POST', { spec: 'tcp:127.0.0.1:0:tcp:127.0.0.1:80' });
    expect(status).toBe(201);
    const port = hostPort((body as { spec: string }).spec);
    expect(port).toBeGreaterThanOrEqual(20_000);
    expect(port).toBeLessThanOrEqual(29_999);
  } finally {
    await agent.close();
  }
});
