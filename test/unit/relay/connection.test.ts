import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ByteRate } from '../../../shared/byte-rate.ts';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
import { paceByTimeout } from '../../../shared/pace.ts';
import { ChannelEnd } from '../../../shared/relay/channel-end.ts';
import { Connection } from '../../../shared/relay/connection.ts';
import type { End, EndHandler } from '../../../shared/relay/end.ts';

/** An end that notes what is done to it, and closes when it is reset or ended. */
class NotedEnd implements End {
  readonly calls: string[] = [];
  readonly backlog = 0;
  handler!: EndHandler;

  attach(handler: EndHandler): void {
    this.handler = handler;
  }
  accept(): void {
    this.calls.push('accept');
  }
  refuse(): void {
    this.reset();
  }
  takesMore = true;
  write(chunk: Buffer): boolean {
    this.calls.push(`write ${chunk}`);
    return this.takesMore;
  }
  end(): void {
    this.calls.push('end');
  }
  reset(): void {
    this.calls.push('reset');
    this.handler.closed();
  }
  pause(): void {
    this.calls.push('pause');
  }
  resume(): void {
    this.calls.push('resume');
  }
}

function dialling() {
  const client = new NotedEnd();
  const over: Array<BridgeError | undefined> = [];
  const counters = { bytesUp: 0, bytesDown: 0 };
  const connection = new Connection(client, {
    counters,
    cancelDial: () => {},
    closed: (error) => over.push(error),
  });
  return { client, connection, over, counters };
}

/** A channel's end whose channel takes everything. */
function channelEnd(): ChannelEnd {
  const end = new ChannelEnd();
  const nothing = (): void => {};
  end.bind({
    write: () => true,
    end: nothing,
    accept: nothing,
    refuse: nothing,
    reset: nothing,
    consumed: nothing,
    writableLength: 0,
  });
  return end;
}

describe('a target that says something before anybody listens', () => {
  it('was reset: the client is reset, and the connection is over', () => {
    const { client, connection, over } = dialling();
    const target = channelEnd();
    const { data, reset, closed } = target.events();
    data(Buffer.from('part'));
    reset(ERRNO.ECONNRESET);
    closed();
    connection.dialled(target);
    expect(client.calls).toEqual(['reset']);
    expect(over).toEqual([expect.objectContaining({ code: 'RESET', errno: ERRNO.ECONNRESET })]);
  });

  it('was reset, and is closed later: the connection is over then', () => {
    const { client, connection, over } = dialling();
    const target = channelEnd();
    const { reset, closed } = target.events();
    reset(ERRNO.ECONNRESET);
    connection.dialled(target);
    expect(client.calls).toEqual(['reset']);
    closed();
    expect(over).toHaveLength(1);
  });

  it('has sent all and ended: the client gets all and the end', () => {
    const { client, connection, over, counters } = dialling();
    const target = channelEnd();
    const { data, end } = target.events();
    data(Buffer.from('answer'));
    end();
    connection.dialled(target);
    expect(client.calls).toEqual(['accept', 'resume', 'write answer', 'end']);
    expect(counters.bytesDown).toBe(6);
    expect(over).toEqual([]);
  });

  it('comes when the client is gone already: it is reset', () => {
    const { client, connection, over } = dialling();
    client.handler.reset(new BridgeError('RESET', 'gone'));
    client.handler.closed();
    const target = new NotedEnd();
    connection.dialled(target);
    expect(target.calls).toEqual(['reset']);
    expect(over).toHaveLength(1);
  });
});

describe('a connection that has to wait', () => {
  /** 1 byte a millisecond, and 50 are free. */
  const paced = () => {
    const rate = new ByteRate();
    rate.perSecond = 1_000;
    const [client, container] = [new NotedEnd(), new NotedEnd()];
    const over: Array<BridgeError | undefined> = [];
    const connection = new Connection(client, {
      counters: { bytesUp: 0, bytesDown: 0 },
      pace: paceByTimeout(rate),
      cancelDial: () => {},
      closed: (error) => over.push(error),
    });
    connection.dialled(container);
    client.calls.length = 0;
    container.calls.length = 0;
    return { client, container, connection, over, rate };
  };
  const [free, turn] = ['x'.repeat(50), 'y'.repeat(50)];

  beforeEach(() => {
    vi.useFakeTimers();
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('passes on what is free at once, the rest in turns, and reads the end that sent only then', () => {
    const { client, container } = paced();
    client.handler.data(Buffer.from(free));
    expect([client.calls, container.calls]).toEqual([[], [`write ${free}`]]);
    client.handler.data(Buffer.from(`${turn}zz`));
    expect([client.calls, container.calls.length]).toEqual([['pause'], 1]);
    vi.advanceTimersByTime(49);
    expect(container.calls.length).toBe(1);
    vi.advanceTimersByTime(1);
    expect([client.calls, container.calls.slice(1)]).toEqual([['pause'], [`write ${turn}`]]);
    vi.advanceTimersByTime(2);
    expect([client.calls, container.calls.slice(2)]).toEqual([['pause', 'resume'], ['write zz']]);
  });

  it('has moved what has passed, so that it is not idle while it delivers', () => {
    const { client, container, connection } = paced();
    client.handler.data(Buffer.from(`${free}${turn}`));
    expect(connection.moved).toBe(50);
    vi.advanceTimersByTime(50);
    expect(connection.moved).toBe(100);
    container.handler.data(Buffer.from('answer'));
    vi.advanceTimersByTime(6);
    expect(connection.moved).toBe(106);
  });

  it('keeps what waits, whatever becomes of the memory that it came in', () => {
    const { client, container } = paced();
    const memory = Buffer.from(`${free}${turn}`);
    client.handler.data(memory);
    memory.fill('?');
    vi.advanceTimersByTime(50);
    expect(container.calls.at(-1)).toBe(`write ${turn}`);
  });

  it('has each direction wait for itself, with one budget', () => {
    const { client, container } = paced();
    client.handler.data(Buffer.from(`${free}${turn}`));
    container.handler.data(Buffer.from('answer'));
    vi.advanceTimersByTime(55);
    expect(client.calls).toEqual(['pause', 'resume']);
    vi.advanceTimersByTime(1);
    expect(client.calls).toEqual(['pause', 'resume', 'write answer']);
  });

  it('reads again only when there is room as well, whichever comes last', () => {
    const { client, container } = paced();
    container.takesMore = false;
    client.handler.data(Buffer.from(`${free}${turn}`));
    vi.advanceTimersByTime(50);
    expect(container.calls).toEqual([`write ${free}`]);
    container.handler.drained();
    vi.advanceTimersByTime(50);
    expect(container.calls).toEqual([`write ${free}`, `write ${turn}`]);
    expect(client.calls).not.toContain('resume');
    container.handler.drained();
    expect(client.calls.at(-1)).toBe('resume');
  });

  it('ends the other end behind the last byte, though its own has ended and is closed before that', () => {
    const { client, container, over } = paced();
    container.handler.ended();
    client.handler.data(Buffer.from(`${free}${turn}`));
    client.handler.ended();
    client.handler.closed();
    expect(container.calls).toEqual([`write ${free}`]);
    vi.advanceTimersByTime(50);
    expect(container.calls).toEqual([`write ${free}`, `write ${turn}`, 'end']);
    container.handler.closed();
    expect(over).toEqual([undefined]);
  });

  it('is over when it is stopped while that waits', () => {
    const { client, container, connection, over } = paced();
    client.handler.data(Buffer.from(`${free}${turn}`));
    client.handler.ended();
    client.handler.closed();
    connection.stop(new BridgeError('CANCELLED', 'now'));
    expect(container.calls).toEqual([`write ${free}`, 'reset']);
    expect(over).toMatchObject([{ code: 'CANCELLED' }]);
  });

  it('goes on when there is no limit any more', () => {
    const { client, container, rate } = paced();
    const long = 'z'.repeat(100_000);
    client.handler.data(Buffer.from(long));
    rate.perSecond = undefined;
    vi.advanceTimersByTime(100);
    expect(container.calls.map((call) => call.slice(6)).join('')).toBe(long);
    expect(client.calls.at(-1)).toBe('resume');
  });

  it.each([
    ['is reset', (client: NotedEnd) => client.handler.reset(new BridgeError('RESET', 'gone'))],
    ['is stopped', (_: NotedEnd, connection: Connection) => connection.stop(new BridgeError('IO', 'now'))],
  ])('that %s drops what waits, and gives its booking back', (_what, end) => {
    const { client, container, connection, rate } = paced();
    client.handler.data(Buffer.from(`${free}${turn}`));
    expect(rate.wait).toBe(50);
    end(client, connection);
    expect(container.calls).toEqual([`write ${free}`, 'reset']);
    expect(rate.wait).toBe(0);
    vi.advanceTimersByTime(1_000);
    expect([container.calls.length, vi.getTimerCount()]).toEqual([2, 0]);
  });
});
