import { expect, it } from 'vitest';
import { Ledger } from '../../../../shared/platform/linux/ledger.ts';

it('another thread sees what is open', () => {
  const ledger = new Ledger();
  const other = new Ledger(ledger.shared);
  for (const fd of [0, 31, 32, 1_000, 262_143]) ledger.add(fd);
  ledger.remove(32);
  ledger.remove(33);
  expect(other.list()).toEqual([0, 31, 1_000, 262_143]);
});
