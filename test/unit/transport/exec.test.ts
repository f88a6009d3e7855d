import { afterEach, expect, it } from 'vitest';
import { silentLogger } from '../../../shared/logger.ts';
import { parseExec, startCommand } from '../../../shared/transport/exec.ts';

const own = process.env.WSL_UTF8;

afterEach(() => {
  if (own === undefined) delete process.env.WSL_UTF8;
  else process.env.WSL_UTF8 = own;
});

/** What a program that is started says of a variable of its environment. */
async function environmentOf(name: string): Promise<string> {
  const program = `process.stdin.resume(); process.stdout.write(process.env.${name} + "\\n")`;
  const address = parseExec(`exec:"${process.execPath}" -e '${program}'`);
  const stream = await startCommand(address, new AbortController().signal, silentLogger());
  let said = '';
  for await (const part of stream.setEncoding('utf8')) {
    said += part;
    if (said.endsWith('\n')) break;
  }
  return said.trim();
}

it('wsl.exe is told to write UTF-8, unless the user says otherwise; the rest of the environment is ours', async () => {
  delete process.env.WSL_UTF8;
  expect(await environmentOf('WSL_UTF8')).toBe('1');
  process.env.WSL_UTF8 = '0';
  expect(await environmentOf('WSL_UTF8')).toBe('0');
  expect(await environmentOf('PATH')).toBe(process.env.PATH);
});
