import { networkInterfaces } from 'node:os';
import { describe, expect, it } from 'vitest';
import {
  cidOf,
  decodeIp,
  encodeSockaddr,
  familyOf,
  isIp,
} from '../../../../shared/platform/linux/sockaddr.ts';

/** What a little-endian Linux has in memory, from ip(7), ipv6(7), unix(7) and vsock(7). */
describe('socket addresses', () => {
  it.each([
    [{ family: 'ip', ip: '127.0.0.1', port: 8080 }, '02001f907f0000010000000000000000'],
    [{ family: 'ip', ip: 'fd00::2', port: 80 }, '0a00005000000000fd00000000000000000000000000000200000000'],
    [{ family: 'ip', ip: 'fe80::1%7', port: 1 }, '0a00000100000000fe80000000000000000000000000000107000000'],
    [{ family: 'unix', path: '/a' }, '01002f6100'],
    [{ family: 'vsock', cid: 3, port: 0xf3a4 }, '28000000a4f300000300000000000000'],
  ] as const)('%j', (address, hex) => {
    expect(encodeSockaddr(address).toString('hex')).toBe(hex);
  });

  it('takes the zone of an interface by its name, whatever other addresses it has', (context) => {
    const interfaces = Object.entries(networkInterfaces()).map(([name, all]) => ({
      name,
      zones: new Set(
        all!.map((each) => (each.family === 'IPv6' ? each.scopeid : 0)).filter((zone) => zone !== 0),
      ),
    }));
    const local = interfaces.filter(({ zones }) => zones.size === 1);
    if (local.length === 0) return context.skip('no interface here has a link-local address');
    for (const { name, zones } of local) {
      const sockaddr = encodeSockaddr({ family: 'ip', ip: `fe80::1%${name}`, port: 1 });
      expect([name, sockaddr.readUInt32LE(24)]).toEqual([name, [...zones][0]]);
    }
  });

  it('reads what the kernel writes', () => {
    for (const ip of ['127.0.0.1', 'fd00::2'])
      expect(decodeIp(encodeSockaddr({ family: 'ip', ip, port: 4711 }))).toEqual({ ip, port: 4711 });
    expect(decodeIp(encodeSockaddr({ family: 'unix', path: '/a' }))).toBeUndefined();
    expect(familyOf(encodeSockaddr({ family: 'unix', path: '/a' }))).toBe(1);
    expect(cidOf(encodeSockaddr({ family: 'vsock', cid: 0xffff_fffe, port: 1 }))).toBe(0xffff_fffe);
    expect(cidOf(encodeSockaddr({ family: 'ip', ip: '::1', port: 1 }))).toBeUndefined();
    expect([1, 2, 10, 40].filter(isIp)).toEqual([2, 10]);
  });

  it('refuses a path that has no room for its NUL', () => {
    expect(encodeSockaddr({ family: 'unix', path: 'x'.repeat(107) }).length).toBe(110);
    expect(() => encodeSockaddr({ family: 'unix', path: 'x'.repeat(108) })).toThrow(/107 bytes/);
  });
});
