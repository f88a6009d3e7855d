import { describe, expect, it, vi } from 'vitest';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
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
  const paced = (waits: number[]) => {
    const [client, container] = [new NotedEnd(), new NotedEnd()];
    const connection = new Connection(client, {
      counters: { bytesUp: 0, bytesDown: 0 },
      pace: () => waits.shift() ?? 0,
      cancelDial: () => {},
      closed: () => {},
    });
    connection.dialled(container);
    client.calls.length = 0;
    container.calls.length = 0;
    return { client, container };
  };

  it('does not read the end that sent, until its time has come', () => {
    vi.useFakeTimers();
    try {
      const { client, container } = paced([0, 500]);
      client.handler.data(Buffer.from('a'));
      client.handler.data(Buffer.from('b'));
      expect([client.calls, container.calls]).toEqual([['pause'], ['write a', 'write b']]);
      container.handler.data(Buffer.from('c'));
      expect(container.calls).toEqual(['write a', 'write b']);
      vi.advanceTimersByTime(499);
      expect(client.calls).toEqual(['pause', 'write c']);
      vi.advanceTimersByTime(1);
      expect(client.calls).toEqual(['pause', 'write c', 'resume']);
    } finally {
      vi.useRealTimers();
    }
  });

  it('reads again only when there is room as well, whichever comes last', () => {
    vi.useFakeTimers();
    try {
      const { client, container } = paced([500, 500]);
      container.takesMore = false;
      client.handler.data(Buffer.from('a'));
      vi.advanceTimersByTime(500);
      expect(client.calls).not.toContain('resume');
      container.handler.drained();
      expect(client.calls.at(-1)).toBe('resume');
      client.calls.length = 0;
      client.handler.data(Buffer.from('b'));
      container.handler.drained();
      expect(client.calls).not.toContain('resume');
      vi.advanceTimersByTime(500);
      expect(client.calls.at(-1)).toBe('resume');
    } finally {
      vi.useRealTimers();
    }
  });

  it('leaves no timer behind', () => {
    vi.useFakeTimers();
    try {
      const { client, container } = paced([500]);
      client.handler.data(Buffer.from('a'));
      client.handler.reset(new BridgeError('RESET', 'gone'));
      client.handler.closed();
      expect(container.calls).toContain('reset');
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});
