import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../shared/errors.ts';
import {
  canonicalIp,
  familyOf,
  formatEndpoint,
  formatIp,
  ipFromBytes,
  ipToBytes,
  isLinkLocal,
  isLoopback,
  isUnspecified,
  parseIp,
} from '../../shared/ip.ts';

const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((b) => Buffer.from(b));

/** Groups that are often zero, so that the shortening of runs is met. */
const ipv6Bytes = fc
  .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
  .map((groups) => Buffer.from(groups.flatMap((group) => [group >> 8, group & 0xff])));

describe('canonical text', () => {
  it.each([
    ['1.2.3.4', '1.2.3.4'],
    ['::', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['2001:DB8::0001', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:0a00:0001', '10.0.0.1'],
    ['::10.0.0.1', '::a00:1'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
    ['FE80::1%eth0', 'fe80::1%eth0'],
    ['fe80::1%Wi-Fi.2', 'fe80::1%Wi-Fi.2'],
  ])('%s is %s', (text, canonical) => expect(canonicalIp(text)).toBe(canonical));

  it.each([
    '',
    '1.2.3',
    '01.2.3.4',
    '1.2.3.256',
    '0x7f.0.0.1',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '1.2.3.4%lo',
    '::ffff:1.2.3.4%lo',
    'localhost',
    '[::1]',
    '::1%',
    'fe80::1%a/b',
    'fe80::1%sixteen-characte',
    '00000::1',
    '1::2::3',
    '12345::',
    ':::',
  ])('refuses %j', (text) => {
    expect(parseIp(text)).toBeUndefined();
    expect(canonicalIp(text)).toBeUndefined();
    expect(familyOf(text)).toBeUndefined();
    expect(() => ipToBytes(text)).toThrow(BridgeError);
  });

  it('agrees with the URL standard on IPv6', () => {
    fc.assert(
      fc.property(ipv6Bytes, (raw) => {
        const groups = Array.from({ length: 8 }, (_, i) => raw.readUInt16BE(i * 2).toString(16)).join(':');
        const text = canonicalIp(groups);
        if (familyOf(groups) === 6) expect(`[${text}]`).toBe(new URL(`http://[${groups}]/`).hostname);
      }),
    );
  });
});

describe('bytes', () => {
  it('go round for both families', () => {
    fc.assert(
      fc.property(fc.oneof(bytes(4), bytes(16), ipv6Bytes), (raw) => {
        const text = ipFromBytes(raw);
        expect(canonicalIp(text)).toBe(text);
        const back = ipToBytes(text);
        expect(
          back.length === raw.length ? back : Buffer.concat([Buffer.alloc(10), Buffer.of(255, 255), back]),
        ).toEqual(raw);
      }),
    );
  });

  it('collapses IPv4-mapped ones', () => {
    const mapped = Buffer.from('00000000000000000000ffff7f000001', 'hex');
    expect(ipFromBytes(mapped)).toBe('127.0.0.1');
    expect(ipFromBytes(mapped, 'eth0')).toBe('127.0.0.1');
    expect(ipToBytes('::ffff:127.0.0.1')).toEqual(Buffer.of(127, 0, 0, 1));
  });

  it('keeps the zone beside them', () => {
    const address = parseIp('fe80::1%eth0')!;
    expect(address.zone).toBe('eth0');
    expect(formatIp(address)).toBe('fe80::1%eth0');
    expect(ipFromBytes(address.bytes, 'eth0')).toBe('fe80::1%eth0');
  });

  it('of another number are refused', () => {
    for (const length of [0, 3, 5, 15, 17]) {
      expect(() => ipFromBytes(Buffer.alloc(length))).toThrow(/4 or 16 bytes/);
    }
  });
});

describe('kinds of address', () => {
  it.each([
    ['127.0.0.1', true],
    ['127.255.0.9', true],
    ['::1', true],
    ['::ffff:127.0.0.1', true],
    ['::1%lo', true],
    ['128.0.0.1', false],
    ['::2', false],
    ['1::1', false],
    ['junk', false],
  ])('isLoopback(%s) is %s', (text, answer) => expect(isLoopback(text)).toBe(answer));

  it.each([
    ['0.0.0.0', true],
    ['::', true],
    ['0:0::0', true],
    ['::ffff:0.0.0.0', true],
    ['0.0.0.1', false],
    ['::1', false],
    ['', false],
  ])('isUnspecified(%s) is %s', (text, answer) => expect(isUnspecified(text)).toBe(answer));

  it.each([
    ['fe80::1', true],
    ['febf::1%eth0', true],
    ['fec0::1', false],
    ['169.254.0.1', false],
  ])('isLinkLocal(%s) is %s', (text, answer) => expect(isLinkLocal(text)).toBe(answer));

  it('endpoints put IPv6 in brackets', () => {
    expect(formatEndpoint('1.2.3.4', 5)).toBe('1.2.3.4:5');
    expect(formatEndpoint('fe80::1%eth0', 5)).toBe('[fe80::1%eth0]:5');
  });
});
