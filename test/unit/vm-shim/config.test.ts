import { describe, expect, it } from 'vitest';
import { parseSettings } from '../../../shared/settings/read-settings.ts';
import { type ShimOptions, shimConfig } from '../../../vm-shim/config.ts';
import { SHIM_SCHEMA } from '../../../vm-shim/schema.ts';

const config = (given: ShimOptions, ...lines: string[]) =>
  shimConfig(given, parseSettings(lines.join('\n'), 'shim.toml', SHIM_SCHEMA));

describe('the configuration file of the shim', () => {
  it('says what options say', () => {
    const said = config(
      {},
      'connect = "unix:///run/host.sock"',
      'port-fs = "unix:///run/port.sock"',
      'gateway-api = "192.168.127.1:80"',
      'allow-destination = ["172.17.0.0/16", "unix:/run"]',
      'peer-cid = "2,3"',
      'token-file = "/etc/token"',
      'legacy-peer = true',
      'heartbeat = 5',
      'engine = "portable"',
      'workers = 3',
    );
    expect(said).toEqual(
      shimConfig({
        connect: 'unix:///run/host.sock',
        portFs: 'unix:///run/port.sock',
        gatewayApi: '192.168.127.1:80',
        allowDestination: ['172.17.0.0/16', 'unix:/run'],
        peerCid: '2,3',
        tokenFile: '/etc/token',
        legacyPeer: true,
        heartbeat: '5',
        engine: 'portable',
        workers: '3',
      }),
    );
  });

  it('gives way to options, and its link to a link that they name', () => {
    const lines = ['listen = "unix:///a"', 'heartbeat = 5', 'allow-destination = "127.0.0.1"'];
    const said = config({ connect: 'unix:///b', heartbeat: '7', allowDestination: ['10.0.0.0/8'] }, ...lines);
    expect([said.listen, said.connect?.url]).toEqual([undefined, 'unix:///b']);
    expect([said.heartbeatMs, said.allowedDestinations]).toEqual([7_000, ['10.0.0.0/8']]);
  });

  it('may allow no destination at all', () => {
    expect(config({}, 'listen = "unix:///a"', 'allow-destination = []').allowedDestinations).toEqual([]);
  });

  it.each([
    ['lane = "auto"', 'shim.toml:1: unknown key lane'],
    ['listen = "pigeon://coop"', 'shim.toml:1: listen: '],
    ['port-fs = "tcp://127.0.0.1:1"', 'it is served on a unix socket'],
    ['gateway-api = "all"', 'is not IP:PORT'],
    ['allow-destination = ["everything"]', 'shim.toml:1: allow-destination: '],
    ['heartbeat = 0', 'from 0.1 to 3600'],
    ['peer-cid = "me"', 'shim.toml:1: peer-cid: '],
  ])('%s is refused', (line, why) => {
    expect(() => config({}, line)).toThrow(why);
  });
});
