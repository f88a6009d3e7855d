/** The program where koffi, which is optional, is not installed, or does not load: the portable engine does its work. */
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callApi } from '../helpers/api.ts';
import { engines } from '../helpers/engines.ts';
import { hostPort, logLines, loopback, PROGRAM, ProcessGroup, untilLinked } from '../helpers/processes.ts';
import { roundTrip } from '../helpers/stream-client.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** What koffi 3 says where there is no binary for the system. */
const NO_BINARY = 'Cannot find the native Koffi module; did you bundle it correctly?';

/**
 * Installs the built program a second time, without koffi.
 * @param instead a text that koffi is to throw when it is loaded
 * @returns the program
 */
function installWithout(dir: string, instead?: string): string {
  const modules = join(dir, 'node_modules');
  mkdirSync(modules);
  for (const name of readdirSync(join(ROOT, 'node_modules')))
    if (!name.startsWith('.') && !/koffi/.test(name))
      symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  if (instead !== undefined) {
    mkdirSync(join(modules, 'koffi'));
    writeFileSync(join(modules, 'koffi', 'package.json'), '{"name":"koffi","main":"index.js"}');
    writeFileSync(join(modules, 'koffi', 'index.js'), `throw new Error(${JSON.stringify(instead)});`);
  }
  const dist = dirname(PROGRAM);
  const parts = ['host-agent', 'vm-shim', 'shared', 'portferry.js'];
  for (const part of parts) cpSync(join(dist, part), join(dir, 'dist', part), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(dir, 'package.json'));
  return join(dir, 'dist', 'portferry.js');
}

describe.skipIf(!engines.includes('linux')).each([
  ['is not installed', undefined, "Cannot find package 'koffi'"],
  ['does not load', NO_BINARY, NO_BINARY],
])('where koffi %s', (_what, instead, why) => {
  let group: ProcessGroup;
  let program: string;

  beforeEach(() => {
    group = new ProcessGroup();
    program = installWithout(group.dir, instead);
  });

  afterEach(() => group.close());

  it('--engine auto takes the portable engine, says why, and works', async () => {
    const shimUrl = group.unixUrl('shim.sock');
    const api = join(group.dir, 'api.sock');
    const shim = group.startNode(program, 'vm-shim', '--listen', shimUrl, '--engine', 'auto');
    const args = ['--connect', shimUrl, '--api', api, '--engine', 'auto'];
    const host = group.startNode(program, 'host-agent', ...args);
    await untilLinked(host, api);
    for (const running of [host, shim]) {
      const line = logLines(running.stderr()).find(({ engine }) => engine !== undefined);
      expect(line).toMatchObject({ level: 40, engine: 'portable' });
      expect(line!.msg).toMatch(/^connections are carried by the portable engine: koffi does not load: /);
      expect(line!.msg).toContain(why);
    }
    const echo = await tcpEcho();
    try {
      const { body } = await callApi(api, 'POST', { spec: loopback('tcp', echo.port) });
      expect(await roundTrip(hostPort((body as { spec: string }).spec), 'hello')).toBe('hello');
    } finally {
      await echo.close();
    }
  });

  it.each([
    ['host-agent', '--connect'],
    ['vm-shim', '--listen'],
  ])('%s --engine linux ends with an error', async (command, option) => {
    const running = group.startNode(program, command, option, group.unixUrl('x'), '--engine', 'linux');
    expect(await running.exited).toBe(1);
    expect(running.stderr()).toContain('the Linux engine cannot be used: koffi does not load: ');
    expect(running.stderr()).toContain(why);
    expect(running.stderr()).toContain('--engine portable can');
  });
});
