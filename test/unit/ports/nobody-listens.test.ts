/** What a unix socket of macOS answers is simulated: ECONNREFUSED also while its backlog is full. */
import { expect, it } from 'vitest';
import { nobodyListens } from '../../../shared/ports/nobody-listens.ts';

/** A socket that answers in turn, the last answer for ever. */
function asking(platform: NodeJS.Platform, ...answers: Array<string | undefined>) {
  const asked: string[] = [];
  const ask = async (path: string): Promise<string | undefined> =>
    answers[Math.min(asked.push(path), answers.length) - 1];
  return { asked, answer: nobodyListens('/a.sock', { platform, ask, pauseMs: 1 }) };
}

const REFUSED = 'ECONNREFUSED';

it('a refusal is believed at once on Linux', async () => {
  const { answer, asked } = asking('linux', REFUSED, undefined);
  expect(await answer).toBe(true);
  expect(asked).toEqual(['/a.sock']);
});

it.each([
  ['somebody accepts', undefined],
  ['the path has gone', 'ENOENT'],
  ['it takes datagrams', 'EPROTOTYPE'],
])('on macOS it is asked again, and counts no longer when %s', async (_what, later) => {
  const { answer, asked } = asking('darwin', REFUSED, REFUSED, REFUSED, later);
  expect(await answer).toBe(false);
  expect(asked.length).toBe(4);
});

it('on macOS a refusal that lasts is believed in the end', async () => {
  const { answer, asked } = asking('darwin', REFUSED);
  expect(await answer).toBe(true);
  expect(asked.length).toBeGreaterThan(5);
});
