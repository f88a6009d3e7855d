import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StateFile } from '../../../../host-agent/control/state/state-file.ts';
import { encodeState } from '../../../../host-agent/control/state/state-format.ts';
import { silentLogger } from '../../../../shared/logger.ts';

const FORWARDS = [{ spec: 'tcp:127.0.0.1:8080:tcp:172.17.0.2:80', vm: 'default' }];
const numbered = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ spec: `${index}`, vm: 'a' }));

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portferry-'));
  path = join(dir, 'state');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Opens, closes, and answers what was found and which files there are. */
async function look(log = silentLogger()): Promise<{ found: readonly object[]; files: string[] }> {
  const state = await StateFile.open(path, log);
  await state.close();
  return { found: state.found, files: readdirSync(dir).sort() };
}

describe('StateFile', () => {
  it('keeps what was saved, for its user only, and leaves nothing else behind', async () => {
    const state = await StateFile.open(path, silentLogger());
    expect(state.found).toEqual([]);
    await state.save(FORWARDS);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await state.close();
    expect(await look()).toEqual({ found: FORWARDS, files: ['state'] });
  });

  it('of many saves at once writes the last, and each resolves when it is written', async () => {
    const state = await StateFile.open(path, silentLogger());
    const saves = Array.from({ length: 200 }, (_, count) => state.save(numbered(count)));
    await saves[0];
    await Promise.all(saves);
    expect(readFileSync(path)).toEqual(encodeState(numbered(199)));
    await state.close();
  });

  it('sets a damaged file aside with the time in its name, at whatever byte it ends', async () => {
    const whole = encodeState(FORWARDS);
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      const { found, files } = await look();
      expect(found).toEqual([]);
      expect(files).toEqual([expect.stringMatching(/^state\.damaged-\d{4}-\d\d-\d\dT/)]);
      expect(readFileSync(join(dir, files[0]!))).toEqual(whole.subarray(0, length));
      rmSync(join(dir, files[0]!));
    }
  });

  it('says what is wrong with it and where it is now', async () => {
    writeFileSync(path, 'nonsense');
    const said: string[] = [];
    const log = Object.assign(Object.create(silentLogger()), {
      error: (_: object, text: string) => said.push(text),
    });
    const { files } = await look(log);
    expect(said).toEqual([
      `the state file ${path} is damaged: its first line is not "portferry-state …". It is now ${join(dir, files[0]!)}; there are no permanent forwards`,
    ]);
  });

  it('does not take what a killed writer has left for the state', async () => {
    writeFileSync(path, encodeState(FORWARDS));
    writeFileSync(`${path}.new`, encodeState(FORWARDS).subarray(0, 20));
    const state = await StateFile.open(path, silentLogger());
    expect(state.found).toEqual(FORWARDS);
    await state.save(numbered(2));
    await state.close();
    expect(await look()).toEqual({ found: numbered(2), files: ['state'] });
  });

  it('belongs to one: the second is told who has it, also under another name', async () => {
    const first = await StateFile.open(path, silentLogger());
    await first.save(FORWARDS);
    const other = join(dir, 'other');
    symlinkSync(path, other);
    for (const name of [path, other])
      await expect(StateFile.open(name, silentLogger())).rejects.toMatchObject({
        code: 'STATE_IN_USE',
        message: expect.stringContaining(
          `${path} is taken: a host agent with process id ${process.pid} uses it`,
        ),
      });
    await first.save(numbered(1));
    await first.close();
    expect((await look()).found).toEqual(numbered(1));
  });

  it('leaves a file of a later version where it is', async () => {
    // The checksum of another version, made by the same rule.
    const { createHash } = await import('node:crypto');
    const sum = createHash('sha256').update('portferry-state 7\n').update('{}').digest('hex');
    writeFileSync(path, `portferry-state 7 sha256 ${sum}\n{}`);
    await expect(look()).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining(path),
    });
    expect(readdirSync(dir)).toEqual(['state']);
  });

  it('that cannot be written says so, and has its last content', async () => {
    const state = await StateFile.open(path, silentLogger());
    await state.save(FORWARDS);
    mkdirSync(`${path}.new`);
    writeFileSync(join(`${path}.new`, 'in the way'), '');
    await expect(state.save(numbered(3))).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining(path),
    });
    rmSync(`${path}.new`, { recursive: true });
    expect(readFileSync(path)).toEqual(encodeState(FORWARDS));
    await state.save(numbered(3));
    await state.close();
    expect((await look()).found).toEqual(numbered(3));
  });

  it('names a directory that is missing, and one in place of the file', async () => {
    await expect(StateFile.open(join(dir, 'no', 'state'), silentLogger())).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('does not exist'),
    });
    mkdirSync(path);
    await expect(look()).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('is a directory'),
    });
  });
});
