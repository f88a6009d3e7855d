import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hostConfig } from '../../../host-agent/config.ts';
import { shimConfig } from '../../../vm-shim/config.ts';

describe('host-agent options', () => {
  it('names VMs, the unnamed one "default"', () => {
    const config = hostConfig({ connect: ['a=unix:///a', 'unix:///b'], control: ['a=unix:///c'] });
    expect(config.connect.map(({ vm, address }) => [vm, address.url])).toEqual([
      ['a', 'unix:///a'],
      ['default', 'unix:///b'],
    ]);
    expect(config.control[0]!.vm).toBe('a');
    expect(config.links.get('a')).toEqual({ lane: 'auto', legacyPeer: false });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('keeps nothing, grants 30 s and takes no port at all addresses, unless told', () => {
    const connect = ['unix:///a'];
    expect(hostConfig({ connect })).toMatchObject({ state: undefined, graceMs: 30_000, wildcard: undefined });
    expect(hostConfig({ connect, state: '/s', grace: '0.5', wildcardPrivileged: true })).toMatchObject({
      state: '/s',
      graceMs: 500,
      wildcard: { below: 1024, always: false },
    });
  });

  it('knows who may connect to which VM over vsock', () => {
    const config = hostConfig({ listen: ['a=vsock://:1', 'vsock://:2'], peerCid: ['a=3,4', 'any'] });
    expect(config.peerCids).toEqual([
      { vm: 'a', peers: { list: [3, 4], least: 0 } },
      { vm: 'default', peers: { list: undefined, least: 0 } },
    ]);
  });

  it('takes a token file for each VM, and a heart-beat', () => {
    const vms = { connect: ['a=unix:///a', 'unix:///b'] };
    const { tokenFiles, heartbeatMs } = hostConfig({
      ...vms,
      tokenFile: ['a=/etc/a=b', '/etc/b'],
      heartbeat: '2.5',
    });
    expect(tokenFiles).toEqual([
      { vm: 'a', path: '/etc/a=b' },
      { vm: 'default', path: '/etc/b' },
    ]);
    expect(heartbeatMs).toBe(2_500);
    expect(hostConfig(vms)).toMatchObject({ tokenFiles: [], heartbeatMs: 10_000 });
    for (const [tokenFile, why] of [
      [['c=/t'], /--token-file is for VM "c"/],
      [['a=/t', 'a=/u'], /VM "a" has two --token-file/],
      [['a='], /names no file/],
    ] as const)
      expect(() => hostConfig({ ...vms, tokenFile })).toThrow(why);
    expect(() => hostConfig({ ...vms, heartbeat: 'often' })).toThrow(/--heartbeat "often"/);
  });

  it('takes the path of the API as it stands, or from the directory that it runs in', () => {
    const connect = ['unix:///a'];
    expect(hostConfig({ connect, api: '/run/api' }).api?.path).toBe('/run/api');
    expect(hostConfig({ connect, api: 'api' }).api?.path).toBe(resolve('api'));
    expect(() => hostConfig({ connect, api: `/${'x'.repeat(200)}` })).toThrow(/^"\/x+": a socket's path may/);
  });

  it('knows the ports to choose from', () => {
    const connect = ['unix:///a'];
    expect(hostConfig({ connect }).portRange).toEqual({ first: 49_153, last: 65_535 });
    expect(hostConfig({ connect, portRange: '5000-5999' }).portRange).toEqual({ first: 5000, last: 5999 });
    expect(hostConfig({ connect, portRange: '5000' }).portRange).toEqual({ first: 5000, last: 5000 });
  });

  it.each([
    [{}, /--connect <url>.*--listen <url>/],
    [{ connect: ['unix:///a', 'unix:///b'] }, /"default" has two URLs: name the VMs: --connect NAME=<url>$/],
    [
      { connect: ['a=unix:///a'], listen: ['a=unix:///b'] },
      /"a" has two URLs: give it either connect or listen$/,
    ],
    [{ connect: ['unix:///a'], listen: ['unix:///b'] }, /"default" has two URLs: .*, or name the VMs/],
    [{ connect: ['a=unix:///a', 'a=unix:///b'] }, /"a" has two URLs: a VM has one link$/],
    [
      { connect: ['a=unix:///a', 'b=unix:///a'] },
      /VM "a" and VM "b" have the same URL to dial, unix:\/\/\/a/,
    ],
    [{ connect: ['unix:///a'], control: ['b=unix:///c'] }, /VM "b", which has no/],
    [{ connect: ['what:///a'] }, /unknown scheme "what:"/],
    [{ connect: ['vsock://:1'] }, /says nobody to dial/],
    [{ connect: ['stdio:'] }, /is for vm-shim --listen/],
    [{ connect: ['exec:'] }, /names no program/],
    [{ connect: ["exec:ssh 'vm"] }, /is not closed/],
    [{ listen: ['exec:ssh vm'] }, /unknown scheme "exec:"/],
    [{ connect: ['unix:///a'], peerCid: ['b=3'] }, /VM "b", which has no.*--peer-cid NAME=<cids>/],
    [{ connect: ['unix:///a'], peerCid: ['0'] }, /neither "any" nor a list/],
    [{ connect: ['unix:///a'], lane: 'fast' }, /unknown lane "fast"/],
    [{ connect: ['unix:///a'], portRange: '0-99' }, /--port-range "0-99" is no range of ports/],
    [{ connect: ['unix:///a'], portRange: '99-9' }, /--port-range "99-9" is no range of ports/],
    [{ connect: ['unix:///a'], portRange: 'all' }, /--port-range "all" is no range of ports/],
    [{ connect: ['unix:///a'], grace: '-1' }, /--grace -1: seconds from 0 to 86400/],
    [{ connect: ['unix:///a'], grace: '86401' }, /--grace 86401/],
    [{ connect: ['unix:///a'], grace: '1e3' }, /--grace 1e3/],
  ])('refuses %j', (options, why) => {
    expect(() => hostConfig(options)).toThrow(why);
  });
});

describe('vm-shim options', () => {
  it('takes the host only over vsock, unless told', () => {
    expect(shimConfig({ listen: 'vsock://:1' }).peerCids).toEqual({ list: [2], least: 0 });
    expect(shimConfig({ listen: 'vsock://:1', peerCid: '2,1' }).peerCids.list).toEqual([2, 1]);
    expect(() => shimConfig({ listen: 'vsock://:1', peerCid: 'host' })).toThrow(/neither "any"/);
    expect(() => shimConfig({ connect: 'vsock://:1' })).toThrow(/says nobody to dial/);
  });

  it('takes exactly one of --listen and --connect', () => {
    expect(shimConfig({ listen: 'unix:///a' }).listen?.url).toBe('unix:///a');
    expect(() => shimConfig({})).toThrow(/either --listen/);
    expect(() => shimConfig({ listen: 'unix:///a', connect: 'unix:///b' })).toThrow(/either --listen/);
  });
});
