import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HOST_SCHEMA } from '../../../host-agent/schema.ts';
import { BridgeError } from '../../../shared/errors.ts';
import { KeyLines } from '../../../shared/settings/key-lines.ts';
import { nearest } from '../../../shared/settings/nearest.ts';
import { parseSettings, readSettings } from '../../../shared/settings/read-settings.ts';

const read = (text: string) => parseSettings(text, '/etc/pf.toml', HOST_SCHEMA);

describe('a configuration file', () => {
  it('says what it says, and where', () => {
    const settings = read(
      [
        'engine = "portable"',
        'workers = 3',
        '[policy]',
        'ports = ["80"]',
        '',
        '[vm."a.b"]',
        'connect = "unix:///a"',
        'control = "unix:///c"',
        'policy.privileged-ports = false',
      ].join('\n'),
    );
    expect(settings.text('engine')).toBe('portable');
    expect(settings.number('workers')).toBe(3);
    expect(settings.names('vm')).toEqual(['a.b']);
    expect(settings.texts('vm', 'a.b', 'control')).toEqual(['unix:///c']);
    expect(settings.get('policy', 'ports')).toEqual({ value: ['80'], where: '/etc/pf.toml:4' });
    expect(settings.get('vm', 'a.b', 'policy', 'privileged-ports')?.where).toBe('/etc/pf.toml:9');
    expect(settings.flag('legacy-peer')).toBeUndefined();
  });

  it.each([
    ['engin = "linux"', '/etc/pf.toml:1: unknown key engin; did you mean engine?'],
    ['\n[vm.a]\n\npolcy = 3', '/etc/pf.toml:4: unknown key vm.a.polcy; did you mean policy?'],
    ['[polices]\nports = []', '/etc/pf.toml:1: unknown key polices; did you mean policy?'],
    [
      '[policy]\nprivilegedports = true',
      '/etc/pf.toml:2: unknown key policy.privilegedports; did you mean privileged-ports?',
    ],
    ['zzzzzzzzzz = 1', /:1: unknown key zzzzzzzzzz; known are api, /],
    ['__proto__ = 1', /unknown key __proto__/],
    ['constructor = 1', /unknown key constructor/],
    ['workers = "3"', /:1: workers: it is a whole number from 1 to 64, not "3"/],
    ['workers = 1.5', /whole number/],
    ['workers = 65', /from 1 to 64, not 65/],
    ['workers = inf', /not inf$/],
    ['workers = [-inf, nan]', /not \[-inf,nan\]$/],
    [
      'heartbeat = 0.05',
      /heartbeat: it is a number of seconds from 0.1 to 3600 with at most 3 decimals, not 0.05/,
    ],
    ['heartbeat = 1.0005', /number of seconds/],
    ['heartbeat = nan', /number of seconds from 0.1 to 3600 .* not nan/],
    ['grace = inf', /number of seconds from 0 to 86400 .* not inf/],
    ['legacy-peer = "yes"', /legacy-peer: it is true or false, not "yes"/],
    ['engine = "fast"', /engine: it is one of auto, portable, linux, not "fast"/],
    ['engine = 1979-05-27', /engine: it is a text/],
    ['[policy]\nports = ["80", 81]', /:2: policy.ports: it is a list of texts, not \["80",81\]/],
    ['[policy]\nports = [\n  "80",\n  "0",\n]', /:2: policy.ports: "0" is neither a port nor a range/],
    ['[policy]\nbind = "10.0.0.1/8"', /:2: policy.bind: 10.0.0.1\/8 has bits/],
    ['policy = 3', /:1: policy: it is a table, not 3/],
    ['vm = { "a b" = {} }', /:1: vm.a b: "a b" is no name/],
    ['[vm.a]\nconnect = "what:///"', /:2: vm.a.connect: .*unknown scheme/],
    ['[vm.a\n', /^\/etc\/pf.toml:1:\d+: /],
    ['a = 1\na = 2', /^\/etc\/pf.toml:2:\d+: /],
  ])('refuses %j by line and key', (text, why) => {
    expect(() => read(text)).toThrow(why);
    expect(() => read(text)).toThrow(BridgeError);
  });

  it('that cannot be read is named, with the code of what the system said', () => {
    const failure = (file: string): unknown => {
      try {
        return readSettings(file, HOST_SCHEMA);
      } catch (error) {
        return error;
      }
    };
    expect(failure('/nowhere/pf.toml')).toMatchObject({
      code: 'NOT_FOUND',
      message: 'cannot read the configuration /nowhere/pf.toml: there is no such file or directory',
    });
    expect(failure('/')).toMatchObject({
      code: 'IO',
      message: 'cannot read the configuration /: it is a directory',
    });
  });

  it('of any content is read or refused', () => {
    const words = fc.constantFrom(
      '[',
      ']',
      '=',
      '"',
      '\n',
      'vm',
      'policy',
      '.',
      '1',
      '{',
      '}',
      "'''",
      '#',
      ',',
      'ports',
      '\\',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(words).map((each) => each.join('')),
        ),
        (text) => {
          try {
            read(text);
          } catch (error) {
            expect(error).toBeInstanceOf(BridgeError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('KeyLines', () => {
  it('is not led astray by strings over several lines, comments and inline tables', () => {
    const lines = new KeyLines('# x = 1\na = """\nb = 1\n"""\nb = 2\n[t.u]\n  "c d" = { e = 1 }\n');
    expect(lines.of(['b'])).toBe(5);
    expect(lines.of(['t', 'u'])).toBe(6);
    expect(lines.of(['t', 'u', 'c d', 'e'])).toBe(7);
    expect(lines.of(['x'])).toBeUndefined();
  });
});

describe('nearest', () => {
  it('guesses only what is likely', () => {
    expect(nearest('port', ['ports', 'bind'])).toBe('ports');
    expect(nearest('xyz', ['ports', 'bind-address'])).toBeUndefined();
    expect(nearest('a', [])).toBeUndefined();
  });
});
