import { describe, expect, it } from 'vitest';
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
  write(chunk: Buffer): boolean {
    this.calls.push(`write ${chunk}`);
    return true;
  }
  end(): void {
    this.calls.push('end');
  }
  reset(): void {
    this.calls.push('reset');
    this.handler.closed();
  }
  pause(): void {}
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
