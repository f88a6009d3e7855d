import { expect, it } from 'vitest';
import { Limit } from '../../../shared/limit.ts';
import { TextSnapshot } from '../../../shared/portfs/text-snapshot.ts';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

it('is kept from the start until it is read from there again', async () => {
  const snapshot = new TextSnapshot(new Limit('texts', 100));
  expect(text(await snapshot.read(0, 3, () => 'first'))).toBe('fir');
  expect(text(await snapshot.read(3, 9, () => 'second'))).toBe('st');
  expect(text(await snapshot.read(5, 9, () => 'second'))).toBe('');
  expect(text(await snapshot.read(0, 9, () => 'second'))).toBe('second');
});

it('counts the bytes that are kept, and gives them back once', async () => {
  const kept = new Limit('texts', 10);
  const [one, other] = [new TextSnapshot(kept), new TextSnapshot(kept)];
  await one.read(0, 9, () => '123456');
  await expect(other.read(0, 9, () => '12345')).rejects.toMatchObject({ code: 'LIMIT_REACHED', errno: 12 });
  expect([kept.used, kept.refused]).toEqual([6, 1]);
  await one.read(0, 9, () => '12');
  await other.read(0, 9, () => '12345');
  expect(kept.used).toBe(7);
  one.forget();
  one.close();
  other.close();
  other.forget();
  expect(kept.used).toBe(0);
});

it('a read that is under way when it is closed has its text, and leaves nothing', async () => {
  const kept = new Limit('texts', 10);
  const snapshot = new TextSnapshot(kept);
  const reading = snapshot.read(0, 20, () => Promise.resolve('more than may be kept'));
  snapshot.close();
  expect(text(await reading)).toBe('more than may be kep');
  snapshot.forget();
  expect(kept.used).toBe(0);
});
