import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../shared/logger.ts';
import { shimConfig } from '../../../vm-shim/config.ts';
import { AllowedDestinations } from '../../../vm-shim/data/allowed-destinations.ts';

const web = { protocol: 'tcp', ip: '172.17.0.2', port: 80 } as const;

describe('what the VM shim dials', () => {
  let dir: string;

  beforeAll(() => {
    dir = realpathSync(mkdtempSync(join(tmpdir(), 'portferry-')));
    for (const name of ['allowed', 'outside']) mkdirSync(join(dir, name));
    symlinkSync(join(dir, 'outside'), join(dir, 'allowed/out'));
    symlinkSync(join(dir, 'outside/x.sock'), join(dir, 'allowed/x.sock'));
    symlinkSync(join(dir, 'allowed'), join(dir, 'alias'));
  });

  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('is everything unless told', () => {
    expect(new AllowedDestinations(undefined, silentLogger()).admit(web)).toBe(web);
  });

  it('is what is allowed, and a refusal is logged once for each destination, of a few', () => {
    const lines: string[] = [];
    const log = { warn: (_fields: object, line: string) => lines.push(line) };
    const allowed = new AllowedDestinations(['172.17.0.0/16:80', 'fd00::/8'], log);
    expect(allowed.admit(web)).toBe(web);
    expect(allowed.admit(web)).toBe(web);
    const refused = { ...web, port: 81 };
    for (let index = 0; index < 3; index++)
      expect(() => allowed.admit(refused)).toThrow('--allow-destination has 172.17.0.0/16:80, fd00::/8');
    expect(lines).toHaveLength(1);
    for (let port = 1_000; port < 2_000; port++) expect(() => allowed.admit({ ...web, port })).toThrow();
    expect(lines).toHaveLength(64);
  });

  it('is in a directory after all symbolic links', () => {
    const allowed = new AllowedDestinations([`unix:${dir}/alias`, `unix:${dir}/allowed`], silentLogger());
    const admit = (path: string) => allowed.admit({ protocol: 'unix', path: join(dir, path) });
    expect(admit('alias/new.sock')).toMatchObject({ path: join(dir, 'allowed/new.sock') });
    expect(admit('allowed/new.sock')).toMatchObject({ path: join(dir, 'allowed/new.sock') });
    symlinkSync(join(dir, 'allowed/there'), join(dir, 'allowed/link'));
    mkdirSync(join(dir, 'allowed/there'));
    expect(admit('alias/link')).toMatchObject({ path: join(dir, 'allowed/there') });
    for (const path of ['outside/x.sock', 'allowed/out/x.sock', 'alias/out'])
      expect(() => admit(path)).toThrow(expect.objectContaining({ code: 'POLICY_DENIED' }));
    expect(() => allowed.admit(web)).toThrow(expect.objectContaining({ code: 'POLICY_DENIED', errno: 1 }));
  });

  it('is checked when the shim starts', () => {
    expect(() => shimConfig({ listen: 'unix:///a', allowDestination: ['localhost'] })).toThrow(/CIDR:PORTS/);
    expect(shimConfig({ listen: 'unix:///a', allowDestination: ['::1'] }).allowedDestinations).toEqual([
      '::1',
    ]);
  });
});
