import { expect, it } from 'vitest';
import type { ControlMessage } from '../../../shared/control-codec.ts';
import { ControlInbox } from '../../../shared/link/control-inbox.ts';

const message = (id: number): ControlMessage => ({ type: 'unclaimed', id });

it('hands out in order: first to the steps that ask for one, then to the handler that stays', () => {
  const inbox = new ControlInbox();
  const got: string[] = [];
  inbox.next((each) => got.push(`step ${JSON.stringify(each)}`));
  for (const id of [1, 2, 3]) inbox.take(message(id));
  inbox.next((each) => got.push(`step ${JSON.stringify(each)}`));
  inbox.handle((each) => got.push(JSON.stringify(each)));
  inbox.take(message(4));
  const text = (id: number): string => JSON.stringify(message(id));
  expect(got).toEqual([`step ${text(1)}`, `step ${text(2)}`, text(3), text(4)]);
});

it('keeps so many for a side that has not turned to them, and no more', () => {
  const inbox = new ControlInbox();
  for (let id = 0; id < 256; id++) inbox.take(message(id));
  expect(() => inbox.take(message(256))).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
});
