/** The command line without processes: what each command says of itself, and what it takes for wrong usage. */
import { Command, CommanderError } from 'commander';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { addHostCommands } from '../../host-agent/main.ts';
import { EXIT } from '../../shared/cli.ts';
import { BridgeError } from '../../shared/errors.ts';
import { addVmCommands } from '../../vm-shim/main.ts';

/** Runs a command that ends at once. @returns what it printed, and what it ended with */
async function run(...args: string[]): Promise<{ out: string; err: string; error: unknown }> {
  let [out, err] = ['', ''];
  const program = new Command('portferry')
    .exitOverride()
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => {
        out += text;
      },
      writeErr: (text) => {
        err += text;
      },
    });
  addHostCommands(program);
  addVmCommands(program);
  const error = await program.parseAsync(args, { from: 'user' }).catch((error: unknown) => error);
  return { out, err, error };
}

it.each(['host-agent', 'vm-shim', 'claim', 'expose', 'unexpose', 'list', 'token'])(
  '%s has --help',
  async (command) => {
    const { out, err, error } = await run(command, '--help');
    expect(error).toMatchObject({ exitCode: EXIT.done });
    expect(out).toContain(`Usage: portferry ${command}`);
    expect(err).toBe('');
  },
);

describe('wrong usage:', () => {
  beforeAll(() => void vi.stubEnv('PORTFERRY_API', undefined));
  afterAll(() => void vi.unstubAllEnvs());

  it.each([
    ['an unknown option', ['list', '--api', '/nowhere', '--nonsense'], '--nonsense'],
    ['a missing argument', ['expose', '--api', '/nowhere'], "'spec'"],
    [
      'two --listen of a shim',
      ['vm-shim', '--listen', 'unix:///a', '--listen', 'unix:///b'],
      "as 'unix:///a'",
    ],
    ['two --config', ['host-agent', '--config', '/a.toml', '--config', '/b.toml'], "as '/a.toml'"],
    ['two --state', ['host-agent', '--state', '/a', '--state', '/b'], "as '/a'"],
    ['two --vm', ['unexpose', '80', '--vm', 'a', '--vm', 'b'], "as 'a'"],
    ['an unknown lane', ['host-agent', '--connect', 'unix:///a', '--lane', 'fast'], "'fast'"],
  ])('%s', async (_name, args, said) => {
    const { out, err, error } = await run(...args);
    expect(error).toBeInstanceOf(CommanderError);
    expect(error).not.toMatchObject({ exitCode: EXIT.done });
    expect([out, err]).toEqual(['', expect.stringContaining(said)]);
  });

  it.each([
    ['no --connect nor --listen', ['host-agent'], '--connect <url>'],
    [
      'both --listen and --connect',
      ['vm-shim', '--listen', 'unix:///a', '--connect', 'unix:///b'],
      'either --listen',
    ],
    ['no --api', ['list'], 'give --api <path>, or set PORTFERRY_API'],
    ['an empty --api', ['expose', '80', '--api', ''], 'give --api <path>, or set PORTFERRY_API'],
    [
      'an empty --api to serve',
      ['host-agent', '--connect', 'unix:///a', '--api', ''],
      '--api names no socket',
    ],
    ['no name of a token file', ['token', ''], 'the name of the token file'],
    ['an unknown scheme', ['vm-shim', '--listen', 'pigeon://coop'], 'pigeon'],
    ['a tcp transport off loopback', ['vm-shim', '--listen', 'tcp://0.0.0.0:0'], 'loopback'],
    [
      'a claim of a reverse forward',
      ['claim', 'reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:1', '--control', 'unix:///nowhere'],
      'portferry expose --reverse',
    ],
    ['a malformed claim', ['claim', 'sctp:1:2', '--control', 'unix:///nowhere'], 'sctp'],
  ])('%s', async (_name, args, said) => {
    const { error } = await run(...args);
    expect(error).toBeInstanceOf(BridgeError);
    const { code, message } = error as BridgeError;
    expect(['BAD_SPEC', 'BAD_REQUEST']).toContain(code);
    expect(message).toContain(said);
  });
});
