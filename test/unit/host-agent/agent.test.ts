import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startAgent } from '../../../host-agent/agent.ts';
import { hostConfig } from '../../../host-agent/config.ts';
import { encodeState } from '../../../host-agent/control/state/state-format.ts';
import { HOST_SCHEMA } from '../../../host-agent/schema.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { parseSettings } from '../../../shared/settings/read-settings.ts';
import { callApi, listForwards } from '../../helpers/api.ts';
import { FakeTool } from '../../helpers/fake-tool.ts';
import { lastingPort } from '../../helpers/lasting-port.ts';
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

it('warns of nothing when it stops while a forward of the state file waits for its link', async () => {
  const [api, state] = [join(dir, 'api.sock'), join(dir, 'state')];
  writeFileSync(state, encodeState([{ spec: 'reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:1', vm: 'default' }]));
  const log = silentLogger();
  const options = { api, state, connect: [`unix://${dir}/shim.sock`], allowReverse: ['127.0.0.1'] };
  const agent = await startAgent(hostConfig({ ...options, engine: 'portable' }), log);
  const warn = vi.spyOn(log, 'warn');
  try {
    const { forwards } = await listForwards(api);
    expect(forwards).toMatchObject([{ error: { message: 'it is being published' } }]);
  } finally {
    await agent.close();
  }
  expect(warn).not.toHaveBeenCalled();
});

describe('a TCP port that the system gives beside the one who has it', () => {
  const { platform } = process;
  const on = (value: string) => Object.defineProperty(process, 'platform', { value });
  let first: number;
  let last: number;
  let lsof: FakeTool;
  let agent: Awaited<ReturnType<typeof startAgent>>;

  /** A host agent as it would be there; `postgres` listens on the last port, at all addresses. */
  const start = async (system: string) => {
    first = await lastingPort(10);
    last = first + 9;
    lsof = new FakeTool('lsof', `p812\ncpostgres\nf5\ntIPv4\nn*:${last}\n`);
    on(system);
    const api = join(dir, 'api.sock');
    const config = hostConfig({ api, connect: [`unix://${dir}/shim.sock`], engine: 'portable' });
    agent = await startAgent(config, silentLogger());
    return (ports: string) => callApi(api, 'POST', { spec: `tcp:127.0.0.1:${ports}:tcp:127.0.0.1:${ports}` });
  };
  afterEach(async () => {
    await agent.close();
    on(platform);
    lsof.remove();
  });

  it('is refused on macOS, with all that was asked for, at the price of one look', async () => {
    const publish = await start('darwin');
    const { status, body } = await publish(`${first}-${last}`);
    const where = `127.0.0.1:${last}`;
    const why = `postgres (process 812) has 0.0.0.0:${last}, which includes ${where}`;
    expect([status, body]).toEqual([
      409,
      { code: 'PORT_IN_USE', message: `Bind for ${where} failed: port is already allocated: ${why}` },
    ]);
    const looks = () => lsof.runs.filter((each) => !each.includes(`${last}`));
    expect(looks()).toEqual(['-nP -iTCP -sTCP:LISTEN -Fptn']);
    lsof.print('');
    await expect.poll(async () => (await publish(`${first}-${last}`)).status, { timeout: 10_000 }).toBe(201);
  });

  it('is left to the system on Linux', async () => {
    const publish = await start('linux');
    expect((await publish(`${first}-${last}`)).status).toBe(201);
    expect(lsof.runs).toEqual([]);
  });
});
