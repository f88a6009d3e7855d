import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ControlMessage } from '../../../shared/control-codec.ts';
import { Limit } from '../../../shared/limit.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { Refusals } from '../../../vm-shim/control/refusals.ts';
import { type ReverseLink, ReverseListeners } from '../../../vm-shim/control/reverse-listeners.ts';
import { ReverseEntry } from '../../../vm-shim/data/reverse-entry.ts';
import { until } from '../../helpers/processes.ts';
import { connectTo, fateOf, refuses } from '../../helpers/stream-client.ts';

const log = silentLogger();
const spec = (port: number, service = 1) => `reverse:tcp:127.0.0.1:${service}:tcp:127.0.0.1:${port}`;
const portOf = (text: string): number => Number(text.split(':').at(-1));

class FakeLink implements ReverseLink {
  readonly heard: ControlMessage[] = [];
  /** Of whom clients were carried. */
  readonly carried: Array<number | undefined> = [];
  readonly peer: ReverseLink['peer'];

  constructor(instance: string) {
    this.peer = { instance } as ReverseLink['peer'];
  }

  send(message: ControlMessage): void {
    this.heard.push(message);
  }

  connect(
    ...[socket, { details }, hooks]: Parameters<ReverseLink['connect']>
  ): ReturnType<ReverseLink['connect']> {
    this.carried.push(details.reverse);
    socket.destroy();
    setImmediate(() => hooks.closed(undefined));
    return { stop() {} };
  }

  /** The answer to the number, by now. */
  opened(id: number): Promise<string> {
    return until(`an answer for ${id}`, () => {
      const last = this.heard.findLast((message) => 'id' in message && message.id === id);
      return last?.type === 'reversed' && last.spec;
    });
  }
}

describe('ReverseListeners', () => {
  let listeners: ReverseListeners;
  const limit = new Limit('connections', 10, log);
  const start = (more: object = {}) => {
    listeners = new ReverseListeners({ limit, running: new Set(), log, ...more });
  };
  const linked = (instance: string): FakeLink => {
    const link = new FakeLink(instance);
    listeners.linkUp(link);
    return link;
  };
  const want = (link: FakeLink, ...forwards: Array<[number, string]>) =>
    listeners.take({ type: 'reverse', forwards: forwards.map(([id, spec]) => ({ id, spec })) }, link);
  /** Host agents whose ports stay for a while; what is kept of those that never come back would only grow. */
  const waitedFor = () => (listeners as unknown as { graces: ReadonlyMap<string, unknown> }).graces.size;
  afterEach(async () => {
    vi.restoreAllMocks();
    await listeners.close();
  });

  it('opens what is wanted, keeps what still is, and closes the rest', async () => {
    start();
    const link = linked('a');
    want(link, [1, spec(0)], [2, spec(0)]);
    const [first, second] = [await link.opened(1), await link.opened(2)];
    want(link, [1, first], [3, spec(0, 2)]);
    await link.opened(3);
    expect(await refuses(portOf(second))).toBe(true);
    const client = await connectTo(portOf(first));
    await until('the client to be carried', () => link.carried.length === 1);
    expect(link.carried).toEqual([1]);
    client.destroy();
    want(link);
    await until('it to be closed', () => refuses(portOf(first)));
  });

  it('says who has a port', async () => {
    start();
    const link = linked('a');
    want(link, [1, spec(0)]);
    const port = portOf(await link.opened(1));
    want(link, [1, spec(port)], [2, spec(port, 2)]);
    const refused = await until('a refusal', () => link.heard.find(({ type }) => type === 'reverse-refused'));
    expect(refused).toMatchObject({ id: 2, code: 'PORT_IN_USE' });
    expect((refused as { text: string }).text).toContain('this process has');
  });

  it('logs once what is refused again and again, and answers each time', async () => {
    start();
    const link = linked('a');
    want(link, [1, spec(0)]);
    const opened = await link.opened(1);
    const warn = vi.spyOn(log, 'warn');
    const refusals = () => link.heard.filter(({ type }) => type === 'reverse-refused').length;
    for (let id = 2; id <= 4; id++) {
      want(link, [1, opened], [id, spec(portOf(opened), 2)]);
      await until('another refusal', () => refusals() === id - 1);
    }
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it('opens ports while it looks for who has others, and is asked for those again', async () => {
    start();
    const link = linked('a');
    want(link, [1, spec(0)]);
    const first = await link.opened(1);
    const taken = (id: number): [number, string] => [id, spec(portOf(first), id)];
    const looks: Array<() => void> = [];
    vi.spyOn(Refusals.prototype, 'explain').mockImplementation((_spec, error) => {
      return new Promise((resolve) => looks.push(() => resolve({ error, known: false })));
    });
    want(link, [1, first], taken(2), taken(3), taken(4), [5, spec(0)]);
    const second = await link.opened(5);
    want(link, [1, first], taken(2), taken(4), [5, second]);
    looks.shift()!();
    await until('the next look', () => looks.length === 1);
    looks.shift()!();
    const refused = () => link.heard.flatMap((each) => (each.type === 'reverse-refused' ? [each.id] : []));
    await until('all refusals', () => refused().length === 2);
    expect(refused()).toEqual([2, 4]);
  });

  it('keeps ports over a lost link; the next host agent takes them over', async () => {
    start();
    const link = linked('a');
    want(link, [1, spec(0)], [2, spec(0)]);
    const [kept, lost] = [await link.opened(1), await link.opened(2)];
    listeners.linkDown(link);
    const early = await connectTo(portOf(kept));
    const next = linked('b');
    want(next, [7, kept]);
    expect(await next.opened(7)).toBe(kept);
    expect(waitedFor()).toBe(1);
    await until(
      'the client that waits to be carried',
      () => next.carried.length === 1 || link.carried.length === 1,
    );
    expect(await refuses(portOf(lost))).toBe(true);
    early.destroy();
    linked('a');
    expect(waitedFor()).toBe(0);
  });

  it('what one host agent has, another that is there cannot take', async () => {
    start();
    const [link, other] = [linked('a'), linked('b')];
    want(link, [1, spec(0)]);
    const taken = await link.opened(1);
    want(other, [1, taken]);
    await until('a refusal', () => other.heard.some(({ type }) => type === 'reverse-refused'));
    expect(await refuses(portOf(taken))).toBe(false);
  });

  it('what comes late on an older link, or on one that is over, changes nothing', async () => {
    start();
    const [older, newer] = [linked('a'), linked('a')];
    want(newer, [1, spec(0)]);
    const port = portOf(await newer.opened(1));
    const opening = vi.spyOn(ReverseEntry, 'open');
    want(older, [2, spec(0)]);
    listeners.linkDown(older);
    listeners.linkDown(newer);
    want(newer, [2, spec(0)]);
    await nextTurn();
    expect(opening).not.toHaveBeenCalled();
    expect(await refuses(port)).toBe(false);
  });

  it('without a link clients wait and are then reset, and after a while the ports close', async () => {
    start({ graceMs: 300, waitMs: 1 });
    const link = linked('a');
    want(link, [1, spec(0)]);
    const port = portOf(await link.opened(1));
    listeners.linkDown(link);
    expect((await fateOf(await connectTo(port))).how).toBe('ECONNRESET');
    await until('the port to be closed', () => refuses(port));
    expect(limit.used).toBe(0);
    expect(waitedFor()).toBe(0);
  });

  it.each([
    ['the next host agent does not want its port', () => want(linked('b'))],
    ['the shim stops', () => listeners.close()],
  ])('a client that waits for the link is reset when %s', async (_when, end) => {
    start({ waitMs: 600_000 });
    const link = linked('a');
    want(link, [1, spec(0)]);
    const port = portOf(await link.opened(1));
    listeners.linkDown(link);
    const client = await connectTo(port);
    await until('the client to wait', () => limit.used === 1);
    const fate = fateOf(client);
    await end();
    expect((await fate).how).toBe('ECONNRESET');
    expect(limit.used).toBe(0);
  });

  it('a client that was accepted just before its port was closed goes nowhere', async () => {
    start();
    const opening = vi.spyOn(ReverseEntry, 'open');
    const link = linked('a');
    want(link, [1, spec(0)]);
    await link.opened(1);
    const [, { whenUp }] = opening.mock.calls[0]!;
    expect(await whenUp()).toBe(link);
    want(link);
    await expect(whenUp()).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('opens nothing any more when the shim stops, whatever is said on links that still run', async () => {
    start();
    const link = linked('a');
    want(link, [1, spec(0)]);
    const opened = await link.opened(1);
    const opening = vi.spyOn(ReverseEntry, 'open');
    const closing = listeners.close();
    want(link, [1, opened]);
    await closing;
    want(link, [1, opened]);
    await nextTurn();
    expect(opening).not.toHaveBeenCalled();
    expect(await refuses(portOf(opened))).toBe(true);
  });

  it('takes no answers', () => {
    start();
    const message = { type: 'reversed', id: 1, spec: spec(1) } as const;
    expect(() => listeners.take(message, linked('a'))).toThrow('is not for a VM shim');
  });
});
