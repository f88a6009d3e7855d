import { beforeEach, describe, expect, it } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { MAX_REVERSE } from '../../../shared/reverse-messages.ts';
import { Refusals } from '../../../vm-shim/control/refusals.ts';

const inUse = (port = 80) => new BridgeError('PORT_IN_USE', `port ${port} is taken`);
let now: number;
let holder: string;
let looks: number;
let refusals: Refusals;
beforeEach(() => {
  now = 100_000;
  holder = 'sshd';
  looks = 0;
  const findOut = async ({ code, message }: BridgeError) => {
    looks++;
    return new BridgeError(code, `${message}: ${holder} has it`);
  };
  refusals = new Refusals(() => now, findOut);
});

const told = async (spec: string, error = inUse()) => {
  const { error: explained, known } = await refusals.explain(spec, error);
  return `${known ? 'again' : 'new'}: ${explained.message}`;
};

describe('Refusals', () => {
  it('looks for who is in the way when it is refused anew, and once a minute', async () => {
    expect(await told('a')).toBe('new: port 80 is taken: sshd has it');
    holder = 'nginx';
    now += 59_000;
    expect(await told('a')).toBe('again: port 80 is taken: sshd has it');
    expect(looks).toBe(1);
    now += 1_000;
    expect(await told('a')).toBe('new: port 80 is taken: nginx has it');
    now += 60_000;
    expect(await told('a')).toBe('again: port 80 is taken: nginx has it');
    expect(looks).toBe(3);
  });

  it('looks when the system says something else, and when it was open meanwhile', async () => {
    await told('a');
    const denied = new BridgeError('PERMISSION_DENIED', 'port 80 is denied');
    expect(await told('a', denied)).toBe('new: port 80 is denied: sshd has it');
    refusals.forget('a');
    expect(await told('a', denied)).toBe('new: port 80 is denied: sshd has it');
    expect(looks).toBe(3);
  });

  it('of many that are refused again at once, looks into one, and each has its turn', async () => {
    const all = Array.from({ length: 30 }, (_, index) => `${index}`);
    for (const spec of all) await told(spec);
    now += 60_000;
    for (const round of all.keys()) {
      holder = `process ${round}`;
      const answers = [];
      for (const spec of all) answers.push(await told(spec));
      expect(answers.findIndex((answer) => answer.startsWith('new'))).toBe(round);
      expect(looks).toBe(all.length + round + 1);
      now += 5_000;
    }
  });

  it('waits for none that is not refused any more', async () => {
    await told('a');
    now += 30_000;
    await told('b');
    now += 60_000;
    await told('b');
    expect(looks).toBe(3);
  });

  it('remembers so many as there may be in a set, those that were refused last', async () => {
    for (let port = 0; port <= MAX_REVERSE; port++) await told(`${port}`, inUse(port));
    expect(await told('1', inUse(1))).toMatch(/^again/);
    expect(await told('0', inUse(0))).toMatch(/^new/);
    expect(await told('1', inUse(1))).toMatch(/^again/);
    expect(await told('2', inUse(2))).toMatch(/^new/);
  });
});
