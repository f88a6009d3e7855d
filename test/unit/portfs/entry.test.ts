import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { Entry } from '../../../shared/portfs/entry.ts';
import { FakeDoor } from './fake-door.ts';

const SPEC = 'tcp:a';
const REQUEST = Buffer.from(SPEC);
const quiet = new AbortController().signal;

function make() {
  const door = new FakeDoor();
  const events: string[] = [];
  const entry = new Entry('web', {
    log: silentLogger(),
    idleMs: 10_000,
    answerMs: 10_000,
    onGone: () => events.push('gone'),
    onFinished: () => events.push('finished'),
  });
  return { door, events, entry };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('an entry that is left alone', () => {
  it('goes after 10 s and not before', async () => {
    const { entry, events } = make();
    await vi.advanceTimersByTimeAsync(9_999);
    expect(entry.gone).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(entry.gone).toBe(true);
    expect(events).toEqual(['gone', 'finished']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('stays while a ctl is open, and has 10 s again when the last one closes', async () => {
    const { entry } = make();
    const [one, two] = [{}, {}];
    entry.ctlOpened();
    entry.ctlOpened();
    await vi.advanceTimersByTimeAsync(60_000);
    await entry.ctlClosed(one);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(entry.gone).toBe(false);
    await entry.ctlClosed(two);
    await vi.advanceTimersByTimeAsync(9_999);
    expect(entry.gone).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(entry.gone).toBe(true);
  });

  it('is adopted, with 10 s again, unless it is open, asked, or gone', async () => {
    const { entry, door } = make();
    await vi.advanceTimersByTimeAsync(9_000);
    expect(entry.adopt()).toBe(true);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(entry.gone).toBe(false);
    entry.ctlOpened();
    expect(entry.adopt()).toBe(false);
    const ctl = {};
    await entry.request(ctl, REQUEST, door, quiet);
    expect(entry.adopt()).toBe(false);
    await entry.ctlClosed(ctl);
    expect(entry.adopt()).toBe(false);
  });

  it('does not keep a process alive', () => {
    vi.useRealTimers();
    const unref = vi.spyOn(Object.getPrototypeOf(setTimeout(() => {}, 0)), 'unref');
    make();
    expect(unref).toHaveBeenCalledOnce();
    unref.mockRestore();
  });
});

it('an active one is not removed by time', async () => {
  const { entry, door } = make();
  entry.ctlOpened();
  await entry.request({}, REQUEST, door, quiet);
  await vi.advanceTimersByTimeAsync(100_000);
  expect(entry.answerNow()).toBe(`OK ${SPEC}\n`);
});

describe('release', () => {
  it('is waited for, but not longer than a client may have to', async () => {
    const { entry, door, events } = make();
    const ctl = {};
    entry.ctlOpened();
    await entry.request(ctl, REQUEST, door, quiet);
    let done: () => void = () => {};
    door.releasing = new Promise((resolve) => {
      done = resolve;
    });
    let closed = false;
    entry.ctlClosed(ctl).then(() => {
      closed = true;
    });
    expect(events).toEqual(['gone']);
    await vi.advanceTimersByTimeAsync(9_999);
    expect(closed).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(closed).toBe(true);
    expect(events).toEqual(['gone']);
    done();
    await vi.advanceTimersByTimeAsync(0);
    expect(events).toEqual(['gone', 'finished']);
  });

  it('that fails is no failure of the close', async () => {
    const { entry, door, events } = make();
    const ctl = {};
    entry.ctlOpened();
    await entry.request(ctl, REQUEST, door, quiet);
    door.releasing = Promise.reject(new Error('cannot'));
    door.releasing.catch(() => {});
    await entry.ctlClosed(ctl);
    await vi.advanceTimersByTimeAsync(0);
    expect(events).toEqual(['gone', 'finished']);
  });

  it('happens once, whoever asks', async () => {
    const { entry, door } = make();
    const ctl = {};
    entry.ctlOpened();
    await entry.request(ctl, REQUEST, door, quiet);
    await Promise.all([entry.end(), entry.ctlClosed(ctl), entry.end()]);
    expect(door.events).toEqual([`bind ${SPEC}`, `release ${SPEC}`]);
  });
});

describe('a claim under way', () => {
  function claiming(signal = quiet) {
    const made = make();
    made.door.manual = true;
    made.entry.ctlOpened();
    const ctl = {};
    const writing = made.entry.request(ctl, REQUEST, made.door, signal);
    return { ...made, ctl, writing };
  }

  it('is cancelled when its ctl closes; the write is done, and what is granted later released', async () => {
    const { entry, door, ctl, writing, events } = claiming();
    await entry.ctlClosed(ctl);
    await writing;
    expect(events).toEqual(['gone']);
    door.asked[0]?.grant();
    await vi.advanceTimersByTimeAsync(0);
    expect([...door.bound]).toEqual([]);
    expect(events).toEqual(['gone', 'finished']);
  });

  it('that is granted in the moment its ctl closes is released', async () => {
    const { entry, door, ctl, writing } = claiming();
    door.asked[0]?.grant();
    await Promise.all([entry.ctlClosed(ctl), writing]);
    await vi.advanceTimersByTimeAsync(0);
    expect([...door.bound]).toEqual([]);
  });

  it('that is granted some microtasks before or after its ctl closes is released', async () => {
    for (let steps = 0; steps < 12; steps++) {
      const { entry, door, ctl, writing } = claiming();
      door.asked[0]?.grant();
      for (let step = 0; step < steps; step++) await Promise.resolve();
      await Promise.all([entry.ctlClosed(ctl), writing]);
      await vi.advanceTimersByTimeAsync(0);
      expect([...door.bound], `${steps} steps`).toEqual([]);
      expect(entry.answerNow()).toBe('ERROR the entry was removed\n');
    }
  });

  it('that is flushed rejects the write, and ctl says so', async () => {
    const flush = new AbortController();
    const { entry, door, writing } = claiming(flush.signal);
    flush.abort();
    await expect(writing).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(entry.answerNow()).toBe(`ERROR ${SPEC}: the request was cancelled [CANCELLED]\n`);
    await expect(entry.request({}, REQUEST, door, quiet)).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
  });

  it('that is granted and flushed in the same moment is either told or released', async () => {
    for (let steps = 0; steps < 12; steps++) {
      const flush = new AbortController();
      const { entry, door, writing } = claiming(flush.signal);
      door.asked[0]?.grant();
      for (let step = 0; step < steps; step++) await Promise.resolve();
      flush.abort();
      const told = await writing.then(
        () => true,
        () => false,
      );
      await vi.advanceTimersByTimeAsync(0);
      expect([...door.bound], `${steps} steps`).toEqual(told ? [SPEC] : []);
      expect(entry.answerNow().startsWith('OK')).toBe(told);
    }
  });

  it('a reader that is called away stops waiting and the claim goes on', async () => {
    const { entry, door, writing } = claiming();
    const away = new AbortController();
    const reading = entry.answer(away.signal);
    away.abort();
    await expect(reading).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(entry.answer(away.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
    door.asked[0]?.grant();
    await writing;
    expect(await entry.answer(quiet)).toBe(`OK ${SPEC}\n`);
  });

  it('reader and writer are answered after 10 s', async () => {
    const { entry, writing } = claiming();
    const reading = entry.answer(quiet);
    await vi.advanceTimersByTimeAsync(10_000);
    await writing;
    expect(await reading).toBe(`ERROR ${SPEC}: no answer within 10 s; the request was cancelled [TIMEOUT]\n`);
  });
});

it.each([
  ['', 'ERROR the request is empty. Please read the README. [BAD_REQUEST]\n'],
  [' \n', 'ERROR the request is empty. Please read the README. [BAD_REQUEST]\n'],
])('%j is refused without asking the door', async (text, answer) => {
  const { entry, door } = make();
  const ctl = {};
  entry.ctlOpened();
  await entry.request(ctl, Buffer.from(text), door, quiet);
  expect(entry.answerNow()).toBe(answer);
  expect(door.asked).toEqual([]);
  await entry.ctlClosed(ctl);
  expect(entry.gone).toBe(true);
});

it('status keeps to one line for each thing, whatever the texts hold', async () => {
  const { entry, door } = make();
  door.manual = true;
  entry.ctlOpened();
  const writing = entry.request({}, REQUEST, door, quiet);
  expect(entry.status()).toMatch(/^state claiming\nrequest tcp:a\nsince /);
  door.asked[0]?.refuse('two\nlines');
  await writing;
  expect(entry.status()).toMatch(
    /^state failed\nrequest tcp:a\nerror two lines \[PORT_IN_USE\]\nsince [^\n]*\n$/,
  );
});

it('fails when somebody else ends what was granted, and releases nothing more', async () => {
  const { door, entry } = make();
  const ctl = {};
  entry.ctlOpened();
  await entry.request(ctl, REQUEST, door, quiet);
  expect(await entry.answer(quiet)).toBe(`OK ${SPEC}\n`);
  door.end.get(SPEC)!(new BridgeError('POLICY_DENIED', 'policy of VM "a": not this one'));
  await vi.advanceTimersByTimeAsync(0);
  expect(await entry.answer(quiet)).toBe('ERROR policy of VM "a": not this one [POLICY_DENIED]\n');
  expect(entry.status()).toMatch(
    /^state failed\nrequest tcp:a\nerror policy of VM "a": not this one \[POLICY_DENIED\]\nsince /,
  );
  await entry.ctlClosed(ctl);
  expect(entry.gone).toBe(true);
  expect(door.events).toEqual([`bind ${SPEC}`]);
});

it('stays gone when somebody else ends afterwards what it had', async () => {
  const { door, entry } = make();
  const ctl = {};
  entry.ctlOpened();
  await entry.request(ctl, REQUEST, door, quiet);
  await entry.ctlClosed(ctl);
  door.end.get(SPEC)!(new BridgeError('CANCELLED', 'late'));
  await vi.advanceTimersByTimeAsync(0);
  expect(entry.status()).toMatch(/^state gone\n/);
});
