import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openFreePort } from '../../../host-agent/control/free-port.ts';
import { Policy } from '../../../host-agent/control/policy.ts';
import { HOST_SCHEMA } from '../../../host-agent/schema.ts';
import { BridgeError } from '../../../shared/errors.ts';
import { formatSpec, parseSpec } from '../../../shared/port-spec.ts';
import { parseSettings } from '../../../shared/settings/read-settings.ts';
import { unixSpec } from '../../helpers/processes.ts';

const policy = (text: string) => new Policy(parseSettings(text, 'pf.toml', HOST_SCHEMA));
const admit = async (text: string, spec: string) =>
  formatSpec(await policy(text).admit('a', parseSpec(spec)));
const web = (hostIp: string, port = 8080) => `tcp:${hostIp}:${port}:tcp:172.17.0.2:80`;

describe('a wildcard request', () => {
  it.each([
    ['as-requested', web('0.0.0.0'), web('0.0.0.0')],
    ['loopback', web('0.0.0.0'), web('127.0.0.1')],
    ['loopback', web('[::]'), web('[::1]')],
    ['loopback', web('192.0.2.1'), web('192.0.2.1')],
    ['loopback', web('0.0.0.0', 0).replace(/tcp/g, 'udp'), web('127.0.0.1', 0).replace(/tcp/g, 'udp')],
  ])('with publish = "%s": %s becomes %s', async (publish, asked, opened) => {
    expect(await admit(`[policy]\npublish = "${publish}"`, asked)).toBe(opened);
  });

  it('is looked at as what comes of it', async () => {
    const loopbackOnly = 'bind = ["127.0.0.0/8", "::1"]';
    expect(await admit(`[policy]\npublish = "loopback"\n${loopbackOnly}`, web('0.0.0.0'))).toBe(
      web('127.0.0.1'),
    );
    await expect(admit(`[policy]\n${loopbackOnly}`, web('0.0.0.0'))).rejects.toThrow(
      /0\.0\.0\.0:8080 may not be opened: bind/,
    );
  });
});

describe('a refusal', () => {
  it.each([
    [
      '[policy]\nbind = ["127.0.0.0/8"]',
      web('192.0.2.1'),
      'policy of VM "a": 192.0.2.1:8080 may not be opened: bind = ["127.0.0.0/8"] ([policy])',
    ],
    [
      '[vm.a.policy]\nports = ["80", "9000-9099"]',
      web('127.0.0.1'),
      'policy of VM "a": 127.0.0.1:8080 may not be opened: ports = ["80", "9000-9099"] ([vm.a.policy])',
    ],
    [
      '[policy]\nports = []',
      web('127.0.0.1', 0),
      'policy of VM "a": 127.0.0.1:0 may not be opened: ports = [] ([policy])',
    ],
    [
      '[policy]\nprivileged-ports = false',
      web('127.0.0.1', 1023),
      'policy of VM "a": 127.0.0.1:1023 may not be opened: privileged-ports = false ([policy])',
    ],
    [
      '[policy]\ndestinations = ["172.17.0.0/16:81"]',
      web('127.0.0.1'),
      'policy of VM "a": 172.17.0.2:80 in the VM may not be dialled: destinations = ["172.17.0.0/16:81"] ([policy])',
    ],
    [
      '',
      unixSpec('/run/x.sock', '/run/y.sock'),
      'policy of VM "a": the unix socket /run/x.sock may not be made (it is in no directory that is allowed): unix-directories = [] (the default)',
    ],
  ])('by %j names the rule', async (text, spec, message) => {
    const error = await admit(text, spec).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(BridgeError);
    expect(error).toMatchObject({ code: 'POLICY_DENIED', message, errno: 1 });
  });

  it('is of the VM whose rule it is', async () => {
    const two = policy('[policy]\nports = ["80"]\n[vm.b.policy]\nports = ["8080"]');
    await expect(two.admit('a', parseSpec(web('127.0.0.1')))).rejects.toThrow('ports = ["80"] ([policy])');
    await expect(two.admit('b', parseSpec(web('127.0.0.1')))).resolves.toBeDefined();
  });

  it('of one forward too many names the limit', () => {
    const one = policy('[policy]\nmax-forwards = 1');
    expect(() => one.checkCount('a', 0)).not.toThrow();
    expect(() => one.checkCount('a', 1)).toThrow('it may have no more forwards: max-forwards = 1 ([policy])');
  });

  it('does not repeat a list of any length', async () => {
    const ports = Array.from({ length: 500 }, (_, index) => `"${index + 1}"`).join(', ');
    const error = (await admit(`[policy]\nports = [${ports}]`, web('127.0.0.1')).catch(
      (thrown) => thrown,
    )) as Error;
    expect(error.message.length).toBeLessThan(400);
  });
});

describe('unix sockets', () => {
  let dir: string;
  const inDir = (text: string, path: string) =>
    admit(`[policy]\nunix-directories = ["${text}"]`, unixSpec(path, '/x'));

  beforeAll(() => {
    dir = realpathSync(mkdtempSync(join(tmpdir(), 'portferry-')));
    for (const name of ['allowed', 'allowed/deep', 'outside']) mkdirSync(join(dir, name));
    symlinkSync(join(dir, 'outside'), join(dir, 'allowed/out'));
    symlinkSync(join(dir, 'allowed/deep'), join(dir, 'allowed/in'));
    symlinkSync(join(dir, 'allowed'), join(dir, 'alias'));
  });

  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('are made in the directory and below it', async () => {
    const allowed = join(dir, 'allowed');
    for (const path of ['x.sock', 'deep/x.sock', 'in/x.sock'])
      expect(await inDir(allowed, join(allowed, path))).toBe(unixSpec(join(allowed, path), '/x'));
    // Either may be written with a link that leads there.
    await inDir(join(dir, 'alias'), join(dir, 'allowed/x.sock'));
    await inDir(join(dir, 'alias'), join(dir, 'alias/x.sock'));
  });

  it.each([
    ['outside/x.sock', /no directory that is allowed/],
    ['allowed/../outside/x.sock', /no directory that is allowed/],
    ['allowed/out/x.sock', /a symbolic link leads out/],
    ['allowed/..', /no directory that is allowed/],
    ['allowed', /no directory that is allowed/],
    ['allowedness/x.sock', /no directory that is allowed/],
  ])('are refused at %s', async (path, why) => {
    const failed = inDir(join(dir, 'allowed'), `${dir}/${path}`);
    await expect(failed).rejects.toThrow(why);
    await expect(failed).rejects.toMatchObject({ code: 'POLICY_DENIED' });
  });

  it('whose directory is missing say so, only where they may ask', async () => {
    const allowed = join(dir, 'allowed');
    await expect(inDir(allowed, join(allowed, 'no/x.sock'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(inDir(allowed, join(dir, 'no/x.sock'))).rejects.toMatchObject({ code: 'POLICY_DENIED' });
  });
});

describe('ranges and several addresses', () => {
  const range = (host: string) => `tcp:${host}:tcp:172.17.0.2:80-89`;

  it('are allowed as a whole or not at all', async () => {
    const rules = '[policy]\nports = ["1020-1030", "8000-8009"]\nbind = ["127.0.0.0/8"]\n';
    expect(await admit(rules, range('127.0.0.1:8000-8009'))).toBe(range('127.0.0.1:8000-8009'));
    for (const refused of ['127.0.0.1:8001-8010', '127.0.0.1:7999-8008'])
      await expect(admit(rules, range(refused))).rejects.toThrow(`${refused} may not be opened: ports`);
    await expect(admit(rules, range('127.0.0.1,[::1]:8000-8009'))).rejects.toThrow(/may not be opened: bind/);
    const unprivileged = `${rules}privileged-ports = false`;
    await expect(admit(unprivileged, range('127.0.0.1:1020-1029'))).rejects.toThrow(
      /privileged-ports = false/,
    );
    const narrow = `${rules}destinations = ["172.17.0.2:80-88"]`;
    await expect(admit(narrow, range('127.0.0.1:8000-8009'))).rejects.toThrow(
      /may not be dialled: destinations/,
    );
  });

  it('become loopback once for each family', async () => {
    const loopback = '[policy]\npublish = "loopback"';
    expect(await admit(loopback, web('0.0.0.0,[::]'))).toBe(web('127.0.0.1,[::1]'));
    expect(await admit(loopback, web('[::],127.0.0.1'))).toBe(web('127.0.0.1,[::1]'));
  });
});

describe('any free port', () => {
  const spec = parseSpec(web('127.0.0.1', 0));
  const ports = (text: string) => policy(text).freePorts('a');

  it('is left to the system where every port will do', async () => {
    expect(ports('')).toBeUndefined();
    expect(await openFreePort(spec, undefined, async (each) => formatSpec(each))).toBe(formatSpec(spec));
  });

  it('is a usual one that is allowed, if there is any', () => {
    expect(ports('[policy]\nprivileged-ports = false')).toBeUndefined();
    expect(ports('[policy]\nports = ["80", "49000-50000"]')).toEqual([{ first: 49_153, last: 50_000 }]);
  });

  it('is taken from those that are allowed and not privileged', () => {
    expect(ports('[policy]\nports = ["80", "1000-1030"]\nprivileged-ports = false')).toEqual([
      { first: 1024, last: 1030 },
    ]);
  });

  it('is one that is not taken', async () => {
    const tried = new Set<number>();
    const opened = await openFreePort(
      spec,
      [
        { first: 5, last: 5 },
        { first: 7, last: 9 },
      ],
      async (each) => {
        const port = each.protocol === 'unix' ? 0 : each.hostPorts.first;
        tried.add(port);
        if (tried.size < 4) throw new BridgeError('PORT_IN_USE', 'taken');
        return port;
      },
    );
    expect([...tried].sort()).toEqual([5, 7, 8, 9]);
    expect(opened).toBe([...tried][3]);
  });

  it('is refused when all are taken, and what is no matter of the port is not tried again', async () => {
    const taken = new BridgeError('PORT_IN_USE', 'taken');
    await expect(openFreePort(spec, [{ first: 5, last: 6 }], () => Promise.reject(taken))).rejects.toThrow(
      /no port is free in 5-6/,
    );
    const broken = new BridgeError('ADDRESS_NOT_AVAILABLE', 'no such address');
    await expect(openFreePort(spec, [{ first: 5, last: 6 }], () => Promise.reject(broken))).rejects.toBe(
      broken,
    );
  });
});

describe('another policy', () => {
  it('lets stay what it allows, however it was asked for', async () => {
    const loopback = policy('[policy]\npublish = "loopback"');
    expect(await loopback.refusal('a', parseSpec(web('127.0.0.1')))).toBeUndefined();
    expect(await policy('').refusal('a', parseSpec(web('127.0.0.1')))).toBeUndefined();
    const refused = await loopback.refusal('a', parseSpec(web('0.0.0.0')));
    expect(refused?.message).toContain('0.0.0.0:8080 may not stay open: publish = "loopback"');
  });
});
