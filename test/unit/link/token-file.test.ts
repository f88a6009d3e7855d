import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { BridgeError } from '../../../shared/errors.ts';
import { parseToken, readToken, tokenReader, writeNewToken } from '../../../shared/link/token-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'portferry-token-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const GOOD = 'x'.repeat(32);
let files = 0;
function file(content: string, mode = 0o600): string {
  const path = join(dir, `token-${++files}`);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

describe('a token file', () => {
  it('is read without its newline', async () => {
    for (const end of ['', '\n', '\r\n']) expect((await readToken(file(GOOD + end))).toString()).toBe(GOOD);
    expect((await readToken(file(GOOD, 0o400))).toString()).toBe(GOOD);
    expect(await readToken(file('y'.repeat(1_024)))).toHaveLength(1_024);
  });

  it.each([0o604, 0o640, 0o644, 0o660, 0o602, 0o777, 0o601])(
    'of mode 0%o is refused, with what to do',
    async (mode) => {
      const path = file(GOOD, mode);
      await expect(readToken(path)).rejects.toMatchObject({
        code: 'PERMISSION_DENIED',
        message: expect.stringContaining(`(mode 0${mode.toString(8)}): chmod 600 ${path}`),
      });
    },
  );

  it.each([
    ['nothing', '', /is empty; portferry token FILE makes a good one/],
    ['a newline', '\n', /is empty/],
    ['too little', 'x'.repeat(31), /has 31 characters; it needs 32/],
    ['too much', 'x'.repeat(1_025), /longer than 1024/],
    ['far too much', 'x'.repeat(100_000), /longer than 1024/],
    ['two lines', `${GOOD}\n${GOOD}\n`, /one line of printable/],
    ['blanks', `${GOOD} ${GOOD}`, /one line of printable/],
    ['other bytes', `${GOOD}\xff`, /one line of printable/],
  ])('with %s is refused, and its content is not said', async (_name, content, why) => {
    const error = await readToken(file(content)).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringMatching(why) });
    expect(String(error)).not.toContain('xxxx');
  });

  it('that is none is refused', async () => {
    await expect(readToken(join(dir, 'none'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const folder = join(dir, 'folder');
    mkdirSync(folder, { mode: 0o700 });
    await expect(readToken(folder)).rejects.toMatchObject({
      message: expect.stringContaining('no regular file'),
    });
  });

  it('any bytes give a token of the right length or BAD_REQUEST', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1_100 }), (some) => {
        try {
          const token = parseToken(Buffer.from(some), 'file');
          expect(token.length).toBeGreaterThanOrEqual(32);
          expect(token.length).toBeLessThanOrEqual(1_024);
        } catch (error) {
          expect((error as BridgeError).code).toBe('BAD_REQUEST');
        }
      }),
    );
  });
});

it('is read anew for later links, and once for many at a time', async () => {
  const path = file(GOOD);
  let now = 5;
  const read = tokenReader(path, () => now);
  const both = [read(), read()];
  expect(both[0]).toBe(both[1]);
  expect((await both[0]!).toString()).toBe(GOOD);
  writeFileSync(path, 'y'.repeat(40));
  expect((await read()).toString()).toBe(GOOD);
  now += 1_001;
  expect((await read()).toString()).toBe('y'.repeat(40));
  chmodSync(path, 0o644);
  now += 1_001;
  await expect(read()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
  chmodSync(path, 0o600);
  now += 1_001;
  expect((await read()).toString()).toBe('y'.repeat(40));
});

describe('a new token', () => {
  it('is written to a file of mode 0600, can be read, and is another one each time', async () => {
    const paths = [join(dir, 'new-1'), join(dir, 'new-2')];
    for (const path of paths) await writeNewToken(path);
    expect(statSync(paths[0]!).mode & 0o777).toBe(0o600);
    const [one, two] = await Promise.all(paths.map((path) => readToken(path)));
    expect(one!.toString()).toMatch(/^[0-9a-f]{64}$/);
    expect(one!.equals(two!)).toBe(false);
  });

  it('never takes the place of one that is there', async () => {
    const path = file(GOOD);
    await expect(writeNewToken(path)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    expect(readFileSync(path, 'utf8')).toBe(GOOD);
    await expect(writeNewToken(join(dir, 'none', 'token'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
