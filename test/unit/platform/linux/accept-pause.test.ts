import { beforeEach, expect, it } from 'vitest';
import { AcceptPause } from '../../../../shared/platform/linux/accept-pause.ts';
import { Deadlines } from '../../../../shared/platform/linux/deadlines.ts';
import type { Reactor } from '../../../../shared/platform/linux/reactor.ts';
import { Shortage } from '../../../../shared/platform/linux/shortage.ts';

const EMFILE = 24;
let now: number;
let said: string[];
let pause: AcceptPause;
let list: Deadlines;
let makePause: (forward: string, index: number) => AcceptPause;

beforeEach(() => {
  now = 0;
  said = [];
  list = new Deadlines(100);
  const cells = Shortage.cells(2);
  const reactor = {
    get now() {
      return now;
    },
    deadlinesOf: (ms: number) => {
      expect(ms).toBe(100);
      return list;
    },
    pipes: { closeIdle: () => {} },
  } as unknown as Reactor;
  makePause = (forward, index) =>
    new AcceptPause({
      reactor: Object.create(reactor, { shortage: { value: new Shortage(cells, index) } }) as Reactor,
      log: {
        warn: (fields, text) => said.push(`${text.split(/[:(]/)[0]!.trim()} ${JSON.stringify(fields)}`),
      },
      fields: { forward },
      pause: () => said.push('pause'),
      resume: () => said.push('resume'),
    });
  pause = makePause('web', 0);
});

function pass(ms: number): void {
  for (const end = now + ms; now < end; ) {
    now++;
    list.run(now);
  }
}

const OUT = 'out of descriptors or memory {"forward":"web","errno":"EMFILE"}';

it('pauses for a moment, is said once, and its end as well', () => {
  pause.begin(EMFILE);
  pause.begin(EMFILE); // by a second client, in the same pause
  expect(said).toEqual(['pause', OUT]);
  pass(100);
  expect(said.slice(2)).toEqual(['resume']);
  pass(3_000);
  expect(said.slice(3)).toEqual(['there are descriptors and memory again {"forward":"web","pauses":1}']);
  pass(10_000);
  expect(list.first).toBe(Number.POSITIVE_INFINITY); // nothing wakes the thread any more
  expect(said.length).toBe(4);
});

it('goes on for as long as it has to, without a word', () => {
  pause.begin(EMFILE);
  for (let turn = 0; turn < 100; turn++) {
    pass(100);
    pause.begin(EMFILE);
  }
  expect(said.filter((each) => each === 'pause').length).toBe(101);
  expect(said.filter((each) => each === 'resume').length).toBe(100);
  pass(100);
  pass(1_500);
  pause.begin(EMFILE); // it has not been over for long enough
  pass(3_000);
  const lines = said.filter((each) => each.includes('{'));
  expect(lines).toEqual([OUT, 'there are descriptors and memory again {"forward":"web","pauses":102}']);
});

it('may come again, and is said again', () => {
  pause.begin(EMFILE);
  pass(3_000);
  pause.begin(EMFILE);
  pass(3_000);
  expect(said.filter((each) => each === OUT).length).toBe(2);
  expect(said.filter((each) => each.includes('"pauses":1')).length).toBe(2);
});

it('is said once by all listeners of all threads, and its end by the last of them', () => {
  const other = makePause('other', 1);
  pause.begin(EMFILE);
  other.begin(EMFILE);
  for (let turn = 0; turn < 30; turn++) {
    pass(100);
    other.begin(EMFILE);
  }
  const lines = () => said.filter((each) => each.includes('{'));
  expect(lines()).toEqual([OUT]);
  pass(3_000);
  expect(lines()).toEqual([OUT, 'there are descriptors and memory again {"forward":"other","pauses":31}']);
});
