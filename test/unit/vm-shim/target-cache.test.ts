import { describe, expect, it } from 'vitest';
import type { Destination } from '../../../shared/destination.ts';
import { decodePreface, encodePreface } from '../../../shared/preface.ts';
import { TargetCache } from '../../../vm-shim/data/linux/target-cache.ts';

const destinations: Destination[] = [
  { protocol: 'tcp', ip: '172.17.0.2', port: 80 },
  { protocol: 'tcp', ip: '172.17.0.2', port: 81 },
  { protocol: 'tcp', ip: 'fd00::2', port: 80 },
  { protocol: 'udp', ip: '172.17.0.2', port: 80 },
  { protocol: 'unix', path: '/run/x.sock' },
  { protocol: 'unix', path: `/${'x'.repeat(200)}` },
];

describe('TargetCache', () => {
  it('says what the codec says, the first time and later', () => {
    const cache = new TargetCache();
    for (const round of [0, 1, 2])
      for (const [index, destination] of destinations.entries())
        for (const key of [1, 2]) {
          const client = { ip: '10.0.0.1', port: round };
          const streamKey = Buffer.alloc(16, key);
          const streamId = round * 1_000 + index;
          const bytes = Buffer.concat([
            encodePreface({ streamId, streamKey, destination, client }),
            Buffer.from('payload'),
          ]);
          const { value, used } = decodePreface(bytes)!;
          const got = cache.decode(bytes)!;
          expect({ ...got, target: undefined }).toEqual({ streamId, used, target: undefined });
          expect(got.target.destination).toEqual(value.destination);
          expect(got.target.streamKey.equals(streamKey)).toBe(true);
        }
  });

  it('tells streams to one destination with other options apart', () => {
    const cache = new TargetCache();
    const plain = { streamId: 1, streamKey: Buffer.alloc(16), destination: destinations[0]! };
    for (const client of [undefined, { ip: '10.0.0.1', port: 7 }, { ip: 'fd00::1', port: 7 }])
      for (const keepalive of [undefined, 9, 10, undefined, 9]) {
        const bytes = encodePreface({ ...plain, client, keepalive });
        expect(cache.decode(bytes)!.target.keepalive).toBe(keepalive);
        expect(cache.decode(bytes)!.used).toBe(bytes.length);
      }
    const udp = encodePreface({ ...plain, destination: destinations[3]!, flowIdle: 600 });
    for (const _ of [1, 2]) expect(cache.decode(udp)!.target.details?.flowIdle).toBe(600);
  });

  it('waits for the whole of it', () => {
    const cache = new TargetCache();
    const whole = encodePreface({ streamId: 1, streamKey: Buffer.alloc(16), destination: destinations[0]! });
    cache.decode(whole);
    for (let length = 0; length < whole.length; length++)
      expect(cache.decode(whole.subarray(0, length))).toBeUndefined();
  });

  it('has no address for a path that no socket can have', () => {
    const destination = destinations[5]!;
    const bytes = encodePreface({ streamId: 1, streamKey: Buffer.alloc(16), destination });
    expect(new TargetCache().decode(bytes)!.target.sockaddr).toHaveLength(0);
  });
});
