import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../shared/errors.ts';
import {
  describePlace,
  formatReverseSpec,
  isReverse,
  type Place,
  parseCommandLineReverse,
  parseReverseSpec,
  type ReverseSpec,
} from '../../shared/reverse-spec.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const tcp = (ip: string, port: number): Place => ({ protocol: 'tcp', ip, port });
const reverse = (host: Place, vm: Place): ReverseSpec => ({ protocol: 'reverse', host, vm });

const ip = fc.oneof(fc.ipV4(), fc.constantFrom('::1', 'fd00::2', '::'));
const path = fc
  .array(fc.oneof(fc.string({ maxLength: 10 }), fc.constantFrom('@', '@vm:', 'user@1000/', ':', '/')))
  .map((parts) => `/${parts.join('').replaceAll('\0', '')}x`);
const placeFrom = (least: number): fc.Arbitrary<Place> =>
  fc.oneof(
    fc.record(
      { protocol: fc.constant('tcp' as const), ip, port: fc.integer({ min: least, max: 65_535 }) },
      { noNullPrototype: true },
    ),
    fc.record({ protocol: fc.constant('unix' as const), path }, { noNullPrototype: true }),
  );

describe('the full notation of a reverse forward', () => {
  it('comes back as it went', () => {
    fc.assert(
      fc.property(placeFrom(1), placeFrom(0), (host, vm) => {
        const text = formatReverseSpec(reverse(host, vm));
        expect(isReverse(text)).toBe(true);
        expect(parseReverseSpec(text)).toEqual(reverse(host, vm));
      }),
    );
  });

  it('refuses everything else with BAD_SPEC', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), fc.boolean(), (text, prefixed) => {
        try {
          parseReverseSpec(prefixed ? `reverse:${text}` : text);
        } catch (error) {
          expect((error as BridgeError).code).toBe('BAD_SPEC');
        }
      }),
    );
  });

  it.each([
    ['tcp:127.0.0.1:80:tcp:127.0.0.1:80', 'expected reverse'],
    ['reverse:udp:127.0.0.1:53:udp:127.0.0.1:53', 'not UDP'],
    ['reverse:tcp:127.0.0.1:0:tcp:127.0.0.1:80', 'the host port is no decimal number from 1'],
    ['reverse:tcp:127.0.0.1:80-81:tcp:127.0.0.1:80-81', 'one port, not a range'],
    ['reverse:tcp:127.0.0.1:80', 'where it is in the VM is missing'],
    ['reverse:tcp:127.0.0.1:80:tcp:127.0.0.1:80:1', 'expected the end'],
    ['reverse:tcp:127.0.0.1:80:tcp:127.0.0.1:80?wait=listening', 'has no options'],
    ['reverse:tcp:localhost:80:tcp:127.0.0.1:80', 'is no IPv4 address'],
    [`reverse:unix:${base64('relative')}:tcp:127.0.0.1:80`, 'is not absolute'],
    ['reverse:unix:/run/x:tcp:127.0.0.1:80', 'base64'],
  ])('%s: %s', (text, why) => {
    expect(() => parseReverseSpec(text)).toThrow(why);
  });
});

describe('what the command line takes', () => {
  it('is told apart at the name of the VM, whatever else the paths have', () => {
    const bare = (place: Place): string => (place.protocol === 'unix' ? place.path : describePlace(place));
    const name = fc.constantFrom('vm', 'build', 'a.b-c_1');
    const withoutName = placeFrom(0).filter((place) => !/@[\w.-]+:/.test(bare(place)));
    fc.assert(
      fc.property(placeFrom(1), name, withoutName, (host, vm, place) => {
        const text = `${host.protocol}:${bare(host)}@${vm}:${bare(place)}`;
        fc.pre(!text.includes('?'));
        const expected = { spec: parseReverseSpec(formatReverseSpec(reverse(host, place))), vm };
        expect(parseCommandLineReverse(text)).toEqual({ ...expected, vm: vm === 'vm' ? undefined : vm });
      }),
    );
  });

  it.each([
    ['tcp:127.0.0.1:5432@vm:5432', undefined, reverse(tcp('127.0.0.1', 5432), tcp('127.0.0.1', 5432))],
    ['tcp:127.0.0.1:5432@build:0', 'build', reverse(tcp('127.0.0.1', 5432), tcp('127.0.0.1', 0))],
    ['tcp:[::1]:5432@vm:172.17.0.1:1', undefined, reverse(tcp('::1', 5432), tcp('172.17.0.1', 1))],
    ['tcp:127.0.0.1:5432@vm:[::]:1', undefined, reverse(tcp('127.0.0.1', 5432), tcp('::', 1))],
    [
      'unix:/run/db.sock@vm:/run/in.sock',
      undefined,
      reverse({ protocol: 'unix', path: '/run/db.sock' }, { protocol: 'unix', path: '/run/in.sock' }),
    ],
    [
      'unix:/run/a@b:c.sock@vm:/run/user@1000/x.sock',
      undefined,
      reverse(
        { protocol: 'unix', path: '/run/a@b:c.sock' },
        { protocol: 'unix', path: '/run/user@1000/x.sock' },
      ),
    ],
    ['reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:2', undefined, reverse(tcp('127.0.0.1', 1), tcp('127.0.0.1', 2))],
  ])('%s', (text, vm, spec) => {
    expect(parseCommandLineReverse(text)).toEqual({ spec, vm });
  });

  it.each([
    ['tcp:127.0.0.1:5432', 'expected "@vm:PORT"'],
    ['5432@vm:5432', 'expected tcp or unix'],
    ['udp:127.0.0.1:53@vm:53', 'not UDP'],
    ['tcp:127.0.0.1:5432@:5432', 'expected the name of a VM'],
    ['tcp:127.0.0.1:5432@vm', 'the port in the VM is missing'],
    ['tcp:127.0.0.1:5432:tcp@vm:1', 'expected "@"'],
    ['unix:db.sock@vm:1', 'the host path is not absolute'],
    ['tcp:127.0.0.1:5432@vm:65536', 'is no decimal number'],
    ['tcp:127.0.0.1:5432@vm:5432?keepalive=5', 'has no options'],
    ['unix:/a@vm:/b?x=@y:z', 'position 13: a reverse forward has no options'],
    ['tcp:127.0.0.1:5432?x=@y:z', 'position 18: expected "@vm:PORT"'],
  ])('%s: %s', (text, why) => {
    expect(() => parseCommandLineReverse(text)).toThrow(why);
    expect(() => parseCommandLineReverse(text)).toThrow(BridgeError);
  });
});
