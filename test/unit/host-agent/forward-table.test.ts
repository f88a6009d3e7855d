import { beforeEach, describe, expect, it } from 'vitest';
import { formatForward } from '../../../host-agent/control/forward-spec.ts';
import { ForwardTable, MAX_FORWARDS } from '../../../host-agent/control/forward-table.ts';
import { Policy } from '../../../host-agent/control/policy.ts';
import { HOST_SCHEMA } from '../../../host-agent/schema.ts';
import { BridgeError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { onePort } from '../../../shared/port-range.ts';
import { formatSpec, parseSpec } from '../../../shared/port-spec.ts';
import { parseSettings } from '../../../shared/settings/read-settings.ts';

const SPEC = parseSpec('tcp:127.0.0.1:0:tcp:10.0.0.1:80');

let closed: Array<{ now: boolean }>;
let port: number;
let refuse: BridgeError | undefined;
let table: ForwardTable;

beforeEach(() => {
  closed = [];
  port = 4000;
  refuse = undefined;
  table = new ForwardTable((_vm, spec) => {
    if (refuse !== undefined) return Promise.reject(refuse);
    const resolved =
      spec.protocol === 'unix' || spec.hostPorts.first !== 0 ? spec : { ...spec, hostPorts: onePort(port++) };
    const forward = {
      close: async (options: { now: boolean }) => void closed.push(options),
      stats: () => ({ active: 1 }),
    };
    return Promise.resolve({ resolved, forward });
  }, silentLogger());
});

const claim = (owner = 'api') => table.claim({ owner, lease: 'permanent', vm: 'default', spec: SPEC });

describe('ForwardTable', () => {
  it('holds a forward from claim to release, which happens once', async () => {
    const made = await claim();
    expect(formatForward(made.spec)).toBe('tcp:127.0.0.1:4000:tcp:10.0.0.1:80');
    expect(made.stats()).toEqual({ active: 1 });
    expect(table.find(made.spec)).toEqual([made]);
    expect(table.find(made.spec, 'other')).toEqual([]);
    await table.release(made, { now: true });
    await table.release(made);
    expect(closed).toEqual([{ now: true }]);
    expect(table.list()).toEqual([]);
  });

  it('holds nothing when the port cannot be had', async () => {
    refuse = new BridgeError('PORT_IN_USE', 'taken');
    await expect(claim()).rejects.toBe(refuse);
    expect(table.list()).toEqual([]);
  });

  it('refuses the same forward with other options, and finds it with or without them', async () => {
    const of = (text: string) =>
      ({ owner: 'api', lease: 'permanent', vm: 'default', spec: parseSpec(text) }) as const;
    const open = new ForwardTable(
      async (_vm, spec) => ({ resolved: spec, forward: { close: async () => {}, stats: () => ({}) } }),
      silentLogger(),
    );
    const bare = 'tcp:127.0.0.1:80:tcp:10.0.0.1:80';
    const made = await open.claim(of(`${bare}?idle-timeout=60`));
    for (const options of ['', '?idle-timeout=61', '?wait=listening'])
      await expect(open.claim(of(`${bare}${options}`))).rejects.toMatchObject({
        code: 'PORT_IN_USE',
        message: `${bare}${options}: it is published with other options already, as ${bare}?idle-timeout=60: unexpose that first`,
      });
    await open.claim({ ...of(bare), spec: parseSpec('tcp:127.0.0.1:80:tcp:10.0.0.2:80?keepalive=9') });
    expect(open.find(parseSpec(bare))).toEqual([made]);
    expect(open.find(parseSpec(`${bare}?idle-timeout=60`))).toEqual([made]);
    expect(open.find(parseSpec(`${bare}?idle-timeout=61`))).toEqual([]);
    await open.release(made);
    await open.claim(of(bare));
  });

  it('refuses a port that a forward waits at, also while that does not hold it', async () => {
    const of = (vm: string, text: string) =>
      ({ owner: 'api', lease: 'permanent', vm, spec: parseSpec(text) }) as const;
    const state = 'waiting, port not held';
    const open = new ForwardTable(
      async (_vm, spec) => ({ resolved: spec, forward: { close: async () => {}, stats: () => ({}), state } }),
      silentLogger(),
    );
    const text = 'tcp:127.0.0.1:80:tcp:10.0.0.1:80?wait=listening';
    const made = await open.claim(of('default', text));
    expect(made.state()).toBe(state);
    for (const again of [
      of('default', text),
      of('other', text),
      of('default', 'tcp:127.0.0.1:80:tcp:10.0.0.2:80'),
    ])
      await expect(open.claim(again)).rejects.toMatchObject({
        code: 'PORT_IN_USE',
        message:
          'Bind for 127.0.0.1:80 failed: port is already allocated: VM "default" has 127.0.0.1:80 (published by api)',
      });
    await expect(
      open.claim(of('default', 'tcp:[::1],127.0.0.1:70-90:tcp:10.0.0.2:70-90')),
    ).rejects.toMatchObject({
      message:
        'Bind for 127.0.0.1:80 failed: port is already allocated: VM "default" has 127.0.0.1:80 (published by api)',
    });
    await expect(open.claim(of('default', 'tcp:0.0.0.0:80:tcp:10.0.0.2:80'))).rejects.toMatchObject({
      message: expect.stringContaining(': VM "default" has 127.0.0.1:80, which 0.0.0.0:80 includes (pub'),
    });
    await open.claim(of('default', 'tcp:127.0.0.1:80-90:tcp:10.0.0.2:88')); // any one of these
    await open.claim(of('default', 'udp:127.0.0.1:80:udp:10.0.0.1:80'));
    await open.claim(of('default', 'tcp:[::1]:80:tcp:10.0.0.1:80'));
    await open.claim(of('default', 'tcp:127.0.0.2:80:tcp:10.0.0.1:80'));
  });

  it('tells who asked that a claim was dropped, once, but not when the host agent stops', async () => {
    const told: string[] = [];
    const request = (name: string) =>
      table.claim({
        owner: name,
        lease: 'link',
        vm: 'default',
        spec: SPEC,
        onReleased: () => told.push(name),
      });
    const first = await request('first');
    await request('second');
    await table.release(first);
    await table.release(first);
    expect(told).toEqual(['first']);
    await table.close();
    expect(told).toEqual(['first']);
  });

  it('grants :: beside 0.0.0.0 on a host without IPv6, not bound, and only then', async () => {
    const v6 = {
      owner: 'api',
      lease: 'permanent',
      vm: 'default',
      spec: parseSpec('tcp:[::]:80:tcp:10.0.0.1:80'),
    } as const;
    let ipv6 = false;
    const strict = new ForwardTable(async (_vm, spec) => {
      if (spec.protocol !== 'unix' && spec.hostIps.includes('::') && !ipv6) throw noIpv6;
      return { resolved: spec, forward: { close: async () => {}, stats: () => ({}) } };
    }, silentLogger());
    const noIpv6 = new BridgeError('ADDRESS_NOT_AVAILABLE', 'no such address');
    await expect(strict.claim(v6)).rejects.toBe(noIpv6);
    await strict.claim({ ...v6, spec: parseSpec('tcp:0.0.0.0:80:tcp:10.0.0.9:80') });
    await expect(strict.claim(v6)).rejects.toBe(noIpv6);
    await strict.claim({ ...v6, spec: parseSpec('tcp:0.0.0.0:80:tcp:10.0.0.1:80') });
    await expect(strict.claim({ ...v6, vm: 'other' })).rejects.toBe(noIpv6);
    expect((await strict.claim(v6)).stats()).toEqual({ not_bound: 1 });
    ipv6 = true;
    expect((await strict.claim(v6)).stats()).toEqual({});
  });

  it('refuses the forward past the limit, and takes one again after a release', async () => {
    const claims = await Promise.all(Array.from({ length: MAX_FORWARDS }, () => claim()));
    await expect(claim()).rejects.toMatchObject({ code: 'LIMIT_REACHED' });
    await table.release(claims[0]!);
    await claim();
    expect(table.list().length).toBe(MAX_FORWARDS);
  });

  it('counts host ports, at each address, and gives them back when they are released or could not be had', async () => {
    const many = (ips: string, ports: string) =>
      table.claim({
        owner: 'api',
        lease: 'permanent',
        vm: 'default',
        spec: parseSpec(`tcp:${ips}:${ports}:tcp:10.0.0.1:${ports}`),
      });
    const claims = [];
    for (let i = 0; i < 4; i++) claims.push(await many('127.0.0.1,[::1]', '1000-2023'));
    await expect(many('127.0.0.1', '80')).rejects.toMatchObject({
      code: 'LIMIT_REACHED',
      message: 'host ports: 8192 of at most 8192 are taken, 1 more cannot be had',
    });
    await table.release(claims[0]!);
    await expect(many('127.0.0.1,[::1],[fd00::1]', '1000-2023')).rejects.toMatchObject({
      code: 'LIMIT_REACHED',
    });
    refuse = new BridgeError('PORT_IN_USE', 'taken');
    for (let i = 0; i < 3; i++)
      await expect(many('127.0.0.1,[::1]', '1000-2023')).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    refuse = undefined;
    await many('127.0.0.1,[::1]', '1000-2023');
    expect(table.list().length).toBe(4);
  });

  it('the twin rule holds for ranges, and not for several addresses in one request', async () => {
    const request = (hosts: string) =>
      strict.claim({
        owner: 'api',
        lease: 'permanent',
        vm: 'default',
        spec: parseSpec(`tcp:${hosts}:80-89:tcp:10.0.0.1:80-89`),
      });
    const strict = new ForwardTable(async (_vm, spec) => {
      if (spec.protocol !== 'unix' && spec.hostIps.includes('::'))
        throw new BridgeError('ADDRESS_NOT_AVAILABLE', 'no such address');
      return { resolved: spec, forward: { close: async () => {}, stats: () => ({}) } };
    }, silentLogger());
    await request('0.0.0.0');
    expect((await request('[::]')).stats()).toEqual({ not_bound: 1 });
    await expect(request('0.0.0.0,[::]')).rejects.toMatchObject({ code: 'ADDRESS_NOT_AVAILABLE' });
  });

  it('closing releases everything, also what is being opened just then', async () => {
    await claim();
    const late = claim();
    await table.close();
    await expect(late).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(claim()).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(table.list()).toEqual([]);
    expect(closed.length).toBe(2);
  });

  it('opens only what the policy admits, and what it makes of a request', async () => {
    const policy = policyOf('publish = "loopback"\nports = ["4000-4001"]\nmax-forwards = 2');
    const opened: string[] = [];
    const strict = new ForwardTable(
      async (_vm, spec) => {
        opened.push(formatSpec(spec));
        return { resolved: spec, forward: { close: async () => {}, stats: () => ({}) } };
      },
      silentLogger(),
      policy,
    );
    const ask = (spec: string) =>
      strict.claim({ owner: 'api', lease: 'permanent', vm: 'default', spec: parseSpec(spec) });
    await expect(ask('tcp:0.0.0.0:80:tcp:10.0.0.1:80')).rejects.toMatchObject({ code: 'POLICY_DENIED' });
    expect(opened).toEqual([]);
    const made = await ask('tcp:0.0.0.0:4000:tcp:10.0.0.1:80');
    expect(opened).toEqual(['tcp:127.0.0.1:4000:tcp:10.0.0.1:80']);
    expect(strict.find(parseSpec('tcp:0.0.0.0:4000:tcp:10.0.0.1:80'))).toEqual([made]);
    await ask('tcp:127.0.0.1:4001:tcp:10.0.0.1:80');
    await expect(ask('udp:127.0.0.1:4001:udp:10.0.0.1:80')).rejects.toThrow(/max-forwards = 2/);
    await strict.release(made);
    await ask('udp:127.0.0.1:4001:udp:10.0.0.1:80');
  });

  it('ends what another policy does not allow, tells its owner, and keeps the rest', async () => {
    const told: Array<string | undefined> = [];
    const request = {
      lease: 'link',
      vm: 'default',
      onReleased: (why?: BridgeError) => told.push(why?.code),
    } as const;
    const kept = await table.claim({ ...request, owner: 'a', spec: SPEC });
    await table.claim({ ...request, owner: 'b', spec: SPEC });
    await table.enforce(policyOf('ports = ["4000"]'));
    expect(table.list()).toEqual([kept]);
    expect(told).toEqual(['POLICY_DENIED']);
    expect(closed).toEqual([{ now: true }]);
  });

  it('does not hand out what the policy stopped allowing while it was opened', async () => {
    let finish = (): void => {};
    const slow = new ForwardTable(async (_vm, spec) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return { resolved: spec, forward: { close: async (how) => void closed.push(how), stats: () => ({}) } };
    }, silentLogger());
    const spec = parseSpec('tcp:127.0.0.1:80:tcp:10.0.0.1:80');
    const told: Array<string | undefined> = [];
    const onReleased = (why?: BridgeError) => told.push(why?.code);
    const claiming = slow.claim({ owner: 'api', lease: 'permanent', vm: 'default', spec, onReleased });
    await new Promise((resolve) => setImmediate(resolve));
    await slow.enforce(policyOf('ports = []'));
    finish();
    await expect(claiming).rejects.toMatchObject({ code: 'POLICY_DENIED' });
    expect(told).toEqual(['POLICY_DENIED']);
    expect(closed).toHaveLength(1);
    expect(slow.list()).toEqual([]);
  });
});

function policyOf(text: string): Policy {
  return new Policy(parseSettings(`[policy]\n${text}`, 'pf.toml', HOST_SCHEMA));
}
