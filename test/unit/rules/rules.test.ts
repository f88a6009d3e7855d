import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Destination } from '../../../shared/destination.ts';
import { formatIp } from '../../../shared/ip.ts';
import { onePort } from '../../../shared/port-range.ts';
import { cidrHas, parseCidr } from '../../../shared/rules/cidr.ts';
import { destinationAllowed, parseDestinationRule } from '../../../shared/rules/destination-rule.ts';
import { parsePortRule, portsAllowed } from '../../../shared/rules/port-rule.ts';
import { checkDirectory, isBelow } from '../../../shared/rules/unix-directory.ts';

const bytes = (family: 4 | 6) => {
  const length = family === 4 ? 4 : 16;
  return fc.uint8Array({ minLength: length, maxLength: length });
};
const bit = (address: Uint8Array, index: number) => (address[index >> 3]! >> (7 - (index & 7))) & 1;

describe('CIDRs', () => {
  it.each([
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['127.0.0.1', '127.0.0.1', true],
    ['127.0.0.1', '127.0.0.2', false],
    ['0.0.0.0/0', '0.0.0.0', true],
    ['0.0.0.0/0', '::1', false],
    ['192.168.0.0/16', '0.0.0.0', false],
    ['0.0.0.0', '0.0.0.0', true],
    ['fd00::/9', 'fd7f::1', true],
    ['fd00::/9', 'fd80::1', false],
    ['::/0', '::', true],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['127.0.0.0/8', '::ffff:127.0.0.1', true],
    ['::/0', 'nonsense', false],
  ])('%s has %s: %s', (cidr, address, has) => {
    expect(cidrHas(parseCidr(cidr), address)).toBe(has);
  });

  it.each([
    '',
    '10/8',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0.0/ 8',
    'fe80::1%eth0',
    '010.0.0.0/8',
  ])('refuses %j', (text) => expect(() => parseCidr(text)).toThrow(/neither an address nor a CIDR/));

  it('says what was meant when there are bits behind the prefix', () => {
    expect(() => parseCidr('10.1.2.3/8')).toThrow('write 10.0.0.0/8');
    expect(() => parseCidr('fd00::1/16')).toThrow('write fd00::/16');
  });

  it.each([4, 6] as const)('has what has the same first bits (IPv%i)', (family) => {
    fc.assert(
      fc.property(bytes(family), bytes(family), fc.nat(family === 4 ? 32 : 128), (net, address, prefix) => {
        const base = Buffer.from(
          net.map((byte, index) => byte & (0xff << Math.max(0, Math.min(8, 8 - (prefix - 8 * index))))),
        );
        const text = (of: Uint8Array) => formatIp({ family, bytes: Buffer.from(of), zone: '' });
        // An IPv4-mapped address is an IPv4 one.
        fc.pre(family === 4 || (!text(base).startsWith('::ffff:') && !text(address).startsWith('::ffff:')));
        const same = Array.from({ length: prefix }, (_, index) => index).every(
          (index) => bit(base, index) === bit(address, index),
        );
        expect(cidrHas(parseCidr(`${text(base)}/${prefix}`), text(address))).toBe(same);
      }),
    );
  });
});

describe('ports', () => {
  it('are single ones and ranges', () => {
    const rules = [parsePortRule('80'), parsePortRule('8000-8099')];
    expect([79, 80, 81, 7999, 8000, 8099, 8100].filter((port) => portsAllowed(rules, onePort(port)))).toEqual(
      [80, 8000, 8099],
    );
    expect(portsAllowed(rules, { first: 8000, last: 8099 })).toBe(true);
    expect(portsAllowed(rules, { first: 8000, last: 8100 })).toBe(false);
  });

  it.each(['', '0', '0-1', '9-8', '1-65536', '80,81', ' 80', '80-'])('refuses %j', (text) => {
    expect(() => parsePortRule(text)).toThrow(/neither a port nor a range/);
  });
});

describe('destinations', () => {
  const tcp = (ip: string, port: number): Destination => ({ protocol: 'tcp', ip, port });
  const unix = (path: string): Destination => ({ protocol: 'unix', path });
  it.each([
    ['10.0.0.0/8', tcp('10.1.1.1', 5), true],
    ['10.0.0.0/8:80', tcp('10.1.1.1', 80), true],
    ['10.0.0.0/8:80', tcp('10.1.1.1', 81), false],
    ['10.0.0.1:80-90', { protocol: 'udp', ip: '10.0.0.1', port: 90 } as const, true],
    ['fd00::/8', tcp('fd00::1', 1), true],
    ['[fd00::/8]:443', tcp('fd00::1', 443), true],
    ['[fd00::/8]:443', tcp('fd00::1', 444), false],
    ['0.0.0.0/0', unix('/run/x.sock'), false],
    ['unix:/run', unix('/run/x.sock'), true],
    ['unix:/run/', unix('/run/a/x.sock'), true],
    ['unix:/run', unix('/runner/x.sock'), false],
    ['unix:/run', unix('/run/../etc/x.sock'), false],
    ['unix:/', unix('/any/where'), true],
    ['unix:/run', tcp('10.0.0.1', 1), false],
  ])('%s allows %j: %s', (text, destination, allowed) => {
    expect(destinationAllowed([parseDestinationRule(text)], destination)).toBe(allowed);
  });

  it.each([
    'unix:run',
    'unix:',
    'unix:/a/../b',
    'localhost:80',
    '10.0.0.0/8:',
    ':80',
    'fd00::/8:80',
    '[fd00::/8]80',
  ])('refuses %j, and says what it may be', (text) =>
    expect(() => parseDestinationRule(text)).toThrow(/it is CIDR, CIDR:PORTS, \[CIDR\]:PORTS or unix:DIR/),
  );
});

describe('directories', () => {
  it('hold what is below them, by the text of the path', () => {
    expect(checkDirectory('/run//x/')).toBe('/run/x');
    for (const path of [
      '/run/x',
      '/run/x/',
      '/run/x/a/',
      'run/x/a',
      '/run/x/../x/a',
      '/run/x/a\0',
      '/run/xy',
    ])
      expect([path, isBelow('/run/x', path)]).toEqual([path, false]);
    for (const path of ['/run/x/a', '/run//x/./a', '/run/x/a/b']) expect(isBelow('/run/x', path)).toBe(true);
  });
});
