import { SocketAddress } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { proxyHeader } from '../../../host-agent/data/proxy-header.ts';
import { ipFromBytes } from '../../../shared/ip.ts';
import { readProxyHeader } from '../../helpers/proxy-protocol.ts';

const port = fc.nat({ max: 65_535 });
const version = fc.constantFrom('v1' as const, 'v2' as const);
const ipOf = (bytes: number) =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map((raw) => ipFromBytes(Buffer.from(raw)))
    .filter((ip) => ip.includes(':') === (bytes === 16));
const ends = fc.constantFrom(4, 16).chain((bytes) =>
  fc.record({
    client: fc.record({ ip: ipOf(bytes), port }),
    local: fc.record({ ip: ipOf(bytes), port }),
  }),
);

/** One text for an address, as Node has it. */
const nodeText = (address: string) =>
  new SocketAddress({ address, family: address.includes(':') ? 'ipv6' : 'ipv4' }).address;

describe('the PROXY protocol header', () => {
  it('says both addresses, as a reader made from the specification understands it', () => {
    fc.assert(
      fc.property(version, ends, fc.uint8Array({ maxLength: 30 }), (which, { client, local }, rest) => {
        const header = proxyHeader(which, { client, local });
        expect(header.length).toBeLessThanOrEqual(107);
        expect(readProxyHeader(Buffer.concat([header, rest]))).toEqual({
          version: which === 'v1' ? 1 : 2,
          family: client.ip.includes(':') ? 'ipv6' : 'ipv4',
          source: nodeText(client.ip),
          sourcePort: client.port,
          destination: nodeText(local.ip),
          destinationPort: local.port,
          bytes: header.length,
        });
      }),
      { numRuns: 500 },
    );
  });

  it('is incomplete at every length short of the whole', () => {
    fc.assert(
      fc.property(version, ends, (which, each) => {
        const header = proxyHeader(which, each);
        for (let length = 0; length < header.length; length++)
          expect(readProxyHeader(header.subarray(0, length))).toBeUndefined();
      }),
      { numRuns: 20 },
    );
  });

  it('is that of the examples', () => {
    const v4 = { client: { ip: '192.168.0.1', port: 56_324 }, local: { ip: '192.168.0.11', port: 443 } };
    expect(proxyHeader('v1', v4).toString()).toBe('PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n');
    expect(proxyHeader('v2', v4).toString('hex')).toBe(
      '0d0a0d0a000d0a515549540a2111000cc0a80001c0a8000bdc0401bb',
    );
    const scoped = { client: { ip: 'fe80::2%eth0', port: 1 }, local: { ip: 'fe80::1%eth0', port: 2 } };
    expect(proxyHeader('v1', scoped).toString()).toBe('PROXY TCP6 fe80::2 fe80::1 1 2\r\n');
  });

  it('says nothing of a client without address', () => {
    expect(proxyHeader('v1', undefined).toString()).toBe('PROXY UNKNOWN\r\n');
    expect(proxyHeader('v2', undefined).toString('hex')).toBe('0d0a0d0a000d0a515549540a20000000');
    for (const which of ['v1', 'v2'] as const)
      expect(readProxyHeader(proxyHeader(which, undefined))?.family).toBe('unknown');
  });
});
