import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_SPEC_BYTES } from '../../shared/claim-messages.ts';
import { BridgeError } from '../../shared/errors.ts';
import { type ForwardOptions, formatOptions, parseOptions } from '../../shared/forward-options.ts';
import { compareIps, familyOf, ipFromBytes, isScoped, isUnspecified } from '../../shared/ip.ts';
import { onePort, portCount, portsFrom } from '../../shared/port-range.ts';
import {
  entryName,
  formatSpec,
  hostEnd,
  type InetSpec,
  MAX_RANGE,
  type PortSpec,
  parseSpec,
  type UnixSpec,
  vmEnd,
  withOptions,
} from '../../shared/port-spec.ts';
import { MAX_HOST_ADDRESSES } from '../../shared/port-spec-cursor.ts';
import { parseCommandLineSpec, parseShortSpec } from '../../shared/port-spec-short.ts';

const b64 = (path: string | Buffer) => Buffer.from(path as string).toString('base64');

const ip = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map((raw) => ipFromBytes(Buffer.from(raw)));
const vmIp = ip.filter((text) => !isScoped(text));
const port = fc.integer({ min: 1, max: 65_535 });
/** As many ports as one request may have, that fit. */
const ports = fc
  .tuple(port, fc.oneof(fc.constant(1), fc.integer({ min: 1, max: MAX_RANGE })))
  .map(([first, count]) => ({ first, last: Math.min(65_535, first + count - 1) }));
/** Host and VM ports: one for each, any free ones, or any free one of a range. */
const bothPorts = fc.oneof(
  fc.tuple(ports, port).map(([host, first]) => {
    const count = Math.min(portCount(host), 65_536 - first);
    return { hostPorts: portsFrom(host.first, count), vmPorts: portsFrom(first, count) };
  }),
  ports.map((vmPorts) => ({ hostPorts: onePort(0), vmPorts })),
  fc.tuple(port, port, port).map(([a, b, vm]) => ({
    hostPorts: { first: Math.min(a, b), last: Math.max(a, b) },
    vmPorts: onePort(vm),
  })),
);
/** Distinct, none of them for all of its family unless alone in it, in their order. */
const hostIps = fc
  .uniqueArray(fc.oneof(ip, fc.constantFrom('fe80::1%eth0', '0.0.0.0', '::', '127.0.0.1', '::1')), {
    minLength: 1,
    maxLength: MAX_HOST_ADDRESSES,
  })
  .map((all) => {
    const rest = all.filter(
      (each) =>
        isUnspecified(each) || !all.some((any) => isUnspecified(any) && familyOf(any) === familyOf(each)),
    );
    return rest.sort(compareIps);
  });
const inet: fc.Arbitrary<InetSpec> = fc
  .record({ protocol: fc.constantFrom('tcp' as const, 'udp' as const), hostIps, vmIp, both: bothPorts })
  .map(({ protocol, hostIps, vmIp, both }) => ({ protocol, hostIps, vmIp, ...both }));
const path = fc
  .string({ unit: 'grapheme', maxLength: 60 })
  .map((name) => `/${name.replaceAll('\0', '')}`)
  .filter((name) => Buffer.byteLength(name) <= 107);
const unix: fc.Arbitrary<UnixSpec> = fc.record({
  protocol: fc.constant('unix' as const),
  hostPath: path,
  vmPath: path,
});
const seconds = fc.integer({ min: 1, max: 32_767 });
/** What a protocol takes, in any combination; none at all is no options. */
const optionsOf = (protocol: PortSpec['protocol']): fc.Arbitrary<ForwardOptions> =>
  fc.record(
    {
      idleTimeout: seconds,
      ...(protocol === 'tcp' && { keepalive: seconds, wait: fc.constant('listening' as const) }),
      ...(protocol !== 'udp' && { proxyProtocol: fc.constantFrom('v1' as const, 'v2' as const) }),
    },
    { requiredKeys: [] },
  );
const anySpec: fc.Arbitrary<PortSpec> = fc
  .oneof(inet, unix)
  .chain((spec) =>
    optionsOf(spec.protocol).map((options) =>
      withOptions(spec, Object.keys(options).length === 0 ? undefined : options),
    ),
  );

/** Text near the grammar, so that every branch of the parsers is met. */
const nearly = fc
  .array(
    fc.constantFrom(
      ...[
        'tcp',
        'udp',
        'unix',
        'sctp',
        ':',
        ':',
        ':',
        '/',
        '[',
        ']',
        '::1',
        '1.2.3.4',
        '0',
        '80',
        '65536',
        '-',
        '80-81',
        ',',
        '%',
        ' ',
        '?',
        '&',
        '=',
        'wait=listening',
        'keepalive=',
      ],
      ...['L3g=', '/tcp', '00', '٣', '\0', 'é', '\ud800'],
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(''));
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  nearly,
  fc.tuple(anySpec, fc.nat(), fc.string()).map(([spec, at, insert]) => {
    const text = formatSpec(spec);
    const cut = at % (text.length + 1);
    return text.slice(0, cut) + insert + text.slice(cut + 1);
  }),
);

/** Runs a parser and checks that what it throws is BAD_SPEC with a position inside the input. */
function refusal(
  parse: (text: string) => unknown,
  text: string,
): { position: number; reason: string } | undefined {
  try {
    parse(text);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(BridgeError);
    const { code, message } = error as BridgeError;
    expect(code).toBe('BAD_SPEC');
    const match = /^bad port specification at position (\d+): (.+) in "/s.exec(message);
    expect(match, message).not.toBeNull();
    const position = Number(match![1]);
    expect(position).toBeLessThanOrEqual(text.length);
    return { position, reason: match![2]! };
  }
}

describe('full notation', () => {
  it('goes round', () => {
    fc.assert(
      fc.property(anySpec, (spec) => {
        expect(parseSpec(formatSpec(spec))).toEqual(spec);
      }),
    );
  });

  it('is canonical: what parses formats to one text', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        if (refusal(parseSpec, text) !== undefined) return;
        const canonical = formatSpec(parseSpec(text));
        expect(formatSpec(parseSpec(canonical))).toBe(canonical);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['tcp:0.0.0.0:8080:tcp:172.17.0.2:80', 'tcp:0.0.0.0:8080:tcp:172.17.0.2:80'],
    ['udp:127.0.0.1:0:udp:172.17.0.2:53', 'udp:127.0.0.1:0:udp:172.17.0.2:53'],
    ['tcp:[::1]:8080:tcp:[fd00::2]:80', 'tcp:[::1]:8080:tcp:[fd00::2]:80'],
    ['tcp:[0:0::1]:8080:tcp:[FD00::2]:80', 'tcp:[::1]:8080:tcp:[fd00::2]:80'],
    ['tcp:[::ffff:127.0.0.1]:1:tcp:[::]:65535', 'tcp:127.0.0.1:1:tcp:[::]:65535'],
    ['tcp:[fe80::1%eth0]:1:tcp:127.0.0.1:1', 'tcp:[fe80::1%eth0]:1:tcp:127.0.0.1:1'],
    ['tcp:127.0.0.1,[::1]:8080:tcp:172.17.0.2:80', 'tcp:127.0.0.1,[::1]:8080:tcp:172.17.0.2:80'],
    ['udp:[::],9.9.9.9,10.0.0.1:0:udp:1.2.3.4:5', 'udp:9.9.9.9,10.0.0.1,[::]:0:udp:1.2.3.4:5'],
    ['tcp:0.0.0.0:8000-8099:tcp:1.2.3.4:1-100', 'tcp:0.0.0.0:8000-8099:tcp:1.2.3.4:1-100'],
    ['tcp:0.0.0.0:80-80:tcp:1.2.3.4:90-90', 'tcp:0.0.0.0:80:tcp:1.2.3.4:90'],
    ['tcp:0.0.0.0:8000-9000:tcp:1.2.3.4:80', 'tcp:0.0.0.0:8000-9000:tcp:1.2.3.4:80'],
    ['tcp:0.0.0.0:0:tcp:1.2.3.4:80-90', 'tcp:0.0.0.0:0:tcp:1.2.3.4:80-90'],
    [`unix:${b64('/a')}:unix:${b64('/b c')}`, `unix:${b64('/a')}:unix:${b64('/b c')}`],
  ])('%s is %s', (text, canonical) => expect(formatSpec(parseSpec(text))).toBe(canonical));

  it('reads every part', () => {
    expect(parseSpec('tcp:0.0.0.0:8080:tcp:172.17.0.2:80')).toEqual({
      protocol: 'tcp',
      hostIps: ['0.0.0.0'],
      hostPorts: { first: 8080, last: 8080 },
      vmIp: '172.17.0.2',
      vmPorts: { first: 80, last: 80 },
    });
    expect(parseSpec('udp:[::1],127.0.0.1:8000-8002:udp:[fd00::2]:53-55')).toEqual({
      protocol: 'udp',
      hostIps: ['127.0.0.1', '::1'],
      hostPorts: { first: 8000, last: 8002 },
      vmIp: 'fd00::2',
      vmPorts: { first: 53, last: 55 },
    });
    const longest = `/${'x'.repeat(106)}`;
    expect(parseSpec(`unix:${b64('/run/ä')}:unix:${b64(longest)}`)).toEqual({
      protocol: 'unix',
      hostPath: '/run/ä',
      vmPath: longest,
    });
  });

  it.each([
    ['', 0, /expected tcp, udp or unix/],
    ['tcp', 3, /host address is missing/],
    ['tcp:', 4, /host address is empty/],
    ['sctp:1.2.3.4:1:sctp:1.2.3.4:1', 0, /sctp is not supported/],
    ['reverse:tcp:1.2.3.4:1:tcp:1.2.3.4:1', 0, /through the API of the host agent only/],
    ['TCP:1.2.3.4:1:tcp:1.2.3.4:1', 0, /expected tcp/],
    [' tcp:1.2.3.4:1:tcp:1.2.3.4:1', 0, /expected tcp/],
    ['tcp:1.2.3.4:1:udp:1.2.3.4:1', 14, /expected tcp as on the host/],
    ['tcp:1.2.3.4:1', 13, /second protocol is missing/],
    ['tcp:1.2.3.4:1:tcp', 17, /VM address is missing/],
    ['tcp:1.2.3.4:1:tcp:1.2.3.4', 25, /VM port is missing/],
    ['tcp:1.2.3.4:1:tcp:1.2.3.4:', 26, /VM port is empty/],
    ['tcp:1.2.3.4:1:tcp:1.2.3.4:0', 26, /from 1 to 65535/],
    ['tcp:1.2.3.4:1:tcp:1.2.3.4:1:', 27, /expected the end/],
    ['tcp:1.2.3.4:1:tcp:1.2.3.4:1\n', 26, /no decimal number/],
    ['tcp:1.2.3.4::tcp:1.2.3.4:1', 12, /host port is empty/],
    ['tcp:1.2.3.4:65536:tcp:1.2.3.4:1', 12, /from 0 to 65535/],
    ['tcp:1.2.3.4:080:tcp:1.2.3.4:1', 12, /no decimal number/],
    ['tcp:1.2.3.4:+80:tcp:1.2.3.4:1', 12, /no decimal number/],
    ['tcp:1.2.3.4:-80:tcp:1.2.3.4:1', 12, /no decimal number/],
    ['tcp:1.2.3.4: 80:tcp:1.2.3.4:1', 12, /no decimal number/],
    ['tcp:1.2.3.4:0x50:tcp:1.2.3.4:1', 12, /no decimal number/],
    ['tcp:1.2.3.4:8e1:tcp:1.2.3.4:1', 12, /no decimal number/],
    ['tcp:1.2.3.4:90-80:tcp:1.2.3.4:1', 12, /ends before it begins/],
    ['tcp:1.2.3.4:0-80:tcp:1.2.3.4:1', 12, /from 1 to 65535/],
    ['tcp:1.2.3.4:80-65536:tcp:1.2.3.4:1', 15, /from 1 to 65535/],
    ['tcp:1.2.3.4:80-:tcp:1.2.3.4:1', 12, /no decimal number/],
    ['tcp:1.2.3.4:80-90-95:tcp:1.2.3.4:1', 12, /no decimal number/],
    ['tcp:1.2.3.4:80-90:tcp:1.2.3.4:1-10', 30, /10 ports in the VM do not belong to 11/],
    ['tcp:1.2.3.4:80:tcp:1.2.3.4:1-10', 27, /10 ports in the VM do not belong to 1 on/],
    ['tcp:1.2.3.4:2000-4000:tcp:1.2.3.4:2000-4000', 34, /2001 ports are more than the 1024/],
    ['tcp:1.2.3.4:0:tcp:1.2.3.4:2000-4000', 26, /2001 ports are more than the 1024/],
    ['tcp:1.2.3.4,1.2.3.4:1:tcp:1.2.3.4:1', 12, /1\.2\.3\.4 is there twice/],
    ['tcp:[::1],[0::1]:1:tcp:1.2.3.4:1', 10, /::1 is there twice/],
    ['tcp:0.0.0.0,1.2.3.4:1:tcp:1.2.3.4:1', 12, /1\.2\.3\.4 overlaps with 0\.0\.0\.0/],
    ['tcp:[::1],[::]:1:tcp:1.2.3.4:1', 10, /:: overlaps with ::1/],
    ['tcp:1.2.3.4,:1:tcp:1.2.3.4:1', 12, /host address is empty/],
    ['tcp:1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5:1:tcp:1.2.3.4:1', 35, /more than 4 addresses/],
    ['tcp:1.2.3.4:1:tcp:1.2.3.4,1.2.3.5:1', 18, /no IPv4 address/],
    ['tcp:01.2.3.4:80:tcp:1.2.3.4:1', 4, /no IPv4 address/],
    ['tcp:1.2.3:80:tcp:1.2.3.4:1', 4, /no IPv4 address/],
    ['tcp:localhost:80:tcp:1.2.3.4:1', 4, /no IPv4 address/],
    ['tcp:::1:80:tcp:1.2.3.4:1', 4, /host address is empty/],
    ['tcp:[::1:80:tcp:1.2.3.4:1', 4, /closing bracket/],
    ['tcp:[1.2.3.4]:80:tcp:1.2.3.4:1', 5, /no IPv6 address/],
    ['tcp:[]:80:tcp:1.2.3.4:1', 5, /no IPv6 address/],
    ['tcp:[::1]80:tcp:1.2.3.4:1', 9, /expected ":"/],
    ['tcp:1.2.3.4:1:tcp:[fe80::1%eth0]:1', 18, /link-local/],
    ['tcp:1.2.3.4:1:tcp:[fe80::1]:1', 18, /link-local/],
    ['udp:1.2.3.4:1:udp:[fd00::2%eth0]:1', 18, /link-local/],
    ['unix:', 5, /host path is empty/],
    ['unix:L2E:unix:L2I=', 5, /base64/],
    ['unix:L2F=:unix:L2I=', 5, /base64/],
    ['unix:L_-=:unix:L2I=', 5, /base64/],
    ['unix:L2E=:unix:', 15, /VM path is empty/],
    ['unix:L2E=:tcp:L2I=', 10, /expected unix/],
    ['unix:L2E=:unix:L2I=:x', 19, /expected the end/],
    [`unix:${b64('a')}:unix:L2I=`, 5, /not absolute/],
    [`unix:${b64('/\0')}:unix:L2I=`, 5, /NUL/],
    [`unix:${b64(Buffer.of(0x2f, 0xff))}:unix:L2I=`, 5, /not UTF-8/],
    [`unix:L2E=:unix:${b64(`/${'x'.repeat(107)}`)}`, 15, /108 bytes long/],
  ])('refuses %j at %i', (text, position, reason) => {
    const found = refusal(parseSpec, text);
    expect(found?.position).toBe(position);
    expect(found?.reason).toMatch(reason);
  });

  it('shows a long input shortened', () => {
    expect(() => parseSpec('x'.repeat(10_000))).toThrow(/^.{1,160}$/);
  });
});

describe('options', () => {
  const ends = 'tcp:1.2.3.4:1:tcp:1.2.3.4:1';

  it('are read in any order and written in one', () => {
    const spec = parseSpec(`${ends}?wait=listening&proxy-protocol=v2&idle-timeout=600&keepalive=30`);
    const options = { idleTimeout: 600, keepalive: 30, proxyProtocol: 'v2', wait: 'listening' };
    expect(spec).toMatchObject({ hostPorts: { first: 1, last: 1 }, options });
    expect(formatSpec(spec)).toBe(`${ends}?idle-timeout=600&keepalive=30&proxy-protocol=v2&wait=listening`);
    expect(formatOptions(parseOptions('?wait=listening', 0, 'tcp'))).toBe('?wait=listening');
    expect(formatOptions(parseOptions('', 0, 'tcp'))).toBe('');
  });

  it('stand behind every notation', () => {
    expect(formatSpec(parseSpec('udp:1.2.3.4:1:udp:1.2.3.4:1?idle-timeout=5'))).toMatch(/1\?idle-timeout=5$/);
    expect(formatSpec(parseSpec('unix:L2E=:unix:L2I=?proxy-protocol=v1'))).toBe(
      'unix:L2E=:unix:L2I=?proxy-protocol=v1',
    );
    const short = parseCommandLineSpec('8080:80/tcp?wait=listening', { to: '10.0.0.1' });
    expect(formatSpec(short)).toBe('tcp:127.0.0.1:8080:tcp:10.0.0.1:80?wait=listening');
    expect(formatSpec(parseShortSpec('0.0.0.0::53/udp?idle-timeout=9'))).toMatch(/:53\?idle-timeout=9$/);
  });

  it.each([
    [`${ends}?`, 28, /expected an option, key=value/],
    [`${ends}?wait`, 28, /expected an option/],
    [`${ends}?=listening`, 28, /expected an option/],
    [`${ends}?wait=listening&`, 43, /expected an option/],
    [`${ends}?wait=listening&&keepalive=1`, 43, /expected an option/],
    [
      `${ends}?colour=red`,
      28,
      /unknown option colour \(known: idle-timeout, keepalive, proxy-protocol, wait\)/,
    ],
    [`${ends}?constructor=1`, 28, /unknown option/],
    [`${ends}?Wait=listening`, 28, /unknown option/],
    [`${ends}?wait=ready`, 33, /wait must be listening/],
    [`${ends}?proxy-protocol=v3`, 43, /must be v1 or v2/],
    [`${ends}?idle-timeout=0`, 41, /whole number of seconds from 1 to 604800/],
    [`${ends}?idle-timeout=604801`, 41, /from 1 to 604800/],
    [`${ends}?idle-timeout=1.5`, 41, /whole number/],
    [`${ends}?idle-timeout=07`, 41, /whole number/],
    [`${ends}?keepalive=32768`, 38, /from 1 to 32767/],
    [`${ends}?keepalive=1&keepalive=1`, 40, /there twice/],
    [`${ends}?keepalive=1?wait=listening`, 38, /whole number/],
    ['udp:1.2.3.4:1:udp:1.2.3.4:1?wait=listening', 28, /wait is not for udp \(only tcp\)/],
    ['udp:1.2.3.4:1:udp:1.2.3.4:1?proxy-protocol=v2', 28, /not for udp \(only tcp, unix\)/],
    ['unix:L2E=:unix:L2I=?keepalive=1', 20, /not for unix/],
  ])('refuses %j at %i', (text, position, reason) => {
    const found = refusal(parseSpec, text);
    expect(found?.position).toBe(position);
    expect(found?.reason).toMatch(reason);
  });
});

describe('short notation', () => {
  const options = { to: '172.17.0.2' };
  it.each([
    ['80', 'tcp:127.0.0.1:0:tcp:172.17.0.2:80'],
    [':80', 'tcp:127.0.0.1:80:tcp:172.17.0.2:80'],
    ['8080:80', 'tcp:127.0.0.1:8080:tcp:172.17.0.2:80'],
    ['0:80', 'tcp:127.0.0.1:0:tcp:172.17.0.2:80'],
    ['53/udp', 'udp:127.0.0.1:0:udp:172.17.0.2:53'],
    [':53/udp', 'udp:127.0.0.1:53:udp:172.17.0.2:53'],
    ['8080:80/tcp', 'tcp:127.0.0.1:8080:tcp:172.17.0.2:80'],
    ['0.0.0.0:8080:80', 'tcp:0.0.0.0:8080:tcp:172.17.0.2:80'],
    ['10.0.0.1::80', 'tcp:10.0.0.1:0:tcp:172.17.0.2:80'],
    ['[::]:8080:80', 'tcp:[::]:8080:tcp:172.17.0.2:80'],
    ['[::1]::80/udp', 'udp:[::1]:0:udp:172.17.0.2:80'],
    ['127.0.0.1,[::1]:8080:80', 'tcp:127.0.0.1,[::1]:8080:tcp:172.17.0.2:80'],
    ['[::],0.0.0.0::53/udp', 'udp:0.0.0.0,[::]:0:udp:172.17.0.2:53'],
    ['8000-8099:8000-8099', 'tcp:127.0.0.1:8000-8099:tcp:172.17.0.2:8000-8099'],
    [':8000-8099', 'tcp:127.0.0.1:8000-8099:tcp:172.17.0.2:8000-8099'],
    ['8000-8099', 'tcp:127.0.0.1:0:tcp:172.17.0.2:8000-8099'],
    ['8000-8010:80', 'tcp:127.0.0.1:8000-8010:tcp:172.17.0.2:80'],
    ['[::1]:8000-8010:80-90/udp', 'udp:[::1]:8000-8010:udp:172.17.0.2:80-90'],
  ])('%s is %s', (text, full) => {
    expect(formatSpec(parseShortSpec(text, options))).toBe(full);
    expect(formatSpec(parseCommandLineSpec(text, options))).toBe(full);
  });

  it.each([
    ['', 0, /container port is empty/],
    [':', 1, /container port is empty/],
    ['8080:', 5, /container port is empty/],
    ['80/', 3, /tcp or udp/],
    ['80/sctp', 3, /sctp is not supported/],
    ['80/TCP', 3, /tcp or udp/],
    ['80/tcp/udp', 3, /tcp or udp/],
    ['0', 0, /from 1 to 65535/],
    [':0', 1, /from 1 to 65535/],
    ['80:0', 3, /from 1 to 65535/],
    ['65536:80', 0, /from 0 to 65535/],
    ['080', 0, /no decimal number/],
    ['80-90:80-81', 6, /2 ports in the VM do not belong to 11/],
    ['80:80-81', 3, /2 ports in the VM do not belong to 1 on/],
    [':0-90', 1, /from 1 to 65535/],
    ['127.0.0.1,localhost:80:80', 10, /no IPv4 address/],
    ['127.0.0.1,:80:80', 10, /host address is empty/],
    ['a:80', 0, /no decimal number/],
    ['10.0.0.1:80', 8, /"::containerPort" for any free port/],
    ['[::1]:80', 5, /"::containerPort" for any free port/],
    ['[::1]', 5, /expected/],
    ['[::1', 0, /closing bracket/],
    ['::80', 0, /host address is empty/],
    ['::1:80:80', 0, /host address is empty/],
    ['localhost:80:80', 0, /no IPv4 address/],
    ['10.0.0.1:80:80:80', 12, /no decimal number/],
  ])('refuses %j at %i', (text, position, reason) => {
    const found = refusal((input) => parseShortSpec(input, options), text);
    expect(found?.position).toBe(position);
    expect(found?.reason).toMatch(reason);
  });

  it('dials loopback in the VM unless told', () => {
    expect(parseShortSpec('[::1]:1:2').vmIp).toBe('127.0.0.1');
    expect(parseShortSpec('1:2', { to: 'FD00::2' }).vmIp).toBe('fd00::2');
    for (const to of ['vm', 'fe80::1%eth0'])
      expect(() => parseShortSpec('1:2', { to })).toThrow(
        expect.objectContaining({ code: 'BAD_REQUEST' }) as Error,
      );
  });

  it('is told from the full one by its prefix', () => {
    const full = 'udp:[::1]:53:udp:[fd00::2]:53';
    expect(formatSpec(parseCommandLineSpec(full, options))).toBe(full);
    expect(refusal((text) => parseCommandLineSpec(text), 'sctp:1')?.reason).toMatch(/sctp is not supported/);
  });
});

it('arbitrary text is read or refused with BAD_SPEC and a position inside it', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      refusal(parseSpec, text);
      refusal((input) => parseShortSpec(input), text);
      refusal((input) => parseCommandLineSpec(input), text);
    }),
    { numRuns: 5_000 },
  );
});

describe('names of a forward', () => {
  it('an entry name is one file name', () => {
    fc.assert(
      fc.property(anySpec, (spec) => {
        const name = entryName(spec);
        expect(name).not.toContain('/');
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
        const [stem, ending] = name.split('#');
        if (ending !== undefined) expect(ending).toMatch(/^[0-9a-f]{16}$/);
        const room = 255 - (ending === undefined ? 0 : 17);
        const whole = spec.protocol !== 'unix' && formatSpec(spec).length <= room;
        if (whole) expect(stem).toBe(formatSpec(spec));
        else expect(stem).toMatch(/^(?:tcp|udp|unix)-[0-9a-f]{16}$/);
      }),
    );
  });

  it('an entry name is the same each time, unless the host ports are left open', () => {
    const isSame = (text: string) => new Set([parseSpec(text), parseSpec(text)].map(entryName)).size === 1;
    expect(isSame('tcp:127.0.0.1:8080:tcp:172.17.0.2:80')).toBe(true);
    expect(isSame('tcp:127.0.0.1:8080-8089:tcp:172.17.0.2:80-89')).toBe(true);
    expect(isSame(`unix:${b64('/a')}:unix:${b64('/b')}`)).toBe(true);
    expect(isSame('tcp:127.0.0.1:0:tcp:172.17.0.2:80')).toBe(false);
    expect(isSame('tcp:127.0.0.1:0:tcp:172.17.0.2:80-89')).toBe(false);
    expect(isSame('udp:127.0.0.1:8080-8089:udp:172.17.0.2:80')).toBe(false);
  });

  it('the longest spec still has one, and fits into a control message', () => {
    const longest = 'aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaa';
    const hosts = [1, 2, 3, 4].map((end) => `[${longest}${end}%${'z'.repeat(15)}]`).join(',');
    const options = '?idle-timeout=604800&keepalive=32767&proxy-protocol=v2&wait=listening';
    const text = `tcp:${hosts}:60000-61000:tcp:[${longest}1]:60000-61000${options}`;
    expect(formatSpec(parseSpec(text))).toBe(text);
    expect(entryName(parseSpec(text))).toMatch(/^tcp-[0-9a-f]{16}$/);
    expect(text.length).toBeLessThan(MAX_SPEC_BYTES);
  });

  it('says both ends', () => {
    const tcp = parseSpec('tcp:[::1]:8080:tcp:172.17.0.2:80');
    expect([hostEnd(tcp), vmEnd(tcp)]).toEqual(['[::1]:8080', '172.17.0.2:80']);
    const socket = parseSpec(`unix:${b64('/a')}:unix:${b64('/b')}`);
    expect([hostEnd(socket), vmEnd(socket)]).toEqual(['/a', '/b']);
  });
});
