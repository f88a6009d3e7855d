/** Who listens on macOS and Windows is what a stand-in for the tool of that system prints. */
import { afterEach, describe, expect, it } from 'vitest';
import { type OtherListeners, tcpLookAround } from '../../../shared/ports/other-listeners.ts';
import { FakeTool } from '../../helpers/fake-tool.ts';

let tool: FakeTool | undefined;
afterEach(() => {
  tool?.remove();
  tool = undefined;
});

const SYSTEMS = {
  darwin: {
    tool: 'lsof',
    output: [
      ...['p812', 'f5', 'tIPv4', 'n*:5432', 'f6', 'tIPv4', 'n127.0.0.1:3000', 'f7', 'tIPv6', 'n*:5173'],
      ...[`p${process.pid}`, 'f30', 'tIPv4', 'n*:8080', ''],
    ].join('\n'),
  },
  win32: {
    tool: 'netstat',
    output: [
      '  TCP    0.0.0.0:5432           0.0.0.0:0              LISTENING       812',
      '  TCP    127.0.0.1:3000         0.0.0.0:0              LISTENING       812',
      '  TCP    [::]:5173              [::]:0                 LISTENING       812',
      '  TCP    127.0.0.1:4000         127.0.0.1:5432         ESTABLISHED     812',
      '  UDP    0.0.0.0:4000           *:*                                    812',
      `  TCP    0.0.0.0:8080           0.0.0.0:0              LISTENING       ${process.pid}`,
    ].join('\r\n'),
  },
} as const;

describe.each(['darwin', 'win32'] as const)('on %s', (platform) => {
  const look = (): Promise<OtherListeners> => {
    tool = new FakeTool(SYSTEMS[platform].tool, SYSTEMS[platform].output);
    return tcpLookAround({ platform })!();
  };

  it.each([
    ['127.0.0.1', 5432, true],
    ['0.0.0.0', 5432, true],
    ['::', 5432, false],
    ['0.0.0.0', 3000, true],
    ['127.0.0.1', 3000, true],
    ['127.0.0.2', 3000, false],
    ['::1', 5173, true],
    ['127.0.0.1', 5173, true],
    ['127.0.0.1', 4000, false],
    ['127.0.0.1', 8080, false],
    ['127.0.0.1', 5433, false],
  ])('%s:%i is taken by another process: %s', async (ip, port, taken) => {
    expect((await look()).has({ ip, port })).toBe(taken);
  });
});

it('requests that come together share a look; later ones look again', async () => {
  tool = new FakeTool('lsof', '');
  const lookAround = tcpLookAround({ platform: 'darwin', freshMs: 0 })!;
  const [one, two] = await Promise.all([lookAround(), lookAround()]);
  expect(one).toBe(two);
  expect(tool.runs).toEqual(['-nP -iTCP -sTCP:LISTEN -Fptn']);
  tool.print(SYSTEMS.darwin.output);
  expect((await lookAround()).has({ ip: '127.0.0.1', port: 5432 })).toBe(true);
  expect(tool.runs.length).toBe(2);
});

it('nobody is in the way where the tool is missing', async () => {
  const path = process.env.PATH;
  process.env.PATH = '/nonexistent';
  try {
    const others = await tcpLookAround({ platform: 'darwin' })!();
    expect(others.has({ ip: '127.0.0.1', port: 5432 })).toBe(false);
  } finally {
    process.env.PATH = path;
  }
});

it('Linux, which refuses such ports itself, is not asked', () => {
  expect(tcpLookAround({ platform: 'linux' })).toBeUndefined();
});
