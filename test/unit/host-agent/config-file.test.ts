import { describe, expect, it } from 'vitest';
import { hostConfig } from '../../../host-agent/config.ts';
import { HOST_SCHEMA } from '../../../host-agent/schema.ts';
import { parseSettings } from '../../../shared/settings/read-settings.ts';

const FILE = `
api = "/run/api.sock"
engine = "portable"
workers = 2
lane = "multiplexed"

[vm.a]
connect = "unix:///a"
control = ["unix:///a-control", "unix:///a-more"]
lane = "dedicated"

[vm.b]
listen = "vsock://:5"
peer-cid = "7"
legacy-peer = true
`;
const config = (given: Parameters<typeof hostConfig>[0], text = FILE) =>
  hostConfig(given, parseSettings(text, 'pf.toml', HOST_SCHEMA));
const urls = (list: ReturnType<typeof config>['connect']) =>
  list.map(({ vm, address }) => `${vm}=${address.url}`);

describe('the configuration file of the host agent', () => {
  it('says all that options say', () => {
    const { connect, listen, control, peerCids, api, engine, workers, links } = config({});
    expect(urls(connect)).toEqual(['a=unix:///a']);
    expect(urls(listen)).toEqual(['b=vsock://:5']);
    expect(urls(control)).toEqual(['a=unix:///a-control', 'a=unix:///a-more']);
    expect(peerCids).toEqual([{ vm: 'b', peers: { list: [7], least: 0 } }]);
    expect({ api: api?.path, engine, workers }).toEqual({
      api: '/run/api.sock',
      engine: 'portable',
      workers: 2,
    });
    expect(links.get('a')).toEqual({ lane: 'dedicated', legacyPeer: false });
    expect(links.get('b')).toEqual({ lane: 'multiplexed', legacyPeer: true });
  });

  it('gives way to options', () => {
    const given = { api: '/x', engine: 'auto', workers: '3', lane: 'auto', legacyPeer: true };
    const { api, engine, workers, links } = config(given);
    expect({ api: api?.path, engine, workers }).toEqual({ api: '/x', engine: 'auto', workers: 3 });
    expect([...links.values()]).toEqual(Array(2).fill({ lane: 'auto', legacyPeer: true }));
  });

  it('gives way for one VM to what options say of it', () => {
    const { connect, listen, control, peerCids } = config({
      listen: ['a=unix:///new'],
      control: ['b=unix:///c'],
      peerCid: ['b=9'],
    });
    expect(urls(connect)).toEqual([]);
    expect(urls(listen)).toEqual(['b=vsock://:5', 'a=unix:///new']);
    expect(urls(control)).toEqual(['a=unix:///a-control', 'a=unix:///a-more', 'b=unix:///c']);
    expect(peerCids.map(({ peers }) => peers.list)).toEqual([[9]]);
  });

  it('takes parts of a second, as options do', () => {
    const text = 'heartbeat = 0.5\ngrace = 1.25\n[vm.a]\nconnect = "unix:///a"';
    expect(config({}, text)).toMatchObject({ heartbeatMs: 500, graceMs: 1_250 });
  });

  it('may leave the URL of a VM to options', () => {
    const text = '[vm.c.policy]\nports = ["80"]';
    expect(urls(config({ connect: ['c=unix:///c'] }, text).connect)).toEqual(['c=unix:///c']);
    expect(() => config({ connect: ['unix:///c'] }, text)).toThrow(
      /pf.toml:1: VM "c" has neither connect nor listen/,
    );
  });

  it('has one URL for a VM', () => {
    expect(() => config({}, '[vm.a]\nconnect = "unix:///a"\nlisten = "unix:///b"')).toThrow(
      /^pf.toml:3: VM "a" has two URLs: give it either connect or listen$/,
    );
    expect(() =>
      config({ connect: ['a=unix:///a'], listen: ['a=unix:///b'] }, '[vm.a]\nconnect = "unix:///c"'),
    ).toThrow(/^VM "a" has two URLs: give it either connect or listen$/);
    expect(() => config({}, '[vm.a]\nlane = "auto"')).toThrow(
      /pf.toml:1: VM "a" has neither connect nor listen/,
    );
  });
});
